//! What a bus's producers and consumers share of it: its shards, what they know of each other, a few settings. Holds no
//! thread and no file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tapeline_storage::format::LogId;
use tapeline_storage::log::LogView;

use crate::budget::MemoryBudget;
use crate::config::{BackpressureMode, EventBusConfig};
use crate::consumer::Readers;
use crate::error::{AdapterError, AdapterResult, ConfigError, IngestionError, IngestionResult};
use crate::lane::{LaneOptions, Overflow};
use crate::producer::{ProducerOptions, fork};
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
    memory: Arc<MemoryBudget>,
    /// Timestamps go on above what is in the log already.
    timestamp_floor: u64,
    fork_generation: u32,
    readers: Readers,
    producers: AtomicU64,
    is_closed: AtomicBool,
}

impl BusParts {
    pub(crate) fn new(
        log_id: LogId,
        shards: Vec<Arc<ShardControl>>,
        archived: Vec<Arc<LogView>>,
        config: &EventBusConfig,
        memory: Arc<MemoryBudget>,
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
                overflow: Overflow::Refuse,
            },
            backpressure_mode: config.backpressure_mode,
            memory,
            timestamp_floor,
            fork_generation: fork::generation(),
            readers: Readers::new(config.log.directory.as_deref()),
            producers: AtomicU64::new(0),
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

    /// Size of the lanes of a producer.
    ///
    /// # Errors
    /// A size that is out of range.
    pub(crate) fn lane_options(
        &self,
        options: ProducerOptions,
        overflow: Overflow,
    ) -> Result<LaneOptions, ConfigError> {
        let mut lane = LaneOptions { overflow, ..self.lane_options };
        if let Some(bytes) = options.lane_bytes {
            if !(bytes.is_power_of_two() && (64 << 10..=1 << 40).contains(&bytes)) {
                let broken = format!("lane_bytes of the producer is {bytes}; a power of two from 64 KiB to 1 TiB");
                return Err(ConfigError::InvalidValue(broken));
            }
            let bytes_per_event = lane.capacity_bytes / lane.capacity_events;
            lane.capacity_bytes = bytes;
            lane.capacity_events = bytes / bytes_per_event;
        }
        Ok(lane)
    }

    /// What a producer does when a lane is full.
    ///
    /// # Errors
    /// A mode whose setting is out of range.
    pub(crate) fn backpressure_mode(&self, options: ProducerOptions) -> Result<BackpressureMode, ConfigError> {
        let mode = options.backpressure_mode.unwrap_or(self.backpressure_mode);
        mode.validate().map(|()| mode)
    }

    /// Memory of lanes and blocks.
    pub(crate) fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
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

    /// Number of the next producer.
    pub(crate) fn next_producer(&self) -> u64 {
        self.producers.fetch_add(1, Ordering::Relaxed)
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
