//! Recent events, densely: small blocks give their memory back as soon as they are durable.
//!
//! A block's memory is one of few, however little is in it. So the shard's thread copies the records of a durable block
//! that is at most half full to the end of a dense block, which takes its place in the view's tail. To readers a dense
//! block is a block that grows. The first that is dense is also the first whose memory is taken back.
//!
//! At the same time the block is listed in the index of its segment's sessions. Both take at most a hundredth of the
//! time that passes. Blocks that come faster and are not reached stay as they are, and are listed as unknown.

use std::sync::Arc;

use super::LogView;
use super::pool::BlockPool;
use crate::device::{BlockMemory, BlockWriter};
use crate::format::Sequence;

/// One part in so many of the shard's time is for this.
const TIME_PART: u64 = 100;

/// Most time that gathers, in nanoseconds: a block of any size is within it.
const SAVED_NS_MAX: u64 = 500_000;

/// The cost of listing a record, in nanoseconds, and the bytes that are copied in one.
const RECORD_NS: u64 = 20;
const BYTES_PER_NS: u64 = 10;

/// A fuller block stays as it is.
const COPIED_BYTES_MAX: usize = BlockMemory::BLOCK_BYTES / 2;

/// Blocks of one turn.
const BLOCKS_PER_TURN: usize = 16;

/// The copying and listing of the durable blocks of one log.
#[derive(Debug, Default)]
pub(super) struct Condenser {
    /// The dense block that the next records are copied to, which the tail lists.
    filling: Option<BlockWriter>,
    /// A block whose records are in `filling`, and which the tail lists still.
    copied: Option<Arc<BlockMemory>>,
    /// All before this was looked at.
    next: Sequence,
    /// Time that is left, in nanoseconds, and when it was counted last.
    saved_ns: u64,
    counted_at: u64,
    /// Lengths of the records that are copied; its memory serves from block to block.
    lengths: Vec<u16>,
}

impl Condenser {
    /// Of a log whose next event has this sequence.
    pub(super) fn new(next: Sequence) -> Self {
        Self { next, ..Self::default() }
    }

    /// All before this was looked at.
    pub(super) fn next(&self) -> Sequence {
        self.next
    }

    /// Looks at the blocks that have become durable. `open`: the first sequence of the block that is being filled.
    pub(super) fn turn(&mut self, view: &LogView, pool: &mut BlockPool, open: Sequence, now: u64) {
        if self.next >= view.durable() && self.copied.is_none() {
            return;
        }
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.counted_at, now));
        self.saved_ns = (self.saved_ns + elapsed / TIME_PART).min(SAVED_NS_MAX);
        for _ in 0..BLOCKS_PER_TURN {
            if !(self.unlist_copied(view, pool) && self.step(view, pool, open)) {
                break;
            }
        }
    }

    /// Copies and lists one block. Returns whether it did.
    fn step(&mut self, view: &LogView, pool: &mut BlockPool, open: Sequence) -> bool {
        let Some(block) = self.next_block(view, open) else { return false };
        let (first, (count, bytes)) = (block.first_sequence(), block.visible());
        let copied = if block.is_large() { 0 } else { bytes };
        let cost = count as u64 * RECORD_NS + copied as u64 / BYTES_PER_NS;
        if cost.min(SAVED_NS_MAX) > self.saved_ns {
            return false;
        }
        self.saved_ns = self.saved_ns.saturating_sub(cost);
        if let Some(segment) = view.segment_of(first) {
            segment.list_sessions(first, block.records(0, count, 0, bytes));
        }
        self.next = first.plus(count as u64);
        if block.is_large() || bytes > COPIED_BYTES_MAX {
            self.filling = None;
        } else if self.copy(view, pool, &block) {
            self.copied = Some(block);
        }
        true
    }

    /// The first block of the tail that was not looked at, if all of it is durable.
    fn next_block(&self, view: &LogView, open: Sequence) -> Option<Arc<BlockMemory>> {
        let tail = view.tail().try_lock()?;
        let at = tail.partition_point(|block| block.first_sequence() < self.next);
        let block = tail.get(at).filter(|block| block.first_sequence() < open)?;
        let end = block.first_sequence().plus(block.visible().0 as u64);
        (end <= view.durable()).then(|| Arc::clone(block))
    }

    /// Copies the records of a block to the end of the dense one, or to a new one, which then takes the block's place.
    /// Returns whether the block's own memory is spare.
    fn copy(&mut self, view: &LogView, pool: &mut BlockPool, block: &Arc<BlockMemory>) -> bool {
        let (count, bytes) = block.visible();
        let (records, column) = block.records(0, count, 0, bytes).into_parts();
        self.lengths.clear();
        self.lengths.extend(column.chunks_exact(2).map(|length| u16::from_le_bytes([length[0], length[1]])));
        let fits = |dense: &&mut BlockWriter| {
            let end = dense.memory().first_sequence().plus(dense.count() as u64);
            let fitting = dense.fitting(&self.lengths, BlockMemory::BLOCK_BYTES).0;
            end == block.first_sequence() && fitting == count
        };
        if let Some(dense) = self.filling.as_mut().filter(fits) {
            append(dense, block, (records, &self.lengths));
            return true;
        }
        self.filling = None;
        let Some(mut dense) = pool.take_dense(view, block.first_sequence()) else { return false };
        dense.start(block.first_sequence());
        append(&mut dense, block, (records, &self.lengths));
        let placed = view.tail().try_lock().is_some_and(|mut tail| {
            let at = tail.iter().position(|listed| Arc::ptr_eq(listed, block));
            at.map(|at| tail[at] = Arc::clone(dense.memory())).is_some()
        });
        if placed {
            self.filling = Some(dense);
        } else {
            // A reader has the tail at this moment: the block stays as it is.
            pool.give_back(dense.into_memory());
        }
        placed
    }

    /// Takes the block that was copied out of the tail, and gives its memory back. Returns whether none is left to
    /// take.
    fn unlist_copied(&mut self, view: &LogView, pool: &mut BlockPool) -> bool {
        let Some(copied) = self.copied.take() else { return true };
        let Some(mut tail) = view.tail().try_lock() else {
            self.copied = Some(copied);
            return false;
        };
        let is_listed = |memory: &Arc<BlockMemory>| tail.iter().position(|listed| Arc::ptr_eq(listed, memory));
        let at = is_listed(&copied);
        if self.filling.as_ref().and_then(|dense| is_listed(dense.memory())).is_none() {
            // The dense block has left the tail: the block itself stays, and the next one begins another.
            self.filling = None;
            return true;
        }
        let removed = at.and_then(|at| tail.remove(at));
        drop(tail);
        drop(removed);
        pool.give_back(copied);
        true
    }
}

/// Copies a block's records, with their lengths, after those of the dense block.
fn append(dense: &mut BlockWriter, block: &BlockMemory, (records, lengths): (&[u8], &[u16])) {
    let ((first, last), (first_of_block, last_of_block)) = (dense.memory().times(), block.times());
    dense.append(records, lengths);
    dense.set_times(first.min(first_of_block), last.max(last_of_block));
    dense.publish();
}
