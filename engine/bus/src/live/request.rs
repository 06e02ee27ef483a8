//! The request of a reader, and the page that answers it.

use std::time::Duration;

use tapeline_reader::{Filter, Gap, IntoSession, Start, StoredEvent};
use tapeline_storage::format::{Kind, SessionId};
use tapeline_storage::read::Visibility;

/// In which order the events of a page come. The events of a session from one producer are in order in both.
///
/// ```
/// use tapeline::ConsumeRequest;
/// use tapeline::consumer::Ordering;
///
/// let in_order_of_time = ConsumeRequest::new(100).ordering(Ordering::InsertionTs);
/// # let _ = in_order_of_time;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ordering {
    /// Each shard's own order; shards take turns.
    #[default]
    None,
    /// By timestamp, over all shards and all pages; ties by shard, then by sequence. An event is handed out once no
    /// earlier one can come.
    InsertionTs,
}

/// A page to read.
///
/// ```
/// use std::time::Duration;
/// use tapeline::consumer::Visibility;
/// use tapeline::{ConsumeRequest, Ordering, kinds};
///
/// // Durable tokens of one session in order of time; waits up to a second for the first.
/// let request = ConsumeRequest::new(100)
///     .session("chat-42")
///     .kind(kinds::TOKEN)
///     .ordering(Ordering::InsertionTs)
///     .visibility(Visibility::Durable)
///     .wait(Duration::from_secs(1));
/// assert_eq!(request.limit, 100);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumeRequest {
    /// The cursor to go on from: [`ConsumeResponse::next_id`] of the page before. `None`: see `start`. The name is the
    /// predecessor's.
    pub from_id: Option<String>,
    /// The start without a cursor.
    pub start: Start,
    /// Most events in the page. Default 1000.
    pub limit: usize,
    /// The choice among these events. `None`: all.
    pub filter: Option<Filter>,
    /// In which order.
    pub ordering: Ordering,
    /// Shards to read. `None`: all.
    pub shards: Option<Vec<u16>>,
    /// Sessions to read. `None`: all.
    pub sessions: Option<Vec<SessionId>>,
    /// Kinds to read. `None`: all.
    pub kinds: Option<Vec<Kind>>,
    /// The visibility that an event needs to be read: with `Durable`, nothing is read that a crash may still take.
    pub visibility: Visibility,
    /// The longest time to wait for an event where there is none. Default zero.
    pub wait: Duration,
}

impl Default for ConsumeRequest {
    fn default() -> Self {
        Self::new(1000)
    }
}

impl ConsumeRequest {
    /// A page of up to `limit` events from the earliest there is.
    pub fn new(limit: usize) -> Self {
        Self {
            from_id: None,
            start: Start::default(),
            limit,
            filter: None,
            ordering: Ordering::default(),
            shards: None,
            sessions: None,
            kinds: None,
            visibility: Visibility::default(),
            wait: Duration::ZERO,
        }
    }

    /// The same, from a cursor on.
    #[must_use]
    pub fn from(mut self, cursor: impl Into<String>) -> Self {
        self.from_id = Some(cursor.into());
        self
    }

    /// The same in this order.
    #[must_use]
    pub fn ordering(mut self, ordering: Ordering) -> Self {
        self.ordering = ordering;
        self
    }

    /// The same, waiting so long for an event where there is none.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// The treatment of a subscriber that has once caught up and fell behind.
///
/// ```
/// use tapeline::SubscribeRequest;
/// use tapeline::consumer::SlowReader;
///
/// // A dashboard wants the present: a gap stands for what it was too slow for.
/// let dashboard = SubscribeRequest::new().slow_reader(SlowReader::Drop { lag_events: 10_000 });
/// // A relay has to have every event, however late.
/// let relay = SubscribeRequest::new().slow_reader(SlowReader::Replay);
/// assert_eq!(relay, SubscribeRequest::new(), "as is the default");
/// # let _ = dashboard;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlowReader {
    /// It reads on from the log, however far behind.
    #[default]
    Replay,
    /// If it is more than `lag_events` behind in a shard, it goes on half as far from the end, and gets a gap for what
    /// it does not see.
    Drop {
        /// Most events behind, in one shard.
        lag_events: u64,
    },
    /// If it is more than `lag_events` behind in a shard, its subscription ends with
    /// [`ConsumerError::Lagged`](crate::ConsumerError::Lagged).
    Fail {
        /// Most events behind, in one shard.
        lag_events: u64,
    },
}

