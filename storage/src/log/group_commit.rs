//! Group commit: the open block, and what makes it a commit.
//!
//! 1. Only the open block takes records. It is closed when it is full, or when it is due.
//! 2. It is due when its oldest event has waited for its time, when it has as many events as the batch is to have, or
//!    when a caller waits for durability and nothing is on its way.
//! 3. It is not due while it would have to wait for its turn in the pipeline: until then it goes on filling.
//! 4. At level `Memory` it is never due, and closed when it is full.

use super::open_block::OpenBlock;
use super::pipeline::Pipeline;
use super::{BatchTarget, LogOptions};
use crate::device::BlockMemory;
use crate::format::Sequence;

/// The reason for which the open block is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Its size or its time, none but these.
    None,
    /// A caller waits for durability: it is committed at once, unless a block is on its way.
    Awaited,
}

/// The open block, and the limits at which it is closed.
#[derive(Debug)]
pub(super) struct GroupCommit {
    open: Option<OpenBlock>,
    batch: BatchTarget,
    block_bytes: usize,
}

impl GroupCommit {
    pub(super) fn new(options: &LogOptions) -> Self {
        Self {
            open: None,
            batch: BatchTarget::new(options.batch),
            block_bytes: options.block_bytes.min(BlockMemory::BLOCK_BYTES),
        }
    }

    /// The open block, if there is one.
    pub(super) fn open(&self) -> Option<&OpenBlock> {
        self.open.as_ref()
    }

    /// The open block, to append to.
    pub(super) fn open_mut(&mut self) -> Option<&mut OpenBlock> {
        self.open.as_mut()
    }

    /// Makes the block the open one. There must be none.
    pub(super) fn begin(&mut self, block: OpenBlock) {
        debug_assert!(self.open.is_none(), "a second open block");
        self.open = Some(block);
    }

    /// Closes the open block, before the event `next`. It takes no more.
    pub(super) fn close(&mut self, now: u64, next: Sequence) -> Option<OpenBlock> {
        let open = self.open.take()?;
        self.batch.note(now, next.get());
        Some(open)
    }

    /// Bytes that the open block may take.
    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Most events that the open block is to hold: the target, or where it would have to wait for its turn all that it
    /// may. In memory, where none is committed, what fits.
    pub(super) fn events_max(&self, pipeline: Option<&Pipeline>) -> usize {
        match pipeline {
            Some(pipeline) if pipeline.has_room() => self.batch.events(),
            Some(_) => self.batch.options().events_max,
            None => usize::MAX,
        }
    }

    /// Returns whether the open block is to be closed now.
    pub(super) fn is_due(&self, pipeline: Option<&Pipeline>, now: u64, urgency: Urgency) -> bool {
        let (Some(open), Some(pipeline)) = (&self.open, pipeline) else { return false };
        let is_over = now.saturating_sub(open.opened_at) >= self.batch.options().delay_ns;
        (urgency == Urgency::Awaited && pipeline.is_idle())
            || (pipeline.has_room() && (is_over || open.writer.count() >= self.batch.events()))
    }

    /// The time at which the oldest event of the open block has waited for its time. `None` while the block would have
    /// to wait for its turn: the completion that gives it its turn ends a sleep.
    pub(super) fn due_at(&self, pipeline: Option<&Pipeline>) -> Option<u64> {
        pipeline.filter(|pipeline| pipeline.has_room())?;
        self.open.as_ref().map(|open| open.opened_at.saturating_add(self.batch.options().delay_ns))
    }
}
