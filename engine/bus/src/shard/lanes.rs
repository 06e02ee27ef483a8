//! The lanes to one shard, as everybody sees them: numbers.

use crate::lane::LaneHandle;
use tapeline_reader::Drops;

/// Numbers of one lane, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneStats {
    /// The producer: [`Producer::id`](crate::Producer::id).
    pub producer: u64,
    /// The shard.
    pub shard_id: u16,
    /// Events taken over: those in the lane, those beyond it, those that were let go.
    pub events_ingested: u64,
    /// Events handed back to the producer.
    pub events_refused: u64,
    /// Events let go.
    pub drops: Drops,
    /// Bytes in the lane.
    pub bytes_pending: u64,
    /// Bytes that the lane holds at present. It grows up to
    /// [`EventBusConfig::lane_bytes`](crate::EventBusConfig::lane_bytes).
    pub capacity_bytes: u64,
}

/// Lanes there are, and the numbers of those that are gone.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) present: Vec<LaneHandle>,
    retired: LaneTotals,
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
    pub(crate) refused: u64,
    pub(crate) bytes_pending: u64,
    pub(crate) capacity_bytes: u64,
}

impl LaneTotals {
    /// Events taken over, those that were let go included.
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
    /// A lane is gone: its numbers stay.
    pub(super) fn retire(&mut self, lane: &LaneHandle) {
        self.retired.add(lane);
        // Those that are gone are none of those there are.
        (self.retired.lanes, self.retired.capacity_bytes) = (0, 0);
        self.present.retain(|other| !other.is_same(lane));
    }

    /// Of all lanes, those that are gone included.
    pub(super) fn totals(&self) -> LaneTotals {
        let mut totals = self.retired;
        self.present.iter().for_each(|lane| totals.add(lane));
        totals
    }

    /// Of each lane there is.
    pub(super) fn stats(&self, shard_id: u16) -> Vec<LaneStats> {
        let one = |lane: &LaneHandle| {
            let mut totals = LaneTotals::default();
            totals.add(lane);
            LaneStats {
                producer: lane.producer(),
                shard_id,
                events_ingested: totals.events_ingested(),
                events_refused: totals.refused,
                drops: totals.drops,
                bytes_pending: totals.bytes_pending,
                capacity_bytes: totals.capacity_bytes,
            }
        };
        self.present.iter().map(one).collect()
    }

    /// Events in lanes, and how full the fullest lane is, by bytes or by events, of what it can grow to.
    pub(super) fn pressure(&self) -> (u64, f64) {
        let (mut events, mut fullest) = (0, 0.0_f64);
        for lane in &self.present {
            let counts = lane.counts();
            let pending = counts.records.saturating_sub(counts.taken + counts.drops.oldest);
            events += pending;
            let bytes = counts.pending_bytes as f64 / lane.room_bytes() as f64;
            fullest = fullest.max(bytes.max(pending as f64 / lane.room_events() as f64).min(1.0));
        }
        (events, fullest)
    }
}
