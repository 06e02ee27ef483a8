//! Waiting for a future on a plain thread.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Runs a future to its end, blocking the thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let (parker, waker) = parker();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => parker.park(),
        }
    }
}

/// Something for the calling thread to wait with, and the waker that ends the wait.
pub(crate) fn parker() -> (Parker, Waker) {
    let unpark = Arc::new(Unpark { thread: thread::current(), is_woken: AtomicBool::new(false) });
    (Parker(Arc::clone(&unpark)), Waker::from(unpark))
}

/// Waits of the thread that made it.
///
/// A wake is kept here, because the token of [`thread::park`] belongs to whichever code of the thread parks next: a
/// task that blocks in a channel between two waits takes it.
#[derive(Debug)]
pub(crate) struct Parker(Arc<Unpark>);

impl Parker {
    /// Waits until the waker has been called since the last wait.
    pub(crate) fn park(&self) {
        // SYNC: pairs with the swap in wake(): what was done before the wake is seen after the wait.
        while !self.0.is_woken.swap(false, Ordering::AcqRel) {
            thread::park();
        }
    }

    /// The same, so long at most; may end earlier.
    pub(crate) fn park_timeout(&self, timeout: Duration) {
        if !self.0.is_woken.swap(false, Ordering::AcqRel) {
            thread::park_timeout(timeout);
            self.0.is_woken.swap(false, Ordering::AcqRel);
        }
    }
}

#[derive(Debug)]
struct Unpark {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // SYNC: pairs with the swap in park().
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn wake_is_kept_though_other_code_of_the_thread_parks() {
        let mut polls = 0;
        block_on(poll_fn(|context| {
            polls += 1;
            if polls == 2 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            // As a channel does that the future blocks in: it takes the token.
            thread::park();
            Poll::Pending
        }));
        assert_eq!(polls, 2);
    }
}
