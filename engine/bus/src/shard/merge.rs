//! The order of the events of several lanes: what happened before comes before.
//!
//! A turn takes from its lanes in order of time, and nothing that is later than a moment which has passed:
//!
//! 1. A producer draws an event's time after everything that its thread had seen when it ingested the event, and
//!    publishes the event after that (`TimeSource::Ordered`; events of a batch get theirs before it is published).
//! 2. The shard reads the clock, lets that time pass, takes in new lanes, and then looks at every lane. Where event b
//!    has a time up to that one, everything that was published when b was stamped is known.
//! 3. It takes what is known in order of time. If a was ingested before b, by whichever threads, a has the smaller time
//!    (1) and is known when b is taken (2): it is taken first.
//!
//! Records that were known before the clock was read are due, whatever their times: a clock that was set back with the
//! machine delays nothing. A lane alone is in order as it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tapeline_storage::format::timestamp_of;

use crate::lane::{LaneReader, RecordRun};

/// Has a lane.
pub(super) trait HasLane {
    fn lane(&mut self) -> &mut LaneReader;
}

/// The lanes of a turn, by the times of their first records.
#[derive(Debug, Default)]
pub(super) struct Merge {
    heads: BinaryHeap<Reverse<Head>>,
    /// Records with later times wait, unless they are due.
    until: u64,
    /// Turns in a row in which a lane could not be looked at.
    blind_turns: u32,
}

/// Turns that a shard waits for a producer which is giving events up, some hundred nanoseconds each time, before it
/// goes on without that lane: the producer's thread may have lost its core.
const BLIND_TURNS_MAX: u32 = 10_000;

/// A lane that has a record to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Head {
    /// Of its first record.
    time: u64,
    /// Number of the lane.
    pub(super) lane: usize,
    /// Entry index before which its records are due.
    due: u64,
}

/// The records of a lane that come before all that the others have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// Nothing later, unless it is due.
    until: u64,
    due: u64,
    /// Nothing as late as this, which is the first of another lane.
    other: u64,
}

impl Merge {
    /// Looks at all lanes there are, once the time `until` has passed. There is nothing to take while a lane cannot be
    /// looked at, because its writer is giving records up.
    pub(super) fn begin(&mut self, until: u64, lanes: &mut [impl HasLane]) {
        self.heads.clear();
        self.until = until;
        let mut sees_all = true;
        for (number, lane) in lanes.iter_mut().enumerate() {
            match lane.lane().look_again() {
                Some(due) => self.offer(number, due, lane.lane()),
                None => sees_all = false,
            }
        }
        self.blind_turns = if sees_all { 0 } else { self.blind_turns.saturating_add(1) };
        if (1..BLIND_TURNS_MAX).contains(&self.blind_turns) {
            self.heads.clear();
        }
    }

    /// The lane with the earliest record, and which of its records come next, the first of them at least.
    pub(super) fn next(&mut self) -> Option<(Head, Bound)> {
        let Reverse(head) = self.heads.pop()?;
        let other = self.heads.peek().map_or(u64::MAX, |Reverse(other)| other.time);
        Some((head, Bound { until: self.until, due: head.due, other: other.max(head.time.saturating_add(1)) }))
    }

    /// Puts a lane back in its place, after records of it were taken.
    pub(super) fn put_back(&mut self, head: Head, lane: &mut LaneReader) {
        self.offer(head.lane, head.due, lane);
    }

    fn offer(&mut self, number: usize, due: u64, lane: &mut LaneReader) {
        let Some(time) = lane.first_time() else { return };
        if time <= self.until || lane.position() < due {
            self.heads.push(Reverse(Head { time, lane: number, due }));
        }
    }
}

impl Bound {
    /// Those records of the lane, as many as lie back to back in at most `max_bytes`.
    pub(super) fn peek<'l>(&self, lane: &'l mut LaneReader, max_bytes: usize) -> RecordRun<'l> {
        lane.peek_while(max_bytes, |record, entry| {
            let time = timestamp_of(record);
            time < self.other && (time <= self.until || entry < self.due)
        })
    }
}

