//! Settings of a bus, and the builder that checks them.

use std::path::PathBuf;
use std::time::Duration;

use tapeline_storage::log::{Durability, LogOptions};

use crate::batch::BatchConfig;
use crate::error::ConfigError;
use crate::retention::RetentionPolicy;
use crate::scaling::ScalingPolicy;

/// What happens to an event whose lane is full.
///
/// An event that is let go is counted, by reason, producer and shard, and readers are told of it by a
/// [`Gap`](crate::Gap) in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackpressureMode {
    /// The caller gets an error and keeps the event: [`Backpressure`](crate::IngestionError::Backpressure).
    #[default]
    FailProducer,
    /// The caller's thread sleeps until there is room, at most for `deadline`; then as `FailProducer`.
    Block {
        /// Longest wait for one event.
        deadline: Duration,
    },
    /// The event is let go: [`Dropped`](crate::IngestionError::Dropped).
    DropNewest,
    /// The oldest events of the lane, those that its shard has not copied yet, are let go: at least a 64th of it at a
    /// time. The newest is kept; unless the shard's thread loses its core while it copies, for longer than the last
    /// eighth of the lane takes to fill: then as `DropNewest`.
    DropOldest,
    /// While the lane is more than half full, one event in `rate` of each session is kept, the others are let go:
    /// [`Sampled`](crate::IngestionError::Sampled). So are all while it is full.
    Sample {
        /// Of how many events one is kept, at least 1.
        rate: u32,
    },
}

impl BackpressureMode {
    /// # Errors
    /// [`ConfigError::InvalidValue`].
    pub(crate) fn validate(self) -> Result<(), ConfigError> {
        match self {
            Self::Sample { rate: 0 } => {
                Err(ConfigError::InvalidValue("backpressure_mode is Sample with a rate of 0; at least 1".into()))
            }
            _ => Ok(()),
        }
    }
}

/// What steps the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Host {
    /// glommio where io_uring is to be had, else a plain thread.
    #[default]
    Auto,
    /// A glommio executor per shard; opening fails where it cannot run.
    Glommio,
    /// A plain pinned thread per shard.
    Thread,
}

/// What writes blocks at level `Durable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Driver {
    /// io_uring where it is to be had, else blocking writes.
    #[default]
    Auto,
    /// A ring per shard; opening fails where it cannot run.
    Uring,
    /// `pwrite` or `pwritev2` on the shard's thread.
    Blocking,
}

/// Where a bus keeps its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Directory of the log. `None`: in memory.
    pub directory: Option<PathBuf>,
    /// What an acknowledged event survives. `Memory` if and only if there is no directory.
    pub durability: Durability,
    /// Size of a segment file in bytes while it is written. Default 256 MiB; at least 2 MiB.
    pub segment_bytes: u64,
    /// Memory for blocks per shard, in bytes: at level `Memory` all that is kept (default 64 MiB), else what is being
    /// written and the most recent blocks for readers (default 16 MiB). At least 4 MiB.
    pub memory_bytes: Option<usize>,
    /// When the oldest segments go: looked after once a second, by a thread of its own. Default: never. A log in memory is
    /// bounded by `memory_bytes` instead.
    pub retention: Option<RetentionPolicy>,
}

/// What a shard does while there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IdleMode {
    /// It naps, up to a millisecond between bursts and up to 8 on a bus that nobody uses: about 1 % of a core. An event
    /// may wait for a nap; who waits for events ends it.
    #[default]
    Doze,
    /// It looks again at once, for ever: a whole core, and no event waits.
    BusyPoll,
}

/// Where and how shards run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementConfig {
    /// Whether each shard is pinned to a core. Otherwise the kernel moves it about. Default `true`.
    pub pinned: bool,
    /// Cores to pin shards to, in order, over and over. `None`: the cores this process may use, from the last.
    pub cores: Option<Vec<usize>>,
    /// Cores that no shard runs on: those of threads that feed GPUs, say.
    pub excluded_cores: Vec<usize>,
    /// What shards do while there is nothing to do.
    pub idle: IdleMode,
    /// What steps the shards.
    pub host: Host,
    /// What writes their blocks.
    pub driver: Driver,
}

impl Default for PlacementConfig {
    fn default() -> Self {
        Self {
            pinned: true,
            cores: None,
            excluded_cores: Vec::new(),
            idle: IdleMode::default(),
            host: Host::default(),
            driver: Driver::default(),
        }
    }
}

