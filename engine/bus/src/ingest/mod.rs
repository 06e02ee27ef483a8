//! Producers: the handles that threads ingest through.
//!
//! [`Producer::emit`] is the hot path: it claims room in the lane to the session's shard, serialises the record there
//! with rkyv in its on-disk form, and publishes it with one store. It makes no system call, takes no lock, allocates
//! nothing, and does not wait (but in mode [`Block`](crate::BackpressureMode::Block), when the lane is full). The
//! exceptions are a producer's first event to a shard, which makes its lane, the half a dozen events in its life that
//! make it grow, and events that evict others from a full lane, which take a lock of that lane. Expected cost: about
//! 10 ns for 64 bytes, half of it the time stamp and the record; 12 ns more where the bus has several producers, whose
//! times have to be later than what their threads have seen.

mod batch;
mod large;
mod life;
mod link;
mod links;
pub(crate) mod local;
mod options;
mod overflow;
mod reroute;
mod sampler;
mod session;
mod source;
mod tap;
mod ticket;

use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};

use rkyv::Serialize;
use tapeline_capability::CapabilitySet;
use tapeline_reader::timestamp::{Clock, TimeSource, Timestamps};
use tapeline_reader::{AdapterResult, IntoSession, PayloadSerializer, TypedPayload, fork, note};
use tapeline_storage::format::{Kind, Record, SessionId, archive_into, archived_bytes, set_timestamp};

pub use batch::ProducerBatch;
pub use options::ProducerOptions;
pub use session::Session;
pub use ticket::Ticket;

use crate::bus_core::BusCore;
use crate::core::error::{IngestionError, IngestionResult};
use crate::core::refusals::RefusalReason;
use crate::lane::{LaneFull, LaneWriter, Publish, UNSTAMPED_MAX};
use crate::routing::Route;
use crate::shard::{Barrier, Reach, ShardControl};
use link::Link;
use links::Links;
use overflow::{Backpressure, Rejected};
use source::RecordSource;
use ticket::Origin;

/// Ingests events from one thread at a time: `Send`, not `Sync`, not `Clone`. Make one for each thread.
///
/// Events of one session are read in the order they were ingested, through however many producers: an event whose
/// `emit` had returned before the call for another one began comes first. Dropping a producer loses nothing that was
/// ingested.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, kinds};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let mut producer = bus.producer()?;
/// let chat = producer.open_session("chat-42")?;
/// producer.emit(chat, kinds::TOKEN, b"Hel")?;
/// let ticket = producer.emit(chat, kinds::TOKEN, b"lo")?;
/// producer.durable(ticket).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Producer {
    core: Arc<BusCore>,
    /// Its number on the bus.
    id: u64,
    /// For its tickets.
    origin: Origin,
    links: Links,
    backpressure: Backpressure,
    clock: Timestamps,
    /// The route that it uses.
    route: Route,
    /// Of the process that opened the bus.
    fork_generation: u32,
    /// Those of its sessions' source.
    capabilities: Option<Box<CapabilitySet>>,
}

impl Producer {
    /// # Errors
    /// [`IngestionError::ShuttingDown`], [`IngestionError::Forked`], [`IngestionError::Options`].
    pub(crate) fn new(core: Arc<BusCore>, options: ProducerOptions) -> IngestionResult<Self> {
        core.check_open()?;
        let id = core.producers().next_id();
        let backpressure = Backpressure::new(options.mode(core.producers().backpressure_mode())?, id);
        let lane_options = options.lanes(core.producers().lane_options(), backpressure.overflow())?;
        let mut clock = Timestamps::new(Clock::global());
        clock.at_least(core.producers().timestamp_floor());
        Ok(Self {
            id,
            origin: Origin::new(&core, id, lane_options.overflow),
            route: core.route().get(),
            links: Links::new(lane_options, core.producers().payload_bytes_max()),
            backpressure,
            clock,
            fork_generation: core.fork_generation(),
            capabilities: None,
            core,
        })
    }

    /// Its number on the bus, as [`LaneStats`](crate::shard::LaneStats) and gaps name it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Longest payload that [`Producer::emit`] takes, in bytes.
    pub fn payload_bytes_max(&self) -> usize {
        self.core.producers().payload_bytes_max()
    }

