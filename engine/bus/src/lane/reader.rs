//! The shard's end of a lane.
//!
//! Peek, take over, consume, free, release: a peek shows a run of records where they lie, a consume moves past those
//! that the shard has copied, a free gives their memory back to the writer, a release says that they are visible. The
//! rules that the unsafe code cites are those of the `ring` module.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;

use tapeline_reader::note::DroppedSessions;
use tapeline_storage::format::timestamp_of;
use tapeline_storage::log::LargeBlock;

use super::entry_position::{EntryPosition, Extent};
use super::groups::GroupReader;
use super::handle::{LaneHandle, Numbers};
use super::options::Overflow;
use super::reach::Reach;
use super::ring::Ring;
use super::sync::{Arc, Ordering};
use super::{DropReason, Drops, UNIT_BYTES};

/// Consecutive records of a lane, where they lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordRun<'a> {
    /// The records, back to back.
    pub records: &'a [u8],
    /// Their lengths in units of 16 bytes, none of them 0.
    pub lengths: &'a [u16],
    /// The records before the first of a large event, whose payload is not here; more than there are, where there is
    /// none.
    pub small: u64,
}

impl Default for RecordRun<'_> {
    fn default() -> Self {
        Self { records: &[], lengths: &[], small: u64::MAX }
    }
}

impl RecordRun<'_> {
    /// Returns whether one of the records is of a large event.
    #[inline]
    pub(crate) fn has_large(&self) -> bool {
        self.small < self.lengths.len() as u64
    }

    /// The records before the first of a large event.
    #[cold]
    pub(crate) fn before_large(self) -> Self {
        let lengths = &self.lengths[..self.lengths.len().min(self.small as usize)];
        let bytes: usize = lengths.iter().map(|&units| usize::from(units) * UNIT_BYTES).sum();
        Self { records: &self.records[..bytes], lengths, ..self }
    }

    /// Returns whether there is no record.
    #[inline]
    #[cfg(all(test, not(tapeline_loom)))]
    pub(crate) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
}

/// A copy of the records of a group.
#[derive(Debug, Default)]
pub(crate) struct GroupCopy {
    /// The records, back to back.
    pub(crate) records: Vec<u8>,
    /// Their lengths in units of 16 bytes.
    pub(crate) lengths: Vec<u16>,
    /// The position after them.
    end: EntryPosition,
}

/// The one reader of a lane. Dropping it closes the lane.
#[derive(Debug)]
pub(crate) struct LaneReader {
    /// The ring that has the next record.
    ring: Arc<Ring>,
    numbers: Arc<Numbers>,
    /// The next record, or the skip before it.
    next: EntryPosition,
    reach: Reach,
    /// The records of the last peeked run that are not consumed.
    peeked: Extent,
    /// Records consumed.
    taken: u64,
    /// The beginning of an evicting lane is held.
    holds: bool,
    groups: GroupReader,
    not_sync: PhantomData<Cell<()>>,
}

impl LaneReader {
    /// Of a reader that takes everything there is.
    pub(crate) const ANY_ROUTE: u64 = Reach::ANY_ROUTE;

    pub(super) fn new(ring: Arc<Ring>, numbers: Arc<Numbers>) -> Self {
        Self {
            ring,
            numbers,
            next: EntryPosition::default(),
            reach: Reach::default(),
            peeked: Extent::default(),
            taken: 0,
            holds: false,
            groups: GroupReader::default(),
            not_sync: PhantomData,
        }
    }