/// Settings of an [`EventBus`](crate::EventBus). The default is a readable bus of one shard in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBusConfig {
    /// Shards at the start, each a pinned thread. Default 1, which takes tens of millions of events a second.
    pub num_shards: u16,
    /// Events that a lane holds: a power of two from 1024 to `lane_bytes / 16`. Default 65,536.
    pub ring_buffer_capacity: usize,
    /// Bytes that a lane holds: a power of two, at least 64 KiB. Default 4 MiB. Each producer has a lane to each shard
    /// it writes to.
    pub lane_bytes: usize,
    /// What happens when a lane is full.
    pub backpressure_mode: BackpressureMode,
    /// Most bytes of memory that the bus takes for lanes and blocks. Default 1 GiB. A lane beyond it is refused.
    pub memory_budget: usize,
    /// How many events make a block of the log, and a batch of [`EventBus::batches`](crate::EventBus::batches).
    pub batch: BatchConfig,
    /// When more or fewer shards take events. Default: never.
    pub scaling: Option<ScalingPolicy>,
    /// Where events are kept.
    pub log: LogConfig,
    /// Where shards run.
    pub placement: PlacementConfig,
}

impl Default for EventBusConfig {
    fn default() -> Self {
        Self {
            num_shards: 1,
            ring_buffer_capacity: 1 << 16,
            lane_bytes: 4 << 20,
            backpressure_mode: BackpressureMode::default(),
            memory_budget: 1 << 30,
            batch: BatchConfig::default(),
            scaling: None,
            log: LogConfig {
                directory: None,
                durability: Durability::Memory,
                segment_bytes: LogOptions::SEGMENT_BYTES,
                memory_bytes: None,
                retention: None,
            },
            placement: PlacementConfig::default(),
        }
    }
}

const BLOCK_BYTES: usize = LogOptions::memory_bytes(1);

