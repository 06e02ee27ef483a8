//! Settings of a bus, and the builder that checks them.

mod adapter;
mod batch;
#[cfg(feature = "jetstream")]
mod jetstream;
#[cfg(feature = "redis")]
mod redis;
mod scaling;

use std::path::PathBuf;
use std::time::Duration;

use tapeline_reader::{ConfigError, RetentionPolicy};
use tapeline_storage::format::{PAYLOAD_BYTES_MAX, SHARDS_MAX};
use tapeline_storage::log::{Durability, LogOptions};

pub use adapter::AdapterConfig;
pub use batch::{BatchConfig, MAX_BATCH_SIZE_LIMIT};
#[cfg(feature = "jetstream")]
pub(crate) use jetstream::Credentials;
#[cfg(feature = "jetstream")]
pub use jetstream::{JetStreamAdapterConfig, JetStreamDiscard, JetStreamSettings, JetStreamSubjects};
#[cfg(feature = "redis")]
pub use redis::RedisAdapterConfig;
pub use scaling::ScalingPolicy;
use scaling::available_cores;

/// The fate of an event whose lane is full.
///
/// A dropped event is counted, by reason, producer and shard, and readers get a
/// [`Gap`](crate::consumer::Gap) at its position.
///
/// ```
/// use std::time::Duration;
/// use tapeline::{BackpressureMode, EventBusConfig};
///
/// let wait = BackpressureMode::Block { deadline: Duration::from_millis(50) };
/// let config = EventBusConfig::builder().backpressure_mode(wait).build()?;
/// assert_eq!(config.backpressure_mode, wait);
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackpressureMode {
    /// The caller gets an error and keeps the event: [`Backpressure`](crate::IngestionError::Backpressure). Of a batch
    /// it gets back what was not taken: [`EventBus::try_ingest_batch`](crate::EventBus::try_ingest_batch).
    #[default]
    FailProducer,
    /// As `FailProducer`, and the refusal is reported: readers of the event's session get a gap of reason
    /// [`DropReason::Refused`](crate::consumer::DropReason::Refused), which counts each call that was refused. A
    /// producer that ingests the event again later has it after that gap.
    FailAndReport,
    /// The caller's thread sleeps until there is room, at most for `deadline`; then as `FailProducer`.
    Block {
        /// Longest wait for one event.
        deadline: Duration,
    },
    /// The event is dropped: [`Dropped`](crate::IngestionError::Dropped).
    DropNewest,
    /// The oldest events of the lane, those that its shard has not copied yet, are dropped: at least a 64th of it at a
    /// time. The newest is kept; unless the shard's thread loses its core while it copies, for longer than the last
    /// eighth of the lane takes to fill: then as `DropNewest`.
    DropOldest,
    /// While the lane is more than half full, one event in `rate` of each session is kept, the others are dropped:
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

/// The driver that writes blocks at level `Durable`.
///
/// ```
/// use tapeline::EventBusConfig;
/// use tapeline::config::Driver;
///
/// // `shard_stats()` says which driver a shard has, and why.
/// let config = EventBusConfig::builder().directory("log").driver(Driver::Blocking).build()?;
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
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

/// The log in which a bus keeps its events.
///
/// ```
/// use tapeline::EventBusConfig;
/// use tapeline::config::{Durability, LogConfig};
///
/// // The builder sets them one by one.
/// let builder = EventBusConfig::builder().directory("log").durability(Durability::PageCache);
/// let config = builder.segment_bytes(64 << 20).build()?;
/// let LogConfig { directory, segment_bytes, retention, .. } = config.log;
/// assert_eq!((directory, segment_bytes, retention), (Some("log".into()), 64 << 20, None));
/// # Ok::<(), tapeline::error::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Directory of the log. `None`: in memory.
    pub directory: Option<PathBuf>,
    /// The failures that an acknowledged event survives. `Memory` if and only if there is no directory.
    pub durability: Durability,
    /// Size of a segment file in bytes while it is written. Default 256 MiB; at least 2 MiB.
    pub segment_bytes: u64,
    /// Memory for blocks per shard, in bytes: at level `Memory` all that is kept (default 64 MiB), else what is being
    /// written and the most recent blocks for readers (default 16 MiB). At least 4 MiB.
    pub memory_bytes: Option<usize>,
    /// Limits beyond which the oldest segments go: a thread of its own looks once a second. Default: none. A log in
    /// memory is bounded by `memory_bytes` instead.
    pub retention: Option<RetentionPolicy>,
}

