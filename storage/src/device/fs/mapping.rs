//! A segment file mapped for reading.
//!
//! A load from a mapped page that the kernel cannot bring in raises SIGBUS and ends the process, so pages are first
//! brought in by a call that returns an error instead: `MADV_POPULATE_READ`, or, on kernels before 5.14, a copy of one
//! byte of each page by the kernel.

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Advice, Mmap};

use super::call;
use crate::device::Mapping;
use crate::format::PAGE_BYTES;

/// Addresses that the kernel takes in one call (`IOV_MAX`).
const TOUCHES_MAX: usize = 1024;

/// A mapping of a whole file, as long as the file was when it was mapped.
#[derive(Debug)]
pub(super) struct FsMapping {
    map: Mmap,
}

impl FsMapping {
    #[allow(unsafe_code)]
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: only sealed segments are read through mappings, and of those only what the file's own footer names
        // when it is mapped: its blocks, which no thread writes any more, and an index, which is written before the
        // footer that names it. Tidying writes an ending anew, and so changes the length of a mapped file, only where
        // the footer named no index: after the last byte that is read. A page that is lost all the same (a shortened
        // file, a failed disk) is refused by `populate`, which comes before each use. What is not excluded is SIGBUS
        // where the kernel drops a populated page while a reader holds its block and the disk then fails, or another
        // program shortens the file; docs/DURABILITY.md says so.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self { map })
    }

    /// Brings pages in without `MADV_POPULATE_READ`. Under memory pressure the kernel may drop them again, which it
    /// may do after `MADV_POPULATE_READ` as well: what is proven is that the range lies in the file and can be read.
    pub(super) fn touch(&self, range: Range<usize>) -> io::Result<()> {
        let first = range.start / PAGE_BYTES * PAGE_BYTES;
        let mut pages = self.map[first..range.end].chunks(PAGE_BYTES).map(<[u8]>::as_ptr).peekable();
        while pages.peek().is_some() {
            let addresses: Vec<_> = pages.by_ref().take(TOUCHES_MAX).collect();
            call::touch(&addresses)?;
        }
        Ok(())
    }
}

impl Mapping for FsMapping {
    fn bytes(&self) -> &[u8] {
        &self.map
    }

    fn populate(&self, range: Range<usize>) -> io::Result<()> {
        if range.start > range.end || range.end > self.map.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the range lies outside of the mapping"));
        }
        loop {
            match self.map.advise_range(Advice::PopulateRead, range.start, range.len()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return self.touch(range),
                populated => return populated,
            }
        }
    }
}
