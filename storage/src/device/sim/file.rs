//! A file on the simulated disk.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::SimDisk;
use super::change::Change;
use super::image::{FileId, check_whole_pages, errno};
use super::mapping::SimMapping;
use super::sparse::SparseFile;
use crate::device::{Access, Mapping, SegmentFile, SyncFailed};

/// A [`SegmentFile`] of a [`SimDisk`]. Shows as its present path.
///
/// Sees what was confirmed, nothing of what is in flight. Like a descriptor it stays with its file when that is renamed
/// or removed.
pub struct SimFile {
    disk: SimDisk,
    directory: Arc<str>,
    id: FileId,
    access: Access,
}

impl SimFile {
    pub(super) fn new(disk: SimDisk, directory: Arc<str>, id: FileId, access: Access) -> Self {
        disk.count_of_open_files().add();
        Self { disk, directory, id, access }
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    pub(super) fn is_writable_on(&self, disk: &SimDisk) -> bool {
        self.access == Access::Write && self.disk.is_same(disk)
    }

    fn look<T>(&self, look: impl FnOnce(&SparseFile) -> io::Result<T>) -> io::Result<T> {
        self.disk.lock().look(self.disk.boot(), |image, _| look(image.file(self.id)?))
    }

    fn change(&self, change: Change<'_>) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(errno(libc::EBADF));
        }
        self.disk.lock().change(self.disk.boot(), change).map(drop)
    }
}

impl SegmentFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        self.look(|file| Ok(file.length()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.look(|file| {
            check_whole_pages(offset, buffer.len())?;
            if file.is_readable(offset, buffer.len()) { Ok(file.read(buffer, offset)) } else { Err(errno(libc::EIO)) }
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write { file: self.id, bytes, offset })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change(Change::Truncate { file: self.id, length })
    }

    /// There is no cache to distrust: only fails.
    fn distrust_cache(&self) -> io::Result<()> {
        self.look(|_| Ok(())).map_err(|error| match error.raw_os_error() {
            Some(_) => SyncFailed::of(error),
            None => error,
        })
    }

    /// Maps the file as it is now; what is written later does not show.
    fn map(&self) -> io::Result<Box<dyn Mapping>> {
        self.look(|file| Ok(Box::new(SimMapping::new(self.disk.clone(), self.id, file)) as Box<dyn Mapping>))
    }

    fn descriptor(&self) -> Option<RawFd> {
        None
    }

    fn simulated(&self) -> Option<&SimFile> {
        Some(self)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.count_of_open_files().remove();
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Also shown by a failed assertion, which may hold the machine.
        let machine = self.disk.try_lock();
        match machine.as_ref().and_then(|machine| machine.image.name_of(&self.directory, self.id)) {
            Some(name) => write!(f, "sim:{}/{name}", self.directory),
            None => write!(f, "sim:{}, file {}", self.directory, self.id),
        }
    }
}