/// The behaviour of a shard that has no work.
///
/// ```
/// use tapeline::EventBusConfig;
/// use tapeline::config::IdleMode;
///
/// let config = EventBusConfig::builder().idle(IdleMode::BusyPoll).build()?;
/// assert_eq!(config.placement.idle, IdleMode::BusyPoll);
/// # Ok::<(), tapeline::error::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IdleMode {
    /// It naps, up to a millisecond between bursts and up to 8 on a bus that is not used: about 1 % of a core. An event
    /// may wait for a nap; a reader that waits for events ends it.
    #[default]
    Doze,
    /// It looks again at once, for ever: a whole core, and no event waits.
    BusyPoll,
}

/// The cores and threads of shards.
///
/// ```
/// use tapeline::EventBusConfig;
/// use tapeline::config::PlacementConfig;
///
/// // Two shards on cores 2 and 3.
/// let config = EventBusConfig::builder().num_shards(2).cores(vec![2, 3]).build()?;
/// assert_eq!(config.placement, PlacementConfig { cores: Some(vec![2, 3]), ..PlacementConfig::default() });
/// # Ok::<(), tapeline::error::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacementConfig {
    /// True if each shard is pinned to a core. Otherwise the kernel moves it about. Default `true`.
    pub pinned: bool,
    /// Cores to pin shards to, in order, over and over. `None`: the cores this process may use, from the last.
    pub cores: Option<Vec<usize>>,
    /// Cores that no shard runs on: those of threads that feed GPUs, say.
    pub excluded_cores: Vec<usize>,
    /// The behaviour of shards that have no work.
    pub idle: IdleMode,
    /// The driver that writes their blocks.
    pub driver: Driver,
}

impl Default for PlacementConfig {
    fn default() -> Self {
        Self {
            pinned: true,
            cores: None,
            excluded_cores: Vec::new(),
            idle: IdleMode::default(),
            driver: Driver::default(),
        }
    }
}

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
    /// Events that a lane may grow to hold: a power of two from 1024 to `lane_bytes / 16`. Default 262,144; the
    /// builder's default is one for each 64 bytes of `lane_bytes`.
    pub ring_buffer_capacity: usize,
    /// Bytes that a lane may grow to hold: a power of two, at least 64 KiB. Default 16 MiB. Each producer has a lane to
    /// each shard it writes to, which begins with 4 KiB and grows when it is full or carries a stream.
    pub lane_bytes: usize,
    /// The fate of an event whose lane is full.
    pub backpressure_mode: BackpressureMode,
    /// Most bytes of memory that the bus takes for lanes and blocks. Default: `memory_bytes` for each shard that there
    /// may be, and 960 MiB for lanes, which is 1 GiB for a shard in memory. A lane beyond it is refused, and a lane
    /// does not grow beyond it.
    pub memory_budget: Option<usize>,
    /// Longest payload of an event in bytes, at most 64 MiB. Default: 64 MiB, or half of `segment_bytes` where that is
    /// less. One that does not fit a lane takes its size in memory until it is written, as a part of `memory_budget`.
    pub payload_bytes_max: Option<usize>,
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
            ring_buffer_capacity: LANE_BYTES / LANE_BYTES_PER_EVENT,
            lane_bytes: LANE_BYTES,
            backpressure_mode: BackpressureMode::default(),
            memory_budget: None,
            payload_bytes_max: None,
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
        EventBusConfigBuilder {
            config: Self::default(),
            durability: None,
            num_shards: None,
            lane_events: None,
            is_dynamic: false,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError::InvalidValue`] with the setting, its value and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let events = self.ring_buffer_capacity;
        self.backpressure_mode.validate()?;
        self.adapter.validate()?;
        self.batch.validate()?;
        self.scaling.as_ref().map_or(Ok(()), ScalingPolicy::validate)?;
        self.log.retention.as_ref().map_or(Ok(()), RetentionPolicy::validate)?;
        let (lane, segment) = (self.lane_bytes, self.log.segment_bytes);
        let (memory, payload) = (self.memory_bytes(), self.payload_bytes_max());
        let cores = self.placement.cores.as_deref().unwrap_or_default();
        let least = self.blocks_bytes().saturating_add(lane.saturating_mul(2).min(LONGEST_EVENT_LANE_BYTES));
        let budget = self.memory_budget();
        let rules = [
            (self.num_shards > 0, "num_shards is 0; at least 1".to_owned()),
            (
                self.max_shards() <= SHARDS_MAX,
                format!(
                    "num_shards, or max_shards of the scaling policy, is {}; at most {SHARDS_MAX}",
                    self.max_shards()
                ),
            ),
            (
                (1..=PAYLOAD_BYTES_MAX).contains(&payload) && payload as u64 <= segment / 2,
                format!(
                    "payload_bytes_max is {payload}; from 1 to {PAYLOAD_BYTES_MAX}, and at most half of segment_bytes, {}",
                    segment / 2
                ),
            ),
            (
                self.scaling
                    .as_ref()
                    .is_none_or(|policy| (policy.min_shards..=policy.max_shards).contains(&self.num_shards)),
                format!(
                    "num_shards is {}; from min_shards to max_shards of the scaling policy, {} to {}",
                    self.num_shards,
                    self.scaling.as_ref().map_or(1, |policy| policy.min_shards),
                    self.max_shards()
                ),
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
                budget >= least,
                format!("memory_budget is {budget}; at least {least}: memory_bytes of every shard, and a lane"),
            ),
            (!self.adapter_timeout.is_zero(), "adapter_timeout is 0; more than that".to_owned()),
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

    /// Most bytes of memory for lanes and blocks.
    pub(crate) fn memory_budget(&self) -> usize {
        self.memory_budget.unwrap_or_else(|| self.blocks_bytes().saturating_add(LANES_BYTES))
    }

    /// Longest payload of an event.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        let half_segment = usize::try_from(self.log.segment_bytes / 2).unwrap_or(usize::MAX);
        self.payload_bytes_max.unwrap_or_else(|| PAYLOAD_BYTES_MAX.min(half_segment))
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

/// Builds an [`EventBusConfig`].
///
/// Values are checked together, by `build`.
///
/// ```
/// use tapeline::{BackpressureMode, EventBusConfig};
///
/// let config = EventBusConfig::builder().num_shards(2).backpressure_mode(BackpressureMode::DropOldest).build()?;
/// assert_eq!(config.num_shards, 2);
/// let refused = EventBusConfig::builder().num_shards(0).build().unwrap_err();
/// assert_eq!(refused.to_string(), "invalid configuration: num_shards is 0; at least 1");
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct EventBusConfigBuilder {
    config: EventBusConfig,
    durability: Option<Durability>,
    num_shards: Option<u16>,
    lane_events: Option<usize>,
    /// The scaling policy is to be the default for the cores there are.
    is_dynamic: bool,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($value:ident: $type:ty) => $group:ident $(. $rest:ident)* = $expression:expr;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $value: $type) -> Self {
                self.$group$(.$rest)* = $expression;
                self
            }
        )*
    };
}

