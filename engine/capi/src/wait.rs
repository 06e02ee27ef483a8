//! Waiting for futures on threads that belong to no runtime: a bell that a waker rings, and a deadline.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// The end of a call's patience.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Never.
    pub(crate) const NONE: Self = Self(None);

    /// In that many milliseconds; without end if they are negative, or more than a clock can count.
    pub(crate) fn after_ms(timeout_ms: i64) -> Self {
        Self(patience(timeout_ms).and_then(|patience| Instant::now().checked_add(patience)))
    }

    /// The same, or in this time, if that comes first.
    pub(crate) fn or_in(self, time: Duration) -> Self {
        let soon = Instant::now().checked_add(time);
        Self(self.0.into_iter().chain(soon).min())
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// The timeout of a C call as a duration. `None`: it has no end.
pub(crate) fn patience(timeout_ms: i64) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// The descriptors that a program polls for a bell.
#[derive(Debug)]
pub(crate) struct Descriptor {
    /// Readable after a ring.
    pub(crate) eventfd: File,
    pub(crate) timed: Option<Timed>,
}

/// The descriptors beside it for a reader of files, of which no bell rings.
#[derive(Debug)]
pub(crate) struct Timed {
    /// Readable at each of its times.
    pub(crate) timer: File,
    /// Readable when that or the eventfd is.
    pub(crate) epoll: OwnedFd,
}

/// Rings where one thread waits, and in a descriptor if the program asked for one.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    rings: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_rung: bool,
    descriptor: Option<Descriptor>,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings. An eventfd that cannot be written is full, and so readable already.
    pub(crate) fn ring(&self) {
        let mut state = self.state();
        state.is_rung = true;
        self.rings.notify_all();
        if let Some(Descriptor { eventfd, .. }) = &state.descriptor {
            let _ = (&*eventfd).write(&1_u64.to_ne_bytes());
        }
    }

    /// Forgets a ring, before the reader looks.
    pub(crate) fn silence(&self) {
        let mut state = self.state();
        if let Some(Descriptor { eventfd, timed }) = &state.descriptor {
            for mut file in std::iter::once(eventfd).chain(timed.as_ref().map(|timed| &timed.timer)) {
                let _ = file.read(&mut [0; 8]);
            }
        }
        state.is_rung = false;
    }

    /// Waits for a ring. Returns `false` where the deadline came first.
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        let mut state = self.state();
        while !state.is_rung {
            state = match deadline.left() {
                Some(Duration::ZERO) => return false,
                Some(left) => self.rings.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.rings.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.is_rung = false;
        true
    }

    /// The descriptor that is readable after a ring, made by `open` at the first call.
    pub(crate) fn descriptor(&self, open: impl FnOnce() -> std::io::Result<Descriptor>) -> std::io::Result<RawFd> {
        let mut state = self.state();
        let made = match &mut state.descriptor {
            Some(made) => made,
            none => none.insert(open()?),
        };
        // A bell may have rung before there was a descriptor.
        let _ = (&made.eventfd).write(&1_u64.to_ne_bytes());
        Ok(made.timed.as_ref().map_or(made.eventfd.as_raw_fd(), |timed| timed.epoll.as_raw_fd()))
    }

    /// Closes the descriptor, which ends its place in the program's epoll: threads of the bus may keep the bell for a
    /// while.
    pub(crate) fn close(&self) {
        self.state().descriptor = None;
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Drives a future on this thread.
///
/// # Errors
/// `TAPELINE_TIMEOUT` where the deadline came first; the future is dropped.
pub(crate) fn complete<T>(future: impl Future<Output = T>, deadline: Deadline) -> Result<T, Failure> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        if !bell.wait(deadline) {
            return Err(Failure::timeout());
        }
    }
}
