//! The numbers of the lanes to one shard, for every thread to read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tapeline_reader::Drops;

use crate::core::refusals::Refusals;
use crate::lane::LaneHandle;

/// Numbers of one lane, at one moment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, kinds};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let mut producer = bus.producer()?;
/// producer.emit(producer.session("chat-42"), kinds::TOKEN, b"hello")?;
/// let lane = bus.lane_stats().into_iter().find(|lane| lane.producer == producer.id()).unwrap();
/// assert_eq!((lane.events_ingested, lane.drops.total()), (1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStats {
    /// The producer: [`Producer::id`](crate::Producer::id).
    pub producer: u64,
    /// The shard.
    pub shard_id: u16,
    /// Events taken over: those in the lane, those beyond it, those that were dropped.
    pub events_ingested: u64,
    /// Events handed back to the producer, by reason.
    pub refusals: Refusals,
    /// Events dropped.
    pub drops: Drops,
    /// Bytes in the lane.
    pub bytes_pending: u64,
    /// Bytes that the lane holds at present. It grows up to
    /// [`LimitsConfig::lane_bytes`](crate::config::LimitsConfig::lane_bytes).
    pub capacity_bytes: u64,
}

/// The lanes there are, and the numbers of those that are gone.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    present: Vec<LaneHandle>,
    retired: LaneTotals,
    evicting: RetiredEvicting,
}

/// Retired lanes whose producers gave up events, for tickets of those.
#[derive(Debug, Default)]
struct RetiredEvicting {
    lanes: VecDeque<LaneHandle>,
    /// Lanes of producers below this number may be among those that are no longer remembered.
    forgotten_below: u64,
}

/// Retired evicting lanes that are remembered: each has 64 KiB of ranges at most.
const EVICTING_MAX: usize = 64;

impl RetiredEvicting {
    fn add(&mut self, lane: &LaneHandle) {
        if !lane.has_evicted() {
            return;
        }
        self.lanes.push_back(lane.clone());
        if self.lanes.len() > EVICTING_MAX
            && let Some(oldest) = self.lanes.pop_front()
        {
            self.forgotten_below = self.forgotten_below.max(oldest.producer() + 1);
        }
    }

    /// Returns whether the lane of this producer gave up this entry, or may have.
    fn may_hold(&self, producer: u64, entry: u64) -> bool {
        let known = self.lanes.iter().find(|lane| lane.producer() == producer);
        known.map_or(producer < self.forgotten_below, |lane| lane.was_evicted(entry))
    }
}

/// The state of a producer's lane.
#[derive(Debug)]
pub(crate) enum LaneState {
    Present(LaneHandle),
    /// Its producer is gone, and all that the lane held is acknowledged, except for what was given up.
    Retired,
}

/// Numbers of the lanes to one shard.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LaneTotals {
    pub(crate) lanes: u64,
    /// Records taken over, notes included.
    pub(crate) records: u64,
    pub(crate) notes: u64,
    /// Records that the shard has taken out of the lanes.
    pub(crate) taken: u64,
    pub(crate) drops: Drops,
    pub(crate) refused: Refusals,
    pub(crate) bytes_pending: u64,
    pub(crate) capacity_bytes: u64,
}

impl LaneTotals {
    /// Events taken over, those that were dropped included.
    pub(crate) fn events_ingested(&self) -> u64 {
        self.records.saturating_sub(self.notes) + self.drops.newest + self.drops.sampled
    }

