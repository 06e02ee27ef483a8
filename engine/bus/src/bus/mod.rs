//! The bus: holds the bus core, the shard factory and the helper threads, and hands out what reads and writes. Tasks
//! that users run beside its shards.

mod ending;
mod floor;
mod sessions;
mod task;

use std::borrow::Borrow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapeline_reader::named::{list_in as list_cursors, save_in as save_cursor};
use tapeline_reader::timestamp::Clock;
use tapeline_reader::{
    AdapterError, AdapterResult, ConsumerResult, Event, EventId, IntoSession, NamedCursor, NotDurable, RawEvent,
    Replay, ReplayRequest, ResumeToken, RetentionPolicy, ScalingError, SessionMetadata, SessionOutcome, SessionState,
    SessionSummary, Speed, TrimPlan,
};
use tapeline_storage::format::LogId;
use tapeline_storage::log::Poison;

pub use crate::bus_core::EventBusStats;
use crate::bus_core::{BusCore, LoadThreads, OpenedLog};
use crate::core::config::EventBusConfig;
use crate::core::error::{IngestionError, IngestionResult, RejectedBatch};
use crate::core::timer::{Timer, before};
use crate::factory::{Made, ShardFactory};
use crate::ingest::local::{self, Locals};
pub use crate::ingest::{Producer, ProducerBatch, ProducerOptions, Session, Ticket};
use crate::live::{
    Batches, ConsumeRequest, ConsumeResponse, PacedEvents, Pages, Relay, RelayRequest, SubscribeRequest, Subscription,
};
use crate::retention::{Keeper, carried_out, carry_out, plan_for_bus};
use crate::scaling::{Scaling, ShardMetrics};
use crate::shard::{LaneStats, Reach, ShardControl, ShardStats};

