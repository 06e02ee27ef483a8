//! What a bus's producers and consumers share of it: its shards and a few settings. Holds no thread and no file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tapeline_storage::format::LogId;
use tapeline_storage::log::LogView;

use crate::config::{BackpressureMode, EventBusConfig};
use crate::error::{AdapterError, AdapterResult, IngestionError, IngestionResult};
use crate::lane::LaneOptions;
use crate::producer::fork;
use crate::shard::ShardControl;

/// Shared parts of one bus.
#[derive(Debug)]
pub(crate) struct BusParts {
    log_id: LogId,
    shards: Vec<Arc<ShardControl>>,
    /// Shards of earlier configurations, for reading.
    archived: Vec<Arc<LogView>>,
    lane_options: LaneOptions,
    backpressure_mode: BackpressureMode,
    /// Timestamps go on above what is in the log already.
    timestamp_floor: u64,
    fork_generation: u32,
    homes: AtomicUsize,
    is_closed: AtomicBool,
}

impl BusParts {
    pub(crate) fn new(
        log_id: LogId,
        shards: Vec<Arc<ShardControl>>,
        archived: Vec<Arc<LogView>>,
        config: &EventBusConfig,
        timestamp_floor: u64,
    ) -> Self {
        fork::watch();
        Self {
            log_id,
            shards,
            archived,
            lane_options: LaneOptions {
                capacity_bytes: config.lane_bytes,
                capacity_events: config.ring_buffer_capacity,
            },
            backpressure_mode: config.backpressure_mode,
            timestamp_floor,
            fork_generation: fork::generation(),
            homes: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.log_id
    }

    pub(crate) fn shards(&self) -> &[Arc<ShardControl>] {
        &self.shards
    }

    /// What readers see: the shards', then the archived ones.
    pub(crate) fn views(&self) -> impl Iterator<Item = Arc<LogView>> {
        self.shards.iter().map(|shard| shard.view()).chain(&self.archived).cloned()
    }

    pub(crate) fn lane_options(&self) -> LaneOptions {
        self.lane_options
    }

    pub(crate) fn backpressure_mode(&self) -> BackpressureMode {
        self.backpressure_mode
    }

    pub(crate) fn timestamp_floor(&self) -> u64 {
        self.timestamp_floor
    }

    #[inline]
    pub(crate) fn fork_generation(&self) -> u32 {
        self.fork_generation
    }

    /// The shard that the next producer's events without a session go to: each in turn.
    pub(crate) fn next_home(&self) -> u16 {
        (self.homes.fetch_add(1, Ordering::Relaxed) % self.shards.len().max(1)) as u16
    }

    /// Ends ingestion. Returns whether it was open before.
    pub(crate) fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(crate) fn is_forked(&self) -> bool {
        fork::generation() != self.fork_generation
    }

    pub(crate) fn check_open(&self) -> IngestionResult<()> {
        match (self.is_forked(), self.is_closed()) {
            (true, _) => Err(IngestionError::Forked),
            (_, true) => Err(IngestionError::ShuttingDown),
            _ => Ok(()),
        }
    }

    /// Locks of the parent may be held for ever in a forked child: nothing that waits may be called there.
    pub(crate) fn check_fork(&self) -> AdapterResult<()> {
        if self.is_forked() { Err(AdapterError::Forked) } else { Ok(()) }
    }
}