impl EventBusConfig {
    /// A builder that starts from the default.
    pub fn builder() -> EventBusConfigBuilder {
        EventBusConfigBuilder { config: Self::default(), durability: None }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError::InvalidValue`] with the setting, its value and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let events = self.ring_buffer_capacity;
        self.backpressure_mode.validate()?;
        self.batch.validate()?;
        self.scaling.as_ref().map_or(Ok(()), ScalingPolicy::validate)?;
        self.log.retention.as_ref().map_or(Ok(()), RetentionPolicy::validate)?;
        let (lane, segment) = (self.lane_bytes, self.log.segment_bytes);
        let memory = self.memory_bytes();
        let cores = self.placement.cores.as_deref().unwrap_or_default();
        let least = usize::from(self.max_shards()).saturating_mul(memory).saturating_add(2 * lane);
        let rules = [
            (self.num_shards > 0, "num_shards is 0; at least 1".to_owned()),
            (
                self.scaling
                    .as_ref()
                    .is_none_or(|policy| (policy.min_shards..=policy.max_shards).contains(&self.num_shards)),
                format!("num_shards is {}; from min_shards to max_shards of the scaling policy", self.num_shards),
            ),
            (
                lane.is_power_of_two() && (64 << 10..=1 << 40).contains(&lane),
                format!("lane_bytes is {lane}; a power of two from 64 KiB to 1 TiB"),
            ),
            (
                events.is_power_of_two() && (1024..=lane / 16).contains(&events),
                format!("ring_buffer_capacity is {events}; a power of two from 1024 to {}, lane_bytes / 16", lane / 16),
            ),
            ((2 << 20..=1 << 40).contains(&segment), format!("segment_bytes is {segment}; from 2 MiB to 1 TiB")),
            ((4 * BLOCK_BYTES..=1 << 40).contains(&memory), format!("memory_bytes is {memory}; from 4 MiB to 1 TiB")),
            (
                (self.log.durability == Durability::Memory) == self.log.directory.is_none(),
                format!("durability is {} but directory is {:?}", self.log.durability, self.log.directory),
            ),
            (
                self.log.retention.is_none() || self.log.directory.is_some(),
                "retention is set, but the log is in memory: memory_bytes bounds it".to_owned(),
            ),
            (
                self.memory_budget >= least,
                format!(
                    "memory_budget is {}; at least {least}: memory_bytes of every shard, and a lane",
                    self.memory_budget
                ),
            ),
            (
                self.placement.cores.as_ref().is_none_or(|cores| !cores.is_empty()),
                "cores is empty; leave it out, or name a core".to_owned(),
            ),
            (
                self.placement.pinned || self.placement.cores.is_none(),
                "cores is set, but pinned is false; leave one of them out".to_owned(),
            ),
            (
                !cores.iter().any(|core| self.placement.excluded_cores.contains(core)),
                format!("cores is {cores:?}, of which excluded_cores has some: {:?}", self.placement.excluded_cores),
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(ConfigError::InvalidValue(broken)),
            None => Ok(()),
        }
    }

    /// Most shards that there may be.
    pub(crate) fn max_shards(&self) -> u16 {
        self.scaling.as_ref().map_or(self.num_shards, |policy| policy.max_shards)
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

/// Builds an [`EventBusConfig`].
#[derive(Debug, Clone)]
pub struct EventBusConfigBuilder {
    config: EventBusConfig,
    durability: Option<Durability>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($value:ident: $type:ty) => $place:ident $(. $rest:ident)* = $expression:expr;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $value: $type) -> Self {
                self.$place$(.$rest)* = $expression;
                self
            }
        )*
    };
}

impl EventBusConfigBuilder {
    setters! {
        /// Sets [`EventBusConfig::num_shards`].
        num_shards(shards: u16) => config.num_shards = shards;
        /// Sets [`EventBusConfig::ring_buffer_capacity`].
        ring_buffer_capacity(events: usize) => config.ring_buffer_capacity = events;
        /// Sets [`EventBusConfig::lane_bytes`].
        lane_bytes(bytes: usize) => config.lane_bytes = bytes;
        /// Sets [`EventBusConfig::backpressure_mode`].
        backpressure_mode(mode: BackpressureMode) => config.backpressure_mode = mode;
        /// Sets [`EventBusConfig::memory_budget`].
        memory_budget(bytes: usize) => config.memory_budget = bytes;
        /// Sets [`EventBusConfig::batch`].
        batch(batch: BatchConfig) => config.batch = batch;
        /// Sets [`EventBusConfig::scaling`].
        scaling(policy: ScalingPolicy) => config.scaling = Some(policy);
        /// Sets [`LogConfig::directory`]; the level is then `Durable` unless set.
        directory(path: impl Into<PathBuf>) => config.log.directory = Some(path.into());
        /// Sets [`LogConfig::durability`].
        durability(level: Durability) => durability = Some(level);
        /// Sets [`LogConfig::segment_bytes`].
        segment_bytes(bytes: u64) => config.log.segment_bytes = bytes;
        /// Sets [`LogConfig::memory_bytes`].
        memory_bytes(bytes: usize) => config.log.memory_bytes = Some(bytes);
        /// Sets [`LogConfig::retention`].
        retention(policy: RetentionPolicy) => config.log.retention = Some(policy);
        /// Sets [`PlacementConfig::cores`].
        cores(cores: Vec<usize>) => config.placement.cores = Some(cores);
        /// Sets [`PlacementConfig::excluded_cores`].
        excluded_cores(cores: Vec<usize>) => config.placement.excluded_cores = cores;
        /// Sets [`PlacementConfig::pinned`].
        pinned(pinned: bool) => config.placement.pinned = pinned;
        /// Sets [`PlacementConfig::idle`].
        idle(mode: IdleMode) => config.placement.idle = mode;
        /// Sets [`PlacementConfig::host`].
        host(host: Host) => config.placement.host = host;
        /// Sets [`PlacementConfig::driver`].
        driver(driver: Driver) => config.placement.driver = driver;
    }

    /// Has shards come and go by the default policy, [`ScalingPolicy::default`].
    #[must_use]
    pub fn with_dynamic_scaling(self) -> Self {
        self.scaling(ScalingPolicy::default())
    }

    /// Keeps the number of shards as it is, as is the default.
    #[must_use]
    pub fn without_scaling(mut self) -> Self {
        self.config.scaling = None;
        self
    }

    /// Checks and gives the configuration.
    ///
    /// # Errors
    /// As [`EventBusConfig::validate`].
    pub fn build(mut self) -> Result<EventBusConfig, ConfigError> {
        let unset = match self.config.log.directory {
            Some(_) => Durability::Durable,
            None => Durability::Memory,
        };
        self.config.log.durability = self.durability.unwrap_or(unset);
        self.config.validate()?;
        Ok(self.config)
    }
}
