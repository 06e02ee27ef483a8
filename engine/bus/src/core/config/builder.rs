//! The builder of a bus's settings, which checks them together.

use std::path::PathBuf;
use std::time::Duration;

use tapeline_reader::{ConfigError, RetentionPolicy};
use tapeline_storage::log::Durability;

use super::scaling::available_cores;
use super::{
    AdapterConfig, BackpressureMode, BatchConfig, Driver, EventBusConfig, IdleMode, LANE_BYTES_PER_EVENT, ScalingPolicy,
};

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
    /// A builder that starts from the default.
    pub(super) fn new() -> Self {
        let config = EventBusConfig::default();
        Self { config, durability: None, num_shards: None, lane_events: None, is_dynamic: false }
    }

    setters! {
        /// Sets [`EventBusConfig::num_shards`].
        num_shards(shards: u16) => num_shards = Some(shards);
        /// Sets [`LimitsConfig::ring_buffer_capacity`](super::LimitsConfig::ring_buffer_capacity).
        ring_buffer_capacity(events: usize) => lane_events = Some(events);
        /// Sets [`LimitsConfig::lane_bytes`](super::LimitsConfig::lane_bytes).
        lane_bytes(bytes: usize) => config.limits.lane_bytes = bytes;
        /// Sets [`EventBusConfig::backpressure_mode`].
        backpressure_mode(mode: BackpressureMode) => config.backpressure_mode = mode;
        /// Sets [`LimitsConfig::memory_budget`](super::LimitsConfig::memory_budget).
        memory_budget(bytes: usize) => config.limits.memory_budget = Some(bytes);
        /// Sets [`LimitsConfig::payload_bytes_max`](super::LimitsConfig::payload_bytes_max).
        payload_bytes_max(bytes: usize) => config.limits.payload_bytes_max = Some(bytes);
        /// Sets [`EventBusConfig::batch`].
        batch(batch: BatchConfig) => config.batch = batch;
        /// Sets [`LogConfig::directory`](super::LogConfig::directory); the level is then `Durable` unless set.
        directory(path: impl Into<PathBuf>) => config.log.directory = Some(path.into());
        /// Sets [`LogConfig::durability`](super::LogConfig::durability).
        durability(level: Durability) => durability = Some(level);
        /// Sets [`LogConfig::segment_bytes`](super::LogConfig::segment_bytes).
        segment_bytes(bytes: u64) => config.log.segment_bytes = bytes;
        /// Sets [`LogConfig::memory_bytes`](super::LogConfig::memory_bytes).
        memory_bytes(bytes: usize) => config.log.memory_bytes = Some(bytes);
        /// Sets [`LogConfig::retention`](super::LogConfig::retention).
        retention(policy: RetentionPolicy) => config.log.retention = Some(policy);
        /// Sets [`PlacementConfig::cores`](super::PlacementConfig::cores).
        cores(cores: Vec<usize>) => config.placement.cores = Some(cores);
        /// Sets [`PlacementConfig::excluded_cores`](super::PlacementConfig::excluded_cores).
        excluded_cores(cores: Vec<usize>) => config.placement.excluded_cores = cores;
        /// Sets [`PlacementConfig::pinned`](super::PlacementConfig::pinned).
        pinned(pinned: bool) => config.placement.pinned = pinned;
        /// Sets [`PlacementConfig::idle`](super::PlacementConfig::idle).
        idle(mode: IdleMode) => config.placement.idle = mode;
        /// Sets [`PlacementConfig::driver`](super::PlacementConfig::driver).
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
        let limits = &mut self.config.limits;
        limits.ring_buffer_capacity = self.lane_events.unwrap_or(limits.lane_bytes / LANE_BYTES_PER_EVENT);
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