/// `RUSTFLAGS="--cfg tapeline_loom" cargo test -p tapeline --release merge::`
#[cfg(test)]
#[cfg(tapeline_loom)]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use loom::thread;
    use tapeline_storage::format::{Kind, Record, SessionId, archive_into};

    use super::*;
    use crate::core::budget::{MemoryBudget, MemoryShare};
    use crate::lane::{LaneMemory, LaneOptions, LaneWriter, Overflow, lane};

    impl HasLane for LaneReader {
        fn lane(&mut self) -> &mut LaneReader {
            self
        }
    }

    const RECORD_BYTES: usize = 32;

    fn small() -> (LaneWriter, LaneReader) {
        let capacity_bytes = LaneOptions::CAPACITY_BYTES_MIN.max(2 * RECORD_BYTES);
        let options = LaneOptions { capacity_bytes, capacity_events: 4, overflow: Overflow::Refuse };
        lane(options, 0, LaneMemory { first: MemoryShare::default(), budget: MemoryBudget::new(1 << 20) }).unwrap()
    }

    /// A clock as machines have it: whatever reads it later reads more.
    fn tick(clock: &AtomicU64) -> u64 {
        clock.fetch_add(1, Ordering::SeqCst)
    }

    fn emit(writer: &mut LaneWriter, clock: &AtomicU64) -> u64 {
        let mut claim = writer.claim(RECORD_BYTES).unwrap();
        let timestamp = tick(clock);
        let record = Record { session: SessionId::NONE, timestamp, kind: Kind(1), payload: &[] };
        archive_into(&record, claim.slot());
        let _ = claim.commit();
        writer.publish();
        timestamp
    }

    /// A turn, which is given where each record is from and its time.
    fn turn(merge: &mut Merge, clock: &AtomicU64, lanes: &mut [LaneReader], mut take: impl FnMut(usize, u64)) {
        merge.begin(tick(clock), lanes);
        while let Some((head, bound)) = merge.next() {
            let run = bound.peek(&mut lanes[head.lane], usize::MAX);
            run.records.chunks(RECORD_BYTES).for_each(|record| take(head.lane, timestamp_of(record)));
            let entries = run.lengths.len();
            assert!(entries > 0, "a turn without an end");
            lanes[head.lane].consume(entries);
            merge.put_back(head, &mut lanes[head.lane]);
        }
        lanes.iter_mut().for_each(LaneReader::release);
    }

    /// One thread says something, another one says something else, and maybe has heard the first: then it comes second,
    /// in whichever order a shard looks at their lanes.
    fn answer_comes_second(speaker_lane: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(4);
        model.check(move || {
            let clock = Arc::new(AtomicU64::new(1));
            let said = Arc::new(AtomicBool::new(false));
            let ((mut speech, speech_lane), (mut answer, answer_lane)) = (small(), small());
            let speaker = {
                let (clock, said) = (Arc::clone(&clock), Arc::clone(&said));
                thread::spawn(move || {
                    let _ = emit(&mut speech, &clock);
                    said.store(true, Ordering::Release);
                })
            };
            let listener = {
                let (clock, said) = (Arc::clone(&clock), Arc::clone(&said));
                thread::spawn(move || {
                    let heard = said.load(Ordering::Acquire);
                    let _ = emit(&mut answer, &clock);
                    heard
                })
            };
            let mut lanes = [speech_lane, answer_lane];
            lanes.rotate_left(speaker_lane);
            let (mut merge, mut order) = (Merge::default(), Vec::new());
            turn(&mut merge, &clock, &mut lanes, |lane, _| order.push(lane));
            speaker.join().unwrap();
            let heard = listener.join().unwrap();
            turn(&mut merge, &clock, &mut lanes, |lane, _| order.push(lane));
            assert_eq!(order.len(), 2);
            assert!(!heard || order[0] == speaker_lane, "the answer precedes what it answers");
        });
    }

    #[test]
    fn what_was_heard_comes_first_though_its_lane_was_looked_at_before() {
        answer_comes_second(0);
    }

    #[test]
    fn what_was_heard_comes_first_though_its_lane_is_the_last() {
        answer_comes_second(1);
    }
}
