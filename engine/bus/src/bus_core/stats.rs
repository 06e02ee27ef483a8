//! The books of a bus: what became of every event.

use std::time::Duration;

use tapeline_reader::Drops;

use crate::core::refusals::Refusals;
use crate::shard::ShardControl;

/// Numbers of a bus since it was opened, at one moment. At every moment, in every mode,
///
/// `events_ingested + notes = lanes.events + events_appended + drops.total()`:
///
/// what was taken over is on its way, or stored, or was dropped and reported to readers. Read while producers and
/// shards work, these are numbers of one moment each; at rest they add up exactly.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{Event, EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest(Event::from_str("1")?)?;
/// bus.flush().await?;
/// let stats = bus.stats();
/// assert_eq!((stats.events_ingested, stats.events_appended, stats.drops.total()), (1, 1, 0));
/// assert!(stats.is_balanced());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventBusStats {
    /// Events taken over, those that were dropped later included.
    pub events_ingested: u64,
    /// Events that producers got back because the bus did not take them, by reason: no room, no memory for a lane, no
    /// space, an end, or a shard that there is not. Not counted are events that no bus would take (too long, no JSON, a
    /// reserved kind), the events of a batch after the one that came back, which were not tried, and calls after the
    /// end that found no producer.
    pub refusals: Refusals,
    /// Events dropped, by reason.
    pub drops: Drops,
    /// Records that the bus itself wrote for its readers. They take sequences, and count below like events.
    pub notes: u64,
    /// The contents of the lanes.
    pub lanes: LaneContents,
    /// Events in the log: readable.
    pub events_appended: u64,
    /// Events acknowledged at the log's level.
    pub events_durable: u64,
    /// Age of the oldest event that is taken over and not durable, to some milliseconds; `None` without any. It grows
    /// while a disk stalls, long before a lane is full.
    pub oldest_not_durable: Option<Duration>,
    /// The memory that lanes and blocks take.
    pub memory: MemoryUse,
}

/// The contents of all lanes of a bus, at one moment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{Event, EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest(Event::from_str("1")?)?;
/// bus.flush().await?;
/// let lanes = bus.stats().lanes;
/// assert_eq!((lanes.count, lanes.events, lanes.bytes), (1, 0, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LaneContents {
    /// Lanes there are.
    pub count: u64,
    /// Events in them, not yet in the log.
    pub events: u64,
    /// Bytes in them, not yet in the log.
    pub bytes: u64,
}

/// The memory that a bus takes for lanes and blocks, at one moment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::builder().memory_budget(1 << 30).build()?).await?;
/// let memory = bus.stats().memory;
/// assert!(memory.bytes <= memory.budget);
/// assert_eq!((memory.lent_bytes, memory.budget), (0, 1 << 30));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryUse {
    /// Bytes that lanes and blocks take.
    pub bytes: u64,
    /// Bytes of these that are blocks which readers hold: at most half of each shard's blocks.
    pub lent_bytes: u64,
    /// Most bytes that lanes and blocks may take: `memory_budget` of the configuration.
    pub budget: u64,
}

impl EventBusStats {
    /// Events in the log that are not acknowledged yet.
    pub fn events_committing(&self) -> u64 {
        self.events_appended - self.events_durable
    }

    /// Returns whether the numbers add up, as they do whenever nothing is being ingested at the moment.
    pub fn is_balanced(&self) -> bool {
        let there = self.lanes.events + self.events_appended + self.drops.total();
        self.events_ingested + self.notes == there
    }

    /// Adds the numbers of one shard.
    pub(super) fn add(&mut self, shard: &ShardControl) {
        // Before the lanes, so that no event counts as appended and not as ingested.
        let (appended, durable) = shard.facts().progress();
        self.notes += shard.facts().notes();
        let lanes = shard.lanes().totals();
        self.events_ingested += lanes.events_ingested();
        self.refusals += lanes.refused;
        self.drops += lanes.drops;
        self.notes += lanes.notes;
        self.lanes.count += lanes.lanes;
        self.lanes.events += lanes.records.saturating_sub(lanes.taken + lanes.drops.oldest);
        self.lanes.bytes += lanes.bytes_pending;
        self.events_appended += appended;
        self.events_durable += durable;
        self.memory.lent_bytes += shard.view().lent_bytes() as u64;
        self.oldest_not_durable = self.oldest_not_durable.max(shard.oldest_not_durable());
    }
}
