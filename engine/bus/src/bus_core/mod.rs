//! What a bus's producers and consumers share of it: its shards, what they know of each other, a few settings. Holds no
//! thread and no file.

mod horizon;
mod readers;
mod stats;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tapeline_reader::blocking::check_may_block;
use tapeline_reader::{AdapterError, AdapterResult, fork};
use tapeline_storage::format::{Eras, LogId, Sequence};
use tapeline_storage::log::LogView;

use crate::core::budget::MemoryBudget;
use crate::core::config::{BackpressureMode, EventBusConfig};
use crate::core::error::{IngestionError, IngestionResult};
use crate::lane::{LaneOptions, Overflow};
use crate::routing::{Route, RouteInForce};
use crate::shard::{Reach, ShardControl};

use self::readers::Readers;
pub use self::stats::EventBusStats;

/// Shared parts of one bus.
#[derive(Debug)]
pub(crate) struct BusParts {
    log_id: LogId,
    /// All that were started, by number. Replaced as a whole when one comes.
    shards: RwLock<Arc<[Arc<ShardControl>]>>,
    shard_count: AtomicUsize,
    /// Shards of earlier configurations, for reading.
    archived: Vec<Arc<LogView>>,
    route: RouteInForce,
    eras: RwLock<Arc<Eras>>,
    lane_options: LaneOptions,
    backpressure_mode: BackpressureMode,
    memory: Arc<MemoryBudget>,
    /// Timestamps go on above this: what is in the log already, unless that was ahead of the clock.
    timestamp_floor: u64,
    fork_generation: u32,
    readers: Readers,
    producers: AtomicU64,
    /// Events handed back for want of a lane, in which they would count.
    refused: AtomicU64,
    is_closed: AtomicBool,
}

/// A log, as it was when its bus opened it.
#[derive(Debug, Default)]
pub(crate) struct OpenedLog {
    pub(crate) log_id: LogId,
    /// Shards of earlier configurations.
    pub(crate) archived: Vec<Arc<LogView>>,
    pub(crate) eras: Eras,
    /// Its last time, unless that is ahead of the clock.
    pub(crate) timestamp_floor: u64,
}

impl BusParts {
    pub(crate) fn new(
        config: &EventBusConfig,
        memory: Arc<MemoryBudget>,
        shards: Vec<Arc<ShardControl>>,
        log: OpenedLog,
    ) -> Self {
        fork::watch();
        let OpenedLog { log_id, archived, eras, timestamp_floor } = log;
        let route = Route::first(config.num_shards);
        shards.iter().for_each(|shard| route.enter(shard));
        Self {
            log_id,
            shard_count: AtomicUsize::new(shards.len()),
            shards: RwLock::new(shards.into()),
            archived,
            route: RouteInForce::new(route),
            eras: RwLock::new(Arc::new(eras)),
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
            refused: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.log_id
    }

    /// All shards that were started, by number. A lock and a reference count.
    pub(crate) fn shards(&self) -> Arc<[Arc<ShardControl>]> {
        Arc::clone(&self.shards.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The shard of this number, if it was started.
    pub(crate) fn shard(&self, shard: u16) -> Option<Arc<ShardControl>> {
        self.shards().get(usize::from(shard)).cloned()
    }

    /// Adds the shard of the next number. It takes events once a route leads to it.
    pub(crate) fn add_shard(&self, shard: Arc<ShardControl>) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        *shards = shards.iter().cloned().chain([shard]).collect();
        // SYNC: pairs with the Acquire load in shard_count(): a reader of events of a later route sees the shard.
        self.shard_count.store(shards.len(), Ordering::Release);
        drop(shards);
        self.readers.tell_of_shard();
    }

    /// How many shards were started. One load.
    #[inline]
    pub(crate) fn shard_count(&self) -> usize {
        self.shard_count.load(Ordering::Acquire)
    }

    /// What readers see: the shards', then the archived ones.
    pub(crate) fn views(&self) -> impl Iterator<Item = Arc<LogView>> {
        let shards: Vec<_> = self.shards().iter().map(|shard| Arc::clone(shard.view())).collect();
        shards.into_iter().chain(self.archived.iter().cloned())
    }

    /// The first sequence of a shard that this process writes: what is before is complete.
    pub(crate) fn run_start(&self, shard: u16) -> Sequence {
        self.shard(shard).map_or(Sequence::new(u64::MAX), |shard| shard.opened_at())
    }

    /// What readers see of shards of earlier configurations.
    pub(crate) fn archived(&self) -> &[Arc<LogView>] {
        &self.archived
    }

    /// Which shards take events.
    #[inline(always)]
    pub(crate) fn route(&self) -> &RouteInForce {
        &self.route
    }

    /// The eras of the log. Read after a watermark, it knows the era of everything below that.
    pub(crate) fn eras(&self) -> Arc<Eras> {
        Arc::clone(&self.eras.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has readers know of another era, before any event of it can be read.
    pub(crate) fn set_eras(&self, eras: Eras) {
        *self.eras.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(eras);
    }

    /// The lanes of producers that have no settings of their own.
    pub(crate) fn lane_options(&self) -> LaneOptions {
        self.lane_options
    }

    /// What producers that have no settings of their own do when a lane is full.
    pub(crate) fn backpressure_mode(&self) -> BackpressureMode {
        self.backpressure_mode
    }

    /// Memory of lanes and blocks.
    pub(crate) fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// What consumers share.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Waits until what was ingested before is readable. A full disk or a poisoned log does not keep a reader from
    /// reading what is there.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) async fn settle(&self) -> AdapterResult<()> {
        self.check_fork()?;
        for shard in self.shards().iter() {
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

    /// Counts events that were handed back for want of a lane.
    pub(crate) fn count_refused(&self, events: u64) {
        self.refused.fetch_add(events, Ordering::Relaxed);
    }

    /// Events that were handed back for want of a lane.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
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

    /// Refuses a call that waits for the threads of the bus on one of them.
    ///
    /// # Errors
    /// [`AdapterError::OnShard`].
    pub(crate) fn check_may_wait(&self, call: &'static str) -> AdapterResult<()> {
        check_may_block(call)?;
        match self.shards().iter().any(|shard| shard.tasks().is_here()) {
            true => Err(AdapterError::OnShard { call }),
            false => Ok(()),
        }
    }

    /// In a forked child: the threads of tasks are the parent's, and so may be the locks of their lists.
    pub(crate) fn forget_threads(self: &Arc<Self>) {
        let is_done = self.shards.try_read().is_ok_and(|shards| {
            // Each of them, whatever becomes of the others.
            shards.iter().filter(|shard| !shard.tasks().forget_thread()).count() == 0
        });
        if !is_done {
            std::mem::forget(Arc::clone(self));
        }
    }

    /// Locks of the parent may be held for ever in a forked child: nothing that waits may be called there.
    pub(crate) fn check_fork(&self) -> AdapterResult<()> {
        if self.is_forked() { Err(AdapterError::Forked) } else { Ok(()) }
    }
}
