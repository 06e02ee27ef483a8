//! Relay: one session to one client, from where the client was, to the session's end.

mod history;
mod lost;
mod resume;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tapeline_reader::{
    AdapterError, ConsumerError, ConsumerResult, Gap, GapReason, IntoSession, ResumeToken, StoredEvent, TokenFault,
};
use tapeline_storage::format::SessionId;
use tapeline_storage::read::{ReadError, Visibility};

use super::request::SubscribeRequest;
use super::subscription::Subscription;
use crate::bus_core::BusCore;

use history::History;
use resume::{Fault, Merged, Resume};

/// A session to relay.
///
/// ```
/// use tapeline::consumer::RelayRequest;
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
/// [`ConsumerError::Gap`] stands in the place of events that cannot be read, and the relay continues after it. A
/// later relay continues after an event's [`token`](StoredEvent::token), or a gap's [`token`](Gap::token). Any other
/// error ends the relay.
///
/// A session that was closed and opened again has several turns: a relay ends with the turn that it begins in, and one
/// that continues after the event that closes a turn relays the next one, or ends at once where there is none yet.
/// Without a token it begins in the first turn that the log holds. It also ends when the bus has; [`Relay::end`] says
/// which it was.
///
/// A session that no event was written of has not begun: the relay waits for that. Its future and the relay may be
/// dropped at any time, and [`EventBus::session`](crate::EventBus::session) says whether the log knows the session.
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
    session: SessionId,
    /// The events before the subscription begins, where a log that was restored has to be put in order.
    history: Option<History>,
    subscription: Subscription,
    handed_out: HandedOut,
    end: Option<RelayEnd>,
}

/// The end of a [`Relay`].
///
/// From [`Relay::end`]: a server tells by it whether the client is to come back.
///
/// ```
/// use tapeline::consumer::RelayEnd;
///
/// /// The last line of a server's answer.
/// fn last_line(end: Option<RelayEnd>) -> &'static str {
///     match end {
///         Some(RelayEnd::Closed) => "data: [DONE]\n\n",
///         _ => "retry: 1000\n\n",
///     }
/// }
/// assert_eq!(last_line(Some(RelayEnd::Shutdown)), "retry: 1000\n\n");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayEnd {
    /// The session was closed: there is nothing to come back for, but another turn.
    Closed,
    /// The bus has ended. The session may go on in the next process.
    Shutdown,
    /// The error that the relay returned last ended it: the session, or a part of it, cannot be read at present.
    Failed,
}

/// The place that a relay has handed out events to, for the tokens of gaps.
#[derive(Debug, Default)]
struct HandedOut {
    last: Option<ResumeToken>,
    /// The latest time.
    time: u64,
}

/// A session, before the bus was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    Closed,
}

impl HandedOut {
    fn note(&mut self, token: ResumeToken) {
        self.last = Some(token);
        self.time = self.time.max(token.insertion_ts());
    }
}

impl Relay {
    /// All that was ingested when it was known how the session stood is readable.
    pub(crate) async fn begin(core: Arc<BusCore>, request: &RelayRequest, stood: Standing) -> ConsumerResult<Self> {
        let RelayRequest { session, after, visibility } = *request;
        if session == SessionId::NONE {
            return Err(ConsumerError::NoSession);
        }
        let resume = match after {
            None => Resume::at_earliest(&core),
            Some(token) => match Resume::after(&core, session, token).await {
                Ok(resume) => resume,
                Err(Fault::Read(error)) => return Err(error.into()),
                // Of another session: nothing about this one is for its bearer.
                Err(Fault::Token(fault @ TokenFault::Foreign)) => {
                    return Err(ConsumerError::InvalidToken { fault, earliest: None });
                }
                Err(Fault::Token(fault)) => {
                    let earliest = Self::earliest(core, session, visibility).await;
                    return Err(ConsumerError::InvalidToken { fault, earliest });
                }
            },
        };
        let mut relay = Self::at(core, request, resume, stood)?;
        if let Some(token) = after {
            relay.handed_out.note(token);
        }
        Ok(relay)
    }

    fn at(core: Arc<BusCore>, request: &RelayRequest, resume: Resume, stood: Standing) -> ConsumerResult<Self> {
        let RelayRequest { session, visibility, .. } = *request;
        let is_after_close = resume.is_after_close;
        let handed_out = HandedOut { last: None, time: resume.merged.map_or(0, Merged::time) };
        let (history, resume) = History::split(&core, session, resume)?;
        let request = SubscribeRequest::new().session(session).visibility(visibility).until_close();
        let mut subscription = Subscription::resumed(core, &request, &resume.beginning)?;
        if is_after_close {
            subscription.end_after_close();
        } else if stood == Standing::Closed {
            subscription.end_at_present();
        }
        Ok(Self { session, history, subscription, handed_out, end: None })
    }

