//! Waiting for futures on threads that belong to no runtime: a bell that a waker rings, and a deadline.

use std::fs::File;
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
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

/// Rings where one thread waits, and in an eventfd if the program asked for one.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    is_rung: Mutex<bool>,
    rings: Condvar,
    eventfd: OnceLock<File>,
}

impl Bell {
    /// Rings. An eventfd that cannot be written is full, and so readable already.
    pub(crate) fn ring(&self) {
        *self.is_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rings.notify_all();
        if let Some(mut eventfd) = self.eventfd.get() {
            let _ = eventfd.write(&1_u64.to_ne_bytes());
        }
    }

    /// Forgets a ring, before the reader looks.
    pub(crate) fn silence(&self) {
        if let Some(mut eventfd) = self.eventfd.get() {
            let _ = eventfd.read(&mut [0; 8]);
        }
        *self.is_rung.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Waits for a ring. Returns `false` where the deadline came first.
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        let mut is_rung = self.is_rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_rung {
            is_rung = match deadline.left() {
                Some(Duration::ZERO) => return false,
                Some(left) => self.rings.wait_timeout(is_rung, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.rings.wait(is_rung).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *is_rung = false;
        true
    }

    /// The descriptor that is readable after a ring, made by `open` at the first call.
    pub(crate) fn eventfd(&self, open: impl FnOnce() -> std::io::Result<File>) -> std::io::Result<&File> {
        if self.eventfd.get().is_none() {
            let _ = self.eventfd.set(open()?);
            // A bell may have rung before there was a descriptor.
            self.ring();
        }
        self.eventfd.get().ok_or_else(|| std::io::Error::other("no eventfd"))
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
