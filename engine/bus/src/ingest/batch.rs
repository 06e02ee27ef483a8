//! Several events for the price of one store.

use rkyv::Serialize;
use tapeline_reader::timestamp::TimeSource;
use tapeline_reader::{PayloadSerializer, TypedPayload};
use tapeline_storage::format::Kind;

use super::source::{Bytes, RecordSource, Value};
use super::tap::BatchCursor;
use super::{Producer, Session, Ticket};
use crate::bus_core::TapBatch;
use crate::core::error::IngestionResult;
use crate::lane::{Publish, UNSTAMPED_MAX};

/// Events of one session that become visible together. Dropping it takes back what was not published.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig, kinds};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let mut producer = bus.producer()?;
/// let chat = producer.session("chat-42");
/// let mut batch = producer.batch(chat);
/// for token in ["Hel", "lo"] {
///     batch.push(kinds::TOKEN, token.as_bytes())?;
/// }
/// // Readers see both from here on.
/// let ticket = batch.publish()?.expect("two events");
/// drop(batch);
/// producer.durable(ticket).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ProducerBatch<'p> {
    producer: &'p mut Producer,
    session: Session,
    /// Events that may be appended before the clock is read again.
    group_left: usize,
    /// Events since the last publish.
    events: u64,
    /// The cursor that goes with them.
    cursor: Option<Box<BatchCursor>>,
}

impl<'p> ProducerBatch<'p> {
    pub(super) fn new(producer: &'p mut Producer, session: Session) -> Self {
        let session = producer.refresh(session);
        Self { producer, session, group_left: 0, events: 0, cursor: None }
    }

    /// Adds an event. The clock is read for 16 events at a time, whose times are a nanosecond apart: at the first of
    /// them, and where the bus has several producers at the last.
    ///
    /// # Errors
    /// As [`Producer::emit`]; the events before it stay in the batch.
    #[inline]
    pub fn push(&mut self, kind: Kind, payload: &[u8]) -> IngestionResult<()> {
        if self.group_left > 0 && self.producer.append(self.session, kind, payload) {
            self.group_left -= 1;
        } else {
            let time = self.time();
            self.push_record(Bytes { kind, payload, time })?;
        }
        self.events += 1;
        Ok(())
    }

    /// Adds a value of an rkyv type, as [`Producer::emit_archived`] would.
    ///
    /// # Errors
    /// As [`Producer::emit_archived`]; the events before it stay in the batch.
    pub fn push_archived<T>(&mut self, kind: Kind, value: &T) -> IngestionResult<()>
    where
        T: TypedPayload + for<'a> Serialize<PayloadSerializer<'a>>,
    {
        let time = self.time();
        self.push_record(Value::new(kind, value, time)?)?;
        self.events += 1;
        Ok(())
    }

    /// Adds an event that begins a group or ends one, or asks for more than [`Producer::append`] does. The first event
    /// finds out whether the session is closed; for those after it, the publish does.
    ///
    /// # Errors
    /// As [`Producer::emit`].
    #[inline(never)]
    fn push_record(&mut self, source: impl RecordSource) -> IngestionResult<()> {
        if self.events == 0 {
            self.producer.check_session(self.session.id(), 1)?;
        }
        let is_pending = source.is_pending();
        let _ = self.producer.write(self.session, source, Publish::Later)?;
        let unstamped = self.producer.unstamped(self.session.shard_id());
        // The last record of a group gives all of them their times.
        self.group_left = if is_pending && unstamped == 0 { 0 } else { UNSTAMPED_MAX - 1 - unstamped };
        Ok(())
    }

    /// The source of the time of an event that is not appended.
    fn time(&self) -> TimeSource {
        // Derived from an earlier look, a time could be before an event that the caller has seen meanwhile.
        if self.producer.core.producers().order_times() { TimeSource::Pending } else { TimeSource::Clock }
    }

    /// Saves a cursor with the events: the next [`ProducerBatch::publish`] makes both durable together or not at all,
    /// be there events or not. A consumer that emits what it derives from other events saves its position so: after a
    /// crash [`EventBus::load_cursor`](crate::EventBus::load_cursor) returns a position that covers exactly the events
    /// whose derived ones are in the log.
    ///
    /// Events and cursor have to fit one block, 1 MiB. Where the last batch with a cursor of this name went to another
    /// shard, the publish waits until that one is durable.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tapeline::{Event, EventBus, EventBusConfig, SubscribeRequest, kinds};
    ///
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// bus.ingest(Event::from_str("1")?.with_session("questions"))?;
    /// let mut questions = bus.subscribe(SubscribeRequest::new().session("questions")).await?;
    /// let mut producer = bus.producer()?;
    /// let answers = producer.session("answers");
    /// if let Some(question) = questions.next().await {
    ///     let mut batch = producer.batch(answers);
    ///     batch.push(kinds::AGENT_MESSAGE, &question?.raw)?;
    ///     batch.with_cursor("answerer", &questions.cursor())?.publish()?;
    /// }
    /// assert_eq!(bus.load_cursor("answerer")?, Some(questions.cursor()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`IngestionError::Cursor`](crate::IngestionError::Cursor): the name or the text is none of a cursor of this log;
    /// [`IngestionError::CursorMode`](crate::IngestionError::CursorMode). The batch is as it was.
    pub fn with_cursor(&mut self, name: &str, cursor: &str) -> IngestionResult<&mut Self> {
        self.cursor = Some(Box::new(self.producer.batch_cursor(name, cursor)?));
        Ok(self)
    }

    /// Publishes what was added since the last time; the batch can go on. The ticket is of the last event, and hence of
    /// all; `None` if there is none. If the bus has changed its shards since the first push, the events move to the
    /// session's shard of today, with times of today: another copy of each.
    ///
    /// # Errors
    /// As [`Producer::emit`]; with a cursor [`IngestionError::BatchTooLarge`](crate::IngestionError::BatchTooLarge) and
    /// [`IngestionError::Cursor`](crate::IngestionError::Cursor). Then none of it was taken.
    #[inline]
    pub fn publish(&mut self) -> IngestionResult<Option<Ticket>> {
        self.group_left = 0;
        if let Some(cursor) = self.cursor.take() {
            let events = std::mem::take(&mut self.events);
            let (session, ticket) = self.producer.publish_with_cursor(self.session, events, &cursor)?;
            self.session = session;
            return Ok(Some(ticket));
        }
        let (session, ticket) = self.producer.publish(self.session, std::mem::take(&mut self.events))?;
        self.session = session;
        Ok(ticket)
    }

    /// As [`ProducerBatch::publish`], of events that no crash separates: they have to fit one block, 1 MiB. `last` is
    /// the batch of the same name before it, which no crash takes and leaves this one.
    ///
    /// # Errors
    /// As [`ProducerBatch::publish`] with a cursor. Then none of it was taken.
    pub(crate) fn publish_as_one(&mut self, name: &str, last: &mut Option<TapBatch>) -> IngestionResult<Ticket> {
        let events = std::mem::take(&mut self.events);
        let (session, ticket) = self.producer.publish_as_one(self.session, events, (name, last))?;
        (self.group_left, self.session) = (0, session);
        Ok(ticket)
    }
}

impl Drop for ProducerBatch<'_> {
    fn drop(&mut self) {
        self.producer.discard(self.session.shard_id());
    }
}
