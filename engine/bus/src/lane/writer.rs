//! The producer's end of a lane.
//!
//! Claim, write, commit, publish: a claim gives memory, a commit makes it a record, a publish lets the reader have all
//! that was committed, at once. The rules that the unsafe code cites are those of the `ring` module.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;

#[cfg(all(test, not(tapeline_loom)))]
use super::LaneOptions;
use super::entry_position::EntryPosition;
use super::groups::Group;
use super::growth::Growth;
use super::handle::{LaneHandle, Numbers};
use super::mark::{Mark, Publish};
use super::ring::Ring;
use super::room::Room;
use super::sync::{Arc, Ordering, light_fence};
use super::unstamped::Unstamped;
use super::{DropReason, Overflow, UNIT_BYTES};
use crate::core::refusals::RefusalReason;
use tapeline_reader::note::DroppedSessions;
use tapeline_storage::format::SessionId;
use tapeline_storage::log::LargeBlock;

/// The lane has no room for the record now. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lane is full")]
pub(crate) struct LaneFull;

/// The one writer of a lane. Dropping it abandons the lane: records that were not published are gone.
#[derive(Debug)]
pub(crate) struct LaneWriter {
    /// The last ring of the lane.
    pub(super) ring: Arc<Ring>,
    pub(super) numbers: Arc<Numbers>,
    pub(super) growth: Box<Growth>,
    /// After the last commit.
    pub(super) end: EntryPosition,
    room: Room,
    /// Skips committed.
    skips: u64,
    pub(super) unstamped: Unstamped,
    /// Something was begun since the last publish.
    is_unpublished: bool,
    not_sync: PhantomData<Cell<()>>,
}

impl LaneWriter {
    pub(super) fn new(ring: Arc<Ring>, numbers: Arc<Numbers>, growth: Growth) -> Self {
        Self {
            room: Room::new(ring.options()),
            ring,
            numbers,
            growth: Box::new(growth),
            end: EntryPosition::default(),
            skips: 0,
            unstamped: Unstamped::default(),
            is_unpublished: false,
            not_sync: PhantomData,
        }
    }

