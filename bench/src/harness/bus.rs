//! Buses as the scenarios open them.

use std::path::Path;
use std::time::Duration;

use tapeline::config::Durability;
use tapeline::{BackpressureMode, EventBus, EventBusConfig, EventBusConfigBuilder, EventBusStats};
use tapeline_storage::format::{archived_bytes, column_bytes};

use super::Outcome;
use super::cores::Cores;
use super::report::Report;
use super::wait::block_on;

/// Longest wait for room in a lane. A disk that needs longer for a few MiB fails the run.
const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration with shards on their cores and producers that wait for room; `directory` is used by levels that
/// write.
pub(crate) fn config(level: Durability, directory: &Path, cores: &Cores) -> EventBusConfigBuilder {
    let builder = EventBusConfig::builder()
        .num_shards(u16::try_from(cores.shards.len()).unwrap_or(u16::MAX))
        .cores(cores.shards.clone())
        .backpressure_mode(BackpressureMode::Block { deadline: PATIENCE })
        .durability(level);
    match level {
        Durability::Memory => builder,
        _ => builder.directory(directory.join("log")),
    }
}

/// Opens a bus.
pub(crate) fn open(builder: EventBusConfigBuilder) -> Outcome<EventBus> {
    Ok(block_on(EventBus::new(builder.build()?))?)
}

/// Ends a bus, and says if that failed.
pub(crate) fn close(bus: EventBus) -> Outcome<()> {
    Ok(block_on(bus.shutdown())?)
}

/// Ends a bus once everything is durable, and says if the books did not add up then. Returns the books.
pub(crate) fn close_balanced(bus: EventBus) -> Outcome<EventBusStats> {
    block_on(bus.flush())?;
    let stats = bus.stats();
    if !stats.is_balanced() {
        return Err(format!("the books do not add up: {stats:?}").into());
    }
    close(bus)?;
    Ok(stats)
}

/// Adds what runs the first shard to the parameters of `report`, and why where that is a fallback.
pub(crate) fn describe(report: Report, bus: &EventBus) -> Report {
    let Some(shard) = bus.shard_stats().into_iter().next() else { return report };
    let report = report.param("device", shard.host.device);
    if shard.host.notes.is_empty() { report } else { report.param("notes", shard.host.notes.join("; ")) }
}

/// Bytes that an event of `payload` bytes takes in a block: its archive and its entry in the length column.
pub(crate) fn logged_bytes(payload: usize) -> usize {
    archived_bytes(payload) + column_bytes(1)
}
