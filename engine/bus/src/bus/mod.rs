//! The bus: holds the bus core, the shard factory and the helper threads, and hands out what reads and writes. Tasks
//! that users run beside its shards.

mod daemons;
mod ending;
mod floor;
mod ingest;
mod numbers;
mod read;
mod relays;
mod sessions;
mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tapeline_reader::named::fold_notes;
use tapeline_reader::source::LogViews;
use tapeline_reader::timestamp::Clock;
use tapeline_reader::{AdapterError, AdapterResult, ConsumerResult, RetentionPolicy, ScalingError, TrimPlan};
use tapeline_storage::format::LogId;

use crate::adapters;
use crate::bus_core::{BusCore, LoadThreads, LogIdentity, LogLifetime, OpenedLog};
pub use crate::bus_core::{EventBusStats, LaneContents, MemoryUse};
use crate::core::config::EventBusConfig;
use crate::factory::{Made, ShardFactory};
use crate::ingest::local::Locals;
pub use crate::ingest::{Producer, ProducerBatch, ProducerOptions, Session, Ticket};
use crate::live::Pages;
use crate::retention::{Keeper, carried_out, carry_out, plan_for_bus};
use crate::scaling::{Scaling, ShardMetrics};
use crate::shard::ShardControl;

use self::floor::Floor;
use self::relays::RelayHandles;
use self::task::run_on;
pub use self::task::{ShardContext, ShardSubscription, ShardTask, TaskError};

/// An event bus: shards on pinned threads, fed by producers, read by consumers.
///
/// Any number of threads may use one bus. Dropping it without [`EventBus::shutdown`] does the same as shutting down. It
/// blocks meanwhile, for five seconds at most: then another thread goes on waiting for the disk, and holds the
/// directory's lock until it is done. On a thread of the bus (in a task, or in a waker that a shard calls) it does not
/// block. A process that ends before that loses what is not durable: [`EventBus::shutdown_within`] says what.
///
/// A waker may run on a shard's thread. A call there that would have to wait for that thread is refused with
/// [`AdapterError::OnShard`], and so is the reading of a subscription that has nothing to hand out.
///
/// In a forked child every call that can fail does so with an error that says so; statistics are empty, and identity,
/// route and flags are what they were at the fork. No call waits for a lock that a thread of the parent held.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{ConsumeRequest, Event, EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest(Event::from_str(r#"{"token": "hello"}"#)?.with_session("chat-42"))?;
/// let page = bus.poll(ConsumeRequest::new(100)).await?;
/// assert_eq!(page.events[0].parse()?["token"], "hello");
/// bus.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventBus {
    core: Arc<BusCore>,
    /// Producers that threads have.
    locals: Arc<Locals>,
    pages: Pages,
    factory: Arc<ShardFactory>,
    scaling: Option<Arc<Scaling>>,
    keeper: Option<Arc<Keeper>>,
    relays: Arc<RelayHandles>,
    log_ahead: Option<Duration>,
    is_shutdown_completed: AtomicBool,
}

/// Recovers the shards that there are at the start. Returns the core of their bus, and how far the log's last time is
/// ahead of the clock, if it is.
async fn open_core(factory: &ShardFactory) -> AdapterResult<(Arc<BusCore>, Option<Duration>)> {
    let started = factory.shards_at_start();
    let Made { shards, last_timestamp } = factory.make(0..started).await?;
    let mut opening = Opening { factory, shards };
    let (archived, last) = factory.store().open_archived(started)?;
    let opened = Clock::global().now();
    let floor = Floor::of(last_timestamp.max(last), opened);
    let views = opening.shards.iter().map(|shard| shard.view()).chain(&archived);
    let ends = views.map(|view| view.appended()).collect();
    let eras = factory.store().open_eras(factory.config().num_shards, ends)?;
    let shards = std::mem::take(&mut opening.shards);
    drop(opening);
    let lifetime = LogLifetime { created: factory.store().created(), opened };
    let identity = LogIdentity { id: factory.store().log_id(), lifetime };
    let log = OpenedLog { identity, archived, eras, timestamp_floor: floor.timestamp };
    let core = Arc::new(BusCore::new(factory.config(), Arc::clone(factory.memory()), shards, log));
    // A note that cannot be written to its file now is found in the log by the next opening.
    let views: Vec<_> = core.shards().views().collect();
    let _ = fold_notes(&core.readers().cursors, LogViews::new(core.log_id(), &views));
    core.readers().load_on(LoadThreads::new(factory.store().hold()));
    if let Some(ahead) = floor.ahead {
        core.shards().all().iter().for_each(|shard| shard.facts().note_ahead(ahead.to_string()));
    }
    Ok((core, floor.ahead.map(|ahead| ahead.0)))
}

