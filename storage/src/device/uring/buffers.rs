//! The memory that is registered with a ring, so that a write saves the look-up of its pages.
//!
//! The kernel pins the pages of registered memory until the ring is gone, and finds pages for those that were never
//! touched. So memory gets a number at the beginning, and is registered when it is first written: a log without events
//! pins nothing. That costs one system call for each block of memory in the life of a ring.
//!
//! The memory itself is not held here, so that its owner can take it back into use: a number is looked up in the
//! memory, and goes with it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use io_uring::Submitter;

use crate::device::BlockMemory;
use crate::format::counted;

/// Bits of a registration that number the buffer; the others number the device.
const INDEX_BITS: u32 = u16::BITS;

/// The registered memory of one device.
#[derive(Debug)]
pub(super) struct BufferTable {
    device: u64,
    /// By number. Empty before memory is announced.
    places: Vec<Place>,
    /// The kernel's first refusal.
    refused: Option<io::Error>,
}

/// The state of a number in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The memory was not written yet.
    Vacant,
    Registered,
    Refused,
}

impl BufferTable {
    pub(super) fn new() -> Self {
        static DEVICES: AtomicU64 = AtomicU64::new(1);
        Self { device: DEVICES.fetch_add(1, Ordering::Relaxed), places: Vec::new(), refused: None }
    }

    /// Numbers the memory that is to be registered, the first time it is called.
    pub(super) fn announce(&mut self, submitter: &Submitter<'_>, memory: &[Arc<BlockMemory>]) {
        if memory.is_empty() || !self.places.is_empty() || self.refused.is_some() {
            return;
        }
        // A table without entries needs Linux 5.19.
        let made = u32::try_from(memory.len())
            .map_err(io::Error::other)
            .and_then(|count| submitter.register_buffers_sparse(count).map(|()| Place::Vacant));
        match made.or_else(|_| register_all(submitter, memory).map(|()| Place::Registered)) {
            Ok(place) => self.places = vec![place; memory.len()],
            Err(error) => self.refused = Some(error),
        }
        for (index, memory) in memory.iter().enumerate().take(self.places.len()) {
            memory.set_registration(self.device << INDEX_BITS | index as u64);
        }
    }

    /// The number under which this ring knows the memory, which is about to be written.
    pub(super) fn index(&mut self, submitter: &Submitter<'_>, memory: &BlockMemory) -> Option<u16> {
        let registration = memory.registration();
        if registration >> INDEX_BITS != self.device {
            return None;
        }
        let index = registration as u16;
        let place = self.places.get_mut(usize::from(index))?;
        if *place == Place::Vacant {
            *place = match register_one(submitter, index, memory) {
                Ok(()) => Place::Registered,
                Err(error) => {
                    self.refused.get_or_insert(error);
                    Place::Refused
                }
            };
        }
        (*place == Place::Registered).then_some(index)
    }

    pub(super) fn note(&self) -> String {
        match &self.refused {
            Some(error) => format!("memory could not be registered: {error}"),
            None if self.places.is_empty() => "no registered memory".to_owned(),
            None => format!("{} of memory, registered when first written", counted(self.places.len() as u64, "block")),
        }
    }
}

fn vector(memory: &BlockMemory) -> libc::iovec {
    libc::iovec { iov_base: memory.address().cast_mut().cast(), iov_len: BlockMemory::BLOCK_BYTES }
}

#[allow(unsafe_code)]
fn register_one(submitter: &Submitter<'_>, index: u16, memory: &BlockMemory) -> io::Result<()> {
    // SAFETY: the range is allocated now, and the kernel pins its pages. Once memory is freed its number is gone too,
    // so that no write names pages which another allocation has taken over.
    unsafe { submitter.register_buffers_update(u32::from(index), &[vector(memory)], None) }
}

#[allow(unsafe_code)]
fn register_all(submitter: &Submitter<'_>, memory: &[Arc<BlockMemory>]) -> io::Result<()> {
    let vectors: Vec<_> = memory.iter().map(|memory| vector(memory)).collect();
    // SAFETY: as in `register_one`.
    unsafe { submitter.register_buffers(&vectors) }
}
