//! Giving up the oldest records for the newest: what the writer of an evicting lane does when it is nearly full.
//!
//! A part of the lane goes at a time, so that the cost, some hundred nanoseconds, is met by one event in hundreds.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ops::Range;

use tapeline_reader::note::DroppedSessions;
use tapeline_storage::format::session_of;

use super::entry_position::EntryPosition;
use super::options::Overflow;
use super::sync::{AtomicBool, Ordering};
use super::{DropReason, LaneWriter};

/// Part of a lane that goes at a time, at least.
const PART: u64 = 64;

/// The beginning of an evicting lane, which both ends move: the reader past what it has copied, the writer past what it
/// gives up.
///
/// The end that holds it moves it; neither waits for the other. The reader holds it while it copies, at most a turn's
/// worth of one lane, and leaves the lane for the next turn if the writer has it. The writer, if the reader has it,
/// goes on in its reserve.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Hold(AtomicBool);

impl Hold {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Takes it, unless the other end has it.
    #[inline]
    pub(super) fn try_take(&self) -> bool {
        // SYNC: pairs with the Release store in give_back: what the other end did while it held is seen.
        self.0.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Gives it back.
    #[inline]
    pub(super) fn give_back(&self) {
        // SYNC: pairs with the Acquire in try_take.
        self.0.store(false, Ordering::Release);
    }
}

impl LaneWriter {
    /// Gives up published records, the oldest first, until there is room for `bytes` beside the reserve. Returns
    /// whether there was any; `None` while the reader copies.
    #[cold]
    pub(crate) fn evict(&mut self, bytes: usize) -> Option<bool> {
        debug_assert_eq!(self.ring.options().overflow, Overflow::Evict);
        if !self.numbers.hold.try_take() {
            return None;
        }
        // SYNC: the hold orders these two, which both ends store.
        let first = self.numbers.reader.held_beginning();
        let losses = &self.numbers.losses;
        let (end, events) = losses.count_sessions(DropReason::Oldest, |gone| self.give_up(first, bytes, gone));
        // Noted before any index passes over them, so that the holder of a ticket never takes them for durable.
        self.numbers.note_evicted(first.index..end.index);
        self.numbers.reader.freed_bytes.store(end.bytes, Ordering::Relaxed);
        self.numbers.reader.freed.store(end.index, Ordering::Relaxed);
        losses.enter_dropped(DropReason::Oldest, events);
        self.numbers.hold.give_back();
        Some(end.index > first.index)
    }

    /// Walks from here over the entries that have to go, and counts their sessions. Returns the position after them,
    /// and the number of events.
    fn give_up(&self, mut at: EntryPosition, bytes: usize, gone: &mut DroppedSessions) -> (EntryPosition, u64) {
        let options = self.ring.options();
        let (capacity_bytes, capacity_events) = (options.capacity_bytes as u64, options.capacity_events as u64);
        let (reserve_bytes, reserve_events) = options.reserve();
        // A record may need a skip before it, which is shorter than the record.
        let bytes_wanted = self.end.bytes + 2 * bytes as u64 + reserve_bytes + capacity_bytes / PART;
        let entries_wanted = self.end.index + 2 + reserve_events + capacity_events / PART;
        // The writer's own number: no order is needed.
        let published = self.numbers.writer.published.load(Ordering::Relaxed);
        let (mut events, mut near) = (0, 0);
        while at.index < published
            && (at.bytes + capacity_bytes < bytes_wanted || at.index + capacity_events < entries_wanted)
        {
            let ring = self.growth.older_ring(at.index).unwrap_or(&self.ring);
            // SAFETY: rule 6: below `published`, so written in this ring and not written again; rule 4: one entry.
            let units = unsafe { ring.lengths(ring.slot(at.index), 1) };
            let start = ring.offset(at.bytes);
            let length = at.pass(units.first().copied().unwrap_or(0), ring);
            if length > 0 {
                events += 1;
                // SAFETY: rule 6: as the length; rule 4: one record.
                let record = unsafe { ring.bytes(start, length) };
                gone.count_near(session_of(record), &mut near);
            }
        }
        (at, events)
    }
}

/// Entries that were given up, as far as they are remembered: for tickets, whichever thread holds them.
#[derive(Debug, Default)]
pub(super) struct Evicted {
    ranges: VecDeque<Range<u64>>,
    /// Entries below this index are not remembered.
    forgotten: u64,
}

/// Ranges that are remembered: 64 KiB. Evictions between which the reader took nothing are one range.
const RANGES_MAX: usize = 4096;

impl Evicted {
    pub(super) fn note(&mut self, range: Range<u64>) {
        match self.ranges.back_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if range.is_empty() => {}
            _ => self.ranges.push_back(range),
        }
        if self.ranges.len() > RANGES_MAX
            && let Some(oldest) = self.ranges.pop_front()
        {
            self.forgotten = oldest.end;
        }
    }

    /// Returns whether no entry was given up.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns whether the entry was given up, or may have been.
    pub(super) fn may_hold(&self, index: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.start <= index);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        index < self.forgotten || range.is_some_and(|range| range.contains(&index))
    }
}