    /// Memory for one record of `bytes`: not 0, a multiple of 16, at most [`LaneWriter::largest_record`]. About 1 ns.
    ///
    /// # Errors
    /// [`LaneFull`] while the reader has not freed enough beside the reserve, and the lane cannot grow; costs a cache
    /// miss.
    #[inline(always)]
    pub(crate) fn claim(&mut self, bytes: usize) -> Result<Claim<'_>, LaneFull> {
        debug_assert!(bytes > 0 && bytes.is_multiple_of(UNIT_BYTES), "a record has whole units");
        debug_assert!(bytes <= self.largest_record(), "a record fits half of the largest ring");
        let mut start = self.end.bytes;
        if !self.room.has_straight(self.end, bytes) {
            start = self.look_ahead(bytes)?;
        }
        Ok(Claim { writer: self, start, bytes })
    }

    /// As [`LaneWriter::claim`], where there is known to be room after the record before.
    #[inline(always)]
    pub(crate) fn claim_straight(&mut self, bytes: usize) -> Option<Claim<'_>> {
        let start = self.end.bytes;
        self.room.has_straight(self.end, bytes).then_some(Claim { writer: self, start, bytes })
    }

    #[cold]
    fn look_ahead(&mut self, bytes: usize) -> Result<u64, LaneFull> {
        if self.room.is_held_back() {
            return Err(LaneFull);
        }
        if self.end.bytes + bytes as u64 > self.growth.lap_end() {
            self.end_lap(bytes);
        }
        self.look_or_grow(bytes, (0, 0))
    }

    /// As [`LaneWriter::look_around`], in a larger ring if need be.
    fn look_or_grow(&mut self, bytes: usize, reserve: (u64, u64)) -> Result<u64, LaneFull> {
        match self.look_around(bytes, reserve) {
            Err(LaneFull) if self.grow(bytes) => self.look_around(bytes, reserve),
            outcome => outcome,
        }
    }

    /// As [`LaneWriter::claim`], from the reserve if need be, and held back or not.
    ///
    /// # Errors
    /// [`LaneFull`].
    #[cold]
    pub(crate) fn claim_reserve(&mut self, bytes: usize) -> Result<Claim<'_>, LaneFull> {
        let start = self.look_or_grow(bytes, self.ring.options().reserve())?;
        Ok(Claim { writer: self, start, bytes })
    }

    /// Returns whether a record of `bytes` would have to take from the reserve, or find none, however the lane grows.
    #[cold]
    pub(crate) fn is_pressed(&mut self, bytes: usize) -> bool {
        self.look_or_grow(bytes, (0, 0)).is_err()
    }

    /// Bytes of the ring that it writes into.
    pub(crate) fn ring_bytes(&self) -> usize {
        self.ring.options().capacity_bytes
    }

    /// Has every [`LaneWriter::claim`] refused from now on: something has to be written first.
    pub(crate) fn hold_back(&mut self) {
        self.room.hold_back();
        self.limit_to_straight();
    }

    /// Ends what [`LaneWriter::hold_back`] began.
    pub(crate) fn let_through(&mut self) {
        self.room.let_through();
        self.limit_to_straight();
    }

    /// Finds the start of a record, after a skip if need be, with so many bytes and entries of the reserve.
    #[cold]
    pub(super) fn look_around(&mut self, bytes: usize, reserve: (u64, u64)) -> Result<u64, LaneFull> {
        let to_end = self.ring.bytes_to_end(self.end.bytes);
        let skipped = if bytes > to_end { to_end } else { 0 };
        let start = self.end.bytes + skipped as u64;
        let end = EntryPosition { index: self.end.index + 1 + u64::from(skipped > 0), bytes: start + bytes as u64 };
        if !self.room.has(end, (0, 0)) {
            self.look_for_room();
        }
        self.limit_to_straight();
        if self.room.has(end, reserve) { Ok(start) } else { Err(LaneFull) }
    }

    pub(super) fn look_for_room(&mut self) {
        let reader = &self.numbers.reader;
        // SYNC: both pair with the Release stores in LaneReader::free: what is freed is read no more.
        let index = reader.freed.load(Ordering::Acquire);
        let freed = EntryPosition { index, bytes: reader.freed_bytes.load(Ordering::Acquire) };
        self.room.freed_to(freed, self.ring.options());
        self.growth.forget_below(index);
    }

    pub(super) fn limit_to_straight(&mut self) {
        self.room.limit_to_straight(self.end, &self.ring);
    }

    #[inline(always)]
    fn push_length(&mut self, units: u16) {
        debug_assert!(
            self.room.has(EntryPosition { index: self.end.index + 1, ..self.end }, self.ring.options().reserve()),
            "rule 2"
        );
        // SAFETY: rule 2: the claim has found room for the entry.
        unsafe { self.ring.set_length(self.ring.slot(self.end.index), units) };
        self.end.index += 1;
    }

    /// Commits what lies before the start of the ring as a skip.
    #[cold]
    fn skip_to(&mut self, start: u64) {
        self.push_length(0);
        self.skips += 1;
        self.end.bytes = start;
        self.limit_to_straight();
    }

    /// Lets the reader have every record committed so far; it sees all of them or none. Three stores to one cache line.
    #[inline(always)]
    pub(crate) fn publish(&mut self) {
        debug_assert!(self.unstamped.len() == 0, "publishes records without a time");
        self.numbers.writer.published_bytes.store(self.end.bytes, Ordering::Relaxed);
        self.numbers.writer.published_skips.store(self.skips, Ordering::Relaxed);
        // SYNC: publish; pairs with the Acquire loads in LaneReader. Orders the records, their lengths and the bytes
        // above.
        self.numbers.writer.published.store(self.end.index, Ordering::Release);
        self.rest();
    }

    /// As [`LaneWriter::publish`], of records that the reader takes all at once. `time` is that of the last.
    #[cold]
    pub(crate) fn publish_group(&mut self, time: u64) {
        debug_assert_ne!(self.overflow(), Overflow::Evict, "would give records of a group up");
        let begin = self.numbers.writer.own_end().index;
        if begin < self.end.index {
            self.numbers.lists.groups.push(Group { entries: begin..self.end.index, time });
            let groups = &self.numbers.writer.groups;
            // The publish orders it.
            groups.store(groups.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        self.publish();
    }

    /// The number of records that are not published, and their bytes.
    #[cold]
    pub(crate) fn unpublished_size(&self) -> (usize, usize) {
        let (mut records, mut total) = (0, 0);
        self.walk(self.numbers.writer.own_end(), |_, bytes| (records, total) = (records + 1, total + bytes));
        (records, total)
    }

    /// Notes that what was begun is going to be published now. Comes before the look at the route.
    #[inline(always)]
    pub(crate) fn begin_publish(&mut self) {
        if self.is_unpublished {
            let mark = Mark::from_word(self.numbers.begun.mark.load(Ordering::Relaxed));
            self.mark(mark.publishing());
        }
        // A change of the route has all threads execute a fence before the look at the mark.
        light_fence();
    }

    /// Goes by another route from the next record on. Nothing may be begun.
    pub(crate) fn set_route(&mut self, route: u64) {
        debug_assert_eq!(self.end.index, self.numbers.writer.published.load(Ordering::Relaxed));
        self.numbers.ends.route_entry.store(self.end.index, Ordering::Relaxed);
        // SYNC: pairs with the load in LaneReader::bound: the entry above. A reader that sees a later publish sees it.
        self.numbers.ends.route.store(route, Ordering::Release);
    }

    /// Takes the records back that were not published: their bytes, back to back, and the length of each.
    #[cold]
    pub(crate) fn take_back(&mut self) -> (Vec<u8>, Vec<usize>) {
        let taken = self.unpublished();
        let _ = self.discard();
        taken
    }

    /// Copies the records that are not published: all of them are in the last ring.
    pub(super) fn unpublished(&self) -> (Vec<u8>, Vec<usize>) {
        let (mut records, mut lengths) = (Vec::new(), Vec::new());
        self.walk(self.numbers.writer.own_end(), |offset, bytes| {
            // SAFETY: rule 2: the writer's own, committed; rule 4: a record lies in one piece.
            records.extend_from_slice(unsafe { self.ring.bytes(offset, bytes) });
            lengths.push(bytes);
        });
        (records, lengths)
    }

    /// Shows where each committed record lies in the last ring, and its bytes, from this entry on.
    #[inline]
    fn walk(&self, mut at: EntryPosition, mut visit: impl FnMut(usize, usize)) {
        while at.index < self.end.index {
            // SAFETY: rule 2: the writer's own, committed; rule 4: one entry.
            let units = unsafe { self.ring.lengths(self.ring.slot(at.index), 1) };
            let offset = self.ring.offset(at.bytes);
            let bytes = at.pass(units.first().copied().unwrap_or(0), &self.ring);
            if bytes > 0 {
                visit(offset, bytes);
            }
        }
    }

    /// Notes that the record before has no time yet. Returns how many have none: where these are
    /// [`UNSTAMPED_MAX`](super::UNSTAMPED_MAX), [`LaneWriter::stamp`] comes before the next.
    #[inline(always)]
    pub(crate) fn note_unstamped(&mut self) -> usize {
        self.unstamped.note(self.ring.offset(self.end.bytes - UNIT_BYTES as u64));
        self.unstamped.len()
    }

    /// Records that have no time yet.
    #[inline(always)]
    pub(crate) fn unstamped(&self) -> usize {
        self.unstamped.len()
    }

    /// Has `stamp` give each record that has no time one, in order: it is shown the last 16 bytes of each. About 1 ns a
    /// record beside it.
    #[inline(always)]
    pub(crate) fn stamp(&mut self, mut stamp: impl FnMut(&mut [u8])) {
        for offset in self.unstamped.take() {
            // SAFETY: rules 2 and 4: the writer's own, not published, in one piece.
            let mut unit = unsafe { self.ring.bytes_mut(offset, UNIT_BYTES) };
            // SAFETY: rules 2 and 5: there is no other slice of it.
            stamp(unsafe { unit.as_mut() });
        }
    }

    /// Nothing is begun any more.
    #[inline(always)]
    fn rest(&mut self) {
        self.is_unpublished = false;
        self.mark(Mark::NONE);
    }

    #[inline(always)]
    fn mark(&self, mark: Mark) {
        // SYNC: pairs with the Acquire load in Numbers::mark: what was published is seen after it.
        self.numbers.begun.mark.store(mark.word(), Ordering::Release);
    }

    /// Takes back what was committed and not published. Returns whether there was anything.
    pub(crate) fn discard(&mut self) -> bool {
        let any = self.step_back();
        self.unstamped.clear();
        self.limit_to_straight();
        self.rest();
        any
    }

    /// Goes back to the last published record. Returns whether there was anything after it.
    pub(super) fn step_back(&mut self) -> bool {
        let published = self.numbers.writer.own_end();
        self.numbers.drop_large_from(published.index);
        // The writer's own number: no order is needed.
        self.skips = self.numbers.writer.published_skips.load(Ordering::Relaxed);
        std::mem::replace(&mut self.end, published).index != published.index
    }

    /// Entry index after the last commit.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.end.index
    }

    /// Returns whether something was begun that is not published.
    pub(crate) fn is_unpublished(&self) -> bool {
        self.is_unpublished
    }

    /// Returns whether the record before this entry index has what its durability level promises. One load; in an
    /// evicting lane a lock and a look at what was given up.
    #[inline]
    pub(crate) fn is_durable(&self, entry: u64) -> bool {
        // SYNC: pairs with the Release store in LaneReader::acknowledge.
        self.numbers.reader.durable.load(Ordering::Acquire) >= entry && !self.was_evicted(entry)
    }

    /// Returns whether the record before this entry index was given up, or is of a time that is not remembered.
    #[inline]
    pub(crate) fn was_evicted(&self, entry: u64) -> bool {
        self.ring.options().overflow == Overflow::Evict && self.numbers.was_evicted(entry)
    }

    /// Leaves the sessions of dropped events that no note reports to the reader, before the writer is gone.
    pub(crate) fn leave_dropped(&self, reason: DropReason, sessions: DroppedSessions) {
        self.numbers.losses.count_sessions(reason, |left| left.absorb(sessions));
    }

    /// Counts an event of an evicting lane that found no room and was dropped, for the shard to report.
    pub(crate) fn count_dropped_of(&self, reason: DropReason, session: SessionId) {
        self.numbers.losses.count_sessions(reason, |dropped| dropped.count(session));
        self.count_dropped(reason);
    }

    /// Counts an event that found no room and was dropped.
    pub(crate) fn count_dropped(&self, reason: DropReason) {
        self.numbers.losses.enter_dropped(reason, 1);
    }

    /// Counts events that went back to their producer; `withdrawn` of them had been published.
    pub(crate) fn count_refused(&self, reason: RefusalReason, events: u64, withdrawn: u64) {
        self.numbers.losses.enter_refused(reason, events, withdrawn);
    }

    /// Counts a note in the lane that reports so many dropped events.
    pub(crate) fn count_note(&self, events: u64) {
        self.numbers.losses.enter_note(events);
    }

    /// Used bytes and all bytes of the lane. Counts committed records that the reader has not freed; when the ring of
    /// lengths is the fuller one, its share is given instead. Costs a cache miss while the reader is busy.
    #[inline]
    #[cfg(all(test, not(tapeline_loom)))]
    pub(crate) fn fill(&self) -> (usize, usize) {
        let LaneOptions { capacity_bytes, capacity_events, .. } = self.ring.options();
        // Numbers alone, nothing is overwritten on their word: no order is needed.
        let bytes = self.end.bytes - self.numbers.reader.freed_bytes.load(Ordering::Relaxed);
        let entries = self.end.index - self.numbers.reader.freed.load(Ordering::Relaxed);
        let bytes_per_entry = capacity_bytes >> capacity_events.trailing_zeros();
        ((bytes as usize).max(entries as usize * bytes_per_entry), capacity_bytes)
    }

    /// The action of the writer when the lane is nearly full.
    pub(crate) fn overflow(&self) -> Overflow {
        self.ring.options().overflow
    }

    /// Longest record that [`LaneWriter::claim`] takes, in bytes.
    #[inline]
    pub(crate) fn largest_record(&self) -> usize {
        self.growth.most().largest_record()
    }

    /// Returns whether the reader will take no more. One load that hits the cache.
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

/// Memory of a record to be. Dropping it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Claim<'w> {
    writer: &'w mut LaneWriter,
    /// Byte position.
    start: u64,
    bytes: usize,
}

