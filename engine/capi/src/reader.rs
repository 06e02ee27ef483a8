//! A reader: a subscription, the relay of a session, or a replay, as one stream of items for a C program.
//!
//! One thread reads at a time, and only the callback's once there is one. The items that a call returned live until the
//! next call, so that the caller's views point into them. Items that a call finds before an error are returned first;
//! the next call returns the error.

use std::cell::RefCell;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use tapeline::consumer::{Gap, GapReason, PacedEvents, Relay, Replay, Subscription};
use tapeline::event::SessionId;
use tapeline::log::LogFollower;
use tapeline::{ConsumerError, ConsumerResult, StoredEvent};

use crate::boundary::tapeline_gap_session;
use crate::code::tapeline_code::{TAPELINE_ARGUMENT, TAPELINE_BUSY, TAPELINE_CANCELLED, TAPELINE_END, TAPELINE_IO};
use crate::failure::Failure;
use crate::wait::{Bell, Deadline};

/// Something that a reader returns.
#[derive(Debug)]
pub(crate) enum Item {
    Event(StoredEvent),
    /// With the texts that views of it point into.
    Gap {
        gap: Gap,
        text: String,
        token: Option<CString>,
        sessions: Vec<tapeline_gap_session>,
    },
}

impl Item {
    pub(crate) fn gap(gap: Gap) -> Self {
        let token = gap.token.and_then(|token| CString::new(token.to_string()).ok());
        let of = |&(session, events): &(SessionId, u64)| tapeline_gap_session { session: session.into(), events };
        let sessions = match &gap.reason {
            GapReason::Overflow { sessions, .. } => sessions.named().iter().map(of).collect(),
            _ => Vec::new(),
        };
        Self::Gap { text: gap.to_string(), token, sessions, gap }
    }
}

/// The stream that a reader reads.
#[derive(Debug)]
pub(crate) enum Source {
    Subscription(Subscription),
    Relay(Relay),
    Replay(Box<Replay>),
    Paced(PacedEvents),
    Follower(Box<LogFollower>),
}

/// The time between two looks at files that another process writes.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub(crate) struct Reader {
    state: Mutex<State>,
    bell: Arc<Bell>,
    is_cancelled: AtomicBool,
    /// The thread that calls the program's callback, if it gave one.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The reader whose end this one's callback waits for.
    awaits: Mutex<Option<Arc<Reader>>>,
}

