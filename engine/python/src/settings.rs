//! The settings of a bus, as keyword arguments of `tapeline.open`.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use tapeline::config::{Driver, Durability};
use tapeline::{BackpressureMode, EventBusConfig};

use crate::failure::Failure;
use crate::trim::Retention;

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
    payload_bytes_max: Option<usize>,
    retention: Retention,
    pinned: bool,
    cores: Option<Vec<usize>>,
    driver: String,
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
        let mut builder = EventBusConfig::builder()
            .num_shards(self.shards)
            .pinned(self.pinned)
            .driver(driver(&self.driver)?)
            .backpressure_mode(mode);
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
        if let Some(bytes) = self.payload_bytes_max {
            builder = builder.payload_bytes_max(bytes);
        }
        if self.retention.limits() {
            builder = builder.retention(self.retention.policy()?);
        }
        if let Some(cores) = self.cores {
            builder = builder.cores(cores);
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
}

fn durability(level: &str) -> Result<Durability, Failure> {
    match level {
        "durable" => Ok(Durability::Durable),
        "page-cache" => Ok(Durability::PageCache),
        "memory" => Ok(Durability::Memory),
        other => Err(Failure::argument(format!("durability is {other:?}; one of durable, page-cache or memory"))),
    }
}

fn driver(name: &str) -> Result<Driver, Failure> {
    match name {
        "auto" => Ok(Driver::Auto),
        "uring" => Ok(Driver::Uring),
        "blocking" => Ok(Driver::Blocking),
        other => Err(Failure::argument(format!("driver is {other:?}; one of auto, uring or blocking"))),
    }
}

/// A time in seconds.
///
/// # Errors
/// A number that is no time: below 0, not finite, or too large.
pub(crate) fn seconds(name: &str, number: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(number).map_err(|error| Failure::argument(format!("{name} is {number}: {error}")))
}
