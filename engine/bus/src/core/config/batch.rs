//! The size of batches.

use std::time::Duration;

use tapeline_reader::ConfigError;
use tapeline_storage::log::BatchOptions;

/// Most events that a batch may be set to hold.
pub const MAX_BATCH_SIZE_LIMIT: usize = 1_000_000;

/// The number of events that make a batch, and the time for which the first of them waits for others. Governs the
/// blocks of the log, and what [`EventBus::batches`](crate::EventBus::batches) hands out.
///
/// A batch ends with as many events as come within `max_delay` at the present rate, at least `min_size` and at most
/// `max_size`, or when its first event is `max_delay` old. A block is also written at once when a caller waits for it
/// and nothing is on its way to the disk; a batch is handed out at once when there has been none for `max_delay`.
///
/// ```
/// use std::time::Duration;
/// use tapeline::{BatchConfig, EventBusConfig};
///
/// let batch = BatchConfig { max_delay: Duration::from_millis(2), ..BatchConfig::low_latency() };
/// let config = EventBusConfig::builder().batch(batch).build()?;
/// assert_eq!(config.batch.max_delay.as_millis(), 2);
/// # Ok::<(), tapeline::ConfigError>(())
/// ```
///
/// # Presets
#[doc = include_str!("batch_presets.md")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    /// Fewest events that end a batch before its time. From 1. Default 1,000.
    pub min_size: usize,
    /// Most events that a batch holds: `min_size` to [`MAX_BATCH_SIZE_LIMIT`]. Default 10,000.
    pub max_size: usize,
    /// The longest time for which the first event of a batch waits for others. Default 10 ms.
    pub max_delay: Duration,
    /// True if the size follows the rate. Otherwise `max_size` events end a batch, or its time. Default `true`.
    pub adaptive: bool,
    /// The time over which the rate is measured. Default 100 ms.
    pub velocity_window: Duration,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            min_size: 1_000,
            max_size: 10_000,
            max_delay: Duration::from_millis(10),
            adaptive: true,
            velocity_window: Duration::from_millis(100),
        }
    }
}

impl BatchConfig {
    /// Same as [`MAX_BATCH_SIZE_LIMIT`](crate::config::MAX_BATCH_SIZE_LIMIT).
    pub const MAX_BATCH_SIZE_LIMIT: usize = MAX_BATCH_SIZE_LIMIT;

    /// Large batches. [`BatchConfig`] has a table of what it sets.
    pub fn high_throughput() -> Self {
        Self {
            min_size: 5_000,
            max_size: 50_000,
            max_delay: Duration::from_millis(5),
            velocity_window: Duration::from_millis(50),
            ..Self::default()
        }
    }

    /// Small batches, soon. [`BatchConfig`] has a table of what it sets.
    pub fn low_latency() -> Self {
        Self {
            min_size: 100,
            max_size: 1_000,
            max_delay: Duration::from_millis(1),
            velocity_window: Duration::from_millis(20),
            ..Self::default()
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError::InvalidValue`] with the setting, its value and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self { min_size, max_size, max_delay, adaptive, velocity_window } = self;
        let rules = [
            (*min_size > 0, "min_size is 0; at least 1".to_owned()),
            (
                (*min_size..=MAX_BATCH_SIZE_LIMIT).contains(max_size),
                format!("max_size is {max_size}; from min_size, {min_size}, to {MAX_BATCH_SIZE_LIMIT}"),
            ),
            (!max_delay.is_zero(), "max_delay is 0; more than that".to_owned()),
            (!adaptive || !velocity_window.is_zero(), "velocity_window is 0; more than that".to_owned()),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(ConfigError::InvalidValue(broken)),
            None => Ok(()),
        }
    }

    pub(crate) fn options(&self) -> BatchOptions {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        BatchOptions {
            events_min: self.min_size,
            events_max: self.max_size,
            delay_ns: nanos(self.max_delay),
            window_ns: self.adaptive.then(|| nanos(self.velocity_window)),
        }
    }
}