thread_local! {
    /// The reader whose callback this thread calls.
    static OWN: RefCell<Option<Arc<Reader>>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct State {
    source: Source,
    /// The items that the last call returned.
    items: Vec<Item>,
    /// The failure that the next call returns instead of looking.
    failure: Option<Failure>,
    has_ended: bool,
    /// A callback has the items: no call of the program may replace them.
    has_callback: bool,
}

/// A look at a source.
enum Look {
    Found(Item),
    /// Nothing now; the bell rings when there is.
    Nothing,
    End,
    Failed(Failure),
}

impl Source {
    /// The next item, if there is one now.
    fn look(&mut self, context: &mut Context<'_>) -> Look {
        let found = match self {
            Self::Subscription(source) => poll(source.next(), context),
            Self::Relay(source) => poll(source.next(), context),
            Self::Replay(source) => Poll::Ready(source.next()),
            Self::Paced(source) => poll(source.next(), context),
            Self::Follower(follower) => return look_at(follower),
        };
        match found {
            Poll::Pending => Look::Nothing,
            Poll::Ready(None) => Look::End,
            Poll::Ready(Some(Ok(event))) => Look::Found(Item::Event(event)),
            Poll::Ready(Some(Err(ConsumerError::Gap(gap)))) => Look::Found(Item::gap(gap)),
            Poll::Ready(Some(Err(error))) => Look::Failed(error.into()),
        }
    }
}

/// The next item of the files of a log, as they are now.
fn look_at(follower: &mut LogFollower) -> Look {
    loop {
        match follower.try_next() {
            Some(Ok(event)) => return Look::Found(Item::Event(event)),
            Some(Err(ConsumerError::Gap(gap))) => return Look::Found(Item::gap(gap)),
            Some(Err(error)) => return Look::Failed(error.into()),
            None if follower.has_more() || follower.look() => {}
            None if follower.lost().is_some() => return Look::End,
            None => return Look::Nothing,
        }
    }
}

/// Polls once. A call that is dropped before it returns loses no event.
fn poll(
    next: impl Future<Output = Option<ConsumerResult<StoredEvent>>>,
    context: &mut Context<'_>,
) -> Poll<Option<ConsumerResult<StoredEvent>>> {
    std::pin::pin!(next).poll(context)
}

impl Reader {
    pub(crate) fn new(source: Source) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                source,
                items: Vec::new(),
                failure: None,
                has_ended: false,
                has_callback: false,
            }),
            bell: Arc::default(),
            is_cancelled: AtomicBool::new(false),
            thread: Mutex::new(None),
            awaits: Mutex::new(None),
        })
    }

    /// Waits for items, and has `take` see up to `most` of them, which live until the next call.
    ///
    /// # Errors
    /// `TAPELINE_END`, `TAPELINE_TIMEOUT`, `TAPELINE_CANCELLED`, `TAPELINE_BUSY`, and what ends the stream.
    pub(crate) fn next<T>(
        &self,
        most: usize,
        deadline: Deadline,
        take: impl FnOnce(&[Item]) -> T,
    ) -> Result<T, Failure> {
        let mut state = self.lock()?;
        if state.has_callback {
            return Err(busy());
        }
        self.read(&mut state, most, deadline, take)
    }

    /// As [`Reader::next`], on the callback's thread, which is never refused.
    ///
    /// # Errors
    /// `TAPELINE_END`, `TAPELINE_CANCELLED`, and what ends the stream.
    pub(crate) fn next_for_callback<T>(&self, most: usize, take: impl FnOnce(&[Item]) -> T) -> Result<T, Failure> {
        // A call of the program that is refused, or that asks for the cursor, has the lock for that only.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(&mut state, most, Deadline::NONE, take)
    }

    fn read<T>(
        &self,
        state: &mut State,
        most: usize,
        deadline: Deadline,
        take: impl FnOnce(&[Item]) -> T,
    ) -> Result<T, Failure> {
        state.items.clear();
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        let waker = Waker::from(Arc::clone(&self.bell));
        loop {
            self.bell.silence();
            // Looked at after the bell is silent: a reader that is cancelled from here on hears it.
            if self.is_cancelled() {
                return Err(cancelled());
            }
            state.fill(most, &mut Context::from_waker(&waker));
            if !state.items.is_empty() {
                // There may be more: a descriptor stays readable until a call finds nothing.
                self.bell.ring();
                return Ok(take(&state.items));
            }
            if state.failure.is_some() || state.has_ended {
                self.bell.ring();
                let end = || Failure::new(TAPELINE_END, "the reader has returned everything");
                return Err(state.failure.take().unwrap_or_else(end));
            }
            let is_follower = matches!(state.source, Source::Follower(_));
            let until = if is_follower { deadline.or_in(LOOK) } else { deadline };
            if !self.bell.wait(until) && deadline.has_passed() {
                return Err(Failure::timeout());
            }
        }
    }

    /// The time between two looks at its files, of which no bell rings. `None` where a bell rings.
    ///
    /// # Errors
    /// `TAPELINE_BUSY`.
    pub(crate) fn looks_every(&self) -> Result<Option<Duration>, Failure> {
        Ok(matches!(self.lock()?.source, Source::Follower(_)).then_some(LOOK))
    }

    /// The cursor after what was returned.
    ///
    /// # Errors
    /// `TAPELINE_BUSY`; `TAPELINE_ARGUMENT` of a reader that has none.
    pub(crate) fn cursor(&self) -> Result<String, Failure> {
        match &self.lock()?.source {
            Source::Subscription(source) => Ok(source.cursor()),
            Source::Follower(follower) => Ok(follower.cursor()),
            Source::Relay(_) => {
                Err(Failure::new(TAPELINE_ARGUMENT, "a relay has no cursor; it resumes by the token of its last event"))
            }
            Source::Replay(_) | Source::Paced(_) => Err(Failure::new(TAPELINE_ARGUMENT, "a replay has no cursor")),
        }
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Has a thread run `work`, which calls [`Reader::next_for_callback`] until it fails, and then
    /// [`Reader::end_callback`].
    ///
    /// # Errors
    /// `TAPELINE_BUSY`: it has a thread, or one reads; `TAPELINE_CANCELLED`; `TAPELINE_IO`: the kernel refuses one.
    pub(crate) fn start(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return Err(Failure::new(TAPELINE_BUSY, "the reader has a callback"));
        }
        // Under the lock that `cancel` takes afterwards: either this sees it, or it finds the thread.
        if self.is_cancelled() {
            return Err(cancelled());
        }
        self.lock()?.has_callback = true;
        let own = Arc::clone(self);
        let made = std::thread::Builder::new().name("tapeline-reader".into()).spawn(move || {
            OWN.set(Some(own));
            work();
        });
        *thread = Some(made.map_err(|error| {
            self.end_callback();
            Failure::new(TAPELINE_IO, format_args!("a thread for the callback: {error}"))
        })?);
        Ok(())
    }

    /// No callback gets the items any more.
    pub(crate) fn end_callback(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).has_callback = false;
    }

    /// Returns whether the reader was closed.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// Closes it: has `remove` take it out of its table, ends the calls of other threads, and waits for the callback's
    /// thread, unless that is this one.
    ///
    /// # Errors
    /// `TAPELINE_BUSY`: that thread waits in this function for this one; what `remove` returns. Nothing was closed.
    pub(crate) fn close(self: &Arc<Self>, remove: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        let own = OWN.with_borrow(Clone::clone).filter(|own| !Arc::ptr_eq(own, self));
        if let Some(own) = &own {
            own.set_awaits(Some(Arc::clone(self)));
        }
        let closed = match own.as_ref().is_some_and(|own| self.is_awaiting(own)) {
            true => Err(Failure::new(TAPELINE_BUSY, "the reader's callback waits for this one; return from it first")),
            false => remove().map(|()| self.cancel()),
        };
        if let Some(own) = &own {
            own.set_awaits(None);
        }
        closed
    }

    fn set_awaits(&self, other: Option<Arc<Self>>) {
        *self.awaits.lock().unwrap_or_else(PoisonError::into_inner) = other;
    }

    /// Returns whether its callback waits for that of `other`, or for one that does. Of two that wait for each other,
    /// one at least learns it: each states what it awaits before it looks.
    fn is_awaiting(&self, other: &Arc<Self>) -> bool {
        let awaited = |reader: &Self| reader.awaits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut next = awaited(self);
        while let Some(reader) = next {
            if Arc::ptr_eq(&reader, other) {
                return true;
            }
            next = awaited(&reader);
        }
        false
    }

    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        self.bell.ring();
        self.bell.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, Failure> {
        match self.state.try_lock() {
            Ok(state) => Ok(state),
            Err(TryLockError::Poisoned(state)) => Ok(state.into_inner()),
            Err(TryLockError::WouldBlock) => Err(busy()),
        }
    }
}

#[cold]
fn busy() -> Failure {
    Failure::new(TAPELINE_BUSY, "another thread, or a callback, reads from the reader")
}

#[cold]
fn cancelled() -> Failure {
    Failure::new(TAPELINE_CANCELLED, "another thread closed the reader")
}

impl State {
    /// Takes what there is now, up to `most` items.
    fn fill(&mut self, most: usize, context: &mut Context<'_>) {
        while self.items.len() < most && !self.has_ended {
            match self.source.look(context) {
                Look::Found(item) => self.items.push(item),
                Look::Nothing => return,
                Look::End => {
                    self.has_ended = true;
                    return;
                }
                Look::Failed(failure) => {
                    self.failure = Some(failure);
                    return;
                }
            }
        }
    }
}
