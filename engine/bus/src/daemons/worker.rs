//! A worker: the feed of a daemon that gets the sessions that are routed to it.
//!
//! It follows the routed sessions of the log, and passes those of other workers over. A session becomes its own when it
//! reads the opening that [`Dispatcher`](super::Dispatcher) has written for it, or when it takes one that waits. Of a
//! session that it takes it first reads what the worker before it has left: the events between where that one had come
//! to and where its own reading stands.
//!
//! Its checkpoints name the sessions that it has taken since the one before ([`Shift`]). So the log knows whose each
//! session is and how far it has been processed: as far as the last checkpoint of the worker that took it last.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tapeline_capability::{Predicate, RequiredCapability};
use tapeline_reader::cursor::Cursor;
use tapeline_reader::{
    AdapterResult, ConsumerError, ConsumerResult, CursorFault, Filter, SessionChange, Start, StoredEvent, Visibility,
    kinds,
};
use tapeline_storage::format::{Sequence, SessionId};

use super::checkpoint::Checkpoint;
use super::shift::{Left, Reading, Shift};
use crate::bus_core::{Begin, BusCore, Worker};
use crate::live::{SubscribeRequest, Subscription};

/// The label of a session that is routed.
pub(super) const ROUTED: &str = "routed";

/// The term of the sessions that are routed.
pub(super) fn is_routed() -> Filter {
    Filter::source(RequiredCapability::from(Predicate::metadata_exists(ROUTED)))
}

/// Events of the sessions of one worker.
pub(super) struct WorkerFeed {
    core: Arc<BusCore>,
    /// Its number on the bus.
    number: u64,
    /// All routed sessions.
    all: Subscription,
    /// The choice of events, for the sessions that it takes.
    request: SubscribeRequest,
    /// True if the daemon gets events of kind `SESSION`.
    gets_changes: bool,
    own: HashMap<SessionId, Own>,
    taking: Option<Taking>,
    book: Shifts,
}

/// A session of the worker.
#[derive(Debug, Default)]
struct Own {
    /// True if a checkpoint says so.
    is_noted: bool,
    /// The time at which it was closed.
    closed_at: Option<u64>,
}

/// The checkpoints of a worker, as far as others need them.
#[derive(Debug, Default)]
struct Shifts {
    /// The sessions that were taken since the last one.
    taken: Vec<SessionId>,
    /// True if the next one gives all sessions back.
    gives_back: bool,
    /// The number of changes that it has looked at.
    changes: u64,
    /// Openings and closes of its sessions that were passed since they were asked for last.
    passed: u64,
    last: Option<(String, Shift)>,
}

/// A session that the worker takes over.
enum Taking {
    /// Until all that the worker before it has written is durable.
    Waiting { session: SessionId, begin: Begin, durable: Pin<Box<dyn Future<Output = AdapterResult<()>> + Send>> },
    /// Until this worker's reading has come as far as what was durable then.
    CatchingUp { session: SessionId, begin: Begin },
    /// It reads what the worker before it has left.
    Reading { session: SessionId, left: Box<Subscription>, ends: BTreeMap<u16, Sequence> },
}

impl fmt::Debug for WorkerFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerFeed").field("own", &self.own).field("book", &self.book).finish_non_exhaustive()
    }
}

impl WorkerFeed {
    /// A worker that gets events as requested, from now on.
    pub(super) fn new(core: &Arc<BusCore>, request: SubscribeRequest, worker: Worker) -> ConsumerResult<Self> {
        let gets_changes = match &request.kinds {
            Some(kinds) => kinds.contains(&kinds::SESSION),
            None => request.filter.is_none(),
        };
        let mut request = request.start(Start::Latest).visibility(Visibility::Durable);
        request.cursor = None;
        request.kinds.iter_mut().for_each(|kinds| kinds.push(kinds::SESSION));
        let wanted = request.filter.take().map(|filter| Filter::or([Filter::kind(kinds::SESSION), filter]));
        let sources = worker.requirements.iter().cloned().map(Filter::source);
        request.filter = Some(Filter::and([is_routed()].into_iter().chain(sources).chain(wanted)));
        let all = Subscription::new(Arc::clone(core), &request)?;
        // From here on it may be given sessions: their openings come after the beginning of `all`.
        let core = Arc::clone(core);
        let number = core.assignments().enter(worker);
        let (own, taking, book) = (HashMap::new(), None, Shifts::default());
        Ok(Self { core, number, all, request, gets_changes, own, taking, book })
    }