impl EventBus {
    /// Opens a bus, and recovers its log if it has one: cost as [`scan`](tapeline_storage::log::scan) on each shard's
    /// own thread. Runs on any executor.
    ///
    /// # Errors
    /// [`AdapterError`]: a setting out of range, a directory that is locked or holds something else, a log that is
    /// damaged where it was acknowledged, or a kernel that refuses what the configuration insists on.
    pub async fn new(config: EventBusConfig) -> AdapterResult<Self> {
        config.validate()?;
        let factory = ShardFactory::open(config)?;
        let (core, log_ahead) = open_core(&factory).await?;
        let factory = Arc::new(factory);
        let mut bus = Self {
            locals: Arc::default(),
            pages: Pages::new(Arc::clone(&core)),
            core,
            factory,
            scaling: None,
            keeper: None,
            relays: Arc::default(),
            log_ahead,
            is_shutdown_completed: AtomicBool::new(false),
        };
        bus.start_threads()?;
        Ok(bus)
    }

    /// Starts the threads that the configuration asks for beside the shards'.
    fn start_threads(&mut self) -> AdapterResult<()> {
        if let Some(policy) = self.factory.config().scaling.clone() {
            let scaling = Scaling::start(policy, Arc::clone(&self.core), Arc::clone(&self.factory));
            let scaling = scaling.map_err(|source| AdapterError::NoThread { purpose: "scaling", source })?;
            self.scaling = Some(Arc::new(scaling));
        }
        if let Some(policy) = self.factory.config().log.retention.clone() {
            let keeper = Keeper::start(policy, Arc::clone(&self.core), Arc::clone(&self.factory));
            let keeper = keeper.map_err(|source| AdapterError::NoThread { purpose: "retention", source })?;
            self.keeper = Some(Arc::new(keeper));
        }
        if let Some(adapter) = adapters::of_config(&self.factory.config().adapter)? {
            self.start_first_relay(adapter)?;
        }
        Ok(())
    }

    /// Runs a task beside a shard, on the same core: where the shard's events are, it reads them without leaving the
    /// core, and it may ingest into any session. `work` is called there, so its future need not be `Send`. All tasks of
    /// a shard run on one thread, which its first task starts, on a glommio executor; see [`ShardContext`]. A panic
    /// ends the task alone.
    ///
    /// ```
    /// # use tapeline::event::Kind;
    /// # use tapeline::{ConsumerError, EventBus, EventBusConfig, RawEvent, SubscribeRequest};
    /// # futures_lite::future::block_on(async {
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// bus.ingest_raw(RawEvent::from_str("hello"))?;
    /// let shouting = bus.run_on_shard(0, |mut context| async move {
    ///     let mut events = context.subscribe(SubscribeRequest::new())?;
    ///     let answers = context.session("answers");
    ///     if let Some(batch) = events.next_batch().await {
    ///         for event in batch?.events() {
    ///             let payload = event.map_err(ConsumerError::Gap)?.payload().to_ascii_uppercase();
    ///             context.emit(answers, Kind(7), &payload)?;
    ///         }
    ///     }
    ///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// })?;
    /// shouting.await??;
    /// bus.flush().await?;
    /// assert_eq!(&bus.replay("answers").await?.next().expect("an answer")?.raw[..], b"HELLO");
    /// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// # }).expect("runs");
    /// ```
    ///
    /// # Errors
    /// [`AdapterError`]: there is no such shard, its thread for tasks cannot be made, or the bus has ended.
    pub fn run_on_shard<T, W, F>(&self, shard_id: u16, work: W) -> AdapterResult<ShardTask<T>>
    where
        T: Send + 'static,
        W: FnOnce(ShardContext) -> F + Send + 'static,
        F: Future<Output = T> + 'static,
    {
        run_on(&self.core, shard_id, || self.factory.store().hold(), work)
    }

