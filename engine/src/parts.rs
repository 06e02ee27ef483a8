//! What a bus's producers and consumers share of it: its shards, what they know of each other, a few settings. Holds no
//! thread and no file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tapeline_storage::format::LogId;
use tapeline_storage::log::LogView;

use crate::config::{BackpressureMode, EventBusConfig};
use crate::consumer::Readers;
use crate::error::{AdapterError, AdapterResult, IngestionError, IngestionResult};
use crate::lane::LaneOptions;
use crate::producer::fork;
use crate::shard::{Reach, ShardControl};

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
    readers: Readers,
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
            readers: Readers::new(config.log.directory.as_deref()),
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

    /// The shard of this number, if it takes events.
    pub(crate) fn shard(&self, shard: u16) -> Option<&ShardControl> {
        self.shards.get(usize::from(shard)).map(|shard| &**shard)
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

    /// What consumers share.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Waits until what was ingested before is readable. A full disk or a poisoned log does not keep anybody from
    /// reading what is there.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) async fn settle(&self) -> AdapterResult<()> {
        self.check_fork()?;
        for shard in &self.shards {
            match shard.reached(&shard.barrier(), Reach::Appended).await {
                Err(AdapterError::StorageFull { .. } | AdapterError::Poisoned(_) | AdapterError::Shutdown) => {}
                outcome => outcome?,
            }
        }
        Ok(())
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
