//! Going on in a larger ring: what the writer does when its ring is full, or goes round so fast that its looks at the
//! reader would cost.
//!
//! The rules stand in the documentation of the lane. A growth allocates, and costs some microseconds, or some hundred
//! where it is by megabytes; a lane has at most half a dozen in its life.

use std::sync::Arc as StdArc;

use super::ring::Ring;
use super::sync::{Arc, Ordering, now};
use super::{Claim, LaneOptions, LaneWriter, Overflow};
use crate::core::budget::MemoryBudget;

/// A ring that is filled in less than this carries a stream, in nanoseconds.
const STREAM_LAP_NS: u64 = 100_000_000;

/// A ring of this size is as good for a stream as any larger one: one event in some thousands looks at the reader.
const STREAM_BYTES: usize = 256 << 10;

/// The growth of a lane, on its writer's side.
#[derive(Debug)]
pub(super) struct Growth {
    /// The largest ring.
    most: LaneOptions,
    budget: StdArc<MemoryBudget>,
    /// Rings before the present one, and the entry index at which each ends: those of an evicting lane alone, whose
    /// records can be given up.
    older: Vec<(Arc<Ring>, u64)>,
    /// Byte position at which the present round of the ring ends.
    lap_end: u64,
    /// The time at which it began.
    lap_began: u64,
}

impl Growth {
    pub(super) fn new(first: LaneOptions, most: LaneOptions, budget: StdArc<MemoryBudget>) -> Self {
        Self { most, budget, older: Vec::new(), lap_end: first.capacity_bytes as u64, lap_began: now() }
    }

    /// The largest ring that the lane may grow to.
    pub(super) fn most(&self) -> LaneOptions {
        self.most
    }

    /// Byte position at which the present round of the ring ends.
    pub(super) fn lap_end(&self) -> u64 {
        self.lap_end
    }

    /// The ring before the present one that has this entry.
    pub(super) fn older_ring(&self, index: u64) -> Option<&Ring> {
        self.older.iter().find(|(_, end)| index < *end).map(|(ring, _)| &**ring)
    }

    /// Releases the rings whose entries are all below `freed`.
    pub(super) fn forget_below(&mut self, freed: u64) {
        self.older.retain(|(_, end)| *end > freed);
    }
}

/// The memory that a lane would need for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingNeeded {
    /// Bytes of a ring that takes the record.
    pub(crate) bytes: usize,
    /// Bytes left of the budget.
    pub(crate) left: usize,
    /// Bytes of the budget.
    pub(crate) budget: usize,
}

impl LaneWriter {
    /// Goes on in a larger ring, which takes a record of `bytes` once it is empty. Returns whether it did: the lane may
    /// be as large as it can be, and the memory may not be there.
    #[cold]
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let present = self.ring.options();
        let Some(options) = self.growth.most.after(present, bytes) else { return false };
        // SYNC: as in look_for_room. The records that are not published may need a skip in the new ring.
        let freed = self.numbers.reader.freed.load(Ordering::Acquire);
        if self.end.index + 1 - freed > options.capacity_events as u64 {
            return false;
        }
        let (budget, ring_bytes) = (&self.growth.budget, options.memory_bytes());
        // Whatever there is, where a record needs it that no smaller ring can take, else what is to spare.
        let is_needed = bytes > present.largest_record();
        let memory = if is_needed { budget.take(ring_bytes) } else { budget.take_to_grow(ring_bytes) };
        let ring = memory.ok().and_then(|memory| Ring::new(options, memory).ok());
        self.numbers.size.set_room(if ring.is_some() { self.growth.most } else { present });
        let Some(ring) = ring else { return false };
        self.move_to(Arc::new(ring));
        true
    }

    /// Ends the present ring at the last published record, and repeats in the next one what is not published.
    fn move_to(&mut self, next: Arc<Ring>) {
        let (records, lengths) = self.unpublished();
        let last = std::mem::replace(&mut self.ring, Arc::clone(&next));
        self.step_back();
        self.look_for_room();
        self.limit_to_straight();
        let end = self.end.index;
        let stamped = lengths.len() - self.unstamped.take().len();
        let mut rest = &records[..];
        for (number, length) in lengths.into_iter().enumerate() {
            let (record, after) = rest.split_at(length);
            rest = after;
            self.repeat(record);
            if number >= stamped {
                let _ = self.note_unstamped();
            }
        }
        self.numbers.size.set_capacity(next.options());
        last.end_at(end, next);
        if self.overflow() == Overflow::Evict {
            self.growth.older.push((last, end));
        }
        self.begin_lap();
    }

    /// Writes a record that was written before. There is room: the ring is twice as large at least.
    fn repeat(&mut self, record: &[u8]) {
        let start = self.look_around(record.len(), self.ring.options().reserve());
        debug_assert!(start.is_ok(), "a larger ring takes what a smaller one had");
        if let Ok(start) = start {
            let mut claim = Claim::new(self, start, record.len());
            claim.slot().copy_from_slice(record);
            let _ = claim.commit();
        }
    }

    /// The ring is full once round. Grows if that was fast.
    #[cold]
    pub(super) fn end_lap(&mut self, bytes: usize) {
        let is_stream = now().saturating_sub(self.growth.lap_began) < STREAM_LAP_NS;
        if self.ring.options().capacity_bytes >= STREAM_BYTES || !is_stream || !self.grow(bytes) {
            self.begin_lap();
        }
    }

    fn begin_lap(&mut self) {
        self.growth.lap_end = self.end.bytes + self.ring.options().capacity_bytes as u64;
        self.growth.lap_began = now();
    }

    /// The ring that a record of `bytes` would need, if no ring can take it for which the budget had memory.
    pub(crate) fn ring_needed(&self, bytes: usize) -> Option<RingNeeded> {
        let present = self.ring.options();
        if bytes <= present.largest_record() {
            return None;
        }
        let needed = self.growth.most.after(present, bytes)?;
        let budget = &self.growth.budget;
        Some(RingNeeded { bytes: needed.memory_bytes(), left: budget.left(), budget: budget.bytes() })
    }
}
