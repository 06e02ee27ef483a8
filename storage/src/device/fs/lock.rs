//! The lock that keeps a second writer out of a directory.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::call;
use super::directory::open_directory;

const RETRY: Duration = Duration::from_millis(10);

/// A lock on a directory, held until it is dropped or the process ends.
///
/// It is an `flock` of an open file, and released by closing it alone: a forked child that drops its copy leaves the
/// parent's lock in place.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Locks the file `name` in the directory `path`, which is created if need be and never removed. Tries again every
/// 10 ms for as long as `patience`.
///
/// # Errors
/// `WouldBlock` if somebody else holds the lock; else the kernel's.
pub fn lock_exclusive(path: &Path, name: &str, patience: Duration) -> io::Result<DirectoryLock> {
    let name = call::plain_name(name)?;
    let file = call::open_at(&open_directory(path, 0)?, &name, libc::O_RDWR | libc::O_CREAT)?;
    let mut waited = Duration::ZERO;
    loop {
        match call::try_lock(&file) {
            Ok(()) => return Ok(DirectoryLock { _file: file }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && waited < patience => {}
            Err(error) => return Err(error),
        }
        thread::sleep(RETRY);
        waited += RETRY;
    }
}
