//! The policy by which shards come and go.

use std::time::Duration;

use tapeline_reader::ConfigError;

/// The number of shards that take events, and the rules by which it changes. Overload in more than half of the shards
/// adds some; none of them needed for long enough takes one away; between the two nothing happens.
///
/// ```
/// use tapeline::{EventBusConfig, ScalingPolicy};
///
/// let policy = ScalingPolicy { max_shards: 4, ..ScalingPolicy::high_throughput(8) };
/// let config = EventBusConfig::builder().scaling(policy).build()?;
/// assert_eq!(config.scaling.unwrap().max_shards, 4);
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
///
/// # Presets
/// Those for 8 cores; with fewer, `min_shards` and `max_shards` are no more than the cores.
///
#[doc = include_str!("scaling_presets.md")]
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingPolicy {
    /// A shard whose fullest lane is fuller than this is overloaded: above 0, up to 1. Default 0.7.
    pub fill_ratio_threshold: f64,
    /// The other thresholds above which a shard is overloaded.
    pub overload: OverloadThresholds,
    /// Fewest shards. Default 1.
    pub min_shards: u16,
    /// Most shards. Default: the cores that the process may use.
    pub max_shards: u16,
    /// The time after a change in which nothing changes. Default 1 s.
    pub cooldown: Duration,
    /// The time for which shards are underutilized before one goes. Default 10 s.
    pub scale_down_delay: Duration,
    /// A shard whose fullest lane is emptier than this is underutilized, if the others could take its events at half of
    /// `event_rate_threshold` each: from 0, below `fill_ratio_threshold`. Default 0.1.
    pub underutilized_threshold: f64,
    /// The time over which is averaged, and after which is decided again. Default 100 ms.
    pub metrics_window: Duration,
    /// True if shards come and go by themselves. Otherwise by
    /// [`EventBus::manual_scale_up`](crate::EventBus::manual_scale_up) alone. Default `true`.
    pub auto_scale: bool,
}

/// Thresholds above which a shard is overloaded, beside the fill of its lanes.
///
/// ```
/// use std::time::Duration;
/// use tapeline::{ScalingPolicy, config::OverloadThresholds};
///
/// let mut patient = OverloadThresholds::default();
/// patient.flush_latency_threshold = Duration::from_secs(1);
/// let policy = ScalingPolicy { overload: patient, ..ScalingPolicy::default() };
/// assert_eq!(policy.overload.push_latency_threshold, Duration::from_millis(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverloadThresholds {
    /// A shard that leaves events in their lanes for longer than this, on average, is overloaded. Default 5 ms.
    pub push_latency_threshold: Duration,
    /// A shard whose blocks take longer than this from their first event until they are acknowledged, on average, is
    /// overloaded. Default 50 ms: more than `max_delay` of its batches, which every block may wait.
    pub flush_latency_threshold: Duration,
    /// A shard that takes more events a second than this is overloaded. Default 5 million.
    pub event_rate_threshold: f64,
}

impl Default for OverloadThresholds {
    fn default() -> Self {
        Self {
            push_latency_threshold: Duration::from_millis(5),
            flush_latency_threshold: Duration::from_millis(50),
            event_rate_threshold: 5e6,
        }
    }
}

impl Default for ScalingPolicy {
    fn default() -> Self {
        Self::default_for_cpus(available_cores())
    }
}

/// Cores that the process may use.
pub(crate) fn available_cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores).unwrap_or(u16::MAX)
}

impl ScalingPolicy {
    /// The default for so many cores.
    pub fn default_for_cpus(cores: u16) -> Self {
        Self {
            fill_ratio_threshold: 0.7,
            overload: OverloadThresholds::default(),
            min_shards: 1,
            max_shards: cores.max(1),
            cooldown: Duration::from_secs(1),
            scale_down_delay: Duration::from_secs(10),
            underutilized_threshold: 0.1,
            metrics_window: Duration::from_millis(100),
            auto_scale: true,
        }
    }

    /// Grows early and shrinks late: for bursts that must not wait for a shard. [`ScalingPolicy`] has a table of what
    /// it sets.
    pub fn high_throughput(cores: u16) -> Self {
        Self {
            fill_ratio_threshold: 0.5,
            overload: OverloadThresholds {
                push_latency_threshold: Duration::from_millis(2),
                event_rate_threshold: 3e6,
                ..OverloadThresholds::default()
            },
            min_shards: cores.clamp(1, 4),
            cooldown: Duration::from_millis(500),
            scale_down_delay: Duration::from_secs(30),
            underutilized_threshold: 0.05,
            metrics_window: Duration::from_millis(50),
            ..Self::default_for_cpus(cores.max(1))
        }
    }

    /// Grows late and shrinks late: for cores that others need. [`ScalingPolicy`] has a table of what it sets.
    pub fn conservative(cores: u16) -> Self {
        Self {
            fill_ratio_threshold: 0.9,
            overload: OverloadThresholds {
                push_latency_threshold: Duration::from_millis(20),
                flush_latency_threshold: Duration::from_millis(200),
                event_rate_threshold: 10e6,
            },
            cooldown: Duration::from_secs(5),
            scale_down_delay: Duration::from_secs(60),
            underutilized_threshold: 0.05,
            metrics_window: Duration::from_millis(200),
            ..Self::default_for_cpus(cores)
        }
    }

    /// The same, with `max_shards` not below `min_shards`.
    #[must_use]
    pub fn normalize(mut self) -> Self {
        self.max_shards = self.max_shards.max(self.min_shards);
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError::InvalidValue`] with the setting, its value and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (fill, under) = (self.fill_ratio_threshold, self.underutilized_threshold);
        let (min, max) = (self.min_shards, self.max_shards);
        check_all([
            (fill > 0.0 && fill <= 1.0, format!("fill_ratio_threshold is {fill}; above 0, up to 1")),
            (
                (0.0..fill).contains(&under),
                format!("underutilized_threshold is {under}; from 0, below fill_ratio_threshold, {fill}"),
            ),
            (min > 0, "min_shards is 0; at least 1".to_owned()),
            (max >= min, format!("max_shards is {max}; at least min_shards, {min}")),
            (!self.cooldown.is_zero(), "cooldown is 0; more than that".to_owned()),
            (!self.scale_down_delay.is_zero(), "scale_down_delay is 0; more than that".to_owned()),
            (
                self.metrics_window >= Duration::from_millis(4),
                format!("metrics_window is {:?}; at least 4 ms", self.metrics_window),
            ),
        ])?;
        self.overload.validate()
    }
}

impl OverloadThresholds {
    fn validate(&self) -> Result<(), ConfigError> {
        let rate = self.event_rate_threshold;
        check_all([
            (!self.push_latency_threshold.is_zero(), "push_latency_threshold is 0; at least 1 ns".to_owned()),
            (!self.flush_latency_threshold.is_zero(), "flush_latency_threshold is 0; at least 1 ns".to_owned()),
            (rate > 0.0 && rate.is_finite(), format!("event_rate_threshold is {rate}; above 0, finite")),
        ])
    }
}

/// Checks rules, each with the text of the error where it does not hold.
fn check_all<const N: usize>(rules: [(bool, String); N]) -> Result<(), ConfigError> {
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, broken)) => Err(ConfigError::InvalidValue(broken)),
        None => Ok(()),
    }
}
