//! The memory of blocks: allocated up to a budget, then taken back from the oldest end of the tail.

use std::sync::Arc;

use super::LogView;
use crate::device::{BlockMemory, BlockWriter};
use crate::format::Sequence;

/// Memory that one log fills blocks in.
#[derive(Debug)]
pub(super) struct BlockPool {
    free: Vec<BlockWriter>,
    allocated: usize,
    budget: usize,
}

impl BlockPool {
    pub(super) fn new(budget: usize) -> Self {
        Self { free: Vec::new(), allocated: 0, budget }
    }

    /// Allocates the whole budget, for a device that wants to know its memory before the first write.
    pub(super) fn allocate_all(&mut self) -> Vec<Arc<BlockMemory>> {
        while self.allocated < self.budget {
            self.free.push(BlockWriter::new());
            self.allocated += 1;
        }
        self.free.iter().map(|writer| Arc::clone(writer.memory())).collect()
    }

    /// Memory for a new block. Beyond the budget, the oldest block of the tail gives its own if all of it is below
    /// `durable`; returns then also the sequence at which the tail now starts. `None` if there is nothing to take: the
    /// device is behind, or a reader has the tail locked at this moment.
    pub(super) fn acquire(&mut self, view: &LogView, durable: Sequence) -> Option<(BlockWriter, Option<Sequence>)> {
        if let Some(writer) = self.free.pop() {
            return Some((writer, None));
        }
        if self.allocated < self.budget {
            self.allocated += 1;
            return Some((BlockWriter::new(), None));
        }
        let mut tail = view.try_tail()?;
        let start = tail.get(1).map(|block| block.first_sequence()).filter(|&start| start <= durable)?;
        let oldest = tail.pop_front()?;
        drop(tail);
        // A reader that still holds the block keeps it for as long as it reads; memory is then lent beyond the budget,
        // by at most what readers hold.
        let writer = BlockWriter::reuse(oldest).unwrap_or_default();
        Some((writer, Some(start)))
    }
}