impl<'w> Claim<'w> {
    /// Of memory at `start` that rules 2 and 4 give the writer.
    pub(super) fn new(writer: &'w mut LaneWriter, start: u64, bytes: usize) -> Self {
        Self { writer, start, bytes }
    }

    /// The memory, aligned to 16, holding whatever was there before.
    #[inline(always)]
    pub(crate) fn slot(&mut self) -> &mut [u8] {
        let ring = &self.writer.ring;
        // SAFETY: rules 2 and 4: `claim` has seen to them. An earlier slice borrowed `self` and is gone.
        let mut slot = unsafe { ring.bytes_mut(ring.offset(self.start), self.bytes) };
        // SAFETY: rules 2 and 5; the slice borrows `self`, so there is no second one.
        unsafe { slot.as_mut() }
    }

    /// Marks the record: it will not be earlier than `since`. Comes before the look at the clock that times it, and
    /// before the look at the route. One store, for the first record after a publish.
    #[inline(always)]
    pub(crate) fn begin(&mut self, since: u64, publish: Publish) {
        match (self.writer.is_unpublished, publish) {
            (false, publish) => {
                self.writer.is_unpublished = true;
                self.writer.mark(Mark::new(since, publish));
            }
            (true, Publish::Now) => self.writer.begin_publish(),
            (true, Publish::Later) => {}
        }
        // The threads that look at marks have all threads execute a fence before.
        light_fence();
    }

