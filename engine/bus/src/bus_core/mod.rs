//! The bus core: what a bus, its producers and its consumers share of it. Holds no file, and no thread but those that
//! read for consumers.
//!
//! `shards` are the shards there are, `producers` and `readers` what each kind of user shares, `horizon` the time below
//! which every event is readable, `named` the consumers that have a name (`daemons`, `assignments`, which daemon has
//! which session, `relays`, and `taps`, the cursors published with batches), `names` those of sessions, `routes` where
//! sessions go and went, `gate` whether events are taken, `closed` the sessions that take none, `loading` the threads
//! that read files, `stats` the books. [`BusCore`] has only the calls that need several of them.

mod assignments;
mod closed;
mod daemons;
mod gate;
mod horizon;
mod loading;
mod metrics;
mod named;
mod names;
mod producers;
mod readers;
mod relays;
mod routes;
mod shards;
mod stats;
mod taps;

use std::sync::Arc;

use tapeline_reader::blocking::check_may_block;
use tapeline_reader::naming::NameLookup;
use tapeline_reader::{AdapterError, AdapterResult};
use tapeline_storage::format::{Eras, LogId, Sequence, SessionId};
use tapeline_storage::log::{Loader, LogView};
use tapeline_storage::read::Visibility;

use crate::core::budget::MemoryBudget;
use crate::core::config::EventBusConfig;
use crate::core::error::IngestionResult;
use crate::core::timer::Timers;
use crate::routing::{Route, RouteInForce};
use crate::shard::{Reach, ShardControl};

use self::assignments::Assignments;
pub(crate) use self::assignments::{Begin, Job, Unassigned, Worker};
pub(crate) use self::closed::{CLOSED_BYTES, ClosedSessions};
pub(crate) use self::daemons::DaemonStatus;
use self::daemons::Daemons;
pub use self::daemons::{DaemonCounts, DaemonHealth, DaemonStats};
use self::gate::Gate;
pub(crate) use self::loading::LoadThreads;
use self::named::NamedConsumers;
use self::names::NamesOfShards;
use self::producers::Producers;
use self::readers::Readers;
pub(crate) use self::relays::RelayStatus;
use self::relays::Relays;
pub use self::relays::{RelayDeadLetters, RelayDeliveries, RelayHealth, RelayLag, RelayMissed, RelayStats};
pub(crate) use self::routes::KnownEras;
use self::routes::Routes;
use self::shards::Shards;
pub use self::stats::{EventBusStats, LaneContents, MemoryUse};
pub(crate) use self::taps::TapBatch;
use self::taps::Taps;

/// The state that a bus, its producers and its consumers share.
#[derive(Debug)]
pub(crate) struct BusCore {
    log: LogIdentity,
    shards: Shards,
    routes: Routes,
    producers: Producers,
    readers: Readers,
    named: NamedConsumers,
    memory: Arc<MemoryBudget>,
    timers: Arc<Timers>,
    gate: Gate,
}

/// A log's id, and the times between which it was written before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogIdentity {
    pub(crate) id: LogId,
    pub(crate) lifetime: LogLifetime,
}

/// The times between which a log was written before its bus opened it, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogLifetime {
    /// The making of the log; of one in memory, the time of no event.
    pub(crate) created: u64,
    /// The opening by the bus. Its own events are later, unless the log was ahead of the clock.
    pub(crate) opened: u64,
}

/// A log, as it was when its bus opened it.
#[derive(Debug, Default)]
pub(crate) struct OpenedLog {
    pub(crate) identity: LogIdentity,
    /// Shards of earlier configurations.
    pub(crate) archived: Vec<Arc<LogView>>,
    pub(crate) eras: Eras,
    /// Its last time, unless that is ahead of the clock.
    pub(crate) timestamp_floor: u64,
}

impl BusCore {
    pub(crate) fn new(
        config: &EventBusConfig,
        memory: Arc<MemoryBudget>,
        shards: Vec<Arc<ShardControl>>,
        log: OpenedLog,
    ) -> Self {
        let OpenedLog { identity, archived, eras, timestamp_floor } = log;
        let route = Route::first(config.num_shards);
        shards.iter().for_each(|shard| route.enter(shard));
        Self {
            log: identity,
            shards: Shards::new(shards, archived),
            routes: Routes::new(route, eras),
            producers: Producers::new(config, timestamp_floor),
            readers: Readers::new(config.log.directory.as_deref(), &memory),
            named: NamedConsumers::default(),
            memory,
            timers: Arc::default(),
            gate: Gate::open(),
        }
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.log.id
    }

    /// The times between which the log was written before.
    pub(crate) fn log_lifetime(&self) -> LogLifetime {
        self.log.lifetime
    }

    pub(crate) fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Adds the shard of the next number, and wakes the readers that have to know of it.
    pub(crate) fn add_shard(&self, shard: Arc<ShardControl>) {
        self.shards.add(shard);
        self.readers.report_shard();
    }

    /// The route in force: which shards take events.
    #[inline(always)]
    pub(crate) fn route(&self) -> &RouteInForce {
        self.routes.in_force()
    }

    /// The eras of the log. Read after a watermark, it knows the era of everything below that.
    pub(crate) fn eras(&self) -> Arc<Eras> {
        self.routes.eras()
    }

    /// Brings the eras that a reader knows up to date. After it they are as new as [`BusCore::eras`]. One load where
    /// nothing has changed.
    pub(crate) fn update_eras(&self, known: &mut KnownEras) {
        self.routes.update(known);
    }

    /// Has readers know of another era, before any event of it can be read.
    pub(crate) fn set_eras(&self, eras: Eras) {
        self.routes.set_eras(eras);
    }