use self::ending::Ending;
use self::floor::Floor;
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
    log_ahead: Option<Duration>,
    is_shutdown_completed: AtomicBool,
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
        let started = factory.shards_at_start();
        let Made { shards, last_timestamp } = factory.make(0..started).await?;
        let mut opening = Opening { factory: &factory, shards };
        let (archived, last) = factory.store().open_archived(started)?;
        let floor = Floor::of(last_timestamp.max(last), Clock::global().now());
        let views = opening.shards.iter().map(|shard| shard.view()).chain(&archived);
        let ends = views.map(|view| view.appended()).collect();
        let eras = factory.store().open_eras(factory.config().num_shards, ends)?;
        let shards = std::mem::take(&mut opening.shards);
        drop(opening);
        let log = OpenedLog { log_id: factory.store().log_id(), archived, eras, timestamp_floor: floor.timestamp };
        let core = Arc::new(BusCore::new(factory.config(), Arc::clone(factory.memory()), shards, log));
        core.load_on(LoadThreads::new(factory.store().hold()));
        if let Some(ahead) = floor.ahead {
            core.shards().all().iter().for_each(|shard| shard.facts().note_ahead(ahead.to_string()));
        }
        let log_ahead = floor.ahead.map(|ahead| ahead.0);
        let factory = Arc::new(factory);
        let mut bus = Self {
            locals: Arc::default(),
            pages: Pages::new(Arc::clone(&core)),
            core,
            factory,
            scaling: None,
            keeper: None,
            log_ahead,
            is_shutdown_completed: AtomicBool::new(false),
        };
        if let Some(policy) = bus.factory.config().scaling.clone() {
            let scaling = Scaling::start(policy, Arc::clone(&bus.core), Arc::clone(&bus.factory));
            let scaling = scaling.map_err(|source| AdapterError::NoThread { purpose: "scaling", source })?;
            bus.scaling = Some(Arc::new(scaling));
        }
        if let Some(policy) = bus.factory.config().log.retention.clone() {
            let keeper = Keeper::start(policy, Arc::clone(&bus.core), Arc::clone(&bus.factory));
            let keeper = keeper.map_err(|source| AdapterError::NoThread { purpose: "retention", source })?;
            bus.keeper = Some(Arc::new(keeper));
        }
        Ok(bus)
    }

    /// Ingests an event through a producer that is kept for the calling thread. Its ticket has the shard and the
    /// timestamp, and [`EventBus::durable`] waits for it.
    /// Costs a few nanoseconds more than [`Producer::emit`]. A task that changes threads between two calls keeps its
    /// events in order.
    ///
    /// # Errors
    /// [`IngestionError`]; the event was not taken.
    pub fn ingest(&self, event: impl Borrow<Event>) -> IngestionResult<Ticket> {
        self.ingest_raw(event.borrow().as_raw())
    }

    /// As [`EventBus::ingest`], for bytes.
    ///
    /// # Errors
    /// As [`EventBus::ingest`].
    pub fn ingest_raw(&self, event: impl Borrow<RawEvent>) -> IngestionResult<Ticket> {
        let event = event.borrow();
        local::with(&self.locals, &self.core, |producer| {
            let session = producer.session(event.session());
            producer.emit(session, event.kind(), event.as_bytes())
        })
    }

    /// Begins a session by name, as [`Producer::open_session_with`] does.
    ///
    /// # Errors
    /// As [`EventBus::ingest`].
    pub fn open_session_with(&self, name: &str, metadata: &SessionMetadata) -> IngestionResult<Session> {
        local::with(&self.locals, &self.core, |producer| producer.open_session_with(name, metadata))
    }

    /// Ends a session, as [`Producer::close_session`] does. The ticket is of the event that says so.
    ///
    /// # Errors
    /// As [`Producer::close_session`].
    pub fn close_session(&self, session: impl IntoSession, outcome: SessionOutcome) -> IngestionResult<Ticket> {
        let session = session.into_session();
        local::with(&self.locals, &self.core, |producer| producer.close_session(producer.session(session), outcome))
    }

    /// Ingests events in order until the bus does not take one; returns how many are in the bus. That event and those
    /// after it are dropped with the vector: [`EventBus::try_ingest_batch`] hands them back. Events that the mode
    /// drops are left out and end nothing.
    pub fn ingest_batch(&self, events: Vec<Event>) -> usize {
        self.try_ingest_batch(events).unwrap_or_else(|rejected| rejected.taken)
    }

    /// As [`EventBus::ingest_batch`], for bytes; [`EventBus::try_ingest_raw_batch`] hands back what was not taken.
    pub fn ingest_raw_batch(&self, events: Vec<RawEvent>) -> usize {
        self.try_ingest_raw_batch(events).unwrap_or_else(|rejected| rejected.taken)
    }

    /// Ingests events in order until the bus does not take one; returns how many are in the bus. Events that the
    /// mode drops are left out and end nothing.
    ///
    /// # Errors
    /// [`RejectedBatch`]: the event that was not taken and all after it, why, and how many are in the bus.
    pub fn try_ingest_batch(&self, events: Vec<Event>) -> Result<usize, RejectedBatch<Event>> {
        self.ingest_all(events, Event::as_raw)
    }

    /// As [`EventBus::try_ingest_batch`], for bytes.
    ///
    /// # Errors
    /// As [`EventBus::try_ingest_batch`].
    pub fn try_ingest_raw_batch(&self, events: Vec<RawEvent>) -> Result<usize, RejectedBatch<RawEvent>> {
        self.ingest_all(events, |event| event)
    }

    fn ingest_all<E>(&self, events: Vec<E>, raw: impl Fn(&E) -> &RawEvent) -> Result<usize, RejectedBatch<E>> {
        let (mut taken, mut rest, mut refusal) = (0, Vec::new(), None);
        let mut events = events.into_iter();
        while let Some(event) = events.next() {
            match self.ingest_raw(raw(&event)) {
                Ok(_) => taken += 1,
                Err(error) if error.is_drop() => {}
                Err(error) => {
                    // Events of other sessions have nothing to do with a session that is closed.
                    let is_closed = matches!(error, IngestionError::SessionClosed { .. });
                    rest.push(event);
                    refusal.get_or_insert(error);
                    if !is_closed {
                        rest.extend(events);
                        break;
                    }
                }
            }
        }
        match refusal {
            None => Ok(taken),
            Some(error) => Err(RejectedBatch { taken, rest, error }),
        }
    }

    /// A producer for one thread: the fast path.
    ///
    /// # Errors
    /// [`IngestionError::ShuttingDown`] or
    /// [`IngestionError::Forked`].
    pub fn producer(&self) -> IngestionResult<Producer> {
        self.producer_with(ProducerOptions::new())
    }

    /// A producer that has some settings of its own.
    ///
    /// # Errors
    /// As [`EventBus::producer`]; [`IngestionError::Options`] for a setting out of
    /// range.
    pub fn producer_with(&self, options: ProducerOptions) -> IngestionResult<Producer> {
        Producer::new(Arc::clone(&self.core), options)
    }

    /// Waits until every event that was ingested before the call, by any thread, has reached the bus's durability
    /// level.
    ///
    /// # Errors
    /// [`AdapterError`], where that cannot be, or not at present: a full disk, or [`AdapterError::HeldUp`] while
    /// descriptors or memory have run out. The events are kept, and written once that is over.
    pub async fn flush(&self) -> AdapterResult<()> {
        self.core.check_fork()?;
        let shards = self.core.shards().all();
        let barriers: Vec<_> = shards.iter().map(|shard| shard.barrier()).collect();
        for (shard, barrier) in shards.iter().zip(&barriers) {
            shard.reached(barrier, Reach::Durable).await?;
        }
        Ok(())
    }

    /// Waits until the event of a ticket has reached the bus's durability level, whichever thread or producer ingested
    /// it. Returns at once for an event that has. The shard commits at once while it is waited for. The future is
    /// `Send` and borrows nothing.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use tapeline::{Event, EventBus, EventBusConfig};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let bus = Arc::new(EventBus::new(EventBusConfig::default()).await?);
    /// let ticket = bus.ingest(Event::from_str(r#"{"token": "hello"}"#)?)?;
    /// let confirmed = tokio::spawn(bus.durable(ticket));
    /// confirmed.await??;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AdapterError::ForeignTicket`], where another bus gave the ticket; [`AdapterError::Dropped`], where the event
    /// was dropped as the oldest of its lane, or may have been: a bus remembers 4,096 stretches of such drops for each
    /// producer, and 64 producers that are gone; otherwise as [`EventBus::flush`].
    pub fn durable(&self, ticket: Ticket) -> impl Future<Output = AdapterResult<()>> + Send + use<> {
        ticket.reached(&self.core, Reach::Durable)
    }

    /// Waits until the event of a ticket can be read at [`Visibility::Appended`](crate::consumer::Visibility::Appended).
    /// As [`EventBus::durable`] otherwise.
    ///
    /// # Errors
    /// As [`EventBus::durable`].
    pub fn readable(&self, ticket: Ticket) -> impl Future<Output = AdapterResult<()>> + Send + use<> {
        ticket.reached(&self.core, Reach::Appended)
    }

    /// Returns whether the event of a ticket has reached the bus's durability level; `false` of another bus's. A lock.
    /// The producer that gave the ticket answers [`Producer::is_durable`] for one load.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        ticket.has_reached(&self.core, Reach::Durable)
    }

    /// The id of the event of a ticket, once it can be read. `None`, where the log no longer has the event, and where
    /// another producer's event of the same shard and nanosecond cannot be distinguished from it. Costs a seek by time
    /// in that shard, which reads a block. The future is `Send` and borrows nothing.
    ///
    /// ```
    /// use tapeline::{Event, EventBus, EventBusConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// let ticket = bus.ingest(Event::from_str(r#"{"token": "hello"}"#)?)?;
    /// let id = bus.event_id(ticket).await?;
    /// assert_eq!(id, Some(bus.poll(Default::default()).await?.events[0].id));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`EventBus::durable`], and [`ConsumerError`](crate::ConsumerError), where the log cannot be read.
    pub fn event_id(&self, ticket: Ticket) -> impl Future<Output = ConsumerResult<Option<EventId>>> + Send + use<> {
        ticket.event_id(&self.core)
    }

    /// Reads a page of events. It holds what was ingested in this process before the call, up to its limit.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError).
    pub async fn poll(&self, request: ConsumeRequest) -> ConsumerResult<ConsumeResponse> {
        self.pages.poll(&request).await
    }

    /// The events of a session so far, in order.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError).
    pub async fn replay(&self, session: impl IntoSession) -> ConsumerResult<Replay> {
        self.replay_with(ReplayRequest::new().session(session)).await
    }

    /// The events so far that the request asks for, in order.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError).
    pub async fn replay_with(&self, request: ReplayRequest) -> ConsumerResult<Replay> {
        self.core.wait_readable().await?;
        let replay = Replay::new(self.log_id(), self.core.shards().views().collect(), &request)?;
        Ok(replay.with_eras(self.core.eras()))
    }

    /// As [`EventBus::replay_with`], at a pace: a stream that hands out each event when it is due. Needs no runtime in
    /// particular: a thread of the bus keeps the time, to some 100 us.
    ///
    /// ```
    /// use tapeline::consumer::Speed;
    /// use tapeline::{Event, EventBus, EventBusConfig, ReplayRequest};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// bus.ingest(Event::from_str("1")?.with_session("chat-42"))?;
    /// let request = ReplayRequest::new().session("chat-42");
    /// let mut events = bus.replay_paced(request, Speed::Factor(1.0)).await?;
    /// while let Some(event) = events.next().await {
    ///     println!("{}", event?.raw);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError).
    pub async fn replay_paced(&self, request: ReplayRequest, speed: Speed) -> ConsumerResult<PacedEvents> {
        let replay = self.replay_with(request).await?;
        Ok(PacedEvents::new(Arc::clone(&self.core), replay, speed))
    }

    /// Events from a position on, then live ones. What was ingested in this process before the call is before
    /// [`Start::Latest`](crate::consumer::Start::Latest).
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): a cursor or a filter that cannot be used, a file that cannot be read.
    pub async fn subscribe(&self, request: SubscribeRequest) -> ConsumerResult<Subscription> {
        self.core.wait_readable().await?;
        Subscription::new(Arc::clone(&self.core), &request)
    }

    /// The events of a session, from the one after the token's on, then live ones, up to the session's close: what a
    /// client of a stream gets that may break and resume.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidToken`](crate::ConsumerError::InvalidToken): the token is of another session, or of an
    /// event that the log does not have, or has trimmed events after; [`ConsumerError`](crate::ConsumerError).
    pub async fn relay(&self, session: impl IntoSession, after: Option<ResumeToken>) -> ConsumerResult<Relay> {
        self.relay_with(RelayRequest { after, ..RelayRequest::new(session) }).await
    }

    /// As [`EventBus::relay`], with a choice of visibility.
    ///
    /// # Errors
    /// As [`EventBus::relay`].
    pub async fn relay_with(&self, request: RelayRequest) -> ConsumerResult<Relay> {
        self.core.check_fork()?;
        // Asked first: the event that closed it is readable after the wait.
        let was_closed = self.core.closed().is_closed(request.session);
        self.core.wait_readable().await?;
        Relay::new(Arc::clone(&self.core), &request, was_closed)
    }

    /// The sessions there are, by time of their first event. Reads on the calling thread: the index of each sealed
    /// segment, and the events of those that have none, as the one that is being written.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): a file cannot be read.
    pub async fn sessions(&self) -> ConsumerResult<Vec<SessionSummary>> {
        self.core.wait_readable().await?;
        sessions::all(&self.core)
    }

    /// The summary of one session: whether it goes on, what it is about, how many events it has. `None`: the log holds
    /// no event of it. Reads on the calling thread: the indexes of the sealed segments that hold it, and blocks of the
    /// others that are not known to be without it.
    ///
    /// # Errors
    /// As [`EventBus::sessions`].
    pub async fn session(&self, session: impl IntoSession) -> ConsumerResult<Option<SessionSummary>> {
        let session = session.into_session();
        self.core.wait_readable().await?;
        sessions::one(&self.core, session)
    }

    /// The sessions that were opened and not closed, and that an earlier process wrote last: those that a crash has cut
    /// off. Cost as [`EventBus::sessions`].
    ///
    /// # Errors
    /// As [`EventBus::sessions`].
    pub async fn unfinished(&self) -> ConsumerResult<Vec<SessionSummary>> {
        let mut sessions = self.sessions().await?;
        sessions.retain(|summary| summary.was_opened && summary.state == SessionState::CutOff);
        Ok(sessions)
    }

    /// As [`EventBus::subscribe`], in batches as [`EventBusConfig::batch`] says.
    ///
    /// # Errors
    /// As [`EventBus::subscribe`].
    pub async fn batches(&self, request: SubscribeRequest) -> ConsumerResult<Batches> {
        self.subscribe(request).await?.batches(&self.factory.config().batch)
    }

    /// Keeps a cursor under a name: in a log with a directory durably, else as long as the bus. Names have letters,
    /// digits, `-`, `_` and `.`.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): the cursor or the name is none, or the file cannot be written; then the
    /// name has the cursor that it had.
    pub fn save_cursor(&self, name: &str, cursor: &str) -> ConsumerResult<()> {
        self.core.check_fork()?;
        let views: Vec<_> = self.core.shards().views().collect();
        save_cursor(&self.core.readers().cursors, self.log_id(), &views, name, cursor)
    }

    /// The cursor of this name, if there is one.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): the name is none, or the file cannot be read.
    pub fn load_cursor(&self, name: &str) -> ConsumerResult<Option<String>> {
        self.core.check_fork()?;
        self.core.readers().cursors.load(name)
    }

    /// Forgets the cursor of this name; returns whether there was one.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): the name is none, or the file cannot be removed.
    pub fn remove_cursor(&self, name: &str) -> ConsumerResult<bool> {
        self.core.check_fork()?;
        self.core.readers().cursors.remove(name)
    }

    /// The named cursors, and by how much each lags behind. Costs some microseconds for each and each shard.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): a file cannot be read.
    pub fn cursors(&self) -> ConsumerResult<Vec<NamedCursor>> {
        self.core.check_fork()?;
        let views: Vec<_> = self.core.shards().views().collect();
        list_cursors(&self.core.readers().cursors, self.log_id(), &views)
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
    pub fn run_on_shard<T, W, F>(&self, shard: u16, work: W) -> AdapterResult<ShardTask<T>>
    where
        T: Send + 'static,
        W: FnOnce(ShardContext) -> F + Send + 'static,
        F: Future<Output = T> + 'static,
    {
        run_on(&self.core, shard, || self.factory.store().hold(), work)
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

    /// Numbers of the bus. Disturbs nothing.
    pub fn stats(&self) -> EventBusStats {
        self.core.stats()
    }

    /// The numbers of the bus and its shards as metrics, in Prometheus's text format 0.0.4, for a handler of
    /// `/metrics` to return with the content type `text/plain; version=0.0.4`. docs/OPERATIONS.md lists them. Costs as
    /// [`EventBus::stats`], and an allocation; only header lines in a forked child.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tapeline::{Event, EventBus, EventBusConfig};
    ///
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// bus.ingest(Event::from_str("1")?)?;
    /// assert!(bus.prometheus().contains("tapeline_events_ingested_total{shard=\"0\"} 1\n"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn prometheus(&self) -> String {
        self.core.prometheus()
    }

    /// Events in lanes, not yet in the log: [`EventBusStats::events_in_lanes`].
    pub fn pending_in_rings(&self) -> u64 {
        self.stats().events_in_lanes
    }

    /// Returns whether the bus accepts events and can make them durable: it is not shut down, no shard's log is
    /// poisoned, and no full disk or shortage of descriptors or memory holds one up. Never waits; `async` as an
    /// adapter's is.
    pub async fn is_healthy(&self) -> bool {
        let is_open = !self.core.is_forked() && !self.core.is_closed();
        is_open && self.core.shards().all().iter().all(|shard| shard.can_write())
    }

    /// Numbers of each lane there is: the events that each producer ingested into each shard, and those that were
    /// dropped. Disturbs nothing.
    pub fn lane_stats(&self) -> Vec<LaneStats> {
        match self.core.is_forked() {
            true => Vec::new(),
            false => self.core.shards().all().iter().flat_map(|shard| shard.lanes().stats(shard.id())).collect(),
        }
    }

    /// Numbers of each shard, and how it runs.
    pub fn shard_stats(&self) -> Vec<ShardStats> {
        match self.core.is_forked() {
            true => Vec::new(),
            false => self.core.shards().all().iter().map(|shard| shard.stats()).collect(),
        }
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

    /// Ends the bus: takes no more events, makes those that were taken durable, seals the log.
    ///
    /// # Errors
    /// [`AdapterError`], where events that were taken could not be made durable: [`AdapterError::StorageFull`], where
    /// that was for want of space. [`EventBus::shutdown_within`] says which events, where the disk does not answer.
    pub async fn shutdown(self) -> AdapterResult<()> {
        self.shutdown_via_ref().await
    }

    /// As [`EventBus::shutdown`], through a reference. Reading goes on to work, and the directory stays locked until
    /// the bus is dropped. Every call after the first waits for the end like the first.
    ///
    /// # Errors
    /// As [`EventBus::shutdown`]. [`AdapterError::OnShard`] from a task of the bus, which would wait for itself.
    /// [`AdapterError::TaskRuns`], when all is durable and closed, where a task does not come to an `await`: its thread
    /// keeps the lock of the directory.
    pub async fn shutdown_via_ref(&self) -> AdapterResult<()> {
        self.check_may_end()?;
        let ending = self.ending();
        ending.ask();
        self.shards_stopped().await?;
        self.ended(&ending)
    }

    /// As [`EventBus::shutdown_via_ref`], but waits for `patience` at most for events to become durable: for a process
    /// that has to end whatever its disk does. The bus goes on ending after that, and another call may wait for it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tapeline::{AdapterError, EventBus, EventBusConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// match bus.shutdown_within(Duration::from_secs(10)).await {
    ///     Err(AdapterError::NotEnded { shards }) => {
    ///         for shard in shards {
    ///             eprintln!("shard {}: sequences {:?} may be lost", shard.shard_id, shard.sequences);
    ///         }
    ///     }
    ///     ended => ended?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AdapterError::NotEnded`] with the events that are not durable; as [`EventBus::shutdown_via_ref`].
    pub async fn shutdown_within(&self, patience: Duration) -> AdapterResult<()> {
        self.check_may_end()?;
        let ending = self.ending();
        ending.core.close();
        // A change of the number of shards may wait for a disk: another thread waits for it.
        ending.ask_aside();
        let due = Instant::now().checked_add(patience);
        let ended = match due {
            Some(due) => before(Timer::new(self.core.timers(), due), self.shards_stopped()).await,
            None => Ok(Some(self.shards_stopped().await)),
        };
        match ended.map_err(|source| AdapterError::NoThread { purpose: "timers", source })? {
            Some(stopped) => stopped?,
            None => return Err(AdapterError::NotEnded { shards: self.not_durable() }),
        }
        self.ended(&ending)
    }

    /// The events that are taken over and not durable, of each shard that has any. After a shutdown that failed, those
    /// that it failed for.
    pub fn not_durable(&self) -> Vec<NotDurable> {
        if self.core.is_forked() {
            return Vec::new();
        }
        let shards = self.core.shards().all();
        shards.iter().map(|shard| shard.not_durable()).filter(|shard| shard.events() > 0).collect()
    }

    fn check_may_end(&self) -> AdapterResult<()> {
        self.core.check_fork()?;
        self.core.check_may_wait("shutdown")
    }

    async fn shards_stopped(&self) -> AdapterResult<()> {
        for shard in self.core.shards().all().iter() {
            shard.stopped().await?;
        }
        Ok(())
    }

    /// Waits for the threads of a bus whose shards have stopped.
    ///
    /// # Errors
    /// As [`EventBus::shutdown_via_ref`].
    fn ended(&self, ending: &Ending) -> AdapterResult<()> {
        let outcome = ending.join();
        self.is_shutdown_completed.store(outcome.runs.is_none(), Ordering::Release);
        if let Some(poison) = self.core.shards().all().iter().find_map(|shard| shard.view().poison().cloned()) {
            return Err(why_not_durable(poison));
        }
        match (outcome.panic, outcome.runs) {
            (Some(message), _) => Err(AdapterError::Panicked { message }),
            (_, Some(shard)) => Err(AdapterError::TaskRuns { shard_id: shard }),
            _ => Ok(()),
        }
    }

    fn ending(&self) -> Ending {
        Ending {
            core: Arc::clone(&self.core),
            locals: Arc::clone(&self.locals),
            factory: Arc::clone(&self.factory),
            scaling: self.scaling.clone(),
            keeper: self.keeper.clone(),
        }
    }
}

/// The error of a bus that ends and could not make all durable.
fn why_not_durable(poison: Poison) -> AdapterError {
    match poison.is_for_want_of_space() {
        true => AdapterError::StorageFull { shard_id: poison.shard_id },
        false => AdapterError::Poisoned(Box::new(poison)),
    }
}

impl Drop for EventBus {
    fn drop(&mut self) {
        if self.core.is_forked() {
            self.factory.forget_threads();
            self.core.forget_threads();
            if let Some(scaling) = &self.scaling {
                scaling.forget_thread();
            }
            if let Some(keeper) = &self.keeper {
                keeper.forget_thread();
            }
            return;
        }
        self.ending().carry_out();
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
