//! The producer's end of a lane.
//!
//! Claim, write, commit, publish: a claim gives memory, a commit makes it a record, a publish lets the reader have all
//! that was committed, at once. The rules that the unsafe code cites are those of the `ring` module.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;

use super::handle::{LaneHandle, Numbers};
use super::ring::Ring;
use super::sync::{Arc, Ordering};
use super::{LaneOptions, UNIT_BYTES};

/// The lane has no room for the record now. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lane is full")]
pub(crate) struct LaneFull;

/// The one writer of a lane. Dropping it abandons the lane: records that were not published are gone.
#[derive(Debug)]
pub(crate) struct LaneWriter {
    ring: Arc<Ring>,
    numbers: Arc<Numbers>,
    /// Entry index after the last commit.
    index: u64,
    /// Byte position after the last commit.
    byte_position: u64,
    /// Skips committed.
    skips: u64,
    /// Byte position of the record that is claimed.
    claimed_start: u64,
    /// Its length in bytes; 0 when nothing is claimed.
    claimed_bytes: usize,
    /// Entry index up to which the reader is known to have made room.
    index_limit: u64,
    /// Byte position up to which the reader is known to have made room.
    byte_position_limit: u64,
    not_sync: PhantomData<Cell<()>>,
}

impl LaneWriter {
    pub(super) fn new(ring: Arc<Ring>, numbers: Arc<Numbers>) -> Self {
        let LaneOptions { capacity_bytes, capacity_events } = ring.options();
        Self {
            ring,
            numbers,
            index: 0,
            byte_position: 0,
            skips: 0,
            claimed_start: 0,
            claimed_bytes: 0,
            index_limit: capacity_events as u64,
            byte_position_limit: capacity_bytes as u64,
            not_sync: PhantomData,
        }
    }

    /// Memory for one record of `bytes`, aligned to 16, holding whatever was there before. [`LaneWriter::commit`] makes
    /// it a record; another claim, or none, leaves nothing behind. About 2 ns.
    ///
    /// # Errors
    /// [`LaneFull`] while the reader has not released enough; costs a cache miss.
    ///
    /// # Panics
    /// If `bytes` is 0, not a multiple of 16, or more than [`LaneWriter::largest_record`]: a bug of the caller.
    #[inline]
    pub(crate) fn claim(&mut self, bytes: usize) -> Result<(), LaneFull> {
        assert!(bytes > 0 && bytes.is_multiple_of(UNIT_BYTES), "a record has whole units");
        assert!(bytes <= self.largest_record(), "a record fits half a lane");
        let to_end = self.ring.bytes_to_end(self.byte_position);
        let skipped = if bytes > to_end { to_end } else { 0 };
        let start = self.byte_position + skipped as u64;
        let index_end = self.index + 1 + u64::from(skipped > 0);
        if !self.has_room(index_end, start + bytes as u64) {
            self.look_for_room();
            if !self.has_room(index_end, start + bytes as u64) {
                self.claimed_bytes = 0;
                return Err(LaneFull);
            }
        }
        self.claimed_start = start;
        self.claimed_bytes = bytes;
        Ok(())
    }

    /// The memory of the last claim, empty if there is none. Less than 1 ns.
    #[inline]
    pub(crate) fn claimed(&mut self) -> &mut [u8] {
        // SAFETY: rules 2 and 4: `claim` has seen to them. An earlier slice borrowed `self` and is gone.
        let mut slot = unsafe { self.ring.bytes_mut(self.ring.offset(self.claimed_start), self.claimed_bytes) };
        // SAFETY: rules 2 and 5; the slice borrows `self`, so there is no second one.
        unsafe { slot.as_mut() }
    }

    #[inline]
    fn has_room(&self, index_end: u64, position_end: u64) -> bool {
        index_end <= self.index_limit && position_end <= self.byte_position_limit
    }

    #[cold]
    fn look_for_room(&mut self) {
        let LaneOptions { capacity_bytes, capacity_events } = self.ring.options();
        let reader = &self.numbers.reader;
        // SYNC: both pair with the Release stores in LaneReader::release: what is released is read no more.
        self.index_limit = reader.released.load(Ordering::Acquire) + capacity_events as u64;
        self.byte_position_limit = reader.released_bytes.load(Ordering::Acquire) + capacity_bytes as u64;
    }

