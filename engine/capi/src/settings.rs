//! The settings of a bus as JSON, or as pairs of texts. Names and ranges are those of docs/OPERATIONS.md; durations are
//! in milliseconds, and their names end in `_ms`. A setting that is not given has its default, and one that the library
//! does not know is an error.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tapeline::config::{Driver, Durability, IdleMode, RetentionPolicy};
use tapeline::{BackpressureMode, BatchConfig, EventBusConfig, ScalingPolicy};

use crate::code::tapeline_code::{TAPELINE_ARGUMENT, TAPELINE_CONFIG};
use crate::failure::Failure;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    directory: Option<PathBuf>,
    durability: Option<DurabilityName>,
    num_shards: Option<u16>,
    ring_buffer_capacity: Option<usize>,
    lane_bytes: Option<usize>,
    payload_bytes_max: Option<usize>,
    backpressure_mode: Option<ModeName>,
    memory_budget: Option<usize>,
    memory_bytes: Option<usize>,
    segment_bytes: Option<u64>,
    batch: Option<Batch>,
    retention: Option<Retention>,
    scaling: Option<Scaling>,
    placement: Option<Placement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DurabilityName {
    Memory,
    PageCache,
    Durable,
}

/// Also as the predecessor spells them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ModeName {
    #[serde(alias = "FailProducer")]
    FailProducer,
    #[serde(alias = "FailAndReport")]
    FailAndReport,
    #[serde(alias = "DropNewest")]
    DropNewest,
    #[serde(alias = "DropOldest")]
    DropOldest,
    Block {
        deadline_ms: u64,
    },
    #[serde(alias = "Sample")]
    Sample {
        rate: u32,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    min_size: Option<usize>,
    max_size: Option<usize>,
    max_delay_ms: Option<u64>,
    adaptive: Option<bool>,
    velocity_window_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retention {
    max_age_ms: Option<u64>,
    max_bytes: Option<u64>,
    max_segments: Option<usize>,
    keep_for_cursors: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scaling {
    min_shards: Option<u16>,
    max_shards: Option<u16>,
    auto_scale: Option<bool>,
    cooldown_ms: Option<u64>,
    scale_down_delay_ms: Option<u64>,
    metrics_window_ms: Option<u64>,
    push_latency_threshold_ms: Option<u64>,
    flush_latency_threshold_ms: Option<u64>,
    fill_ratio_threshold: Option<f64>,
    event_rate_threshold: Option<f64>,
    underutilized_threshold: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Placement {
    cores: Option<Vec<usize>>,
    excluded_cores: Option<Vec<usize>>,
    pinned: Option<bool>,
    idle: Option<IdleName>,
    driver: Option<DriverName>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum IdleName {
    Doze,
    BusyPoll,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DriverName {
    Auto,
    Uring,
    Blocking,
}

/// The configuration that a JSON object states.
///
/// # Errors
/// `TAPELINE_CONFIG`, which names the setting, or the place in the text.
pub(crate) fn from_json(json: &str) -> Result<EventBusConfig, Failure> {
    let settings: Settings = serde_json::from_str(json).map_err(|error| Failure::new(TAPELINE_CONFIG, error))?;
    settings.config()
}

/// The configuration that pairs of names and values state. A name of a group's setting has the group in front, as
/// `retention.max_bytes`. A value is JSON, or a text without quotes.
///
/// # Errors
/// As [`from_json`].
pub(crate) fn from_pairs<'a>(
    pairs: impl Iterator<Item = Result<(&'a str, &'a str), Failure>>,
) -> Result<EventBusConfig, Failure> {
    let mut settings = Map::new();
    for pair in pairs {
        let (name, value) = pair?;
        // A directory may have a number as its name.
        let value = match name {
            "directory" => Value::from(value),
            _ => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
        };
        let is_new = match name.split_once('.') {
            None => settings.insert(name.to_owned(), value).is_none(),
            Some((group, name)) => match settings.entry(group).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(group) => group.insert(name.to_owned(), value).is_none(),
                _ => false,
            },
        };
        if !is_new {
            return Err(Failure::new(TAPELINE_CONFIG, format_args!("{name}: is given twice")));
        }
    }
    let settings: Settings =
        serde_json::from_value(Value::Object(settings)).map_err(|error| Failure::new(TAPELINE_CONFIG, error))?;
    settings.config()
}

/// The back-pressure mode with a number of `tapeline_backpressure`, and what it needs.
///
/// # Errors
/// `TAPELINE_ARGUMENT`: there is no such mode.
pub(crate) fn mode(number: u32, deadline_ms: u64, rate: u32) -> Result<Option<BackpressureMode>, Failure> {
    Ok(Some(match number {
        0 => return Ok(None),
        1 => BackpressureMode::FailProducer,
        2 => BackpressureMode::Block { deadline: Duration::from_millis(deadline_ms) },
        3 => BackpressureMode::DropNewest,
        4 => BackpressureMode::DropOldest,
        5 => BackpressureMode::Sample { rate },
        6 => BackpressureMode::FailAndReport,
        _ => return Err(Failure::new(TAPELINE_ARGUMENT, format_args!("backpressure: there is no mode {number}"))),
    }))
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

fn set_ms(setting: &mut Duration, given: Option<u64>) {
    set(setting, given.map(Duration::from_millis));
}

impl Settings {
    fn config(self) -> Result<EventBusConfig, Failure> {
        let mut builder = EventBusConfig::builder();
        if let Some(directory) = self.directory {
            builder = builder.directory(directory);
        }
        if let Some(level) = self.durability {
            builder = builder.durability(match level {
                DurabilityName::Memory => Durability::Memory,
                DurabilityName::PageCache => Durability::PageCache,
                DurabilityName::Durable => Durability::Durable,
            });
        }
        if let Some(shards) = self.num_shards {
            builder = builder.num_shards(shards);
        }
        if let Some(events) = self.ring_buffer_capacity {
            builder = builder.ring_buffer_capacity(events);
        }
        if let Some(bytes) = self.lane_bytes {
            builder = builder.lane_bytes(bytes);
        }
        if let Some(bytes) = self.payload_bytes_max {
            builder = builder.payload_bytes_max(bytes);
        }
        if let Some(mode) = self.backpressure_mode {
            builder = builder.backpressure_mode(mode.mode());
        }
        if let Some(bytes) = self.memory_budget {
            builder = builder.memory_budget(bytes);
        }
        if let Some(bytes) = self.memory_bytes {
            builder = builder.memory_bytes(bytes);
        }
        if let Some(bytes) = self.segment_bytes {
            builder = builder.segment_bytes(bytes);
        }
        if let Some(batch) = self.batch {
            builder = builder.batch(batch.config());
        }
        if let Some(retention) = self.retention {
            builder = builder.retention(retention.policy());
        }
        if let Some(scaling) = self.scaling {
            builder = builder.scaling(scaling.policy());
        }
        if let Some(placement) = self.placement {
            builder = placement.apply(builder);
        }
        Ok(builder.build()?)
    }
}

impl ModeName {
    fn mode(self) -> BackpressureMode {
        match self {
            Self::FailProducer => BackpressureMode::FailProducer,
            Self::FailAndReport => BackpressureMode::FailAndReport,
            Self::DropNewest => BackpressureMode::DropNewest,
            Self::DropOldest => BackpressureMode::DropOldest,
            Self::Block { deadline_ms } => BackpressureMode::Block { deadline: Duration::from_millis(deadline_ms) },
            Self::Sample { rate } => BackpressureMode::Sample { rate },
        }
    }
}

impl Batch {
    fn config(self) -> BatchConfig {
        let mut config = BatchConfig::default();
        set(&mut config.min_size, self.min_size);
        set(&mut config.max_size, self.max_size);
        set_ms(&mut config.max_delay, self.max_delay_ms);
        set(&mut config.adaptive, self.adaptive);
        set_ms(&mut config.velocity_window, self.velocity_window_ms);
        config
    }
}

impl Retention {
    fn policy(self) -> RetentionPolicy {
        let mut policy = RetentionPolicy::new();
        policy.max_age = self.max_age_ms.map(Duration::from_millis);
        policy.max_bytes = self.max_bytes;
        policy.max_segments = self.max_segments;
        set(&mut policy.keep_for_cursors, self.keep_for_cursors);
        policy
    }
}

impl Scaling {
    fn policy(self) -> ScalingPolicy {
        let mut policy = ScalingPolicy::default();
        set(&mut policy.min_shards, self.min_shards);
        set(&mut policy.max_shards, self.max_shards);
        set(&mut policy.auto_scale, self.auto_scale);
        set_ms(&mut policy.cooldown, self.cooldown_ms);
        set_ms(&mut policy.scale_down_delay, self.scale_down_delay_ms);
        set_ms(&mut policy.metrics_window, self.metrics_window_ms);
        set_ms(&mut policy.push_latency_threshold, self.push_latency_threshold_ms);
        set_ms(&mut policy.flush_latency_threshold, self.flush_latency_threshold_ms);
        set(&mut policy.fill_ratio_threshold, self.fill_ratio_threshold);
        set(&mut policy.event_rate_threshold, self.event_rate_threshold);
        set(&mut policy.underutilized_threshold, self.underutilized_threshold);
        policy
    }
}

impl Placement {
    fn apply(self, mut builder: tapeline::EventBusConfigBuilder) -> tapeline::EventBusConfigBuilder {
        if let Some(cores) = self.cores {
            builder = builder.cores(cores);
        }
        if let Some(cores) = self.excluded_cores {
            builder = builder.excluded_cores(cores);
        }
        if let Some(pinned) = self.pinned {
            builder = builder.pinned(pinned);
        }
        if let Some(idle) = self.idle {
            builder = builder.idle(match idle {
                IdleName::Doze => IdleMode::Doze,
                IdleName::BusyPoll => IdleMode::BusyPoll,
            });
        }
        if let Some(driver) = self.driver {
            builder = builder.driver(match driver {
                DriverName::Auto => Driver::Auto,
                DriverName::Uring => Driver::Uring,
                DriverName::Blocking => Driver::Blocking,
            });
        }
        builder
    }
}