impl EventBusConfigBuilder {
    setters! {
        /// Sets [`EventBusConfig::num_shards`].
        num_shards(shards: u16) => num_shards = Some(shards);
        /// Sets [`EventBusConfig::ring_buffer_capacity`].
        ring_buffer_capacity(events: usize) => lane_events = Some(events);
        /// Sets [`EventBusConfig::lane_bytes`].
        lane_bytes(bytes: usize) => config.lane_bytes = bytes;
        /// Sets [`EventBusConfig::backpressure_mode`].
        backpressure_mode(mode: BackpressureMode) => config.backpressure_mode = mode;
        /// Sets [`EventBusConfig::memory_budget`](field@EventBusConfig::memory_budget).
        memory_budget(bytes: usize) => config.memory_budget = Some(bytes);
        /// Sets [`EventBusConfig::payload_bytes_max`](field@EventBusConfig::payload_bytes_max).
        payload_bytes_max(bytes: usize) => config.payload_bytes_max = Some(bytes);
        /// Sets [`EventBusConfig::batch`].
        batch(batch: BatchConfig) => config.batch = batch;
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
        /// Sets [`PlacementConfig::driver`].
        driver(driver: Driver) => config.placement.driver = driver;
        /// Sets [`EventBusConfig::adapter`](field@EventBusConfig::adapter).
        adapter(adapter: AdapterConfig) => config.adapter = adapter;
        /// Sets [`EventBusConfig::adapter_timeout`](field@EventBusConfig::adapter_timeout).
        adapter_timeout(timeout: Duration) => config.adapter_timeout = timeout;
    }

    /// Sets [`EventBusConfig::scaling`].
    #[must_use]
    pub fn scaling(mut self, policy: ScalingPolicy) -> Self {
        (self.config.scaling, self.is_dynamic) = (Some(policy), false);
        self
    }

    /// Has shards come and go by the default policy, [`ScalingPolicy::default`], with `max_shards` not below the
    /// `num_shards` that are set.
    #[must_use]
    pub fn with_dynamic_scaling(mut self) -> Self {
        (self.config.scaling, self.is_dynamic) = (None, true);
        self
    }

