//! A producer's lane to one shard, and what of its losses is not reported yet.

use std::io;
use std::sync::Arc;

use tapeline_reader::DropReason;
use tapeline_reader::note::{DropNote, DroppedSessions};
use tapeline_reader::timestamp::Timestamps;
use tapeline_storage::format::SessionId;

use super::refusal;
use crate::core::error::IngestionError;
use crate::core::refusals::RefusalReason;
use crate::lane::{LaneWriter, Overflow, Publish, RingNeeded};
use crate::shard::ShardControl;

/// The part of a lane's ring that a note with names may take. For one that is longer, such a lane may never have room.
const NAMED_PART: usize = 4;

/// The outcome of a call to [`Link::report`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reported {
    /// Nothing is left to be reported here.
    Done,
    /// The note waits for room: no event is to come before it.
    Waits,
}

/// A lane and its unreported losses. Its drop leaves these to the shard, which reports them.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) control: Arc<ShardControl>,
    pub(super) lane: LaneWriter,
    /// Events dropped, or refused and to be reported, since the last note. `None` of evicting lanes: their shard knows
    /// best where something is missing.
    unreported: Option<DropNote>,
}

impl Link {
    pub(super) fn new(control: Arc<ShardControl>, lane: LaneWriter) -> Self {
        Self { control, lane, unreported: None }
    }

    /// Counts a dropped event, to be reported in the lane where the next one finds room.
    #[cold]
    pub(super) fn drop_event(&mut self, producer: u64, session: SessionId, reason: DropReason) {
        if self.lane.overflow() == Overflow::Evict {
            return self.lane.count_dropped_of(reason, session);
        }
        self.lane.count_dropped(reason);
        self.note_missing(producer, session, reason);
    }

    /// Notes an event that readers miss, to be reported in the lane where the next one finds room.
    #[cold]
    pub(super) fn note_missing(&mut self, producer: u64, session: SessionId, reason: DropReason) {
        // Its reason is that of the mode.
        let none = || DropNote { producer, reason, sessions: DroppedSessions::default() };
        self.unreported.get_or_insert_with(none).sessions.count(session);
        self.lane.hold_back();
    }

    /// Events dropped since the last note.
    pub(super) fn unreported(&self) -> u64 {
        self.unreported.as_ref().map_or(0, |note| note.sessions.events())
    }

    /// Publishes a note of what was dropped, if there is room for it; not in the midst of a batch, and not while the
    /// route changes.
    #[cold]
    pub(super) fn report(&mut self, clock: &mut Timestamps, is_current: impl FnOnce() -> bool) -> Reported {
        let Some(note) = self.unreported.as_ref().filter(|_| !self.lane.is_unpublished()) else {
            return Reported::Done;
        };
        let events = if note.reason == DropReason::Refused { 0 } else { note.sessions.events() };
        // The length does not depend on the time. A lane that is short of memory may never have room for the names.
        let (named, short) = (note.record(0), note.without_names().record(0));
        let has_names = named.bytes().len() <= self.lane.ring_bytes() / NAMED_PART
            || self.lane.claim_reserve(named.bytes().len()).is_ok();
        let mut record = if has_names { named } else { short };
        let Ok(mut claim) = self.lane.claim_reserve(record.bytes().len()) else { return Reported::Waits };
        claim.begin(clock.last() + 1, Publish::Now);
        if !is_current() {
            claim.cancel();
            return Reported::Done;
        }
        record.set_timestamp(clock.next());
        claim.slot().copy_from_slice(record.bytes());
        let _ = claim.commit();
        if super::publish_in(&mut self.lane) {
            self.lane.count_note(events);
        }
        self.unreported = None;
        self.lane.let_through();
        Reported::Done
    }

    /// Counts an event that goes back to its producer, whose record has so many bytes.
    #[cold]
    pub(super) fn refuse(&self, bytes: usize) -> IngestionError {
        let refusal = match (refusal(&self.control), self.lane.ring_needed(bytes)) {
            (IngestionError::Backpressure { shard_id }, Some(needed)) => no_ring(shard_id, needed),
            (refusal, _) => refusal,
        };
        self.refuse_with(refusal)
    }

    /// Counts an event that goes back to its producer for this reason.
    #[cold]
    pub(super) fn refuse_with(&self, refusal: IngestionError) -> IngestionError {
        if let Some(reason) = RefusalReason::of(&refusal) {
            self.lane.count_refused(reason, 1, 0);
        }
        refusal
    }
}

/// The refusal of an event for which a lane would have to grow: by the budget, or else by the kernel.
fn no_ring(shard_id: u16, needed: RingNeeded) -> IngestionError {
    let RingNeeded { bytes, left, budget } = needed;
    if left < bytes {
        IngestionError::Budget { shard_id, bytes, left, budget }
    } else {
        IngestionError::Lane { shard_id, source: io::ErrorKind::OutOfMemory.into() }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(note) = self.unreported.take() {
            self.lane.leave_dropped(note.reason, note.sessions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_that_has_room_is_not_blamed_for_the_kernel() {
        let needed = |left| RingNeeded { bytes: 100, left, budget: 1000 };
        assert!(matches!(no_ring(3, needed(99)), IngestionError::Budget { shard_id: 3, left: 99, .. }));
        let refusal = no_ring(3, needed(100));
        assert_eq!(refusal.to_string(), "no memory for a lane to shard 3: out of memory");
    }
}
