//! Ingest through the bus, and the wait for events to be durable or readable.

use std::borrow::Borrow;
use std::sync::Arc;

use tapeline_reader::{
    AdapterResult, ConsumerResult, Event, EventId, IntoSession, RawEvent, SessionMetadata, SessionOutcome,
};

use crate::core::error::{IngestionError, IngestionResult, RejectedBatch};
use crate::ingest::local;
use crate::ingest::{Producer, ProducerOptions, Session, Ticket};
use crate::shard::Reach;

use super::EventBus;

impl EventBus {
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

    /// As [`EventBus::open_session_with`], with the ticket of the event that opens the session.
    ///
    /// # Errors
    /// As [`EventBus::ingest`].
    pub fn begin_session(&self, name: &str, metadata: &SessionMetadata) -> IngestionResult<(Session, Ticket)> {
        local::with(&self.locals, &self.core, |producer| producer.begin_session(name, metadata))
    }

    /// Begins another turn of a session that is known by its id, as [`Producer::reopen_session`] does.
    ///
    /// # Errors
    /// As [`Producer::reopen_session`].
    pub fn reopen_session(
        &self,
        session: impl IntoSession,
        metadata: &SessionMetadata,
    ) -> IngestionResult<(Session, Ticket)> {
        let session = session.into_session();
        local::with(&self.locals, &self.core, |producer| producer.reopen_session(session, metadata))
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
    /// [`AdapterError`](crate::AdapterError), where that cannot be, or not at present: a full disk, or
    /// [`HeldUp`](crate::AdapterError::HeldUp) while descriptors or memory have run out. The events are kept, and
    /// written once that is over.
    pub async fn flush(&self) -> AdapterResult<()> {
        self.core.wait_durable().await
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
    /// [`ForeignTicket`](crate::AdapterError::ForeignTicket), where another bus gave the ticket;
    /// [`Dropped`](crate::AdapterError::Dropped), where the event was dropped as the oldest of its lane, or may have
    /// been: a bus remembers 4,096 stretches of such drops for each producer, and 64 producers that are gone; otherwise
    /// as [`EventBus::flush`].
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

    /// The id of the event of a ticket, once it can be read. `None`, where the log no longer has the event or may have
    /// trimmed it, and where another producer's event of the same shard and nanosecond cannot be distinguished from it.
    /// Costs a seek by time in that shard, which reads a block. The future is `Send` and borrows nothing.
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
}
