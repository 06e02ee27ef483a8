//! Writes that the kernel knows of. Each keeps its memory and its file alive until it is taken out.

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};

use super::files::Target;
use crate::device::Write;
use crate::device::fs::Progress;

/// One write in flight.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) write: Write,
    pub(super) progress: Progress,
    pub(super) target: Target,
    /// Number of its registered memory.
    pub(super) buffer: Option<u16>,
}

impl InFlight {
    /// The request for what is still to be written.
    pub(super) fn entry(&self, index: usize) -> Entry {
        let done = self.progress.done();
        let (fd, flags) = match self.target {
            Target::Slot(slot) => (slot as i32, Flags::FIXED_FILE),
            Target::Descriptor(descriptor) => (descriptor, Flags::empty()),
        };
        let fd = types::Fd(fd);
        let start = self.write.memory.address().wrapping_add(done);
        let length = self.progress.rest() as u32;
        let offset = self.write.offset + done as u64;
        let entry = match self.buffer {
            Some(buffer) => opcode::WriteFixed::new(fd, start, length, buffer).offset(offset).build(),
            None => opcode::Write::new(fd, start, length).offset(offset).build(),
        };
        entry.flags(flags).user_data(index as u64)
    }
}

/// The writes in flight, found by the index that goes through the kernel.
#[derive(Debug)]
pub(super) struct Flight {
    slots: Vec<Option<InFlight>>,
    free: Vec<usize>,
}

impl Flight {
    pub(super) fn new(depth: usize) -> Self {
        Self { slots: (0..depth).map(|_| None).collect(), free: (0..depth).collect() }
    }

    pub(super) fn depth(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Takes a write in, and returns its request.
    ///
    /// # Panics
    /// If there is no place.
    pub(super) fn insert(&mut self, in_flight: InFlight) -> Entry {
        let Some(index) = self.free.pop() else { unreachable!("no more writes are submitted than the depth allows") };
        self.slots[index].insert(in_flight).entry(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut InFlight> {
        self.slots.get_mut(index)?.as_mut()
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<InFlight> {
        let in_flight = self.slots.get_mut(index)?.take()?;
        self.free.push(index);
        Some(in_flight)
    }
}