    /// The session's token: its id and its shard. Costs a hash for a name, nothing for an id.
    pub fn session(&self, session: impl IntoSession) -> Session {
        self.route_session(session.into_session())
    }

    /// The session's token of today.
    fn refresh(&self, session: Session) -> Session {
        if session.route() == self.route { session } else { self.route_session(session.id()) }
    }

    fn route_session(&self, session: SessionId) -> Session {
        Session::new(session, self.route.shard_of(session, self.id), self.route)
    }

    /// Ingests an event. The ticket says when it is durable.
    ///
    /// # Errors
    /// [`IngestionError`]; the event was not taken.
    #[inline]
    pub fn emit(&mut self, session: Session, kind: Kind, payload: &[u8]) -> IngestionResult<Ticket> {
        self.check_session(session.id(), 1)?;
        self.put(session, kind, payload)
    }

    /// As [`Producer::emit`], whether the session is closed or not.
    #[inline(always)]
    fn put(&mut self, session: Session, kind: Kind, payload: &[u8]) -> IngestionResult<Ticket> {
        let time = self.time();
        self.write(session, source::Bytes { kind, payload, time }, Publish::Now)
    }

    /// Ingests a value of an rkyv type, serialised where it will lie. Twice the cost of serialising it, and that of
    /// [`Producer::emit`].
    ///
    /// ```
    /// use rkyv::{Archive, Serialize};
    /// use tapeline::event::TypedPayload;
    /// use tapeline::{EventBus, EventBusConfig, kinds, rkyv};
    ///
    /// #[derive(Archive, Serialize)]
    /// #[rkyv(crate = tapeline::rkyv)]
    /// struct Token {
    ///     index: u32,
    ///     text: String,
    /// }
    ///
    /// impl TypedPayload for Token {
    ///     const TYPE_NAME: &'static str = "example.Token.1";
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// let mut producer = bus.producer()?;
    /// let session = producer.session("run-7");
    /// producer.emit_archived(session, kinds::TOKEN, &Token { index: 3, text: "hello".into() })?;
    ///
    /// let page = bus.poll(Default::default()).await?;
    /// let token = page.events[0].access::<Token>()?;
    /// assert_eq!((token.index.to_native(), token.text.as_str()), (3, "hello"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Producer::emit`]; [`IngestionError::Archive`] where the value cannot be serialised.
    pub fn emit_archived<T>(&mut self, session: Session, kind: Kind, value: &T) -> IngestionResult<Ticket>
    where
        T: TypedPayload + for<'a> Serialize<PayloadSerializer<'a>>,
    {
        self.check_session(session.id(), 1)?;
        let time = self.time();
        self.write(session, source::Value::new(kind, value, time)?, Publish::Now)
    }

