//! The memory of blocks: allocated up to a budget, then taken back from the oldest end of the tail.

use std::sync::Arc;

use super::LogView;
use super::outage::Outage;
use super::trouble::Answer;
use crate::device::{BlockMemory, BlockWriter};
use crate::format::Sequence;

/// Blocks that are left to be filled and written, of so many one, and of however few.
const SPARED_PART: usize = 4;
const SPARED_LEAST: usize = 3;

/// The request to the kernel, in words for messages.
pub(super) const TAKE_MEMORY: &str = "take memory";

/// The kernel's refusals of memory, if the last request was refused.
#[derive(Debug, Default)]
pub(super) struct Shortage(Option<Outage>);

impl Shortage {
    /// Fresh memory. The view reports that there is none, until there is some.
    pub(super) fn take_memory(&mut self, view: &LogView, now: u64) -> Option<BlockWriter> {
        match BlockWriter::new() {
            Ok(writer) => {
                self.end(view);
                Some(writer)
            }
            Err(error) => {
                self.0 = Some(Outage::add(self.0, now));
                view.health().add_trouble(TAKE_MEMORY, "a block".into(), &error, Answer::Retry);
                None
            }
        }
    }

    fn end(&mut self, view: &LogView) {
        if self.0.take().is_some() {
            view.health().end_trouble(TAKE_MEMORY);
        }
    }

    pub(super) fn outage(&self) -> Option<Outage> {
        self.0
    }
}

/// Memory that one log fills blocks in. Never more than its budget: what readers hold is a part of it.
#[derive(Debug)]
pub(super) struct BlockPool {
    free: Vec<BlockWriter>,
    /// Blocks that left the tail while readers held them.
    held: Vec<Arc<BlockMemory>>,
    allocated: usize,
    budget: usize,
    shortage: Shortage,
}

impl BlockPool {
    pub(super) fn new(budget: usize) -> Self {
        Self { free: Vec::new(), held: Vec::new(), allocated: 0, budget, shortage: Shortage::default() }
    }

    /// Allocates the whole budget, or what of it the kernel has, for a device that wants to know its memory before the
    /// first write.
    pub(super) fn allocate_all(&mut self) -> Vec<Arc<BlockMemory>> {
        while self.allocated < self.budget
            && let Ok(writer) = BlockWriter::new()
        {
            self.free.push(writer);
            self.allocated += 1;
        }
        self.free.iter().map(|writer| Arc::clone(writer.memory())).collect()
    }

    /// The kernel's refusals of memory, if the last request was refused.
    pub(super) fn outage(&self) -> Option<Outage> {
        self.shortage.outage()
    }

    /// Memory for a new block. Without fresh memory that of a block whose readers have given it back, or of the oldest
    /// in the tail that no reader holds, if all of it is below `durable`; the tail then starts after it, at the
    /// sequence that is returned, and blocks before it that readers hold are kept for when they give them back. `None`
    /// if there is nothing to take at this moment: the device lags, a reader has the tail locked or looks at these
    /// blocks, or the kernel has no memory and there is no block yet. The next turn tries again.
    pub(super) fn acquire(
        &mut self,
        view: &LogView,
        durable: Sequence,
        now: u64,
    ) -> Option<(BlockWriter, Option<Sequence>)> {
        let spare = self.free.pop().or_else(|| self.take_given_back()).or_else(|| self.allocate(view, now));
        if let Some(writer) = spare {
            self.shortage.end(view);
            return Some((writer, None));
        }
        let (writer, start) = self.take_oldest(view, durable)?;
        self.shortage.end(view);
        Some((writer, Some(start)))
    }

    /// The memory of the oldest block in the tail that no reader holds, if all of it is below `end`, and the sequence
    /// that the tail then starts with.
    fn take_oldest(&mut self, view: &LogView, end: Sequence) -> Option<(BlockWriter, Sequence)> {
        let mut tail = view.tail().try_lock()?;
        let starts = tail.iter().skip(1).map(|block| block.first_sequence()).take_while(|&start| start <= end);
        // No reader can take hold of a block that the tail alone has while the tail is locked. Memory of a large block
        // is not filled again: it is free once its last holder drops it.
        let is_spare = |block: &Arc<BlockMemory>| !block.is_large() && Arc::strong_count(block) == 1;
        let (at, start) = starts.enumerate().find(|&(at, _)| is_spare(&tail[at]))?;
        self.held.extend(tail.drain(..at).filter(|block| !block.is_large()));
        let oldest = tail.pop_front()?;
        drop(tail);
        Some((self.reuse(oldest)?, start))
    }

    /// Memory for a dense block of records from `first` on: what blocks that are being filled and written can spare, or
    /// that of the oldest block in the tail.
    pub(super) fn take_dense(&mut self, view: &LogView, first: Sequence) -> Option<BlockWriter> {
        let spared = (self.budget / SPARED_PART).max(SPARED_LEAST);
        if self.free.is_empty() {
            let given_back = self.take_given_back();
            self.free.extend(given_back);
        }
        // The block that is to be copied then gives its own memory back.
        if self.free.len() + (self.budget - self.allocated) < spared {
            return self.take_oldest(view, first).map(|(writer, _)| writer);
        }
        self.free.pop().or_else(|| {
            let writer = BlockWriter::new().ok()?;
            self.allocated += 1;
            Some(writer)
        })
    }

    /// Takes memory back that the tail does not list any more.
    pub(super) fn give_back(&mut self, memory: Arc<BlockMemory>) {
        let writer = self.reuse(memory);
        self.free.extend(writer);
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

    fn take_given_back(&mut self) -> Option<BlockWriter> {
        let at = self.held.iter().position(|block| Arc::strong_count(block) == 1)?;
        let block = self.held.swap_remove(at);
        self.reuse(block)
    }

    /// The block's memory; while a reader still holds it, the block is kept for later.
    fn reuse(&mut self, block: Arc<BlockMemory>) -> Option<BlockWriter> {
        if block.is_large() {
            return None;
        }
        BlockWriter::reuse(block).map_err(|shared| self.held.push(shared)).ok()
    }
}
