//! A test of a file system for direct writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process;

use super::buffer::with_bounce;
use super::call::{FILE_MODE, kernel_error};
use crate::format::PAGE_BYTES;

const DIRECT: libc::c_int = libc::O_DIRECT | libc::O_DSYNC;

/// Tries whether files below `path` can be written with O_DIRECT in pages, by writing one page to a file that has no
/// name (or loses it at once, where the file system knows no nameless files).
///
/// # Errors
/// The kernel's, other than those that mean "no". A full disk is no error: what the open said stands.
pub fn probe_direct(path: &Path) -> io::Result<bool> {
    let written = scratch_file(path)
        .and_then(|file| with_bounce(PAGE_BYTES, |page| file.write_all_at(page, 0)))
        .map_err(kernel_error);
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn scratch_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(FILE_MODE);
    match options.custom_flags(DIRECT | libc::O_TMPFILE).open(path) {
        // EISDIR comes from kernels, EOPNOTSUPP from file systems that have no O_TMPFILE. EINVAL may be either flag's.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EISDIR | libc::EOPNOTSUPP | libc::EINVAL)) => {}
        opened => return opened,
    }
    let path = path.join(format!(".probe-{}", process::id()));
    // A process that died here may have left one.
    let _ = std::fs::remove_file(&path);
    let opened = options.create_new(true).custom_flags(DIRECT | libc::O_NOFOLLOW).open(&path);
    // Some kernels create the file, and only then refuse O_DIRECT.
    let removed = std::fs::remove_file(&path);
    let file = opened?;
    removed?;
    Ok(file)
}
