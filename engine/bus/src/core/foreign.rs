//! Foreign code on the threads of a bus: tasks and wakers of users. A panic in them ends here, and so does one in the
//! drop of what they panicked with.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Does the work; a panic becomes its message.
pub(crate) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(message)
}

/// Drops what users made.
pub(crate) fn discard<T>(made_by_users: T) {
    // The panic has been printed.
    let _ = contain(move || drop(made_by_users));
}

/// The text that was panicked with, where it is one.
fn message(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Its drop may panic as well: leaked, so that this comes to an end.
        std::mem::forget(again);
    }
    text
}

/// A waker of users, called on the threads of a bus: when it panics, its own reader is not woken, and that is all.
struct Contained(Option<Waker>);

impl Wake for Contained {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The panic has been printed.
        let _ = contain(|| self.0.as_ref().map(Waker::wake_by_ref));
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

/// A waker that wakes this one. Its clones, wakes and drops never panic; making it calls the clone of `waker`, on the
/// thread that owns it. An allocation.
pub(crate) fn contained(waker: &Waker) -> Waker {
    Waker::from(Arc::new(Contained(Some(waker.clone()))))
}

/// Awaits what a thread of the bus wakes: that thread calls the waker of users only where its panic is contained.
pub(crate) async fn awaited<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| future.as_mut().poll(&mut Context::from_waker(&contained(context.waker())))).await
}
