//! Memory for what is read from files.

use crate::format::PAGE_BYTES;

/// Bytes that are read from a file, at the beginning of a page of memory: records in them are aligned.
#[derive(Debug)]
pub(crate) struct AlignedBytes {
    /// Over-allocated; the bytes start at `start`.
    buffer: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBytes {
    const ALIGN: usize = PAGE_BYTES;

    pub(crate) fn zeroed(length: usize) -> Self {
        let buffer = vec![0; length + Self::ALIGN];
        let start = buffer.as_ptr().align_offset(Self::ALIGN).min(Self::ALIGN);
        Self { buffer, start, length }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.length]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.length]
    }

    /// Leaves out what follows the first `length` bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}
