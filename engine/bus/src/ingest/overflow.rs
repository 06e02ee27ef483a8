//! The fate of an event whose lane has no room: the modes of back-pressure.
//!
//! The lane has grown as far as it may before an event comes here. The producer wakes the shard; then its mode decides:
//!
//! | [`BackpressureMode`] | the event | if there is no room after all |
//! |---|---|---|
//! | `Block` | waits for room, until the deadline | is handed back |
//! | `FailProducer` | is handed back | |
//! | `FailAndReport` | is handed back, and reported | |
//! | `DropNewest` | is dropped, and counted | |
//! | `DropOldest` | takes the room of the lane's oldest events, which are dropped and counted | is dropped, and counted |
//! | `Sample` | is kept if the sampler keeps its session's next event, else dropped and counted | is dropped, and counted |
//!
//! The lane counts what is dropped. The producer writes a note of it into the lane with its next event (`link`), or the
//! shard writes one (`shard/slot.rs`): readers get it as a gap, in the place of the events.

use std::time::{Duration, Instant};

use tapeline_reader::DropReason;
use tapeline_reader::blocking::is_shard_thread;
use tapeline_reader::timestamp::Timestamps;
use tapeline_storage::format::SessionId;

use super::link::{Link, Reported};
use super::sampler::Sampler;
use crate::core::config::BackpressureMode;
use crate::core::error::{IngestionError, IngestionResult};
use crate::lane::{Claim, LaneWriter, Overflow};
use crate::shard::ShardControl;

/// The number of looks that a producer takes at whether its shard has copied what it has begun to copy: some tens of
/// microseconds.
const LOOKS: usize = 4_096;

/// Losses that a sampling producer gathers before it reports them while its lane is under pressure.
const SAMPLED_MAX: u64 = 1_024;

/// A producer's mode.
#[derive(Debug)]
pub(super) struct Backpressure {
    mode: BackpressureMode,
    sampler: Option<Box<Sampler>>,
    /// Number of the producer.
    producer: u64,
}

/// An event that finds no room at first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejected {
    pub(super) session: SessionId,
    /// Bytes of its record.
    pub(super) bytes: usize,
}

impl Backpressure {
    pub(super) fn new(mode: BackpressureMode, producer: u64) -> Self {
        let sampler = match mode {
            BackpressureMode::Sample { rate } => Some(Box::new(Sampler::new(rate))),
            _ => None,
        };
        Self { mode, sampler, producer }
    }

    /// Longest time that a call may wait for room.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self.mode {
            BackpressureMode::Block { deadline } => Some(deadline),
            _ => None,
        }
    }

    /// The action of lanes of this mode when they are nearly full.
    pub(super) fn overflow(&self) -> Overflow {
        match self.mode {
            BackpressureMode::DropOldest => Overflow::Evict,
            BackpressureMode::Sample { .. } => Overflow::Choose,
            _ => Overflow::Refuse,
        }
    }

    /// Finds room for the event, or says what became of it.
    ///
    /// # Errors
    /// The event was handed back, or dropped: [`IngestionError::is_drop`].
    #[cold]
    pub(super) fn claim<'l>(
        &mut self,
        link: &'l mut Link,
        clock: &mut Timestamps,
        event: Rejected,
        is_current: impl Fn() -> bool,
    ) -> IngestionResult<Claim<'l>> {
        link.control.inbox().nudge();
        let has_room = match self.mode {
            // In a waker that a shard calls: it would wait for itself.
            BackpressureMode::Block { .. } if is_shard_thread() => true,
            BackpressureMode::Block { deadline } => {
                wait_for_room(&link.control, &mut link.lane, event.bytes, deadline);
                true
            }
            BackpressureMode::DropOldest => {
                make_room(&mut link.lane, event.bytes);
                true
            }
            BackpressureMode::Sample { .. } => self.chooses(link, clock, event, is_current),
            BackpressureMode::FailProducer | BackpressureMode::FailAndReport | BackpressureMode::DropNewest => {
                link.report(clock, is_current) == Reported::Done
            }
        };
        if link.control.is_closing() || link.control.view().poison().is_some() {
            return Err(link.refuse(0));
        }
        // Twice, because the borrow of a claim that is returned cannot be given up again.
        if !has_room || link.lane.claim_reserve(event.bytes).is_err() {
            return Err(self.give_up_on(link, event));
        }
        let shard = link.control.id();
        link.lane.claim_reserve(event.bytes).map_err(|_| IngestionError::Backpressure { shard_id: shard })
    }

    /// Returns whether a sampling producer keeps the event.
    fn chooses(
        &mut self,
        link: &mut Link,
        clock: &mut Timestamps,
        event: Rejected,
        is_current: impl Fn() -> bool,
    ) -> bool {
        let pressed = link.lane.is_pressed(event.bytes);
        if !pressed || link.unreported() >= SAMPLED_MAX {
            link.report(clock, is_current);
        }
        !pressed || self.sampler.as_mut().is_none_or(|sampler| sampler.keeps(event.session))
    }

    fn give_up_on(&self, link: &mut Link, event: Rejected) -> IngestionError {
        let shard = link.control.id();
        match self.mode {
            BackpressureMode::FailProducer | BackpressureMode::Block { .. } => link.refuse(event.bytes),
            BackpressureMode::FailAndReport => {
                link.note_missing(self.producer, event.session, DropReason::Refused);
                link.refuse(event.bytes)
            }
            BackpressureMode::DropNewest | BackpressureMode::DropOldest => {
                link.drop_event(self.producer, event.session, DropReason::Newest);
                IngestionError::Dropped { shard_id: shard }
            }
            BackpressureMode::Sample { .. } => {
                link.drop_event(self.producer, event.session, DropReason::Sampled);
                IngestionError::Sampled { shard_id: shard }
            }
        }
    }
}

impl Backpressure {
    /// The fate of a large event for which there is no memory, which is `refusal` for a producer that wants it back.
    #[cold]
    pub(super) fn give_up_large(&self, link: &mut Link, event: Rejected, refusal: IngestionError) -> IngestionError {
        match self.mode {
            BackpressureMode::FailProducer | BackpressureMode::Block { .. } => link.refuse_with(refusal),
            BackpressureMode::FailAndReport => {
                link.note_missing(self.producer, event.session, DropReason::Refused);
                link.refuse_with(refusal)
            }
            BackpressureMode::DropNewest | BackpressureMode::DropOldest | BackpressureMode::Sample { .. } => {
                self.give_up_on(link, event)
            }
        }
    }
}

/// Gives up the oldest events of the lane. Where its shard copies them at this moment, the reserve has to do; where
/// that is used up, too, waits for the copy.
fn make_room(lane: &mut LaneWriter, bytes: usize) {
    if lane.ring_needed(bytes).is_some() {
        // However many events it gave up, there would be no room.
        return;
    }
    for _ in 0..LOOKS {
        if lane.evict(bytes).is_some() || lane.claim_reserve(bytes).is_ok() {
            return;
        }
        std::hint::spin_loop();
    }
}

/// Sleeps until the lane has room, for `deadline` at most, or until the shard takes nothing more.
pub(super) fn wait_for_room(control: &ShardControl, lane: &mut LaneWriter, bytes: usize, deadline: Duration) {
    // A deadline beyond what an instant can hold is the same as none.
    let deadline = Instant::now().checked_add(deadline);
    loop {
        let next_move = control.next_move();
        let ended = control.is_closing() || control.view().is_full() || control.view().poison().is_some();
        if lane.claim(bytes).is_ok() || ended || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return;
        }
        next_move.wait(deadline);
    }
}
