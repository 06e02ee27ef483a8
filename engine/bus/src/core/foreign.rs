//! Foreign code on the threads of a bus: tasks and wakers of users. A panic in them ends here, and so does one in the
//! drop of what they panicked with. No lock is held while they run, and none of them waits on a shard's thread.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tapeline_reader::AdapterResult;
use tapeline_reader::blocking::check_may_block;

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
        if let Some(contained) = defer(Deferred::Wake(Arc::clone(self))) {
            contained.carry_out();
        }
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        if let Some(waker) = self.0.take()
            && let Some(waker) = defer(Deferred::Drop(waker))
        {
            waker.carry_out();
        }
    }
}

/// A call to a waker of users.
enum Deferred {
    Wake(Arc<Contained>),
    Drop(Waker),
}

impl Deferred {
    fn carry_out(self) {
        // The panic has been printed.
        let _ = contain(move || match self {
            Self::Wake(contained) => contained.0.as_ref().map_or((), Waker::wake_by_ref),
            Self::Drop(waker) => drop(waker),
        });
    }
}

thread_local! {
    /// The calls that wait for the end of [`without_foreign_code`].
    static DEFERRED: RefCell<Option<Vec<Deferred>>> = const { RefCell::new(None) };
}

/// Keeps the call for later, if this thread works without foreign code at this moment; gives it back otherwise.
fn defer(call: Deferred) -> Option<Deferred> {
    let mut call = Some(call);
    let _ = DEFERRED.try_with(|deferred| {
        if let Some(deferred) = &mut *deferred.borrow_mut() {
            deferred.extend(call.take());
        }
    });
    call
}

/// Does the work, which may hold a lock: contained wakers that it calls or drops are called and dropped after it.
pub(crate) fn without_foreign_code<T>(work: impl FnOnce() -> T) -> T {
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {
            let deferred = DEFERRED.try_with(RefCell::take).ok().flatten();
            deferred.into_iter().flatten().for_each(Deferred::carry_out);
        }
    }
    let is_first = DEFERRED.try_with(|deferred| {
        let mut deferred = deferred.borrow_mut();
        deferred.is_none().then(|| *deferred = Some(Vec::new())).is_some()
    });
    let _last = is_first.is_ok_and(|is_first| is_first).then(|| Last);
    work()
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

/// As [`awaited`], for what a shard moves: a waker that waits for it on a shard's thread would hold up that shard.
///
/// # Errors
/// [`AdapterError::OnShard`](tapeline_reader::AdapterError::OnShard), on a shard's thread.
pub(crate) async fn awaited_off_shard<F: Future>(call: &'static str, future: F) -> AdapterResult<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(&mut Context::from_waker(&contained(context.waker()))) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => match check_may_block(call) {
            Ok(()) => Poll::Pending,
            Err(refused) => Poll::Ready(Err(refused)),
        },
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Recorder(Mutex<Vec<&'static str>>);

    impl Wake for Recorder {
        fn wake(self: Arc<Self>) {
            self.0.lock().expect("no panic").push("wake");
        }
    }

    #[test]
    fn wakers_are_called_and_dropped_after_work_that_may_hold_a_lock() {
        let recorder = Arc::new(Recorder(Mutex::default()));
        let waker = contained(&Waker::from(Arc::clone(&recorder)));
        without_foreign_code(|| {
            // Within work there is only one end.
            without_foreign_code(|| waker.wake());
            assert_eq!(Arc::strong_count(&recorder), 2, "is not dropped");
            recorder.0.lock().expect("no panic").push("work");
        });
        assert_eq!(*recorder.0.lock().expect("no panic"), ["work", "wake"]);
        assert_eq!(Arc::strong_count(&recorder), 1);
        contained(&Waker::from(Arc::clone(&recorder))).wake();
        assert_eq!(recorder.0.lock().expect("no panic").len(), 3, "at once otherwise");
    }
}
