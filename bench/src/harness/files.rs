//! Files of a log as the limits need them: opened past the page cache, dropped from it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Outcome;

/// Allocates `length` bytes for a new file.
#[allow(unsafe_code)]
pub(crate) fn allocate(file: &File, length: u64) -> io::Result<()> {
    // SAFETY: no pointers are involved; the descriptor is open.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length as libc::off_t) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Drops what the page cache holds of a file. Dirty or mapped pages stay.
#[allow(unsafe_code)]
pub(crate) fn drop_cache(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: no pointers are involved; the descriptor is open.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Opens a file for reading past the page cache, or through it where the file system has no O_DIRECT.
pub(crate) fn open_direct(path: &Path) -> io::Result<File> {
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path);
    match direct {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => File::open(path),
        opened => opened,
    }
}

/// The segment files of a log, in order.
pub(crate) fn segments(log: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in log.read_dir()? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        for entry in path.read_dir()? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "seg") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
