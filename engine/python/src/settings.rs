//! The settings of a bus, as keyword arguments of `tapeline.open`.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use tapeline::config::{Durability, RetentionPolicy};
use tapeline::{BackpressureMode, EventBusConfig};

use crate::failure::Failure;

/// As the package's `open` gives them: it has the defaults, and says what each one means.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Settings {
    directory: Option<PathBuf>,
    shards: u16,
    durability: Option<String>,
    backpressure: String,
    block_seconds: f64,
    sample_rate: u32,
    lane_bytes: Option<usize>,
    memory_bytes: Option<usize>,
    memory_budget: Option<usize>,
    segment_bytes: Option<u64>,
    keep_seconds: Option<f64>,
    keep_bytes: Option<u64>,
    pinned: bool,
}

impl Settings {
    /// Returns whether a call that ingests may wait.
    pub(crate) fn may_wait(&self) -> bool {
        self.backpressure == "block"
    }

    /// # Errors
    /// A setting that cannot work.
    pub(crate) fn config(self) -> Result<EventBusConfig, Failure> {
        let mode = self.mode()?;
        let retention = self.retention()?;
        let mut builder = EventBusConfig::builder().num_shards(self.shards).pinned(self.pinned).backpressure_mode(mode);
        if let Some(directory) = self.directory {
            builder = builder.directory(directory);
        }
        if let Some(level) = self.durability {
            builder = builder.durability(durability(&level)?);
        }
        if let Some(bytes) = self.lane_bytes {
            builder = builder.lane_bytes(bytes);
        }
        if let Some(bytes) = self.memory_bytes {
            builder = builder.memory_bytes(bytes);
        }
        if let Some(bytes) = self.memory_budget {
            builder = builder.memory_budget(bytes);
        }
        if let Some(bytes) = self.segment_bytes {
            builder = builder.segment_bytes(bytes);
        }
        if let Some(policy) = retention {
            builder = builder.retention(policy);
        }
        Ok(builder.build()?)
    }

    fn mode(&self) -> Result<BackpressureMode, Failure> {
        Ok(match self.backpressure.as_str() {
            "fail" => BackpressureMode::FailProducer,
            "fail-and-report" => BackpressureMode::FailAndReport,
            "block" => BackpressureMode::Block { deadline: seconds("block_seconds", self.block_seconds)? },
            "drop-newest" => BackpressureMode::DropNewest,
            "drop-oldest" => BackpressureMode::DropOldest,
            "sample" => BackpressureMode::Sample { rate: self.sample_rate },
            other => {
                let modes = "fail, fail-and-report, block, drop-newest, drop-oldest or sample";
                return Err(Failure::argument(format!("backpressure is {other:?}; one of {modes}")));
            }
        })
    }

    fn retention(&self) -> Result<Option<RetentionPolicy>, Failure> {
        if self.keep_seconds.is_none() && self.keep_bytes.is_none() {
            return Ok(None);
        }
        let mut policy = RetentionPolicy::new();
        if let Some(age) = self.keep_seconds {
            policy = policy.max_age(seconds("keep_seconds", age)?);
        }
        if let Some(bytes) = self.keep_bytes {
            policy = policy.max_bytes(bytes);
        }
        Ok(Some(policy))
    }
}

fn durability(level: &str) -> Result<Durability, Failure> {
    match level {
        "durable" => Ok(Durability::Durable),
        "page-cache" => Ok(Durability::PageCache),
        "memory" => Ok(Durability::Memory),
        other => Err(Failure::argument(format!("durability is {other:?}; one of durable, page-cache or memory"))),
    }
}

/// A time in seconds.
///
/// # Errors
/// A number that is no time: below 0, not finite, or too large.
pub(crate) fn seconds(name: &str, number: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(number).map_err(|error| Failure::argument(format!("{name} is {number}: {error}")))
}
