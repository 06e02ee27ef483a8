//! Reading through the bus: pages, replays, subscriptions, relays, named cursors.

use std::sync::Arc;

use tapeline_reader::named::{list_in, load_in, remove_in, save_in};
use tapeline_reader::opening::learn;
use tapeline_reader::{
    ConsumerResult, EventId, IntoSession, NamedCursor, PayloadReader, Replay, ReplayRequest, ResumeToken, Speed,
};

use tapeline_reader::source::LogViews;
use tapeline_storage::log::LogView;

use crate::live::{
    Batches, ConsumeRequest, ConsumeResponse, PacedEvents, Relay, RelayRequest, Standing, SubscribeRequest,
    Subscription,
};

use crate::core::lock::lock;

use super::{EventBus, sessions};

impl EventBus {
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
        let replay = replay.with_openings(|selection, positions| {
            learn(selection, positions, |each| self.core.readers().names.store().each(each));
        });
        Ok(replay.naming(|_| self.core.names()).with_eras(self.core.eras()))
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
    /// Where the request is [`until_close`](SubscribeRequest::until_close) and does not start at the earliest event, it
    /// looks its sessions up, at the cost of [`EventBus::session`] for each.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): a cursor or a filter that cannot be used, a file that cannot be read.
    pub async fn subscribe(&self, request: SubscribeRequest) -> ConsumerResult<Subscription> {
        self.core.wait_readable().await?;
        let mut subscription = Subscription::new(Arc::clone(&self.core), &request)?;
        subscription.know_closed(sessions::closed(&self.core, request.may_have_closed())?);
        Ok(subscription)
    }

    /// The payload of one event that is readable, to be read in parts of 1 MiB, in as much memory, whatever its size;
    /// `None` where the log has no event of this id, or not any more. Blocks while it reads the log's files: call it,
    /// and read, on a thread that may wait.
    ///
    /// # Errors
    /// [`ConsumerError::Read`](crate::ConsumerError::Read): the event's block cannot be read, or is damaged.
    pub fn payload(&self, id: &EventId) -> ConsumerResult<Option<PayloadReader>> {
        self.core.check_fork()?;
        let view = self.core.shards().views().find(|view| view.shard() == id.shard_id);
        let view = view.filter(|_| id.log == self.log_id());
        Ok(view.map(|view| PayloadReader::open(&view, id.sequence)).transpose()?.flatten())
    }

    /// The events of a session, from the one after the token's on, then live ones, up to the session's close: what a
    /// client of a stream gets that may break and resume.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidToken`](crate::ConsumerError::InvalidToken): the token is of another session, or of an
    /// event that the log has trimmed, or does not have; [`ConsumerError`](crate::ConsumerError).
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
        let is_closed = self.core.closed().is_closed(request.session);
        let stood = if is_closed { Standing::Closed } else { Standing::Open };
        self.core.wait_readable().await?;
        Relay::begin(Arc::clone(&self.core), &request, stood).await
    }

    /// As [`EventBus::subscribe`], in batches as [`EventBusConfig::batch`](crate::EventBusConfig::batch) says.
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
        self.settle_cursor(name)?;
        save_in(&self.core.readers().cursors, LogViews::new(self.log_id(), &views), name, cursor)
    }

    /// The cursor of this name, if there is one: as it was saved last, with a batch
    /// ([`ProducerBatch::with_cursor`](crate::bus::ProducerBatch::with_cursor)) or by itself. After a batch it waits until
    /// that is durable.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): the name is none, the file or the log cannot be read, or the last batch
    /// cannot be made durable.
    pub fn load_cursor(&self, name: &str) -> ConsumerResult<Option<String>> {
        self.core.check_fork()?;
        self.settle_cursor(name)?;
        load_in(&self.core.readers().cursors, LogViews::new(self.log_id(), &self.views()), name)
    }

    /// Forgets the cursor of this name; returns whether there was one.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): the name is none, or the file cannot be removed.
    pub fn remove_cursor(&self, name: &str) -> ConsumerResult<bool> {
        self.core.check_fork()?;
        self.settle_cursor(name)?;
        remove_in(&self.core.readers().cursors, LogViews::new(self.log_id(), &self.views()), name)
    }

    /// The named cursors, and by how much each lags behind. Costs some microseconds for each and each shard.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): a file cannot be read.
    pub fn cursors(&self) -> ConsumerResult<Vec<NamedCursor>> {
        self.core.check_fork()?;
        list_in(&self.core.readers().cursors, LogViews::new(self.log_id(), &self.views()))
    }

    fn views(&self) -> Vec<Arc<LogView>> {
        self.core.shards().views().collect()
    }

    /// Waits until the last batch with this cursor is durable.
    fn settle_cursor(&self, name: &str) -> ConsumerResult<()> {
        let last = self.core.taps().known(name);
        let last = last.and_then(|last| lock(&last).clone());
        last.map_or(Ok(()), |last| Ok(last.wait_durable(&self.core)?))
    }
}
