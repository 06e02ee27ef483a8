//! Reports of a bus and its log about themselves.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use tapeline::consumer::Drops;
use tapeline::error::Refusals;
use tapeline::event::{self, SessionState};
use tapeline::log::Cut;
use tapeline::{EventBusStats, consumer, shard};

use crate::event::SessionId;

/// Numbers of a bus since it was opened.
#[pyclass(frozen, get_all, module = "tapeline")]
#[derive(Debug)]
pub(crate) struct Stats {
    /// Events taken over.
    events_ingested: u64,
    /// Events that the bus did not take.
    events_refused: u64,
    /// The same by reason.
    refusals: BTreeMap<&'static str, u64>,
    /// Events dropped, which readers get gaps for.
    events_dropped: u64,
    /// The same by reason.
    drops: BTreeMap<&'static str, u64>,
    /// Events that are not in the log yet.
    events_in_lanes: u64,
    /// Events in the log.
    events_appended: u64,
    /// Events acknowledged at the log's level.
    events_durable: u64,
    /// Records of the bus itself in the log.
    notes: u64,
    /// The age of the oldest event that is not durable, in seconds.
    oldest_not_durable: Option<f64>,
    /// Bytes of memory that lanes and blocks take.
    memory_bytes: u64,
    /// Most bytes that they may take.
    memory_budget: u64,
}

impl From<EventBusStats> for Stats {
    fn from(stats: EventBusStats) -> Self {
        Self {
            events_ingested: stats.events_ingested,
            events_refused: stats.refusals.total(),
            refusals: refusals(stats.refusals),
            events_dropped: stats.drops.total(),
            drops: drops(stats.drops),
            events_in_lanes: stats.lanes.events,
            events_appended: stats.events_appended,
            events_durable: stats.events_durable,
            notes: stats.notes,
            oldest_not_durable: stats.oldest_not_durable.map(|age| age.as_secs_f64()),
            memory_bytes: stats.memory.bytes,
            memory_budget: stats.memory.budget,
        }
    }
}

fn refusals(refusals: Refusals) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("backpressure", refusals.backpressure),
        ("memory", refusals.memory),
        ("no-shard", refusals.no_shard),
        ("poisoned", refusals.poisoned),
        ("session-closed", refusals.session_closed),
        ("shutting-down", refusals.shutting_down),
        ("storage-full", refusals.storage_full),
    ])
}

fn drops(drops: Drops) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([("drop-newest", drops.newest), ("drop-oldest", drops.oldest), ("sampled", drops.sampled)])
}

#[pymethods]
impl Stats {
    fn __repr__(&self) -> String {
        format!("<tapeline.{self:?}>")
    }
}

/// The contents of a log of one session, in numbers.
#[pyclass(frozen, get_all, module = "tapeline")]
#[derive(Debug)]
pub(crate) struct SessionSummary {
    /// Its identity.
    id: SessionId,
    /// Its name, if it was opened with one.
    name: Option<String>,
    /// `open`, `closed`, or `cut-off` by a crash.
    state: &'static str,
    /// `finished`, `failed`, `stopped` or `timed_out`, if it was closed with an outcome.
    outcome: Option<&'static str>,
    /// The number of its events.
    events: u64,
    /// Bytes of their payloads.
    bytes: u64,
    /// The time of the first, in nanoseconds since the Unix epoch.
    first_insertion_ts: u64,
    /// The time of the last.
    last_insertion_ts: u64,
    /// The model that it was opened with.
    model: Option<String>,
    /// The user that it was opened for.
    user: Option<String>,
    /// The media type of its payloads.
    content_type: Option<String>,
    /// The capabilities of its source.
    tags: Vec<String>,
    /// Its labels. What a consumer of its events needs is the label `requires`.
    labels: BTreeMap<String, String>,
}

impl From<event::SessionSummary> for SessionSummary {
    fn from(summary: event::SessionSummary) -> Self {
        let (state, outcome) = match summary.state {
            SessionState::Closed { outcome } => ("closed", outcome.map(event::SessionOutcome::as_str)),
            SessionState::CutOff => ("cut-off", None),
            _ => ("open", None),
        };
        Self {
            id: SessionId(summary.session),
            name: summary.name,
            state,
            outcome,
            events: summary.events,
            bytes: summary.bytes,
            first_insertion_ts: summary.first_insertion_ts,
            last_insertion_ts: summary.last_insertion_ts,
            model: summary.metadata.model,
            user: summary.metadata.user,
            content_type: summary.metadata.content_type,
            tags: summary.metadata.tags.iter().map(ToString::to_string).collect(),
            labels: summary.metadata.labels,
        }
    }
}

#[pymethods]
impl SessionSummary {
    fn __repr__(&self) -> String {
        format!("<tapeline.{self:?}>")
    }
}

/// Numbers of one shard, and what its log met.
#[pyclass(frozen, get_all, module = "tapeline")]
#[derive(Debug)]
pub(crate) struct ShardStats {
    /// The shard.
    shard: u16,
    /// True if it takes new sessions.
    is_active: bool,
    /// The core that it is pinned to.
    core: Option<usize>,
    /// The driver of its log: `uring`, `blocking` or `memory`.
    device: &'static str,
    /// True if it waits for space on its disk.
    is_full: bool,
    /// The error that ended its writing.
    poison: Option<String>,
    /// The operations that the kernel refuses it.
    troubles: Vec<String>,
    /// In what it runs otherwise than it was asked to.
    notes: Vec<String>,
    /// Bytes at the end of its log that were never acknowledged, which the opening cut off.
    cuts: Vec<String>,
}

impl From<shard::ShardStats> for ShardStats {
    fn from(stats: shard::ShardStats) -> Self {
        let cut = |cut: &Cut| format!("{} at {}, sequence {}: {}", cut.segment, cut.offset, cut.sequence, cut.reason);
        Self {
            shard: stats.shard_id,
            is_active: stats.is_active,
            core: stats.host.core,
            device: stats.host.device,
            is_full: stats.health.is_full,
            poison: stats.health.poison.map(|poison| poison.to_string()),
            troubles: stats.health.troubles.iter().map(ToString::to_string).collect(),
            notes: stats.host.notes,
            cuts: stats.cuts.iter().map(cut).collect(),
        }
    }
}

#[pymethods]
impl ShardStats {
    fn __repr__(&self) -> String {
        format!("<tapeline.{self:?}>")
    }
}

/// A cursor that a log keeps under a name.
#[pyclass(frozen, get_all, module = "tapeline")]
#[derive(Debug)]
pub(crate) struct NamedCursor {
    /// Its name.
    name: String,
    /// The place.
    cursor: String,
    /// Events after it.
    lag_events: u64,
    /// Bytes after it.
    lag_bytes: u64,
    /// Seconds from it to the newest event.
    lag: f64,
    /// The reason for which it cannot be used, if it cannot.
    fault: Option<String>,
}

impl From<consumer::NamedCursor> for NamedCursor {
    fn from(named: consumer::NamedCursor) -> Self {
        Self {
            name: named.name,
            cursor: named.cursor,
            lag_events: named.lag_events,
            lag_bytes: named.lag_bytes,
            lag: named.lag.as_secs_f64(),
            fault: named.fault,
        }
    }
}

#[pymethods]
impl NamedCursor {
    fn __repr__(&self) -> String {
        format!("<tapeline.{self:?}>")
    }
}