    /// Keeps the number of shards as it is, as is the default.
    #[must_use]
    pub fn without_scaling(mut self) -> Self {
        (self.config.scaling, self.is_dynamic) = (None, false);
        self
    }

    /// Checks and gives the configuration.
    ///
    /// # Errors
    /// As [`EventBusConfig::validate`].
    pub fn build(self) -> Result<EventBusConfig, ConfigError> {
        self.build_for(available_cores())
    }

    /// As [`EventBusConfigBuilder::build`], on a machine of so many cores.
    fn build_for(mut self, cores: u16) -> Result<EventBusConfig, ConfigError> {
        if self.is_dynamic {
            let shards = self.num_shards.unwrap_or(1);
            self.config.scaling = Some(ScalingPolicy::default_for_cpus(cores.max(shards)));
        }
        let least = self.config.scaling.as_ref().map_or(self.config.num_shards, |policy| policy.min_shards);
        self.config.num_shards = self.num_shards.unwrap_or(least);
        self.config.ring_buffer_capacity = self.lane_events.unwrap_or(self.config.lane_bytes / LANE_BYTES_PER_EVENT);
        let unset = match self.config.log.directory {
            Some(_) => Durability::Durable,
            None => Durability::Memory,
        };
        self.config.log.durability = self.durability.unwrap_or(unset);
        self.config.validate()?;
        Ok(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: std::ops::RangeInclusive<u16> = 1..=256;

    /// A builder in memory, and one with a directory, which nothing opens.
    fn builders() -> [EventBusConfigBuilder; 2] {
        [EventBusConfig::builder(), EventBusConfig::builder().directory("somewhere")]
    }

    #[test]
    fn every_number_of_shards_builds_on_every_machine() {
        for (cores, builder) in COUNTS.flat_map(|cores| builders().map(|builder| (cores, builder))) {
            let config = builder.clone().num_shards(cores).build_for(1).expect("fixed");
            assert_eq!((config.num_shards, config.scaling), (cores, None));
            let config = builder.clone().num_shards(cores).with_dynamic_scaling().build_for(2).expect("dynamic");
            assert_eq!((config.num_shards, config.max_shards()), (cores, cores.max(2)));
            let config = builder.with_dynamic_scaling().build_for(cores).expect("dynamic");
            assert_eq!((config.num_shards, config.max_shards()), (1, cores));
        }
    }

    #[test]
    fn every_preset_builds_for_every_number_of_cores() {
        let presets = [ScalingPolicy::default_for_cpus, ScalingPolicy::high_throughput, ScalingPolicy::conservative];
        let batches = [BatchConfig::default(), BatchConfig::high_throughput(), BatchConfig::low_latency()];
        for (cores, preset) in COUNTS.flat_map(|cores| presets.map(|preset| (cores, preset))) {
            for (builder, batch) in
                builders().into_iter().flat_map(|builder| batches.map(|batch| (builder.clone(), batch)))
            {
                let builder = builder.batch(batch).scaling(preset(cores));
                let config = builder.clone().build_for(cores).expect("a preset");
                assert_eq!(config.num_shards, preset(cores).min_shards);
                let config = builder.num_shards(cores).build_for(1).expect("a preset with all its shards");
                assert!(config.memory_budget() > usize::from(cores) * config.memory_bytes());
            }
        }
    }

    #[test]
    fn last_word_on_scaling_counts() {
        let policy = ScalingPolicy::conservative(3);
        let builder = EventBusConfig::builder().with_dynamic_scaling();
        assert_eq!(builder.clone().without_scaling().build_for(8).expect("none").scaling, None);
        assert_eq!(builder.scaling(policy.clone()).build_for(8).expect("a policy").scaling, Some(policy.clone()));
        let dynamic = EventBusConfig::builder().scaling(policy).with_dynamic_scaling().build_for(8);
        assert_eq!(dynamic.expect("the default").scaling, Some(ScalingPolicy::default_for_cpus(8)));
    }

    #[test]
    fn budget_that_is_set_counts_and_has_to_suffice() {
        let builder = EventBusConfig::builder().num_shards(16);
        assert_eq!(builder.clone().build().expect("the default").memory_budget(), (16 * 64 + 960) << 20);
        assert_eq!(EventBusConfig::default().memory_budget(), 1 << 30);
        let broken = builder.clone().memory_budget(1 << 30).build().expect_err("too little").to_string();
        assert!(broken.contains("memory_budget is 1073741824; at least 1077936128"), "{broken}");
        assert_eq!(builder.memory_budget(2 << 30).build().expect("enough").memory_budget(), 2 << 30);
    }
}
