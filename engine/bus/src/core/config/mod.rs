//! Settings of a bus. `builder` has the way to set them, `rules` what they have to be; each other file is a group of
//! settings.

mod adapter;
mod backpressure;
mod batch;
mod builder;
#[cfg(feature = "jetstream")]
mod jetstream;
mod limits;
mod log;
#[cfg(any(feature = "jetstream", feature = "redis"))]
mod mapping;
mod placement;
#[cfg(feature = "redis")]
mod redis;
mod rules;
mod scaling;

use std::time::Duration;

use tapeline_storage::format::PAYLOAD_BYTES_MAX;
use tapeline_storage::log::LogOptions;

pub use adapter::AdapterConfig;
pub use backpressure::BackpressureMode;
pub use batch::{BatchConfig, MAX_BATCH_SIZE_LIMIT};
pub use builder::EventBusConfigBuilder;
#[cfg(feature = "jetstream")]
pub(crate) use jetstream::Credentials;
#[cfg(feature = "jetstream")]
pub use jetstream::{JetStreamAdapterConfig, JetStreamCreation, JetStreamDiscard, JetStreamSettings};
pub use limits::LimitsConfig;
pub use log::LogConfig;
#[cfg(any(feature = "jetstream", feature = "redis"))]
pub use mapping::{EventMapping, Layout};
pub use placement::{Driver, IdleMode, PlacementConfig};
#[cfg(feature = "redis")]
pub use redis::{RedisAdapterConfig, RedisSettings};
pub use scaling::{OverloadThresholds, ScalingPolicy};

/// Settings of an [`EventBus`](crate::EventBus). The default is a readable bus of one shard in memory.
///
/// ```
/// use tapeline::config::{Durability, EventBusConfig};
///
/// let config = EventBusConfig::builder().num_shards(2).directory("/var/lib/relay/log").build()?;
/// assert_eq!(config.log.durability, Durability::Durable);
/// // A setting that cannot work is an error that says why.
/// let error = EventBusConfig::builder().num_shards(0).build().unwrap_err();
/// assert!(error.to_string().contains("num_shards"));
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EventBusConfig {
    /// Shards at the start, each a pinned thread. Default 1, which takes tens of millions of events a second; the
    /// builder's default is `min_shards` of a scaling policy, where there is one.
    pub num_shards: u16,
    /// The fate of an event whose lane is full.
    pub backpressure_mode: BackpressureMode,
    /// The most that lanes, events and memory may be.
    pub limits: LimitsConfig,
    /// The number of events that make a block of the log, and a batch of
    /// [`EventBus::batches`](crate::EventBus::batches).
    pub batch: BatchConfig,
    /// The policy by which more or fewer shards take events. Default: none.
    pub scaling: Option<ScalingPolicy>,
    /// The log in which events are kept.
    pub log: LogConfig,
    /// The cores and threads of shards.
    pub placement: PlacementConfig,
    /// The adapter that the bus relays its events to. Default: none.
    pub adapter: AdapterConfig,
    /// The longest time for which that relay waits for one answer of the adapter. Default 30 seconds.
    pub adapter_timeout: Duration,
}

impl Default for EventBusConfig {
    fn default() -> Self {
        Self {
            num_shards: 1,
            backpressure_mode: BackpressureMode::default(),
            limits: LimitsConfig::default(),
            batch: BatchConfig::default(),
            scaling: None,
            log: LogConfig::in_memory(),
            placement: PlacementConfig::default(),
            adapter: AdapterConfig::default(),
            adapter_timeout: Duration::from_secs(30),
        }
    }
}

const BLOCK_BYTES: usize = LogOptions::memory_bytes(1);

/// Default of `lane_bytes`.
const LANE_BYTES: usize = 16 << 20;

/// Bytes of a lane for each event that it holds, by default.
const LANE_BYTES_PER_EVENT: usize = 64;

/// Bytes of the default budget that are for lanes.
const LANES_BYTES: usize = 960 << 20;

/// Bytes of a ring that takes the longest event, about: what a budget has for lanes at least.
const LONGEST_EVENT_LANE_BYTES: usize = 4 << 20;

/// Most bytes of a shard's memory for readers that catch up.
const CATCH_UP_BYTES: usize = 16 << 20;

impl EventBusConfig {
    /// A builder that starts from the default.
    pub fn builder() -> EventBusConfigBuilder {
        EventBusConfigBuilder::new()
    }

    /// Most shards that there may be.
    pub(crate) fn max_shards(&self) -> u16 {
        self.scaling.as_ref().map_or(self.num_shards, |policy| policy.max_shards)
    }

    /// Most bytes of memory for lanes and blocks.
    pub(crate) fn memory_budget(&self) -> usize {
        self.limits.memory_budget.unwrap_or_else(|| self.blocks_bytes().saturating_add(LANES_BYTES))
    }

    /// Longest payload of an event.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        let half_segment = usize::try_from(self.log.segment_bytes / 2).unwrap_or(usize::MAX);
        self.limits.payload_bytes_max.unwrap_or_else(|| PAYLOAD_BYTES_MAX.min(half_segment))
    }

    /// Memory for readers that catch up with a shard, in bytes: an eighth of what the budget has beyond the blocks and
    /// the lane of the longest event, 16 MiB at most. None for a log in memory.
    pub(crate) fn catch_up_bytes(&self) -> usize {
        if self.log.directory.is_none() {
            return 0;
        }
        let left = self.memory_budget().saturating_sub(self.blocks_bytes() + LONGEST_EVENT_LANE_BYTES);
        (left / 8 / usize::from(self.max_shards())).min(CATCH_UP_BYTES)
    }

    /// Memory for the blocks of all shards that there may be, in bytes.
    fn blocks_bytes(&self) -> usize {
        usize::from(self.max_shards()).saturating_mul(self.memory_bytes())
    }

    /// Memory for blocks per shard, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let default = if self.log.directory.is_none() { 64 } else { 16 };
        self.log.memory_bytes.unwrap_or(default * BLOCK_BYTES)
    }

    /// Blocks that the memory is divided into.
    pub(crate) fn blocks(&self) -> usize {
        self.memory_bytes() / BLOCK_BYTES
    }
}
