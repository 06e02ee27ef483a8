//! Blocks of a log's tail in the hands of readers: a bounded number, which the log knows.
//!
//! A shard fills the same blocks over and over, and cannot fill one that a reader holds. So half of its blocks at most
//! are lent at a time, and a shard keeps [`KEPT_BLOCKS`] in any case: one that it fills, and others on their way to the
//! device. A reader to whom a block is not lent copies what it reads of it. So a slow or forgotten reader takes no
//! memory beyond the log's own, and never has a shard wait for it.
//!
//! However many readers hold a block, it is lent once. Costs a compare-and-swap for each block and reader.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::device::BlockMemory;

/// Blocks that are not lent, of however few there are.
const KEPT_BLOCKS: usize = 4;

/// Counts the blocks of one log that are lent, and limits them.
#[derive(Debug, Default)]
pub(crate) struct Lending {
    lent: AtomicUsize,
    lent_max: AtomicUsize,
}

impl Lending {
    /// Sets how many may be lent, of a log that has so many blocks.
    pub(crate) fn allow(&self, blocks: usize) {
        self.lent_max.store((blocks / 2).min(blocks.saturating_sub(KEPT_BLOCKS)), Ordering::Relaxed);
    }

    /// Blocks that are lent.
    pub(crate) fn lent(&self) -> usize {
        self.lent.load(Ordering::Relaxed)
    }

    /// Lends a block.
    ///
    /// # Errors
    /// The block, where as many are lent as may be, and this is none of them.
    pub(crate) fn lend(self: &Arc<Self>, memory: Arc<BlockMemory>) -> Result<LentBlock, Arc<BlockMemory>> {
        let holders = memory.holders();
        loop {
            if join(holders) {
                return Ok(LentBlock { memory, lending: Arc::clone(self) });
            }
            let lent_max = self.lent_max.load(Ordering::Relaxed);
            let take = |lent: usize| (lent < lent_max).then_some(lent + 1);
            if self.lent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                return Err(memory);
            }
            if holders.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(LentBlock { memory, lending: Arc::clone(self) });
            }
            // Another reader was first: it is lent once.
            self.lent.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Adds a holder to those there are. Returns whether there was one.
fn join(holders: &AtomicUsize) -> bool {
    let more = |holders: usize| (holders > 0).then_some(holders + 1);
    holders.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// A block that a reader holds. It is given back when the last holder drops it.
#[derive(Debug)]
pub struct LentBlock {
    memory: Arc<BlockMemory>,
    lending: Arc<Lending>,
}

impl Deref for LentBlock {
    type Target = BlockMemory;

    fn deref(&self) -> &BlockMemory {
        &self.memory
    }
}

impl Clone for LentBlock {
    fn clone(&self) -> Self {
        // It is held, by `self`.
        self.memory.holders().fetch_add(1, Ordering::Relaxed);
        Self { memory: Arc::clone(&self.memory), lending: Arc::clone(&self.lending) }
    }
}

impl Drop for LentBlock {
    fn drop(&mut self) {
        // The memory itself is given up after this, so a shard that finds it unshared finds no holder.
        if self.memory.holders().fetch_sub(1, Ordering::Relaxed) == 1 {
            self.lending.lent.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::BlockWriter;

    fn lending(blocks: usize) -> Arc<Lending> {
        let lending = Arc::new(Lending::default());
        lending.allow(blocks);
        lending
    }

    fn block() -> BlockWriter {
        BlockWriter::new().expect("memory")
    }

    #[test]
    fn half_of_the_blocks_are_lent_and_four_are_kept() {
        let blocks: Vec<_> = (0..64).map(|_| block()).collect();
        for (blocks_max, lent_max) in [(1, 0), (4, 0), (5, 1), (7, 3), (8, 4), (16, 8), (64, 32)] {
            let lending = lending(blocks_max);
            let lent: Vec<_> = blocks.iter().flat_map(|block| lending.lend(Arc::clone(block.memory()))).collect();
            assert_eq!((lent.len(), lending.lent()), (lent_max, lent_max), "of {blocks_max}");
            drop(lent);
            assert_eq!(lending.lent(), 0, "of {blocks_max}");
        }
    }

    #[test]
    fn a_block_that_many_hold_is_lent_once() {
        let (lending, block, other) = (lending(5), block(), block());
        let first = lending.lend(Arc::clone(block.memory())).expect("lent");
        let second = lending.lend(Arc::clone(block.memory())).expect("lent");
        let third = second.clone();
        assert!(lending.lend(Arc::clone(other.memory())).is_err());
        drop((first, second));
        assert_eq!(lending.lent(), 1);
        drop(third);
        assert_eq!(lending.lent(), 0);
        assert!(lending.lend(Arc::clone(other.memory())).is_ok());
    }

    #[test]
    fn threads_that_lend_and_give_back_keep_the_count() {
        let (lending, blocks) = (lending(6), [block(), block(), block()]);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (lending, blocks) = (&lending, &blocks);
                scope.spawn(move || {
                    for round in 0..20_000 {
                        let lent = lending.lend(Arc::clone(blocks[(round + thread) % 3].memory()));
                        assert!(lending.lent() <= 2);
                        drop(lent.map(|lent| (lent.clone(), lent)));
                    }
                });
            }
        });
        assert_eq!(lending.lent(), 0);
    }
}