    /// The next published records that are not consumed: as many as lie back to back, known without another look at the
    /// writer, in at most `max_bytes`. Empty when there are none, when the first one is longer, or while the writer
    /// gives records up. Shows the same records again until they are consumed. About 0.5 ns per record.
    ///
    /// The writer of an evicting lane cannot give records up until they are freed, consumed or not.
    #[inline]
    pub(crate) fn peek(&mut self, max_bytes: usize) -> RecordRun<'_> {
        if self.is_evicting() && !self.hold() {
            return RecordRun::default();
        }
        self.go_on();
        let limit = max_bytes.min(self.ring.bytes_to_end(self.next.bytes));
        let mut extent = Extent::default();
        for &units in self.unread_lengths() {
            if !extent.add(units, limit) {
                break;
            }
        }
        self.show(extent)
    }

    /// Looks at the writer, also where what was known is not consumed. Returns the entry index up to which records were
    /// known before; `None` while the writer of an evicting lane gives records up, which may be any of them.
    pub(crate) fn look_again(&mut self) -> Option<u64> {
        if self.is_evicting() && !self.hold() {
            return None;
        }
        let before = self.reach.known();
        self.learn();
        // A reader that has taken the hold may be in a later ring.
        self.reach.limit_to(self.ring.end().min(self.group_limit()).max(self.next.index));
        Some(before)
    }

    /// Learns how far the writer has published, and of the next group.
    #[inline]
    fn learn(&mut self) {
        self.reach.learn(&self.numbers, self.next);
        // After `published`, which orders it.
        self.groups.learn(self.numbers.writer.groups.load(Ordering::Relaxed), &self.numbers.lists.groups);
    }

    /// Entry index up to which the next group lets records be shown: those before it, or its own.
    #[inline]
    fn group_limit(&self) -> u64 {
        self.groups.limit(self.next.index)
    }

    /// Returns whether the next records that are known are a group's.
    #[inline]
    pub(crate) fn is_at_group(&self) -> bool {
        self.groups.beginning_at(self.next.index).is_some() && self.knows_more()
    }

    /// Copies the group that comes next.
    #[cold]
    pub(crate) fn copy_group(&mut self) -> Option<GroupCopy> {
        self.look();
        let group_end = self.groups.beginning_at(self.next.index).filter(|_| self.knows_more())?.entries.end;
        let mut copy = GroupCopy { end: self.next, ..GroupCopy::default() };
        while copy.end.index < group_end {
            // SAFETY: rule 3: below `published`; rule 4: one entry.
            let units = unsafe { self.ring.lengths(self.ring.slot(copy.end.index), 1) }.first().copied().unwrap_or(0);
            let offset = self.ring.offset(copy.end.bytes);
            let bytes = copy.end.pass(units, &self.ring);
            if bytes > 0 {
                self.ring.watch_read(offset, bytes);
                // SAFETY: rule 3: a published length covers these bytes; rule 4: a record lies in one piece.
                copy.records.extend_from_slice(unsafe { self.ring.bytes(offset, bytes) });
                copy.lengths.push(units);
            }
        }
        Some(copy)
    }

    /// Moves past the group that was copied. The writer does not learn of it.
    #[cold]
    pub(crate) fn consume_group(&mut self, copy: &GroupCopy) {
        self.taken += copy.lengths.len() as u64;
        self.next = copy.end;
        self.peeked = Extent::default();
        self.groups.pass(&self.numbers.lists.groups);
        self.reach.stop_at(self.next);
    }

    /// The time of the first record that is known and not consumed, without a look at the writer; at a group, that of
    /// its last.
    pub(crate) fn first_time(&mut self) -> Option<u64> {
        if !self.knows_more() {
            return None;
        }
        if let Some(group) = self.groups.beginning_at(self.next.index) {
            return Some(group.time);
        }
        self.go_on();
        let bytes = self.unread_lengths().first().map_or(0, |&units| usize::from(units) * UNIT_BYTES);
        Some(timestamp_of(self.show(Extent { entries: 1, bytes }).records))
    }

    /// As [`LaneReader::peek`], without a look at the writer: of the records that are known, those before the first
    /// that `takes` refuses, which is given each record and its entry index.
    pub(crate) fn peek_while(&mut self, max_bytes: usize, mut takes: impl FnMut(&[u8], u64) -> bool) -> RecordRun<'_> {
        if !self.knows_more() {
            return RecordRun::default();
        }
        self.go_on();
        let limit = max_bytes.min(self.ring.bytes_to_end(self.next.bytes));
        let mut extent = Extent::default();
        for &units in self.unread_lengths() {
            let before = extent;
            if !extent.add(units, limit) {
                break;
            }
            let offset = self.ring.offset(self.next.bytes) + before.bytes;
            // SAFETY: rule 3: a published length covers these bytes, and the slice ends before `self` moves on; rule 4.
            let record = unsafe { self.ring.bytes(offset, extent.bytes - before.bytes) };
            if !takes(record, self.next.index + before.entries as u64) {
                extent = before;
                break;
            }
        }
        self.show(extent)
    }

    /// Follows into the ring that has the next record, and over a skip before it.
    #[inline]
    fn go_on(&mut self) {
        if self.next.index == self.reach.limit() {
            self.look();
        }
        if self.unread_lengths().first() == Some(&0) {
            self.skip();
        }
    }

    /// The run of these records from here on, which are published and back to back.
    #[inline]
    fn show(&mut self, extent: Extent) -> RecordRun<'_> {
        self.peeked = extent;
        let Extent { entries, bytes } = extent;
        let offset = self.ring.offset(self.next.bytes);
        // SAFETY: rule 3: published lengths cover these bytes, and the run borrows `self`; rule 4: the caller's limit.
        let records = unsafe { self.ring.bytes(offset, bytes) };
        let small = self.numbers.first_large().saturating_sub(self.next.index);
        RecordRun { records, lengths: &self.unread_lengths()[..entries], small }
    }

    /// Keeps the writer of an evicting lane from giving records up, until the next free. `false` while it does so.
    pub(crate) fn hold(&mut self) -> bool {
        if !self.holds && self.numbers.hold.try_take() {
            self.holds = true;
            // SYNC: the hold orders these two. They are our own, unless the writer has moved on.
            self.next = self.numbers.reader.held_beginning();
            // The next record may be in a later ring, too.
            self.reach.stop_at(self.next);
        }
        self.holds
    }

    /// Looks how far it may read: at the writer only where everything known is consumed.
    #[inline]
    fn look(&mut self) {
        if !self.knows_more() {
            self.learn();
        }
        // After the look at what is published: a ring that ends below that is seen to.
        let mut end = self.ring.end();
        while self.next.index >= end {
            let Some(next) = self.ring.next() else { break };
            self.ring = next;
            end = self.ring.end();
        }
        self.reach.limit_to(end.min(self.group_limit()));
    }

    /// Takes the large event whose record is the first of the last run. It is to be consumed, or put back. `None` once,
    /// where the writer gave up records of large events before it.
    pub(crate) fn take_large(&mut self) -> Option<Box<LargeBlock>> {
        self.numbers.drop_large_below(self.next.index);
        self.numbers.take_large(self.next.index)
    }

    /// Puts back what was taken.
    pub(crate) fn put_large_back(&mut self, block: Box<LargeBlock>) {
        self.numbers.put_large_back(self.next.index, block);
    }

    /// Returns whether the reader has consumed all records of earlier routes than this one, and no more of them can
    /// come. To be asked once all threads have executed a fence after the route changed.
    pub(crate) fn has_passed_to(&self, route: u64) -> bool {
        let mark = self.numbers.mark();
        let published = self.numbers.published();
        // SYNC: as in Reach::bound.
        if self.numbers.ends.route.load(Ordering::Acquire) == route {
            self.next.index >= self.numbers.ends.route_entry.load(Ordering::Relaxed)
        } else {
            !mark.is_publishing() && self.next.index >= published
        }
    }

    /// Goes on with records of this route; of any route, for [`LaneReader::ANY_ROUTE`].
    pub(crate) fn pass_to(&mut self, route: u64) {
        self.reach.pass_to(route);
    }

    /// Lengths of what is known to be published, up to the end of their ring.
    #[inline]
    fn unread_lengths(&self) -> &[u16] {
        let slot = self.ring.slot(self.next.index);
        let to_end = self.ring.options().capacity_events - slot;
        let count = to_end.min((self.reach.limit() - self.next.index) as usize);
        // SAFETY: rule 3: below `published`, and the slice borrows `self`; rule 4: `to_end`.
        unsafe { self.ring.lengths(slot, count) }
    }

    /// Moves past the skip in front. The record that made the writer skip was committed with it.
    fn skip(&mut self) {
        debug_assert_ne!(self.ring.offset(self.next.bytes), 0, "a skip at the start of the ring");
        let _ = self.next.pass(0, &self.ring);
        debug_assert!(self.next.index < self.reach.limit(), "a skip without its record");
    }

    /// Moves past the first `entries` records of the last peeked run. The writer does not learn of it. Costs a pass
    /// over their lengths when they are not the whole run.
    ///
    /// # Panics
    /// If the run had fewer records: a bug of the caller.
    #[inline]
    pub(crate) fn consume(&mut self, entries: usize) {
        assert!(entries <= self.peeked.entries, "consume of records that were not peeked");
        let bytes = if entries == self.peeked.entries {
            self.peeked.bytes
        } else {
            self.unread_lengths()[..entries].iter().map(|&units| usize::from(units) * UNIT_BYTES).sum()
        };
        self.ring.watch_read(self.ring.offset(self.next.bytes), bytes);
        self.next = EntryPosition { index: self.next.index + entries as u64, bytes: self.next.bytes + bytes as u64 };
        self.peeked = Extent { entries: self.peeked.entries - entries, bytes: self.peeked.bytes - bytes };
        self.taken += entries as u64;
    }

    /// Gives the memory of everything consumed back to the writer, and the beginning of an evicting lane. Three stores.
    #[inline]
    pub(crate) fn free(&mut self) {
        if self.is_evicting() && !self.holds {
            // Nothing was consumed, and the beginning may be the writer's.
            return;
        }
        self.peeked = Extent::default();
        // SYNC: both pair with the Acquire loads in LaneWriter::look_for_room; our reads of what is freed come before.
        self.numbers.reader.freed_bytes.store(self.next.bytes, Ordering::Release);
        // SYNC: as above.
        self.numbers.reader.freed.store(self.next.index, Ordering::Release);
        // SYNC: pairs with the Acquire load in LaneHandle::counts.
        self.numbers.reader.taken.store(self.taken, Ordering::Release);
        if self.holds {
            self.holds = false;
            self.numbers.hold.give_back();
        }
    }

    /// Frees, and moves [`LaneHandle::released`]: called once the shard has made the records visible.
    #[inline]
    pub(crate) fn release(&mut self) {
        self.free();
        // SYNC: pairs with the Acquire load in LaneHandle::released; visibility comes before.
        self.numbers.reader.released.store(self.next.index, Ordering::Release);
    }

    /// Returns whether the writer may give records up.
    #[inline]
    pub(crate) fn is_evicting(&self) -> bool {
        self.ring.options().overflow == Overflow::Evict
    }

    /// Events that the writer has dropped. Of an evicting lane, after a peek: all of them were before what it shows.
    #[inline]
    pub(crate) fn drops(&self) -> Drops {
        self.numbers.losses.drops()
    }

    /// Dropped events that no note in the lane reports. Exact once the writer is gone or the lane is closed.
    pub(crate) fn unreported(&self) -> u64 {
        self.numbers.losses.unreported()
    }

    /// Entry index up to which everything is consumed.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.next.index
    }

    /// Says that every record below the entry index has what its durability level promises. Never goes back, never
    /// beyond [`LaneReader::position`].
    #[inline]
    pub(crate) fn acknowledge(&self, index: u64) {
        debug_assert!(index <= self.next.index, "acknowledges records that were not consumed");
        debug_assert!(index >= self.numbers.reader.durable.load(Ordering::Relaxed), "an acknowledgement goes back");
        // SYNC: pairs with the Acquire load in LaneHandle::durable.
        self.numbers.reader.durable.store(index, Ordering::Release);
    }

    /// Says that no more will be read. Idempotent.
    pub(crate) fn close(&self) {
        // SYNC: pairs with the Acquire load in Numbers::is_closed.
        self.numbers.ends.closed.store(true, Ordering::Release);
    }

    /// Returns whether the writer is gone; it may have left records.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.numbers.is_abandoned()
    }

    /// Returns whether there is more to peek at without another look at the writer, which would take the cache line
    /// that it publishes in away from it.
    #[inline]
    pub(crate) fn knows_more(&self) -> bool {
        self.next.index != self.reach.known()
    }

    /// Returns whether something is published that is not consumed.
    pub(crate) fn has_pending(&self) -> bool {
        self.numbers.published() != self.next.index
    }

    /// Takes the sessions of events dropped for this reason: of an evicting lane, or left by a writer that is gone.
    pub(crate) fn take_dropped(&self, reason: DropReason) -> DroppedSessions {
        if self.is_evicting() || self.is_abandoned() {
            self.numbers.losses.take_sessions(reason)
        } else {
            DroppedSessions::default()
        }
    }

    /// Returns whether the writer is gone and everything it published is consumed: nothing will ever come.
    pub(crate) fn is_drained(&self) -> bool {
        // In this order: what was published before the writer went is seen after it was seen gone.
        self.is_abandoned() && self.numbers.published() == self.next.index
    }

    /// A view of the lane's numbers.
    pub(crate) fn handle(&self) -> LaneHandle {
        LaneHandle { numbers: Arc::clone(&self.numbers) }
    }
}

impl Drop for LaneReader {
    fn drop(&mut self) {
        self.close();
        self.numbers.drop_large_from(0);
    }
}
