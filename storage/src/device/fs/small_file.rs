//! Small files that are read and replaced as a whole, such as the meta file of a log.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::directory::{open_directory, sync_directory};
use super::{call, listing};

/// The suffix of files on their way to another name.
const TEMPORARY: &str = ".tmp";

/// Names that [`write_shared_file_durably`] tries. Each that is taken was left by a process with the same number.
const NAMES_TRIED: u32 = 1000;

/// Replaces the file `name` in the directory `path`, so that a crash leaves the old bytes or the new. Uses the name
/// `<name>.tmp` meanwhile: only one may replace it at a time, the holder of a lock.
///
/// # Errors
/// The kernel's. The file holds the old bytes, or, if only the last sync failed, perhaps the new ones.
pub fn write_file_durably(path: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (to, from) = (call::plain_name(name)?, call::plain_name(&format!("{name}.tmp"))?);
    let directory = open_directory(path)?;
    // A crash may have left one.
    match call::unlink_at(&directory, &from) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    replace(&directory, &from, &to, bytes)
}

/// As [`write_file_durably`], beside others that replace the same file, in this process or another: the file holds all
/// bytes of the one that came last. Uses a name of its own, `<name>.<process>-<number>.tmp`, meanwhile.
///
/// # Errors
/// As [`write_file_durably`].
pub fn write_shared_file_durably(path: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let (to, directory) = (call::plain_name(name)?, open_directory(path)?);
    let mut outcome = Ok(());
    for _ in 0..NAMES_TRIED {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let from = call::plain_name(&format!("{name}.{}-{number}{TEMPORARY}", std::process::id()))?;
        outcome = replace(&directory, &from, &to, bytes);
        match &outcome {
            // A crash left it, or `remove_temporary_files` of another process took it for what a crash left.
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
            _ => break,
        }
    }
    outcome
}

/// Removes what crashes have left of files that were being replaced in the directory `path`.
///
/// # Errors
/// The kernel's.
pub fn remove_temporary_files(path: &Path) -> io::Result<()> {
    let directory = open_directory(path)?;
    for name in listing::names(&directory)?.iter().filter(|name| name.ends_with(TEMPORARY)) {
        match call::unlink_at(&directory, &call::plain_name(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Puts the bytes where `to` is, by the way of `from`, which does not exist.
fn replace(directory: &File, from: &CStr, to: &CStr, bytes: &[u8]) -> io::Result<()> {
    let file = call::open_at(directory, from, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)?;
    // The bytes are synced before the rename, so that the name never stands for less than all of them.
    if let Err(error) = fill(file, bytes).and_then(|()| call::rename_at(directory, from, to, 0)) {
        let _ = call::unlink_at(directory, from);
        return Err(error);
    }
    sync_directory(directory)
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(call::kernel_error)
}

/// Removes the file `name` in the directory `path`, for good when it returns.
///
/// # Errors
/// `NotFound` where there is none; else the kernel's.
pub fn remove_file_durably(path: &Path, name: &str) -> io::Result<()> {
    let directory = open_directory(path)?;
    call::unlink_at(&directory, &call::plain_name(name)?)?;
    sync_directory(&directory)
}

/// Reads the file `name` in the directory `path`.
///
/// # Errors
/// `InvalidData` if it has more than `max` bytes; else the kernel's.
pub fn read_small_file(path: &Path, name: &str, max: usize) -> io::Result<Vec<u8>> {
    let file = call::open_at(&open_directory(path)?, &call::plain_name(name)?, libc::O_RDONLY)?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the file has more than {max} bytes")));
    }
    Ok(bytes)
}