    fn add(&mut self, lane: &LaneHandle) {
        let counts = lane.counts();
        let gone = counts.taken + counts.drops.oldest;
        self.lanes += 1;
        self.records += counts.records.max(gone);
        self.notes += counts.notes;
        self.taken += counts.taken;
        self.drops += counts.drops;
        self.refused += counts.refused;
        self.bytes_pending += counts.pending_bytes;
        self.capacity_bytes += lane.capacity_bytes();
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, Listed> {
        // A panic of another holder leaves a list and numbers, which are whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, lane: LaneHandle) {
        self.lock().present.push(lane);
    }

    /// Removes lanes that are gone, in the order in which they came; their numbers stay. One pass, however many go.
    pub(super) fn retire(&self, gone: &[LaneHandle]) {
        let mut listed = self.lock();
        gone.iter().for_each(|lane| {
            listed.retired.add(lane);
            listed.evicting.add(lane);
        });
        // Those that are gone are none of those there are.
        (listed.retired.lanes, listed.retired.capacity_bytes) = (0, 0);
        let mut gone = gone.iter().peekable();
        listed.present.retain(|lane| gone.next_if(|next| next.is_same(lane)).is_none());
        debug_assert!(gone.next().is_none(), "lanes are listed in the order in which they came");
    }

    /// The numbers of all lanes, those that are gone included. A lock, and a dozen loads for each lane.
    pub(crate) fn totals(&self) -> LaneTotals {
        let listed = self.lock();
        let mut totals = listed.retired;
        listed.present.iter().for_each(|lane| totals.add(lane));
        totals
    }

    /// The numbers of each lane there is. A lock, and a dozen loads for each lane.
    pub(crate) fn stats(&self, shard_id: u16) -> Vec<LaneStats> {
        self.each(|lane| {
            let mut totals = LaneTotals::default();
            totals.add(lane);
            LaneStats {
                producer: lane.producer(),
                shard_id,
                events_ingested: totals.events_ingested(),
                refusals: totals.refused,
                drops: totals.drops,
                bytes_pending: totals.bytes_pending,
                capacity_bytes: totals.capacity_bytes,
            }
        })
    }

    /// The state of the lane of a producer that had one. A lock, and a look at each lane.
    pub(crate) fn state(&self, producer: u64) -> LaneState {
        let listed = self.lock();
        let present = listed.present.iter().find(|lane| lane.producer() == producer);
        present.map_or(LaneState::Retired, |lane| LaneState::Present(lane.clone()))
    }

    /// Returns whether the retired lane of a producer that evicts gave up this entry, or may have: more than 64 such
    /// lanes are not remembered. A lock.
    pub(crate) fn may_have_evicted(&self, producer: u64, entry: u64) -> bool {
        self.lock().evicting.may_hold(producer, entry)
    }

    /// Returns what `ask` says of each lane there is.
    pub(super) fn each<T>(&self, ask: impl Fn(&LaneHandle) -> T) -> Vec<T> {
        self.lock().present.iter().map(ask).collect()
    }

    /// The lowest bound that producers have marked for events which they have not published: see `lane/mark.rs`.
    pub(super) fn unpublished_since(&self) -> Option<u64> {
        self.lock().present.iter().map(LaneHandle::unpublished_since).min()
    }

    /// The number of events in lanes, and how full the fullest lane is, by bytes or by events, of what it can grow to.
    pub(super) fn pressure(&self) -> (u64, f64) {
        let (mut events, mut fullest) = (0, 0.0_f64);
        for lane in &self.lock().present {
            let counts = lane.counts();
            let pending = counts.records.saturating_sub(counts.taken + counts.drops.oldest);
            events += pending;
            let bytes = counts.pending_bytes as f64 / lane.room_bytes() as f64;
            fullest = fullest.max(bytes.max(pending as f64 / lane.room_events() as f64).min(1.0));
        }
        (events, fullest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{LaneOptions, Overflow, fixed};

    #[test]
    fn lanes_that_go_at_once_leave_the_others_and_their_numbers() {
        let options = LaneOptions {
            capacity_bytes: LaneOptions::CAPACITY_BYTES_MIN,
            capacity_events: 1024,
            overflow: Overflow::Refuse,
        };
        let lanes = Lanes::default();
        let mut ends: Vec<_> = (0..6).map(|_| fixed(options).expect("memory")).collect();
        for (writer, reader) in &mut ends {
            lanes.add(reader.handle());
            writer.claim(32).expect("room").commit();
            writer.publish();
        }
        let handles: Vec<_> = ends.iter().map(|(writer, _)| writer.handle()).collect();
        lanes.retire(&[handles[0].clone(), handles[2].clone(), handles[3].clone()]);
        let left = lanes.each(|lane| handles.iter().position(|handle| handle.is_same(lane)));
        assert_eq!(left, [Some(1), Some(4), Some(5)]);
        assert_eq!((lanes.totals().lanes, lanes.totals().records), (3, 6));
        lanes.retire(&[handles[1].clone(), handles[4].clone(), handles[5].clone()]);
        assert_eq!((lanes.totals().lanes, lanes.totals().records), (0, 6));
    }
}
