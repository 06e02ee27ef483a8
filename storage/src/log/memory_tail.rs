//! The tail of a log: its most recent blocks, in memory, in order.
//!
//! The shard's thread lists blocks and takes them out. It never waits for a reader: where one has the tail locked, the
//! thread tries again in its next turn.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use super::lending::{Lending, LentBlock};
use crate::device::BlockMemory;
use crate::format::Sequence;
use crate::lock::lock;

/// Recent blocks, ascending, and how many of them readers may hold.
#[derive(Debug, Default)]
pub(crate) struct MemoryTail {
    blocks: Mutex<VecDeque<Arc<BlockMemory>>>,
    lending: Arc<Lending>,
}

impl MemoryTail {
    /// Sets how many blocks may be lent, of a log that has so many.
    pub(super) fn allow(&self, blocks: usize) {
        self.lending.allow(blocks);
    }

    /// Blocks that are lent.
    pub(super) fn lent(&self) -> usize {
        self.lending.lent()
    }

    /// Lends a block of the tail.
    ///
    /// # Errors
    /// The block, where too many are lent.
    pub(super) fn lend(&self, block: Arc<BlockMemory>) -> Result<LentBlock, Arc<BlockMemory>> {
        self.lending.lend(block)
    }

    pub(super) fn is_empty(&self) -> bool {
        lock(&self.blocks).is_empty()
    }

    /// The block that holds `sequence`, if one does.
    pub(crate) fn block(&self, sequence: Sequence) -> Option<Arc<BlockMemory>> {
        let blocks = lock(&self.blocks);
        let after = blocks.partition_point(|block| block.first_sequence() <= sequence);
        blocks.get(after.checked_sub(1)?).cloned()
    }

    /// Locks the blocks unless a reader has them at this moment.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, VecDeque<Arc<BlockMemory>>>> {
        match self.blocks.try_lock() {
            Ok(blocks) => Some(blocks),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
