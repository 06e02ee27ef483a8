//! The settings of a bus as JSON, or as pairs of texts. Names and ranges are those of docs/OPERATIONS.md; durations are
//! in milliseconds, and their names end in `_ms`. A setting that is not given has its default, and one that the library
//! does not know is an error.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use tapeline::config::{Driver, Durability, IdleMode, RetentionPolicy};
use tapeline::{BackpressureMode, BatchConfig, EventBusConfig, EventBusConfigBuilder as Builder, ScalingPolicy};

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

/// The builder with this setting, if it is given.
fn with<T>(builder: Builder, given: Option<T>, set: impl FnOnce(Builder, T) -> Builder) -> Builder {
    match given {
        Some(given) => set(builder, given),
        None => builder,
    }
}

impl Settings {
    fn config(self) -> Result<EventBusConfig, Failure> {
        let builder = with(EventBusConfig::builder(), self.directory, |builder, path| builder.directory(path));
        let builder = with(builder, self.durability, |builder, level| builder.durability(level.level()));
        let builder = with(builder, self.num_shards, Builder::num_shards);
        let builder = with(builder, self.ring_buffer_capacity, Builder::ring_buffer_capacity);
        let builder = with(builder, self.lane_bytes, Builder::lane_bytes);
        let builder = with(builder, self.payload_bytes_max, Builder::payload_bytes_max);
        let builder = with(builder, self.backpressure_mode, |builder, mode| builder.backpressure_mode(mode.mode()));
        let builder = with(builder, self.memory_budget, Builder::memory_budget);
        let builder = with(builder, self.memory_bytes, Builder::memory_bytes);
        let builder = with(builder, self.segment_bytes, Builder::segment_bytes);
        let builder = with(builder, self.batch, |builder, batch| builder.batch(batch.config()));
        let builder = with(builder, self.retention, |builder, retention| builder.retention(retention.policy()));
        let builder = with(builder, self.scaling, |builder, scaling| builder.scaling(scaling.policy()));
        let builder = with(builder, self.placement, |builder, placement| placement.apply(builder));
        Ok(builder.build()?)
    }
}

impl DurabilityName {
    fn level(self) -> Durability {
        match self {
            Self::Memory => Durability::Memory,
            Self::PageCache => Durability::PageCache,
            Self::Durable => Durability::Durable,
        }
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
        set_ms(&mut policy.overload.push_latency_threshold, self.push_latency_threshold_ms);
        set_ms(&mut policy.overload.flush_latency_threshold, self.flush_latency_threshold_ms);
        set(&mut policy.fill_ratio_threshold, self.fill_ratio_threshold);
        set(&mut policy.overload.event_rate_threshold, self.event_rate_threshold);
        set(&mut policy.underutilized_threshold, self.underutilized_threshold);
        policy
    }
}

impl Placement {
    fn apply(self, builder: Builder) -> Builder {
        let builder = with(builder, self.cores, Builder::cores);
        let builder = with(builder, self.excluded_cores, Builder::excluded_cores);
        let builder = with(builder, self.pinned, Builder::pinned);
        let builder = with(builder, self.idle, |builder, idle| builder.idle(idle.mode()));
        with(builder, self.driver, |builder, driver| builder.driver(driver.driver()))
    }
}

impl IdleName {
    fn mode(self) -> IdleMode {
        match self {
            Self::Doze => IdleMode::Doze,
            Self::BusyPoll => IdleMode::BusyPoll,
        }
    }
}

impl DriverName {
    fn driver(self) -> Driver {
        match self {
            Self::Auto => Driver::Auto,
            Self::Uring => Driver::Uring,
            Self::Blocking => Driver::Blocking,
        }
    }
}
