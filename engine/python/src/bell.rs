//! The bell between the threads of a bus and an event loop: an eventfd that the loop watches. A thread of the bus that
//! has news rings it, without the interpreter; the loop then asks which of its waiters it was for.

use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pyo3::prelude::*;
use tapeline::AdapterError;

use crate::failure::Failure;
use crate::fork::Origin;

/// An eventfd, and the waiters that it has rung for.
#[pyclass(frozen, module = "tapeline._native")]
pub(crate) struct Bell(Arc<Shared>);

struct Shared {
    file: File,
    rung: Mutex<Vec<Arc<Waiter>>>,
}

/// The waker that a thread of the bus calls.
struct Waiter {
    bell: Arc<Shared>,
    key: u64,
    /// It is in the list, or on the way there.
    is_rung: AtomicBool,
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // SYNC: pairs with the Release store in Bell::rung. What a thread has written before it finds a waiter rung is
        // seen by the loop, which looks after that store.
        if self.is_rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut rung = self.bell.rung.lock().unwrap_or_else(PoisonError::into_inner);
        rung.push(Arc::clone(self));
        if rung.len() == 1 {
            // It fails only where the counter is full, and then the loop is awake.
            let _ = (&self.bell.file).write(&1_u64.to_ne_bytes());
        }
    }
}

#[pymethods]
impl Bell {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self(Arc::new(Shared { file: eventfd()?, rung: Mutex::default() })))
    }

    /// The descriptor that becomes readable.
    fn fileno(&self) -> i32 {
        self.0.file.as_raw_fd()
    }

    /// The keys of the waiters that it has rung for since the last call.
    fn rung(&self) -> Vec<u64> {
        // Read before the list is taken: a waiter that comes after it rings again.
        let _ = (&self.0.file).read(&mut [0; 8]);
        let rung = std::mem::take(&mut *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner));
        let take = |waiter: Arc<Waiter>| {
            waiter.is_rung.store(false, Ordering::Release);
            waiter.key
        };
        rung.into_iter().map(take).collect()
    }
}

impl Bell {
    /// A waker that rings for `key`.
    pub(crate) fn waker(&self, key: u64) -> Waker {
        Waker::from(Arc::new(Waiter { bell: Arc::clone(&self.0), key, is_rung: AtomicBool::new(false) }))
    }
}

#[allow(unsafe_code)]
fn eventfd() -> std::io::Result<File> {
    // SAFETY: eventfd takes two numbers, and touches no memory of this program.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and has no other owner.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// A wait of the bus, for an event loop: that events are durable.
#[pyclass(frozen, module = "tapeline._native")]
pub(crate) struct Awaited {
    origin: Origin,
    future: Mutex<Option<Wait>>,
}

type Wait = Pin<Box<dyn Future<Output = Result<(), AdapterError>> + Send>>;

impl Awaited {
    pub(crate) fn new(future: impl Future<Output = Result<(), AdapterError>> + Send + 'static) -> Self {
        Self { origin: Origin::here(), future: Mutex::new(Some(Box::pin(future))) }
    }
}

#[pymethods]
impl Awaited {
    /// Returns whether it is over. If it is not, the bell rings for `key` when it may be.
    fn poll(&self, bell: &Bell, key: u64) -> Result<bool, Failure> {
        self.origin.check()?;
        let mut future = self.future.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waits) = future.as_mut() else { return Ok(true) };
        match waits.as_mut().poll(&mut Context::from_waker(&bell.waker(key))) {
            Poll::Pending => Ok(false),
            Poll::Ready(outcome) => {
                *future = None;
                Ok(outcome.map(|()| true)?)
            }
        }
    }
}
