//! Waiting on the calling thread, with the interpreter released.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// The longest time for which a signal is not answered.
const SIGNALS: Duration = Duration::from_millis(100);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future.
///
/// # Errors
/// The exception that a signal's handler raised, as `KeyboardInterrupt`: the future is dropped then.
pub(crate) fn block_on<T: Send>(py: Python<'_>, future: impl Future<Output = T> + Send) -> PyResult<T> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        let waited = py.detach(|| {
            let due = Instant::now() + SIGNALS;
            loop {
                if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Some(outcome);
                }
                match due.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => thread::park_timeout(left),
                    _ => return None,
                }
            }
        });
        if let Some(outcome) = waited {
            return Ok(outcome);
        }
        py.check_signals()?;
    }
}

/// Sleeps.
///
/// # Errors
/// As [`block_on`].
pub(crate) fn sleep(py: Python<'_>, wait: Duration) -> PyResult<()> {
    let due = Instant::now() + wait;
    loop {
        match due.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => py.detach(|| thread::sleep(left.min(SIGNALS))),
            _ => return Ok(()),
        }
        py.check_signals()?;
    }
}
