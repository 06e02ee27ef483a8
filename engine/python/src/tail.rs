//! A tail: events from a place on, and then live ones.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use pyo3::prelude::*;
use tapeline::consumer::{CompiledFilter, Relay, RelayEnd, RelayRequest};
use tapeline::{ConsumerResult, EventBus, StoredEvent, Subscription};

use crate::bell::Bell;
use crate::block::block_on;
use crate::event::item;
use crate::failure::Failure;
use crate::fork::Origin;
use crate::request::Follow;

/// A reader that follows a log. `tapeline.Tail` is made of it.
#[pyclass(frozen, module = "tapeline._native")]
pub(crate) struct Tail {
    origin: Origin,
    reader: Mutex<Reader>,
}

enum Reader {
    Relay(Box<OneSession>),
    Subscription(Box<Subscription>),
}

/// The tail of one session.
struct OneSession {
    relay: Relay,
    filter: Option<CompiledFilter>,
    /// The next item, if it was looked at and not handed out.
    next: Option<ConsumerResult<StoredEvent>>,
}

impl OneSession {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        loop {
            let polled = Pin::new(&mut self.relay).poll_next(context);
            match (&polled, &self.filter) {
                (Poll::Ready(Some(Ok(event))), Some(filter)) if !filter.matches_stored(event) => {}
                _ => return polled,
            }
        }
    }

    /// Returns whether nothing more will come, as far as is known now.
    fn has_ended(&mut self) -> bool {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(None) => true,
            Poll::Ready(next) => {
                self.next = next;
                false
            }
            Poll::Pending => false,
        }
    }
}

impl Reader {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        match self {
            Self::Subscription(subscription) => Pin::new(&mut **subscription).poll_next(context),
            Self::Relay(session) => session.poll(context),
        }
    }
}

impl Tail {
    /// # Errors
    /// As the bus's `relay_with` and `subscribe`; a filter by the session's source for a relay, which does not know it.
    pub(crate) async fn begin(bus: &EventBus, follow: Follow) -> Result<Self, Failure> {
        let reader = match follow {
            Follow::Relay { session, after, filter, visibility } => {
                let filter = filter.map(|filter| filter.compile()).transpose()?;
                if filter.as_ref().is_some_and(CompiledFilter::needs_openings) {
                    return Err(Failure::argument("the tail of one session takes no filter by $source or $suits"));
                }
                let mut request = RelayRequest::new(session).visibility(visibility);
                request.after = after;
                let relay = bus.relay_with(request).await?;
                Reader::Relay(Box::new(OneSession { relay, filter, next: None }))
            }
            Follow::Subscribe(request) => Reader::Subscription(Box::new(bus.subscribe(request).await?)),
        };
        Ok(Self { origin: Origin::here(), reader: Mutex::new(reader) })
    }

    /// The reader. A thread that waits for an event has it until the event comes, so nothing else waits for it.
    ///
    /// # Errors
    /// Another thread has it.
    fn reader(&self) -> Result<MutexGuard<'_, Reader>, Failure> {
        self.origin.check()?;
        match self.reader.try_lock() {
            Ok(reader) => Ok(reader),
            Err(TryLockError::Poisoned(reader)) => Ok(reader.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::in_use("a tail has one reader; another thread reads this one"))
            }
        }
    }
}

#[pymethods]
impl Tail {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Waits for the next event.
    fn __next__<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyAny>>, Failure> {
        let mut reader = self.reader()?;
        let reader = &mut *reader;
        let next = block_on(py, poll_fn(|context| reader.poll(context)))?;
        next.map(|next| item(py, next)).transpose()
    }

    /// The next event, if there is one now. `None`: there is none, and the bell rings for `key` when there may be.
    ///
    /// # Errors
    /// `StopAsyncIteration`, once it has ended.
    fn poll<'py>(&self, py: Python<'py>, bell: &Bell, key: u64) -> Result<Option<Bound<'py, PyAny>>, Failure> {
        let polled = self.reader()?.poll(&mut Context::from_waker(&bell.waker(key)));
        match polled {
            Poll::Pending => Ok(None),
            Poll::Ready(None) => Err(PyErr::new::<pyo3::exceptions::PyStopAsyncIteration, _>(()).into()),
            Poll::Ready(Some(next)) => Ok(Some(item(py, next)?)),
        }
    }

    /// The place after the last event that was handed out. `None`: the tail is of one session, which tokens resume.
    #[getter]
    fn cursor(&self) -> Result<Option<String>, Failure> {
        Ok(match &*self.reader()? {
            Reader::Relay(_) => None,
            Reader::Subscription(subscription) => Some(subscription.cursor()),
        })
    }

    /// The way in which it ended: `closed` with its session, `shutdown` with the bus, `failed` with an error. Looks for
    /// the next event, so no reader waits for that.
    #[getter]
    fn end(&self) -> Result<Option<&'static str>, Failure> {
        Ok(match &mut *self.reader()? {
            Reader::Relay(session) => match session.has_ended().then(|| session.relay.end()).flatten() {
                Some(RelayEnd::Closed) => Some("closed"),
                Some(RelayEnd::Failed) => Some("failed"),
                Some(_) => Some("shutdown"),
                None => None,
            },
            Reader::Subscription(subscription) => subscription.has_ended().then_some("shutdown"),
        })
    }
}