    /// Lists what [`EventBus::trim`] would remove at present, and why. Changes nothing.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): a policy without limits, a named cursor that cannot be read.
    pub fn plan_trim(&self, policy: &RetentionPolicy) -> ConsumerResult<TrimPlan> {
        plan_for_bus(&self.core, policy)
    }

    /// Removes what `policy` does not keep, whatever [`LogConfig::retention`](crate::config::LogConfig::retention)
    /// says. When it returns, readers get a [`Gap`](crate::consumer::Gap) for it; the files are removed shortly after.
    /// Returns the plan as it was carried out.
    ///
    /// # Errors
    /// As [`EventBus::plan_trim`]; [`AdapterError`], where a shard has ended.
    pub async fn trim(&self, policy: &RetentionPolicy) -> ConsumerResult<TrimPlan> {
        let mut plan = self.plan_trim(policy)?;
        carry_out(&self.core, self.factory.store(), &mut plan)?;
        carried_out(&self.core, &plan).await?;
        Ok(plan)
    }

    /// The load of each shard in the last window of the scaling policy; `None` without one. Changes nothing.
    pub fn shard_metrics(&self) -> Option<Vec<ShardMetrics>> {
        let scaling = self.scaling.as_ref()?;
        Some(if self.core.is_forked() { Vec::new() } else { scaling.metrics() })
    }

    /// Returns whether the number of shards may change.
    pub fn is_dynamic_scaling_enabled(&self) -> bool {
        self.scaling.is_some()
    }

    /// Has shards come and go by themselves, as they do from the start where the policy says
    /// [`auto_scale`](crate::ScalingPolicy::auto_scale). Nothing without a policy.
    pub fn start_scaling_monitor(&self) {
        if let Some(scaling) = self.scaling.as_ref().filter(|_| !self.core.is_forked()) {
            scaling.monitor();
        }
    }

    /// Has up to `count` more shards take events, at once. Returns which. Events go on being taken meanwhile, and every
    /// session stays in order.
    ///
    /// # Errors
    /// [`AdapterError::Scaling`].
    pub async fn manual_scale_up(&self, count: u16) -> AdapterResult<Vec<u16>> {
        self.core.check_fork()?;
        let scaling = self.scaling.as_ref().ok_or(ScalingError::Disabled)?;
        scaling.up(count).await
    }

    /// Has up to `count` shards take no new events, not before the policy's cooldown is over. Returns which. What they
    /// have stays readable, and they are there at once when they are needed again.
    ///
    /// # Errors
    /// [`AdapterError::Scaling`].
    pub async fn manual_scale_down(&self, count: u16) -> AdapterResult<Vec<u16>> {
        self.core.check_fork()?;
        let scaling = self.scaling.as_ref().ok_or(ScalingError::Disabled)?;
        scaling.down(count).await
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        self.core.log_id()
    }

    /// By how much the log's last event was ahead of the clock when the bus was opened, if it was by more than a
    /// second: by an import, or a clock that was wrong. New events get times of the clock then, earlier than that
    /// event's.
    pub fn log_ahead(&self) -> Option<Duration> {
        self.log_ahead
    }

    /// Shards that take events.
    pub fn num_shards(&self) -> u16 {
        self.core.route().get().active()
    }

    /// Returns whether the bus has been asked to end.
    pub fn is_shutdown(&self) -> bool {
        self.core.is_closed()
    }

    /// Returns whether the bus has ended.
    pub fn is_shutdown_completed(&self) -> bool {
        self.is_shutdown_completed.load(Ordering::Acquire)
    }
}

/// Shards of a bus that is being opened. If the opening fails, they have ended before the caller hears of it.
struct Opening<'f> {
    factory: &'f ShardFactory,
    shards: Vec<Arc<ShardControl>>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.shards.is_empty() {
            self.shards.iter().for_each(|shard| shard.stop());
            // Why it failed is known by now.
            let _ = self.factory.join();
        }
    }
}

#[cfg(test)]
mod tests;