    /// A batch of events of one session that becomes visible at once, for the price of one store.
    pub fn batch(&mut self, session: Session) -> ProducerBatch<'_> {
        ProducerBatch::new(self, session)
    }

    /// Returns whether the event has reached the bus's durability level; `false` of another bus's. Costs one load if
    /// this producer gave the ticket, a lock otherwise. An event that was dropped as the oldest of its lane never has;
    /// nor, as far as is remembered, one before the last 4,096 such drops.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        match self.links.get(ticket.shard_id) {
            Some(link) if ticket.is_of(self.origin) => link.lane.is_durable(ticket.entry()),
            _ => ticket.has_reached(&self.core, Reach::Durable),
        }
    }

    /// Waits until the event has reached the bus's durability level: as
    /// [`EventBus::durable`](crate::EventBus::durable), of tickets of all the bus's producers. The future is `Send` and
    /// borrows nothing: it may be awaited in a task, or after the producer is gone.
    ///
    /// # Errors
    /// [`AdapterError`](crate::AdapterError), where it cannot.
    pub fn durable(&self, ticket: Ticket) -> impl Future<Output = AdapterResult<()>> + Send + use<> {
        ticket.reached(&self.core, Reach::Durable)
    }

    /// As [`Producer::durable`], blocking the thread.
    ///
    /// # Errors
    /// As [`Producer::durable`].
    pub fn wait_durable(&self, ticket: Ticket) -> AdapterResult<()> {
        ticket.wait_reached(&self.core, Reach::Durable)
    }

    /// Waits until everything this producer ingested before the call has reached the bus's durability level. The future
    /// is `Send` and borrows nothing.
    ///
    /// # Errors
    /// As [`Producer::durable`].
    pub fn flush(&self) -> impl Future<Output = AdapterResult<()>> + Send + use<> {
        let barrier = |link: &Link| {
            let handle = link.lane.handle();
            let published = handle.published();
            (Arc::clone(&link.control), Barrier::of(handle, published))
        };
        let barriers: Vec<_> = self.links.iter().map(barrier).collect();
        let forked = self.core.check_fork();
        async move {
            forked?;
            for (control, barrier) in &barriers {
                control.reached(barrier, Reach::Durable).await?;
            }
            Ok(())
        }
    }

    /// The source of the time of an event that is published at once: where there are several producers, a clock that is
    /// later than whatever made the caller ingest it.
    #[inline(always)]
    fn time(&self) -> TimeSource {
        if self.core.producers().order_times() { TimeSource::Ordered } else { TimeSource::Clock }
    }

    /// Adds an event to a batch that has begun, where that takes no more than its record and a time without a look at
    /// the clock. Returns whether it did.
    #[inline(always)]
    fn append(&mut self, session: Session, kind: Kind, payload: &[u8]) -> bool {
        let is_ordinary = payload.len() <= self.links.payload_max() && !note::is_reserved(kind);
        let Some(link) = self.links.get_mut(session.shard_id()).filter(|_| is_ordinary) else { return false };
        let Some(mut claim) = link.lane.claim_straight(archived_bytes(payload.len())) else { return false };
        let time = if self.core.producers().order_times() { TimeSource::Pending } else { TimeSource::Derived };
        let record = Record { session: session.id(), timestamp: self.clock.draw(time), kind, payload };
        archive_into(&record, claim.slot());
        let _ = claim.commit();
        if time == TimeSource::Pending {
            let _ = link.lane.note_unstamped();
        }
        true
    }

    /// Records in the lane to a shard that have no time yet.
    fn unstamped(&self, shard: u16) -> usize {
        self.links.get(shard).map_or(0, |link| link.lane.unstamped())
    }

    /// Finds room for an event in the lane of its shard, has it serialised there, and publishes it if it is to be, with
    /// all that was written before it.
    #[inline(always)]
    fn write(&mut self, session: Session, source: impl RecordSource, publish: Publish) -> IngestionResult<Ticket> {
        let (length, is_pending, is_event) = (source.payload_bytes(), source.is_pending(), publish == Publish::Now);
        if length > self.links.payload_max() || note::is_reserved(source.kind()) || (is_event && self.is_forked()) {
            return source.publish_large(self, session.id(), publish);
        }
        let (shard, bytes) = (session.shard_id(), archived_bytes(length));
        let event = Rejected { session: session.id(), bytes };
        let count = |error: &_| self.core.producers().count_refused(error, 1);
        let is_current = || self.core.route().get() == self.route;
        let link = match self.links.get_mut(shard) {
            Some(link) => link,
            None => self.links.connect(&self.core, shard, self.route, self.id).inspect_err(count)?,
        };
        if is_event && link.lane.is_unpublished() {
            // Of a batch that was leaked.
            stamp_group(&mut link.lane, &mut self.clock);
        }
        let mut claim = match link.lane.claim(bytes) {
            Ok(claim) => claim,
            Err(LaneFull) => self.backpressure.claim(link, &mut self.clock, event, is_current)?,
        };
        claim.begin(self.clock.last() + 1, publish);
        // A batch looks at the route when it is published.
        if is_event && !(is_current() && session.route() == self.route) {
            claim.cancel();
            return source.publish_elsewhere(self, session.id());
        }
        let timestamp = match source.fill(session.id(), &mut claim, &mut self.clock) {
            Ok(timestamp) => timestamp,
            Err(error) => return Err(claim.cancelled_by(error)),
        };
        let ticket = Ticket::new(self.origin, shard, claim.commit(), timestamp);
        if is_pending && link.lane.note_unstamped() >= UNSTAMPED_MAX {
            stamp_group(&mut link.lane, &mut self.clock);
        }
        if is_event && !publish_in(&mut link.lane) {
            self.confirm(shard, 1, 0)?;
        }
        Ok(ticket)
    }

    /// Publishes the `events` that a batch has written to the shard of its session, if there are any. Returns the
    /// session's token from now on, and the ticket of the last event.
    #[inline(always)]
    fn publish(&mut self, session: Session, events: u64) -> IngestionResult<(Session, Option<Ticket>)> {
        if self.is_forked() {
            return Err(IngestionError::Forked);
        }
        let shard = session.shard_id();
        if events > 0
            && let Err(closed) = self.check_session(session.id(), events)
        {
            self.discard(shard);
            return Err(closed);
        }
        let Some(link) = self.links.get_mut(shard) else { return Ok((session, None)) };
        link.lane.begin_publish();
        if self.core.route().get() != self.route || session.route() != self.route {
            return self.publish_elsewhere(session, events);
        }
        if link.lane.unstamped() > 0 {
            stamp_group(&mut link.lane, &mut self.clock);
        }
        let ticket = (events > 0).then(|| Ticket::new(self.origin, shard, link.lane.position(), self.clock.last()));
        if !publish_in(&mut link.lane) {
            self.confirm(shard, events, 0)?;
        }
        Ok((session, ticket))
    }

    /// Returns whether this process is a child of the one that opened the bus. Two loads.
    #[inline(always)]
    fn is_forked(&self) -> bool {
        fork::generation() != self.fork_generation
    }

    /// Returns whether it is of this bus.
    pub(crate) fn is_of(&self, core: &Arc<BusCore>) -> bool {
        Arc::ptr_eq(&self.core, core)
    }

    /// Takes back what was written to a shard and not published.
    fn discard(&mut self, shard: u16) {
        if let Some(link) = self.links.get_mut(shard) {
            let _ = link.lane.discard();
        }
    }

    /// A lane was closed before its events were published, which takes them back, or while they were: then waits until
    /// it is known whether the shard still took them. `notes` is the number of the other records among them.
    #[cold]
    fn confirm(&mut self, shard: u16, events: u64, notes: u64) -> IngestionResult<()> {
        let Some(link) = self.links.get_mut(shard) else { return Ok(()) };
        let handle = link.lane.handle();
        let published = handle.published();
        let is_back = link.lane.discard();
        if is_back || link.control.wait_taken(&Barrier::of(handle, published)).is_err() {
            let refusal = refusal(&link.control);
            if let Some(reason) = RefusalReason::of(&refusal) {
                link.lane.count_refused(reason, events, if is_back { 0 } else { events + notes });
            }
            return Err(refusal);
        }
        Ok(())
    }
}

