//! A file of the simulated disk, mapped.

use std::fmt;
use std::io;
use std::ops::Range;

use super::SimDisk;
use super::image::{FileId, errno};
use super::sparse::SparseFile;
use crate::device::Mapping;
use crate::format::PAGE_BYTES;

/// A [`Mapping`]: the bytes of a file when it was mapped, starting at a page of memory.
pub(super) struct SimMapping {
    disk: SimDisk,
    file: FileId,
    /// One page more than the file, so that a page starts within the first.
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl SimMapping {
    pub(super) fn new(disk: SimDisk, id: FileId, file: &SparseFile) -> Self {
        let length = file.length() as usize;
        let mut memory = vec![0; length + PAGE_BYTES];
        let start = memory.as_ptr().addr().wrapping_neg() % PAGE_BYTES;
        file.copy_to(&mut memory[start..start + length]);
        Self { disk, file: id, memory, start, length }
    }
}

impl Mapping for SimMapping {
    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    fn populate(&self, range: Range<usize>) -> io::Result<()> {
        self.disk.lock().look(self.disk.boot(), |image, _| {
            if range.start > range.end || range.end > self.length {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the range lies outside of the mapping"));
            }
            if image.file(self.file)?.is_readable(range.start as u64, range.len()) {
                Ok(())
            } else {
                Err(errno(libc::EIO))
            }
        })
    }
}

impl fmt::Debug for SimMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mapping of {} bytes", self.length)
    }
}