    /// Returns whether a session's events of the era of this sequence may lie in its shard.
    pub(crate) fn may_hold(&self, session: SessionId, shard: u16, at: Sequence) -> bool {
        self.routes.may_hold(session, shard, at)
    }

    /// The state that producers share.
    pub(crate) fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The state that consumers share.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Knows the names of sessions, for a reader that begins now.
    pub(crate) fn names(&self) -> Arc<dyn NameLookup> {
        Arc::new(NamesOfShards::new(&self.readers.names, self.shards.views().collect()))
    }

    /// Reads files elsewhere, where there are threads for that.
    pub(crate) fn loader(&self) -> Option<Arc<dyn Loader>> {
        self.readers.loader()
    }

    /// The sessions that are closed.
    #[inline(always)]
    pub(crate) fn closed(&self) -> &ClosedSessions {
        self.gate.closed_sessions()
    }

    /// The relays that were started.
    pub(crate) fn relays(&self) -> &Relays {
        &self.named.relays
    }

    /// The daemons that were started.
    pub(crate) fn daemons(&self) -> &Daemons {
        &self.named.daemons
    }

    /// The sessions that are routed to daemons.
    pub(crate) fn assignments(&self) -> &Assignments {
        &self.named.assignments
    }

    /// The cursors that are published with batches.
    pub(crate) fn taps(&self) -> &Taps {
        &self.named.taps
    }

    /// The memory of lanes and blocks.
    pub(crate) fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// The timers of futures.
    pub(crate) fn timers(&self) -> &Arc<Timers> {
        &self.timers
    }

    /// Waits until every event that was ingested before is readable. A shard that cannot write or has ended does not
    /// keep a reader from reading what is there.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) async fn wait_readable(&self) -> AdapterResult<()> {
        self.check_fork()?;
        for shard in self.shards.all().iter() {
            match shard.reached(&shard.barrier(), Reach::Appended).await {
                Err(
                    AdapterError::StorageFull { .. }
                    | AdapterError::HeldUp { .. }
                    | AdapterError::Poisoned(_)
                    | AdapterError::Shutdown,
                ) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Waits until every event that was ingested before is durable.
    ///
    /// # Errors
    /// [`AdapterError`], where that cannot be, or not at present.
    pub(crate) async fn wait_durable(&self) -> AdapterResult<()> {
        self.check_fork()?;
        let shards = self.shards.all();
        let barriers: Vec<_> = shards.iter().map(|shard| shard.barrier()).collect();
        for (shard, barrier) in shards.iter().zip(&barriers) {
            shard.reached(barrier, Reach::Durable).await?;
        }
        Ok(())
    }

    /// Moves the horizon to the present, as far as producers let it, and returns it. Costs some microseconds, and the
    /// wait for what was published to be readable, or durable.
    ///
    /// # Errors
    /// [`AdapterError::Forked`].
    pub(crate) async fn advance_horizon(&self, visibility: Visibility) -> AdapterResult<u64> {
        self.check_fork()?;
        let shards = self.shards.all();
        self.readers.horizon.advance(&shards, self.producers.timestamp_floor(), visibility).await
    }

    /// The numbers of this moment. A lock a shard, and a dozen loads a lane; no thread waits for it.
    pub(crate) fn stats(&self) -> EventBusStats {
        let mut stats = EventBusStats { refusals: self.producers.refused(), ..EventBusStats::default() };
        // A lock of the parent may be held for ever in a forked child.
        if !self.is_forked() {
            self.shards.all().iter().for_each(|shard| stats.add(shard));
            (stats.memory.bytes, stats.memory.budget) = (self.memory.used() as u64, self.memory.bytes() as u64);
        }
        stats
    }

    /// The numbers of this moment, as metrics. As [`BusCore::stats`], once for each shard.
    pub(crate) fn prometheus(&self) -> String {
        metrics::text(self)
    }

    #[inline]
    pub(crate) fn fork_generation(&self) -> u32 {
        self.gate.fork_generation()
    }

    /// Ends ingestion. Returns whether it was open before.
    pub(crate) fn close(&self) -> bool {
        self.gate.close()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.gate.is_forked()
    }

    /// # Errors
    /// [`crate::core::error::IngestionError`]: the bus has ended, or is the parent's.
    pub(crate) fn check_open(&self) -> IngestionResult<()> {
        self.gate.check_open()
    }

    /// Refuses a forked child, in which nothing that waits may be called.
    ///
    /// # Errors
    /// [`AdapterError::Forked`].
    pub(crate) fn check_fork(&self) -> AdapterResult<()> {
        self.gate.check_fork()
    }

    /// Refuses a call that waits for the threads of the bus on one of them.
    ///
    /// # Errors
    /// [`AdapterError::OnShard`].
    pub(crate) fn check_may_wait(&self, call: &'static str) -> AdapterResult<()> {
        check_may_block(call)?;
        if self.shards.all().iter().any(|shard| shard.tasks().is_here()) {
            return Err(AdapterError::OnShard { call });
        }
        Ok(())
    }

    /// In a forked child: the threads of tasks are the parent's, and so may be the locks of their lists.
    pub(crate) fn forget_threads(self: &Arc<Self>) {
        if let Some(threads) = self.readers.load_threads() {
            threads.forget_threads();
        }
        let is_done = self.shards.try_all().is_some_and(|shards| {
            // Each of them, whatever becomes of the others.
            shards.iter().filter(|shard| !shard.tasks().forget_thread()).count() == 0
        });
        if !is_done {
            std::mem::forget(Arc::clone(self));
        }
    }
}