    /// Notes that the record stands for a large event. Comes before the commit.
    #[cold]
    pub(crate) fn attach(&mut self, block: Box<LargeBlock>) {
        let skips = u64::from(self.start != self.writer.end.bytes);
        self.writer.numbers.add_large(self.writer.end.index + skips, block);
    }

    /// Leaves nothing begun, unless something was before.
    #[cold]
    pub(crate) fn cancel(self) {
        if self.writer.numbers.writer.published.load(Ordering::Relaxed) == self.writer.end.index {
            self.writer.rest();
        }
    }

    /// Gives the room back because of this error, which it returns.
    #[cold]
    pub(crate) fn cancelled_by<E>(self, error: E) -> E {
        self.cancel();
        error
    }

    /// Makes it a record. Returns the entry index after it: the record is published, released or durable once that
    /// number of the lane has come so far. Less than 1 ns.
    #[inline(always)]
    pub(crate) fn commit(self) -> u64 {
        let Self { writer, start, bytes } = self;
        writer.ring.watch_write(writer.ring.offset(start), bytes);
        if start != writer.end.bytes {
            writer.skip_to(start);
        }
        // `claim` is given no longer record than an entry can describe.
        writer.push_length((bytes / UNIT_BYTES) as u16);
        writer.end.bytes = start + bytes as u64;
        writer.end.index
    }
}