    /// The next event. `None`: there will be no more. `ask` has the daemon say how it is, before it takes a session.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        ask: &mut dyn FnMut(),
    ) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        loop {
            if let Some(Taking::Reading { .. }) = &self.taking {
                match self.poll_left(context) {
                    Poll::Ready(None) => self.taking = None,
                    other => return other,
                }
            }
            match Pin::new(&mut self.all).poll_next(context) {
                Poll::Ready(Some(Ok(event))) => {
                    if self.admit(&event) {
                        return Poll::Ready(Some(Ok(event)));
                    }
                }
                Poll::Ready(other) => return Poll::Ready(other),
                Poll::Pending if self.all.lag() > 0 => return Poll::Pending,
                Poll::Pending => match self.poll_take(context, ask) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// Returns whether the daemon gets the event; notes which sessions are its own.
    fn admit(&mut self, event: &StoredEvent) -> bool {
        if event.kind != kinds::SESSION {
            return self.own.contains_key(&event.session);
        }
        let change = SessionChange::parse(&event.raw);
        let is_opened = matches!(change, Some(SessionChange::Opened { .. }));
        if is_opened
            && !self.own.contains_key(&event.session)
            && !self.is_taking(event.session)
            && self.core.assignments().begins_with(self.number, event.session, event.insertion_ts)
        {
            self.own.insert(event.session, Own::default());
            self.book.taken.push(event.session);
        }
        let Some(own) = self.own.get_mut(&event.session) else { return false };
        self.book.passed += 1;
        own.closed_at = match change {
            Some(SessionChange::Closed { .. }) => Some(event.insertion_ts),
            _ if is_opened => None,
            _ => own.closed_at,
        };
        self.gets_changes
    }

    /// Returns whether it is going to read what the worker before it has left of the session.
    fn is_taking(&self, wanted: SessionId) -> bool {
        match &self.taking {
            Some(Taking::Waiting { session, .. } | Taking::CatchingUp { session, .. }) => *session == wanted,
            Some(Taking::Reading { .. }) | None => false,
        }
    }

    /// The next event of those that the worker before it has left. `None`: there are no more.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        loop {
            let Some(Taking::Reading { left, ends, .. }) = &mut self.taking else { return Poll::Ready(None) };
            match Pin::new(&mut **left).poll_next(context) {
                Poll::Ready(Some(Ok(event))) => {
                    if ends.get(&event.shard_id).is_none_or(|end| event.sequence >= *end) {
                        return Poll::Ready(None);
                    }
                    if self.admit(&event) {
                        return Poll::Ready(Some(Ok(event)));
                    }
                }
                Poll::Pending if left.lag() == 0 => return Poll::Ready(None),
                other => return other,
            }
        }
    }

    /// Takes a session that waits, one step at a time.
    fn poll_take(&mut self, context: &mut Context<'_>, ask: &mut dyn FnMut()) -> Poll<ConsumerResult<()>> {
        match self.taking.take() {
            None => self.poll_waiting(context, ask),
            Some(Taking::Waiting { session, begin, mut durable }) => match durable.as_mut().poll(context) {
                Poll::Ready(Ok(())) => {
                    self.taking = Some(Taking::CatchingUp { session, begin });
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    self.taking = Some(Taking::Waiting { session, begin, durable });
                    Poll::Pending
                }
            },
            Some(Taking::CatchingUp { session, begin }) => Poll::Ready(self.read_left(session, begin)),
            Some(reading @ Taking::Reading { .. }) => {
                self.taking = Some(reading);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Looks for a session that waits, if some do since it has looked last.
    fn poll_waiting(&mut self, context: &mut Context<'_>, ask: &mut dyn FnMut()) -> Poll<ConsumerResult<()>> {
        let changes = self.core.assignments().changes();
        if changes == self.book.changes {
            return Poll::Pending;
        }
        ask();
        let Ok(taken) = self.core.assignments().take(self.number, context.waker()) else { return Poll::Pending };
        let Some((session, begin)) = taken else {
            self.book.changes = changes;
            return Poll::Pending;
        };
        let core = Arc::clone(&self.core);
        let durable = Box::pin(async move { core.wait_durable().await });
        self.taking = Some(Taking::Waiting { session, begin, durable });
        Poll::Ready(Ok(()))
    }

    /// Begins with what the worker before it has left of a session.
    fn read_left(&mut self, session: SessionId, begin: Begin) -> ConsumerResult<()> {
        let positions = Cursor::decode(&self.all.cursor(), self.core.log_id()).map(|cursor| cursor.positions);
        let ends = positions.unwrap_or_default().into_iter().map(|(shard, position)| (shard, position.next)).collect();
        let mut request = self.request.clone().session(session);
        match begin {
            Begin::Earliest => request.start = Start::Earliest,
            Begin::Time(time) => request.start = Start::Time(time),
            Begin::Cursor(cursor) => request.cursor = Some(cursor),
        }
        let left = match Subscription::new(Arc::clone(&self.core), &request) {
            // All that was there then is trimmed; what there is now came after it.
            Err(ConsumerError::InvalidCursor { fault: CursorFault::Expired(_), .. }) => {
                (request.cursor, request.start) = (None, Start::Earliest);
                Subscription::new(Arc::clone(&self.core), &request)?
            }
            subscribed => subscribed?,
        };
        self.own.insert(session, Own::default());
        self.book.taken.push(session);
        self.taking = Some(Taking::Reading { session, left: Box::new(left), ends });
        Ok(())
    }

    /// The cursor after what was handed out, but for what the worker before it has left.
    pub(super) fn cursor(&self) -> String {
        self.all.cursor()
    }

    /// Events that it has not looked at.
    pub(super) fn lag(&self) -> u64 {
        let left = match &self.taking {
            Some(Taking::Reading { left, .. }) => 1 + left.lag(),
            Some(_) => 1,
            None => 0,
        };
        self.all.lag() + left
    }

    /// Openings and closes of its sessions that it has passed since the last call.
    pub(super) fn take_passed(&mut self) -> u64 {
        std::mem::take(&mut self.book.passed)
    }

    /// Takes no further session: it is about to end.
    pub(super) fn prepare_to_leave(&self) {
        self.core.assignments().prepare_to_leave(self.number);
    }

    /// Gives its sessions back with the next checkpoint. Returns whether it has any.
    pub(super) fn give_back(&mut self) -> bool {
        self.book.gives_back = !self.own.is_empty();
        self.book.gives_back
    }

    /// The part of the next checkpoint that is about sessions.
    pub(super) fn shift(&self) -> Shift {
        let reading = match &self.taking {
            Some(Taking::Reading { session, left, .. }) => Some(Reading { session: *session, cursor: left.cursor() }),
            _ => None,
        };
        let is_read = |session| reading.as_ref().is_none_or(|reading| reading.session != session);
        let left = self.own.iter().filter_map(|(session, own)| {
            let closed_at =
                own.closed_at.filter(|at| is_read(*session) && self.core.assignments().is_over(*session, *at));
            (self.book.gives_back || closed_at.is_some()).then_some(Left { session: *session, closed_at })
        });
        Shift { begins: self.book.last.is_none(), taken: self.book.taken.clone(), left: left.collect(), reading }
    }

    /// The checkpoint is in the log.
    pub(super) fn written(&mut self, checkpoint: Checkpoint) {
        let Some(shift) = checkpoint.shift else { return };
        for session in self.book.taken.drain(..) {
            self.own.get_mut(&session).into_iter().for_each(|own| own.is_noted = true);
        }
        let left = shift.left.clone();
        self.book.last = Some((checkpoint.cursor, shift));
        for Left { session, closed_at } in left {
            match closed_at.map(|at| self.core.assignments().forget(session, at)) {
                Some(true) => drop(self.own.remove(&session)),
                // It was opened again meanwhile.
                Some(false) => self.book.taken.push(session),
                None => {}
            }
        }
        if std::mem::take(&mut self.book.gives_back) {
            self.core.assignments().give_back(self.number, |session| self.begin_after(session));
            self.own.clear();
            self.book.taken.clear();
            self.taking = None;
        }
    }

    /// The start of the next worker of a session, by the last checkpoint of this one.
    fn begin_after(&self, session: SessionId) -> Option<Begin> {
        let is_noted = self.own.get(&session).is_some_and(|own| own.is_noted);
        let (cursor, shift) = self.book.last.as_ref().filter(|_| is_noted)?;
        Some(Begin::Cursor(shift.cursor_of(session, cursor).to_owned()))
    }
}

impl Drop for WorkerFeed {
    fn drop(&mut self) {
        self.core.assignments().leave(self.number, |session| self.begin_after(session));
    }
}
