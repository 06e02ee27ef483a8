//! The contents of the simulated disk: directories, files, and how much fits. Knows nothing of faults or of power.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::sparse::SparseFile;
use crate::device::Space;
use crate::format::PAGE_BYTES;

/// Largest file, as for the kernel.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// Names a file for as long as a boot has it open, whatever its name.
pub(super) type FileId = u64;

/// The durable state of a disk.
pub(super) struct Image {
    directories: BTreeMap<String, BTreeMap<String, FileId>>,
    /// Also those that were removed in this boot: they may still be open.
    files: BTreeMap<FileId, SparseFile>,
    files_made: u64,
    capacity: u64,
}

impl Image {
    /// An empty disk without a limit.
    pub(super) fn new() -> Self {
        Self { directories: BTreeMap::new(), files: BTreeMap::new(), files_made: 0, capacity: u64::MAX }
    }

    pub(super) fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    /// Makes a directory if it is not there.
    pub(super) fn add_directory(&mut self, name: &str) {
        if !self.directories.contains_key(name) {
            self.directories.insert(name.to_owned(), BTreeMap::new());
        }
    }

    /// File names in order.
    pub(super) fn names(&self, directory: &str) -> io::Result<Vec<String>> {
        Ok(self.entries(directory)?.keys().cloned().collect())
    }

    pub(super) fn find(&self, directory: &str, name: &str) -> io::Result<FileId> {
        self.entries(directory)?.get(name).copied().ok_or_else(|| errno(libc::ENOENT))
    }

    /// The present name of a file.
    pub(super) fn name_of(&self, directory: &str, file: FileId) -> Option<&str> {
        let (name, _) = self.directories.get(directory)?.iter().find(|(_, id)| **id == file)?;
        Some(name)
    }

    pub(super) fn file(&self, file: FileId) -> io::Result<&SparseFile> {
        self.files.get(&file).ok_or_else(|| errno(libc::ESTALE))
    }

    pub(super) fn file_mut(&mut self, file: FileId) -> io::Result<&mut SparseFile> {
        self.files.get_mut(&file).ok_or_else(|| errno(libc::ESTALE))
    }

    /// Creates a file of zeros with its space allocated.
    pub(super) fn create(&mut self, directory: &str, name: &str, length: u64) -> io::Result<FileId> {
        self.check_absent(directory, name)?;
        let file = SparseFile::zeroed(length);
        self.check_space(file.allocated())?;
        self.insert(directory, name, file)
    }

    /// Puts a file under a name, whether there is space or not.
    pub(super) fn insert(&mut self, directory: &str, name: &str, file: SparseFile) -> io::Result<FileId> {
        let id = self.files_made;
        self.entries_mut(directory)?.insert(name.to_owned(), id);
        self.files.insert(id, file);
        self.files_made += 1;
        Ok(id)
    }

    pub(super) fn rename(&mut self, directory: &str, from: &str, to: &str) -> io::Result<()> {
        self.check_absent(directory, to)?;
        self.replace(directory, from, to)
    }

    /// As a rename; what has the name already loses it.
    pub(super) fn replace(&mut self, directory: &str, from: &str, to: &str) -> io::Result<()> {
        let entries = self.entries_mut(directory)?;
        let id = entries.remove(from).ok_or_else(|| errno(libc::ENOENT))?;
        entries.insert(to.to_owned(), id);
        Ok(())
    }

    pub(super) fn link(&mut self, directory: &str, from: &str, to: &str) -> io::Result<()> {
        self.check_absent(directory, to)?;
        let entries = self.entries_mut(directory)?;
        let id = *entries.get(from).ok_or_else(|| errno(libc::ENOENT))?;
        entries.insert(to.to_owned(), id);
        Ok(())
    }

    /// Takes the name away; the space is free at once, the bytes stay for those who have the file open.
    pub(super) fn remove(&mut self, directory: &str, name: &str) -> io::Result<()> {
        self.entries_mut(directory)?.remove(name).map(drop).ok_or_else(|| errno(libc::ENOENT))
    }

    pub(super) fn truncate(&mut self, file: FileId, length: u64) -> io::Result<()> {
        self.file_mut(file)?.truncate(length);
        Ok(())
    }

    /// Writes all of the bytes, or none where there is no space.
    pub(super) fn write(&mut self, file: FileId, bytes: &[u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > FILE_BYTES_MAX) {
            return Err(errno(libc::EFBIG));
        }
        self.check_space(self.file(file)?.missing(offset, bytes.len()))?;
        self.file_mut(file)?.write(bytes, offset);
        Ok(())
    }

    /// Forgets the files that have no name any more.
    pub(super) fn forget_removed(&mut self) {
        let named: BTreeSet<_> = self.directories.values().flat_map(BTreeMap::values).copied().collect();
        self.files.retain(|id, _| named.contains(id));
    }

    fn entries(&self, directory: &str) -> io::Result<&BTreeMap<String, FileId>> {
        self.directories.get(directory).ok_or_else(|| errno(libc::ENOENT))
    }

    fn entries_mut(&mut self, directory: &str) -> io::Result<&mut BTreeMap<String, FileId>> {
        self.directories.get_mut(directory).ok_or_else(|| errno(libc::ENOENT))
    }

    fn check_absent(&self, directory: &str, name: &str) -> io::Result<()> {
        if self.entries(directory)?.contains_key(name) { Err(errno(libc::EEXIST)) } else { Ok(()) }
    }

    fn check_space(&self, bytes: u64) -> io::Result<()> {
        // Summing up is for the few simulations with a limit.
        if bytes > 0 && self.capacity < u64::MAX && self.used().saturating_add(bytes) > self.capacity {
            return Err(errno(libc::ENOSPC));
        }
        Ok(())
    }

    pub(super) fn space(&self) -> Space {
        match self.capacity {
            u64::MAX => Space::UNKNOWN,
            total => Space { free: total.saturating_sub(self.used()), total },
        }
    }

    fn used(&self) -> u64 {
        let named = self.directories.values().flat_map(BTreeMap::values);
        named.filter_map(|id| self.files.get(id)).map(SparseFile::allocated).fold(0, u64::saturating_add)
    }
}

pub(super) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// Refuses what the kernel refuses of direct I/O, and what the traits forbid their callers.
pub(super) fn check_whole_pages(offset: u64, length: usize) -> io::Result<()> {
    if offset.is_multiple_of(PAGE_BYTES as u64) && length.is_multiple_of(PAGE_BYTES) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not whole pages"))
    }
}
