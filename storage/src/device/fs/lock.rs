//! The lock that keeps a second writer out of a directory, and what becomes of it in a forked child.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::call;
use super::directory::open_directory;
use super::inherited::OwnDescriptor;

const RETRY: Duration = Duration::from_millis(10);

/// A lock on a directory, held until it is dropped or the process ends.
///
/// It is an `flock` of a file in it, and of the directory itself: a file can be removed and made again while it is
/// locked. A forked child shares these open files and would keep the locks when the parent is gone, so the child closes
/// their descriptors before `fork` returns there.
#[derive(Debug)]
pub struct DirectoryLock {
    file: FileLock,
    /// `None` on a file system that has no locks of directories.
    directory: Option<FileLock>,
}

impl DirectoryLock {
    /// The descriptors that hold the lock: while any copy of one is open, so is the lock.
    pub(in crate::device) fn descriptors(&self) -> impl Iterator<Item = RawFd> + use<> {
        let directory = self.directory.as_ref().map(|lock| lock.own.number());
        std::iter::once(self.file.own.number()).chain(directory)
    }
}

/// The lock of one open file.
#[derive(Debug)]
struct FileLock {
    own: OwnDescriptor,
}

/// Locks the file `name` in the directory `path`, which is created if need be and never removed. Tries again every
/// 10 ms for as long as `patience`.
///
/// # Errors
/// `WouldBlock` if another opener holds the lock; else the kernel's.
pub fn lock_exclusive(path: &Path, name: &str, patience: Duration) -> io::Result<DirectoryLock> {
    let name = call::plain_name(name)?;
    let directory = open_directory(path)?;
    let file = FileLock::open(|| call::open_at(&directory, &name, libc::O_RDWR | libc::O_CREAT))?;
    file.wait(patience)?;
    let own = FileLock::open(|| Ok(directory))?;
    let directory = match own.wait(patience) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
        outcome => outcome.is_ok().then_some(own),
    };
    Ok(DirectoryLock { file, directory })
}

impl FileLock {
    /// # Errors
    /// `WouldBlock` if another opener holds the lock for longer than `patience`; else the kernel's.
    fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            match call::try_lock(self.own.number()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && waited < patience => {}
                outcome => return outcome,
            }
            thread::sleep(RETRY);
            waited += RETRY;
        }
    }

    fn open(open: impl FnOnce() -> io::Result<File>) -> io::Result<Self> {
        let (own, file) = OwnDescriptor::open(open, AsRawFd::as_raw_fd)?;
        let _ = file.into_raw_fd();
        Ok(Self { own })
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        self.own.close();
    }
}
