//! The bytes of one simulated file. Pages that were never written are zero and take no memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::format::PAGE_BYTES;

const PAGE: u64 = PAGE_BYTES as u64;

/// A file on the simulated disk.
#[derive(Clone, Default)]
pub(super) struct SparseFile {
    length: u64,
    /// Pages from the start whose space is taken, written or not.
    reserved: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
    unreadable: BTreeSet<u64>,
}

impl SparseFile {
    /// A file of zeros with its space allocated.
    pub(super) fn zeroed(length: u64) -> Self {
        Self { length, reserved: length.div_ceil(PAGE), ..Self::default() }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Space it takes on the disk, in bytes.
    pub(super) fn allocated(&self) -> u64 {
        (self.reserved + self.pages.range(self.reserved..).count() as u64) * PAGE
    }

    /// Space, in bytes, that a write here would have to allocate.
    pub(super) fn missing(&self, offset: u64, length: usize) -> u64 {
        let Range { start, end } = pages_of(offset, length);
        let start = start.max(self.reserved).min(end);
        (end - start - self.pages.range(start..end).count() as u64) * PAGE
    }

    /// Fills the buffer up to the end of the file; returns how many bytes that were.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let length = (buffer.len() as u64).min(self.length.saturating_sub(offset)) as usize;
        for (page, within, part) in parts(offset, length) {
            match self.pages.get(&page) {
                Some(bytes) => buffer[part].copy_from_slice(&bytes[within]),
                None => buffer[part].fill(0),
            }
        }
        length
    }

    /// The pages of the file that hold anything, put into zeroed memory of the file's length.
    pub(super) fn copy_to(&self, zeroed: &mut [u8]) {
        for (page, bytes) in &self.pages {
            let start = (page * PAGE) as usize;
            let end = (start + PAGE_BYTES).min(zeroed.len());
            zeroed[start..end].copy_from_slice(&bytes[..end - start]);
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (page, within, part) in parts(offset, bytes.len()) {
            let target = self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE_BYTES]));
            target[within].copy_from_slice(&bytes[part]);
        }
        self.length = self.length.max(offset + bytes.len() as u64);
    }

    /// Cuts the file and frees the space, or makes it longer without any.
    pub(super) fn truncate(&mut self, length: u64) {
        if length < self.length {
            let kept = length.div_ceil(PAGE);
            drop(self.pages.split_off(&kept));
            self.unreadable.split_off(&kept);
            self.reserved = self.reserved.min(kept);
            // Bytes after the end of a file read as zeros when the file grows again.
            if let Some(last) = self.pages.get_mut(&(length / PAGE)) {
                last[(length % PAGE) as usize..].fill(0);
            }
        }
        self.length = length;
    }

    pub(super) fn set_unreadable(&mut self, offset: u64) {
        self.unreadable.insert(offset / PAGE);
    }

    pub(super) fn is_readable(&self, offset: u64, length: usize) -> bool {
        self.unreadable.range(pages_of(offset, length)).next().is_none()
    }
}

fn pages_of(offset: u64, length: usize) -> Range<u64> {
    offset / PAGE..offset.saturating_add(length as u64).div_ceil(PAGE)
}

/// Cuts a range of a file at its pages: the page, the range in it, and the range of the caller's bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE) as usize;
        let count = (PAGE_BYTES - within).min(length - done);
        let part = done..done + count;
        done += count;
        (count > 0).then_some((at / PAGE, within..within + count, part))
    })
}
