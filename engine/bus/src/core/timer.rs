//! Timers of futures, for whichever runtime polls them: one thread of a bus keeps them all.
//!
//! The thread is made for the first timer, and ends when there has been none for a while. A timer that is dropped is
//! forgotten. In a forked child there is no such thread, and perhaps a lock that is held for ever: callers look at the
//! fork first.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::foreign;

/// Time without a timer after which the thread ends.
const IDLE: Duration = Duration::from_secs(5);

/// The timers of a bus.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    pending: Mutex<Pending>,
    /// The first timer is another one.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    /// By when they are due; the number tells timers of one moment apart.
    wakers: BTreeMap<(Instant, u64), Waker>,
    made: u64,
    has_thread: bool,
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // A panic of another holder leaves a map, which is whole after every statement.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes what is due, until there has been nothing for a while.
    fn run(&self) {
        let mut pending = self.lock();
        loop {
            let now = Instant::now();
            let first = pending.wakers.first_key_value().map(|(&(due, _), _)| due);
            if first.is_some_and(|due| due <= now) {
                let waker = pending.wakers.pop_first().map(|(_, waker)| waker);
                drop(pending);
                // It has been made by foreign::contained: a panic of the user's ends there.
                waker.into_iter().for_each(Waker::wake);
                pending = self.lock();
                continue;
            }
            let wait = first.map_or(IDLE, |due| due - now);
            let (waited, outcome) = self.changed.wait_timeout(pending, wait).unwrap_or_else(PoisonError::into_inner);
            pending = waited;
            if outcome.timed_out() && first.is_none() && pending.wakers.is_empty() {
                pending.has_thread = false;
                return;
            }
        }
    }
}

/// A future that is ready from a moment on.
#[derive(Debug)]
pub(crate) struct Timer {
    timers: Arc<Timers>,
    due: Instant,
    /// Its key, while it is listed.
    listed: Option<(Instant, u64)>,
}

impl Timer {
    pub(crate) fn new(timers: &Arc<Timers>, due: Instant) -> Self {
        Self { timers: Arc::clone(timers), due, listed: None }
    }

    fn forget(&mut self) {
        if let Some(key) = self.listed.take() {
            // Dropped after the lock: it is foreign code.
            let waker = self.timers.lock().wakers.remove(&key);
            drop(waker);
        }
    }
}

impl Future for Timer {
    /// An error, where the thread cannot be made.
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if Instant::now() >= self.due {
            self.forget();
            return Poll::Ready(Ok(()));
        }
        let waker = foreign::contained(context.waker());
        let timers = Arc::clone(&self.timers);
        let mut pending = timers.lock();
        if !pending.has_thread {
            let all = Arc::clone(&timers);
            let spawned = thread::Builder::new().name("tapeline-timer".into()).spawn(move || all.run());
            if let Err(error) = spawned {
                return Poll::Ready(Err(error));
            }
            pending.has_thread = true;
        }
        let key = self.listed.unwrap_or_else(|| {
            pending.made += 1;
            (self.due, pending.made)
        });
        let before = pending.wakers.insert(key, waker);
        let is_first = pending.wakers.first_key_value().is_some_and(|(first, _)| *first == key);
        drop(pending);
        self.listed = Some(key);
        // Dropped after the lock: it is foreign code.
        drop(before);
        if is_first {
            timers.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The output of a future, if it comes before the timer is due.
///
/// # Errors
/// The thread of timers cannot be made.
pub(crate) async fn before<F: Future>(mut timer: Timer, future: F) -> io::Result<Option<F::Output>> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(Some(output)));
        }
        Pin::new(&mut timer).poll(context).map(|outcome| outcome.map(|()| None))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::core::park::block_on;

    #[test]
    fn timers_are_ready_in_their_order_and_not_before_their_time() {
        let timers = Arc::default();
        let begun = Instant::now();
        let due = |millis| begun + Duration::from_millis(millis);
        let mut threads = Vec::from([30, 10, 20].map(|millis| {
            let timer = Timer::new(&timers, due(millis));
            thread::spawn(move || (millis, block_on(timer), Instant::now()))
        }));
        let mut ended: Vec<_> = threads.drain(..).map(|thread| thread.join().expect("no panic")).collect();
        ended.sort_by_key(|(_, _, at)| *at);
        for (millis, outcome, at) in &ended {
            outcome.as_ref().expect("a thread");
            assert!(*at >= due(*millis));
        }
        block_on(Timer::new(&timers, begun)).expect("is due already");
    }

    #[test]
    fn a_future_has_until_its_time_and_a_timer_that_is_dropped_is_forgotten() {
        let timers = Arc::default();
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(block_on(before(Timer::new(&timers, soon), pending::<u8>())).expect("a thread"), None);
        let late = Instant::now() + Duration::from_secs(3_600);
        assert_eq!(block_on(before(Timer::new(&timers, late), ready(7))).expect("a thread"), Some(7));
        let mut timer = Box::pin(Timer::new(&timers, late));
        let mut context = Context::from_waker(Waker::noop());
        assert!(timer.as_mut().poll(&mut context).is_pending());
        assert!(timer.as_mut().poll(&mut context).is_pending());
        let key = timer.listed.expect("listed");
        assert!(timers.lock().wakers.contains_key(&key));
        drop(timer);
        assert!(!timers.lock().wakers.contains_key(&key));
    }
}