/// A subscription to make.
///
/// ```
/// use tapeline::consumer::{SlowReader, Start};
/// use tapeline::{Filter, SubscribeRequest};
///
/// let searches = Filter::eq("tool.name", "search");
/// let slow = SlowReader::Drop { lag_events: 10_000 };
/// let request = SubscribeRequest::new().start(Start::Latest).filter(searches).slow_reader(slow);
/// assert_eq!(request.slow_reader, slow);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SubscribeRequest {
    /// The cursor to go on from: [`Subscription::cursor`](super::Subscription::cursor) of an earlier one, or
    /// [`ConsumeResponse::next_id`]. `None`: see `start`.
    pub cursor: Option<String>,
    /// The start without a cursor.
    pub start: Start,
    /// The choice among these events. `None`: all.
    pub filter: Option<Filter>,
    /// Shards to read. `None`: all.
    pub shards: Option<Vec<u16>>,
    /// Sessions to read. `None`: all.
    pub sessions: Option<Vec<SessionId>>,
    /// Kinds to read. `None`: all.
    pub kinds: Option<Vec<Kind>>,
    /// The visibility that an event needs to be read: with `Durable`, nothing is read that a crash may still take.
    pub visibility: Visibility,
    /// The treatment of a slow reader.
    pub slow_reader: SlowReader,
    /// True if the subscription ends with the event that closes its session, or the last of them. Where all are closed
    /// before it starts, it ends at once, with what the log has of them after that.
    pub until_close: bool,
}

impl SubscribeRequest {
    /// Everything, from the earliest event there is, then live.
    pub fn new() -> Self {
        Self::default()
    }

    /// Live events alone.
    pub fn live() -> Self {
        Self::new().start(Start::Latest)
    }

    /// The sessions whose close may be before its start, if it waits for that.
    pub(crate) fn may_have_closed(&self) -> &[SessionId] {
        let is_late = self.cursor.is_some() || self.start != Start::Earliest;
        self.sessions.as_deref().filter(|_| self.until_close && is_late).unwrap_or_default()
    }

    /// The same, from a cursor on.
    #[must_use]
    pub fn from(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// The same, ending with the event that closes its session, or the last of them, whether that is among the events
    /// that were asked for or not.
    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.until_close = true;
        self
    }

    /// The same with this policy.
    #[must_use]
    pub fn slow_reader(mut self, policy: SlowReader) -> Self {
        self.slow_reader = policy;
        self
    }
}

macro_rules! selecting {
    ($($request:ty),*) => {
        $(impl $request {
            /// The same, starting here if there is no cursor.
            #[must_use]
            pub fn start(mut self, start: Start) -> Self {
                self.start = start;
                self
            }

            /// The same, with these events alone.
            #[must_use]
            pub fn filter(mut self, filter: Filter) -> Self {
                self.filter = Some(filter);
                self
            }

            /// The same, from these shards alone.
            #[must_use]
            pub fn shards(mut self, shards: Vec<u16>) -> Self {
                self.shards = Some(shards);
                self
            }

            /// The same, with this session, too; the first call leaves all others out.
            #[must_use]
            pub fn session(mut self, session: impl IntoSession) -> Self {
                self.sessions.get_or_insert_default().push(session.into_session());
                self
            }

            /// The same, with this kind, too; the first call leaves all others out.
            #[must_use]
            pub fn kind(mut self, kind: Kind) -> Self {
                self.kinds.get_or_insert_default().push(kind);
                self
            }

            /// The same, seeing this much.
            #[must_use]
            pub fn visibility(mut self, visibility: Visibility) -> Self {
                self.visibility = visibility;
                self
            }
        })*
    };
}

selecting!(ConsumeRequest, SubscribeRequest);

/// A page of events. Each of them serialises as a line of JSON:
///
/// ```
/// use tapeline::{ConsumeRequest, EventBus, EventBusConfig, RawEvent};
///
/// # futures_lite::future::block_on(async {
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_raw(RawEvent::from_str(r#"{"token": "hello"}"#).with_session("answer-17"))?;
/// let response = bus.poll(ConsumeRequest::default()).await?;
/// let line = serde_json::to_string(&response.events[0])?;
/// assert!(line.contains(r#""raw":{"token": "hello"},"insertion_ts":"#), "{line}");
/// # bus.shutdown().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ConsumeResponse {
    /// The events, in the order that was asked for.
    pub events: Vec<StoredEvent>,
    /// The cursor after this page; the name is the predecessor's. Always there: read on while `has_more`.
    pub next_id: Option<String>,
    /// True if there was more to read when the page ended.
    pub has_more: bool,
    /// Events that the page would hold, and that cannot be read.
    pub gaps: Vec<Gap>,
    /// Shards that could not be read, and why. The cursor stands before what was not read.
    pub failed_shards: Vec<ShardFailure>,
}

impl ConsumeResponse {
    /// A page without events, cursor or gaps.
    pub fn empty() -> Self {
        Self::default()
    }
}

/// A shard that could not be read.
///
/// ```
/// use tapeline::consumer::{ConsumeResponse, ShardFailure};
///
/// fn report(page: &ConsumeResponse) {
///     for ShardFailure { shard_id, message } in &page.failed_shards {
///         println!("shard {shard_id} was left out: {message}");
///     }
/// }
/// # report(&ConsumeResponse::empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFailure {
    /// The shard.
    pub shard_id: u16,
    /// The error, in words.
    pub message: String,
}
