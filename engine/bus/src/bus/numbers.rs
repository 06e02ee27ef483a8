//! Numbers that the bus gives of itself and its shards.

use crate::bus_core::EventBusStats;
use crate::shard::{LaneStats, ShardStats};

use super::EventBus;

impl EventBus {
    /// Numbers of the bus. Disturbs nothing.
    pub fn stats(&self) -> EventBusStats {
        self.core.stats()
    }

    /// The numbers of the bus and its shards as metrics, in Prometheus's text format 0.0.4, for a handler of
    /// `/metrics` to return with the content type `text/plain; version=0.0.4`. docs/OPERATIONS.md lists them. Costs as
    /// [`EventBus::stats`], and an allocation; only header lines in a forked child.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tapeline::{Event, EventBus, EventBusConfig};
    ///
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// bus.ingest(Event::from_str("1")?)?;
    /// assert!(bus.prometheus().contains("tapeline_events_ingested_total{shard=\"0\"} 1\n"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn prometheus(&self) -> String {
        self.core.prometheus()
    }

    /// Events in lanes, not yet in the log: `events` of [`EventBusStats::lanes`].
    pub fn pending_in_rings(&self) -> u64 {
        self.stats().lanes.events
    }

    /// Returns whether the bus accepts events and can make them durable: it is not shut down, no shard's log is
    /// poisoned, and no full disk or shortage of descriptors or memory holds one up. Never waits; `async` as an
    /// adapter's is.
    pub async fn is_healthy(&self) -> bool {
        let is_open = !self.core.is_forked() && !self.core.is_closed();
        is_open && self.core.shards().all().iter().all(|shard| shard.can_write())
    }

    /// Numbers of each lane there is: the events that each producer ingested into each shard, and those that were
    /// dropped. Disturbs nothing.
    pub fn lane_stats(&self) -> Vec<LaneStats> {
        if self.core.is_forked() {
            Vec::new()
        } else {
            self.core.shards().all().iter().flat_map(|shard| shard.lanes().stats(shard.id())).collect()
        }
    }

    /// Numbers of each shard, and how it runs.
    pub fn shard_stats(&self) -> Vec<ShardStats> {
        if self.core.is_forked() {
            Vec::new()
        } else {
            self.core.shards().all().iter().map(|shard| shard.stats()).collect()
        }
    }
}
