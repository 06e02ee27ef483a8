//! Large blocks in the tail of a log, until others can do without them.

use std::collections::VecDeque;

use super::pool::BlockPool;
use super::{LogOptions, LogView};
use crate::device::BlockMemory;
use crate::format::Sequence;

/// The large blocks that the tail of a log lists. Their memory is not the pool's: what is on disk goes at once, and a
/// log in memory keeps as many bytes of them as it has of other blocks.
#[derive(Debug)]
pub(super) struct RecentLarge {
    /// First sequence and bytes of each, in order.
    blocks: VecDeque<(Sequence, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl RecentLarge {
    pub(super) fn new(options: &LogOptions) -> Self {
        Self { blocks: VecDeque::new(), bytes: 0, bytes_max: LogOptions::memory_bytes(options.memory.blocks) }
    }

    /// Notes a block that the tail will list.
    pub(super) fn add(&mut self, block: &BlockMemory) {
        self.bytes += block.block_bytes();
        self.blocks.push_back((block.first_sequence(), block.block_bytes()));
    }

    /// Takes out of the tail what is durable, and before `end`. Where a reader has the tail locked, the next turn does.
    pub(super) fn drop_durable(&mut self, view: &LogView, end: Sequence) {
        let end = end.min(view.durable());
        while let Some(&(first, bytes)) = self.blocks.front().filter(|(first, _)| *first < end) {
            let Some(mut tail) = view.tail().try_lock() else { return };
            let at = tail.partition_point(|block| block.first_sequence() < first);
            let is_it = tail.get(at).is_some_and(|block| block.first_sequence() == first);
            let dropped = if is_it { tail.remove(at) } else { None };
            drop(tail);
            // Out of the lock: to free so much memory takes a while.
            drop(dropped);
            self.forget_first(bytes);
        }
    }

    /// Takes the oldest blocks out of a tail that is all there is, whatever their size, until it holds few enough bytes
    /// of large ones beside the newest.
    pub(super) fn drop_oldest(&mut self, view: &LogView, pool: &mut BlockPool) {
        while self.bytes > self.bytes_max && self.blocks.len() > 1 {
            let Some(&(first, bytes)) = self.blocks.front() else { return };
            let Some(mut tail) = view.tail().try_lock() else { return };
            // Not listed yet.
            let after = tail.partition_point(|block| block.first_sequence() <= first);
            let Some(start) = tail.get(after).map(|block| block.first_sequence()) else { return };
            let dropped: Vec<_> = tail.drain(..after).collect();
            drop(tail);
            view.set_trimmed(start);
            dropped.into_iter().for_each(|block| pool.give_back(block));
            self.forget_first(bytes);
        }
    }

    fn forget_first(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.blocks.pop_front();
    }
}
