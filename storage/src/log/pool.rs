//! The memory of blocks: allocated up to a budget, then taken back from the oldest end of the tail.

use std::sync::Arc;

use super::LogView;
use crate::device::{BlockMemory, BlockWriter};
use crate::format::Sequence;

/// What is asked of the kernel.
const TAKE_MEMORY: &str = "take memory";

/// Whether the kernel refuses memory, and since when.
#[derive(Debug, Default)]
pub(super) struct Shortage(Option<u64>);

impl Shortage {
    /// Fresh memory. That there is none is told by the view until there is some.
    pub(super) fn take_memory(&mut self, view: &LogView, now: u64) -> Option<BlockWriter> {
        match BlockWriter::new() {
            Ok(writer) => {
                if self.0.take().is_some() {
                    view.end_trouble(TAKE_MEMORY);
                }
                Some(writer)
            }
            Err(error) => {
                self.0.get_or_insert(now);
                view.add_trouble(TAKE_MEMORY, "a block".into(), &error, true);
                None
            }
        }
    }

    /// When it began, if it is not over.
    pub(super) fn since(&self) -> Option<u64> {
        self.0
    }
}

/// Memory that one log fills blocks in.
#[derive(Debug)]
pub(super) struct BlockPool {
    free: Vec<BlockWriter>,
    allocated: usize,
    budget: usize,
    shortage: Shortage,
}

impl BlockPool {
    pub(super) fn new(budget: usize) -> Self {
        Self { free: Vec::new(), allocated: 0, budget, shortage: Shortage::default() }
    }

    /// Allocates the whole budget, or what of it the kernel has, for a device that wants to know its memory before the first
    /// write.
    pub(super) fn allocate_all(&mut self) -> Vec<Arc<BlockMemory>> {
        while self.allocated < self.budget
            && let Ok(writer) = BlockWriter::new()
        {
            self.free.push(writer);
            self.allocated += 1;
        }
        self.free.iter().map(|writer| Arc::clone(writer.memory())).collect()
    }

    /// Since when the kernel has refused memory, if it does.
    pub(super) fn short_since(&self) -> Option<u64> {
        self.shortage.since()
    }

    /// Fresh memory within the budget, if the kernel has it.
    fn allocate(&mut self, view: &LogView, now: u64) -> Option<BlockWriter> {
        if self.allocated == self.budget {
            return None;
        }
        let writer = self.shortage.take_memory(view, now)?;
        self.allocated += 1;
        Some(writer)
    }

    /// Memory for a new block. Without fresh memory, the oldest block of the tail gives its own if all of it is below
    /// `durable`; returns then also the sequence at which the tail now starts. `None` if there is nothing to take at this
    /// moment: the device is behind, a reader has the tail locked, or the kernel has no memory in the place of what readers
    /// hold. The next turn tries again.
    pub(super) fn acquire(
        &mut self,
        view: &LogView,
        durable: Sequence,
        now: u64,
    ) -> Option<(BlockWriter, Option<Sequence>)> {
        if let Some(writer) = self.free.pop().or_else(|| self.allocate(view, now)) {
            return Some((writer, None));
        }
        let mut tail = view.try_tail()?;
        let start = tail.get(1).map(|block| block.first_sequence()).filter(|&start| start <= durable)?;
        // A reader that still holds the block keeps it for as long as it reads; memory is then lent beyond the budget,
        // by at most what readers hold.
        match BlockWriter::reuse(tail.pop_front()?) {
            Ok(writer) => Some((writer, Some(start))),
            Err(lent) => match self.shortage.take_memory(view, now) {
                Some(writer) => Some((writer, Some(start))),
                None => {
                    tail.push_front(lent);
                    None
                }
            },
        }
    }
}