    /// Makes a record of the last claim. Returns the entry index after it: the record is published, released or durable
    /// once that number of the lane has come so far. Less than 1 ns.
    ///
    /// # Panics
    /// If nothing is claimed: a bug of the caller.
    #[inline]
    pub(crate) fn commit(&mut self) -> u64 {
        let bytes = std::mem::take(&mut self.claimed_bytes);
        assert!(bytes > 0, "commit without claim");
        self.ring.watch_write(self.ring.offset(self.claimed_start), bytes);
        if self.claimed_start != self.byte_position {
            self.push_length(0);
            self.skips += 1;
        }
        // `claim` has checked that the length fits an entry.
        self.push_length((bytes / UNIT_BYTES) as u16);
        self.byte_position = self.claimed_start + bytes as u64;
        self.index
    }

    #[inline]
    fn push_length(&mut self, units: u16) {
        debug_assert!(self.index < self.index_limit, "rule 2");
        // SAFETY: rule 2: `claim` has found room for the entry.
        unsafe { self.ring.set_length(self.ring.slot(self.index), units) };
        self.index += 1;
    }

    /// Lets the reader have every record committed so far; it sees all of them or none. Three stores to one cache line.
    #[inline]
    pub(crate) fn publish(&mut self) {
        self.numbers.writer.published_bytes.store(self.byte_position, Ordering::Relaxed);
        self.numbers.writer.published_skips.store(self.skips, Ordering::Relaxed);
        // SYNC: publish; pairs with the Acquire loads in LaneReader. Orders the records, their lengths and the bytes
        // above.
        self.numbers.writer.published.store(self.index, Ordering::Release);
    }

    /// Takes back what was committed and not published.
    pub(crate) fn discard(&mut self) {
        // The writer's own numbers: no order is needed.
        self.index = self.numbers.writer.published.load(Ordering::Relaxed);
        self.byte_position = self.numbers.writer.published_bytes.load(Ordering::Relaxed);
        self.skips = self.numbers.writer.published_skips.load(Ordering::Relaxed);
        self.claimed_bytes = 0;
    }

    /// Entry index after the last record that the shard has acknowledged.
    #[inline]
    pub(crate) fn durable(&self) -> u64 {
        // SYNC: pairs with the Release store in LaneReader::acknowledge.
        self.numbers.reader.durable.load(Ordering::Acquire)
    }

    /// How full the lane is: used and all, in bytes. Counts committed records that the reader has not released; when
    /// the ring of lengths is the fuller one, its share is given instead. Costs a cache miss while the reader is busy.
    #[inline]
    #[cfg(test)]
    pub(crate) fn fill(&self) -> (usize, usize) {
        let LaneOptions { capacity_bytes, capacity_events } = self.ring.options();
        // Numbers alone, nothing is overwritten on their word: no order is needed.
        let bytes = self.byte_position - self.numbers.reader.released_bytes.load(Ordering::Relaxed);
        let entries = self.index - self.numbers.reader.released.load(Ordering::Relaxed);
        let bytes_per_entry = capacity_bytes >> capacity_events.trailing_zeros();
        ((bytes as usize).max(entries as usize * bytes_per_entry), capacity_bytes)
    }

    /// Longest record that [`LaneWriter::claim`] takes, in bytes.
    #[inline]
    pub(crate) fn largest_record(&self) -> usize {
        self.ring.options().largest_record()
    }

    /// Whether the reader will take no more. One load that hits the cache.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.numbers.is_closed()
    }

    /// A view of the lane's numbers.
    pub(crate) fn handle(&self) -> LaneHandle {
        LaneHandle { numbers: Arc::clone(&self.numbers) }
    }
}

impl Drop for LaneWriter {
    fn drop(&mut self) {
        // SYNC: pairs with the Acquire load in Numbers::is_abandoned; the last publish came before.
        self.numbers.ends.abandoned.store(true, Ordering::Release);
    }
}