    /// The token of the first event that a relay from the beginning returns, if there is one now.
    async fn earliest(core: Arc<BusCore>, session: SessionId, visibility: Visibility) -> Option<ResumeToken> {
        let request = RelayRequest::new(session).visibility(visibility);
        let resume = Resume::at_earliest(&core);
        let mut relay = Self::at(core, &request, resume, Standing::Open).ok()?;
        relay.subscription.end_after_close();
        while let Some(item) = relay.next().await {
            if let Ok(event) = item {
                return Some(event.token());
            }
        }
        None
    }

    /// The next event, if there is one now.
    pub fn try_next(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        loop {
            if self.end.is_some() {
                return None;
            }
            let mut left = usize::MAX;
            let item = match self.poll_history(|history, _| history.poll_next(None, &mut left)) {
                Poll::Ready(None) if self.end.is_none() => self.subscription.try_next(),
                // Files are read here, and there is no end to how much is looked at.
                Poll::Ready(None) | Poll::Pending => None,
                Poll::Ready(item) => item,
            };
            match item {
                None => {
                    self.end = self.end.or_else(|| self.find_end());
                    return None;
                }
                Some(item) => {
                    if let Some(item) = self.hand_out(item) {
                        return Some(item);
                    }
                }
            }
        }
    }

    /// Waits for the next event. `None`: it has ended, and [`Relay::end`] says how. A call that is dropped before it
    /// returns loses no event.
    pub async fn next(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The reason for which it has ended. `None`: it goes on.
    pub fn end(&self) -> Option<RelayEnd> {
        self.end.or_else(|| self.find_end())
    }

    /// Returns whether nothing more will come.
    pub fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    fn find_end(&self) -> Option<RelayEnd> {
        match &self.history {
            Some(history) => history.is_closed().then_some(RelayEnd::Closed),
            None if self.subscription.has_met_close() => Some(RelayEnd::Closed),
            None => self.subscription.has_ended().then_some(RelayEnd::Shutdown),
        }
    }

    /// The next item of the history. `None`: there is none, and the subscription goes on.
    fn poll_history(
        &mut self,
        poll: impl FnOnce(&mut History, &mut Subscription) -> Poll<Option<ConsumerResult<StoredEvent>>>,
    ) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        let Some(history) = &mut self.history else { return Poll::Ready(None) };
        let polled = poll(history, &mut self.subscription);
        match &polled {
            Poll::Ready(None) if history.is_closed() => self.end = Some(RelayEnd::Closed),
            Poll::Ready(None) => self.history = None,
            Poll::Ready(Some(item)) => self.subscription.hand_out(item),
            Poll::Pending => {}
        }
        polled
    }

    /// The item as the relay's reader gets it, if it concerns the session.
    fn hand_out(&mut self, item: ConsumerResult<StoredEvent>) -> Option<ConsumerResult<StoredEvent>> {
        match item {
            Ok(event) => {
                self.handed_out.note(event.token());
                Some(Ok(event))
            }
            Err(ConsumerError::Gap(gap)) => self.with_token(gap).map(|gap| Err(ConsumerError::Gap(gap))),
            Err(error) => {
                if failed_shard(&error).is_some_and(|shard| !self.subscription.may_have_more(self.session, shard)) {
                    return None;
                }
                self.end = Some(RelayEnd::Failed);
                Some(Err(error))
            }
        }
    }

    /// The gap with the token that continues after it. `None`: it is in a shard that held none of the session's events.
    fn with_token(&mut self, mut gap: Gap) -> Option<Gap> {
        let is_lost = gap.reason == GapReason::LostInCrash;
        if !is_lost && !self.subscription.may_hold(self.session, gap.shard_id, gap.from) {
            if !matches!(gap.reason, GapReason::Overflow { .. }) {
                return None;
            }
            // A place in that shard would not be one in the session.
            gap.token = self.handed_out.last;
            return Some(gap);
        }
        let next = if is_lost { gap.from } else { gap.to };
        let after = ResumeToken::after_gap(self.session, gap.shard_id, next, self.handed_out.time);
        let token = gap.token.filter(|_| self.history.is_none()).unwrap_or(after);
        self.handed_out.note(token);
        gap.token = Some(token);
        Some(gap)
    }
}

/// The shard that an error is about.
fn failed_shard(error: &ConsumerError) -> Option<u16> {
    match error {
        ConsumerError::Adapter(AdapterError::Poisoned(poison)) => Some(poison.shard_id),
        ConsumerError::Read(ReadError::Io { shard_id, .. } | ReadError::Corrupt { shard_id, .. }) => Some(*shard_id),
        _ => None,
    }
}

impl Stream for Relay {
    type Item = ConsumerResult<StoredEvent>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let relay = self.get_mut();
        loop {
            if relay.end.is_some() {
                return Poll::Ready(None);
            }
            let polled = relay.poll_history(|history, subscription| {
                subscription.poll_beside(context, |loading, left| history.poll_next(loading, left))
            });
            let polled = match polled {
                Poll::Ready(None) if relay.end.is_none() => Pin::new(&mut relay.subscription).poll_next(context),
                polled => polled,
            };
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    relay.end = relay.end.or_else(|| relay.find_end());
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(item)) => {
                    if let Some(item) = relay.hand_out(item) {
                        return Poll::Ready(Some(item));
                    }
                }
            }
        }
    }
}
