//! Memory for what is read from files. How much that is depends on the files, so the kernel may refuse it.

use std::io;

use crate::format::PAGE_BYTES;

/// So many bytes of zeros.
///
/// # Errors
/// `ENOMEM`, where the process's limit (`ulimit -v`) or the machine has no more.
pub(crate) fn zeroed(length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
    // By pages: a build without optimisation fills a vector byte by byte, some hundred times slower.
    while bytes.len() < length {
        bytes.extend_from_slice(&ZEROS[..ZEROS.len().min(length - bytes.len())]);
    }
    Ok(bytes)
}

static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

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

    /// # Errors
    /// As [`zeroed`].
    pub(crate) fn zeroed(length: usize) -> io::Result<Self> {
        let buffer = zeroed(length.saturating_add(Self::ALIGN))?;
        let start = buffer.as_ptr().align_offset(Self::ALIGN).min(Self::ALIGN);
        Ok(Self { buffer, start, length })
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