/// Gives the events of a batch that have no time yet theirs.
#[inline(never)]
fn stamp_group(lane: &mut LaneWriter, clock: &mut Timestamps) {
    let mut next = clock.next_group(lane.unstamped() as u64);
    lane.stamp(|end_of_record| {
        set_timestamp(end_of_record, next);
        next += 1;
    });
}

/// Publishes what was written to a lane. Returns whether the lane was open all the while. One store, two loads.
#[inline(always)]
fn publish_in(lane: &mut LaneWriter) -> bool {
    if lane.is_closed() {
        return false;
    }
    lane.publish();
    compiler_fence(Ordering::SeqCst);
    // Looked at after publishing, so that a shard that closes its lanes and then fences finds every event whose
    // producer did not see the end.
    !lane.is_closed()
}

/// As [`publish_in`], of records that the shard takes all at once. `time` is that of the last.
#[cold]
fn publish_group_in(lane: &mut LaneWriter, time: u64) -> bool {
    if lane.is_closed() {
        return false;
    }
    lane.publish_group(time);
    compiler_fence(Ordering::SeqCst);
    // As in publish_in.
    !lane.is_closed()
}

/// The reason for which a shard takes no event at present.
fn refusal(control: &ShardControl) -> IngestionError {
    if let Some(poison) = control.view().poison() {
        return IngestionError::Poisoned(Box::new(poison.clone()));
    }
    match (control.is_closing(), control.view().is_full()) {
        (true, _) => IngestionError::ShuttingDown,
        (_, true) => IngestionError::StorageFull { shard_id: control.id() },
        _ => IngestionError::Backpressure { shard_id: control.id() },
    }
}
