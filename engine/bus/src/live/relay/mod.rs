//! Relay: one session to one client, from where the client was, to the session's end.

mod history;
mod resume;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tapeline_reader::{ConsumerError, ConsumerResult, IntoSession, ResumeToken, StoredEvent};
use tapeline_storage::format::SessionId;
use tapeline_storage::read::Visibility;

use super::request::SubscribeRequest;
use super::subscription::Subscription;
use crate::bus_core::BusCore;

use history::History;
use resume::Resume;

/// A session to relay.
///
/// ```
/// use tapeline::RelayRequest;
/// use tapeline::consumer::Visibility;
///
/// // A client must not see what a crash may still take.
/// let request = RelayRequest::new("chat-42").visibility(Visibility::Durable);
/// assert_eq!(request.after, None);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RelayRequest {
    /// The session.
    pub session: SessionId,
    /// The token of the last event that the client has. `None`: from the earliest event that the log holds.
    pub after: Option<ResumeToken>,
    /// The visibility that an event needs to be relayed: with `Durable`, nothing is relayed that a crash may still
    /// take.
    pub visibility: Visibility,
}

impl RelayRequest {
    /// All of a session, up to its end.
    pub fn new(session: impl IntoSession) -> Self {
        Self { session: session.into_session(), after: None, visibility: Visibility::default() }
    }

    /// The same, after the event of this token.
    #[must_use]
    pub fn after(mut self, token: ResumeToken) -> Self {
        self.after = Some(token);
        self
    }

    /// The same, seeing this much.
    #[must_use]
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }
}

/// The events of one session, in order: first those in the log, then live ones, up to the one that closes the session,
/// which is the last. A [`Stream`] that is `Send`, for the handler of a request.
///
/// [`ConsumerError::Gap`] stands in the place of events that are not to be had, and the relay continues after it. Each
/// event's [`token`](StoredEvent::token) is where a later relay continues.
///
/// A session that was closed and opened again has several turns: a relay ends with the turn that it begins in, and one
/// that continues after the event that closes a turn relays the next one, or ends at once where there is none yet. A
/// relay also ends when the bus has.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::event::SessionOutcome;
/// use tapeline::{EventBus, EventBusConfig, kinds};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let mut producer = bus.producer()?;
/// let chat = producer.open_session("chat-42")?;
/// for token in ["Hel", "lo"] {
///     producer.emit(chat, kinds::TOKEN, token.as_bytes())?;
/// }
/// let mut relay = bus.relay("chat-42", None).await?;
/// relay.next().await.expect("the event that opens the session")?;
/// let last_seen = relay.next().await.expect("Hel")?.token().to_string();
/// drop(relay);
///
/// // The client's connection broke. It comes back with the token, as the Last-Event-ID of its request.
/// producer.close_session(chat, SessionOutcome::Finished)?;
/// let mut relay = bus.relay("chat-42", Some(last_seen.parse()?)).await?;
/// assert_eq!(&relay.next().await.expect("one more")?.raw, "lo");
/// relay.next().await.expect("the event that closes the session")?;
/// assert!(relay.next().await.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Relay {
    /// The events before the subscription begins, where a log that was restored has to be put in order.
    history: Option<History>,
    subscription: Subscription,
}

impl Relay {
    /// `was_closed`: the session was closed before the bus was waited for. All that was ingested until then is
    /// readable.
    pub(crate) fn new(core: Arc<BusCore>, request: &RelayRequest, was_closed: bool) -> ConsumerResult<Self> {
        let RelayRequest { session, after, visibility } = *request;
        if session == SessionId::NONE {
            return Err(ConsumerError::NoSession);
        }
        let resume = Resume::find(&core, session, after)?;
        let is_after_close = resume.is_after_close;
        let (history, resume) = History::split(&core, session, resume)?;
        let request = SubscribeRequest::new().session(session).visibility(visibility).until_close();
        let mut subscription = Subscription::resumed(core, &request, &resume.beginning)?;
        if was_closed || is_after_close {
            subscription.end_at_present(is_after_close);
        }
        Ok(Self { history, subscription })
    }

    /// The next event, if there is one now.
    pub fn try_next(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        if let Some(history) = &mut self.history {
            if let Some(item) = history.next() {
                self.subscription.hand_out(&item);
                return Some(item);
            }
            if history.is_closed() {
                return None;
            }
            self.history = None;
        }
        self.subscription.try_next()
    }

    /// Waits for the next event. `None`: the session was closed, or the bus has ended. A call that is dropped before it
    /// returns loses no event.
    pub async fn next(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Relay {
    type Item = ConsumerResult<StoredEvent>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let relay = self.get_mut();
        if let Some(history) = &mut relay.history {
            if let Some(item) = history.next() {
                relay.subscription.hand_out(&item);
                return Poll::Ready(Some(item));
            }
            if history.is_closed() {
                return Poll::Ready(None);
            }
            relay.history = None;
        }
        Pin::new(&mut relay.subscription).poll_next(context)
    }
}
