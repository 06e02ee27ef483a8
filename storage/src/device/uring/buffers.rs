//! The memory that is registered with a ring, so that a write saves the look-up of its pages.
//!
//! The kernel pins the pages until the ring is gone. The memory itself is not held here, so that its owner can take it
//! back into use: a name is looked up in the memory, and goes with it.

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
    state: State,
}

#[derive(Debug)]
enum State {
    NotAsked,
    Registered(usize),
    Refused(io::Error),
}

impl BufferTable {
    pub(super) fn new() -> Self {
        static DEVICES: AtomicU64 = AtomicU64::new(1);
        Self { device: DEVICES.fetch_add(1, Ordering::Relaxed), state: State::NotAsked }
    }

    /// Registers memory, the first time it is called.
    #[allow(unsafe_code)]
    pub(super) fn register(&mut self, submitter: &Submitter<'_>, memory: &[Arc<BlockMemory>]) {
        if memory.is_empty() || !matches!(self.state, State::NotAsked) {
            return;
        }
        let vector = |memory: &Arc<BlockMemory>| libc::iovec {
            iov_base: memory.address().cast_mut().cast(),
            iov_len: BlockMemory::BLOCK_BYTES,
        };
        let vectors: Vec<_> = memory.iter().map(vector).collect();
        // SAFETY: the ranges are allocated now, and the kernel pins their pages. Once memory is freed its registration
        // is gone too, so that no write names pages which another allocation has taken over.
        self.state = match unsafe { submitter.register_buffers(&vectors) } {
            Ok(()) => State::Registered(vectors.len()),
            Err(error) => State::Refused(error),
        };
        if let State::Registered(_) = self.state {
            for (index, memory) in memory.iter().enumerate() {
                memory.set_registration(self.device << INDEX_BITS | index as u64);
            }
        }
    }

    /// The number under which this ring knows the memory.
    pub(super) fn index(&self, memory: &BlockMemory) -> Option<u16> {
        let registration = memory.registration();
        (registration >> INDEX_BITS == self.device).then_some(registration as u16)
    }

    pub(super) fn note(&self) -> String {
        match &self.state {
            State::NotAsked => "no registered memory".to_owned(),
            State::Registered(count) => format!("{} of registered memory", counted(*count as u64, "block")),
            State::Refused(error) => format!("memory could not be registered: {error}"),
        }
    }
}
