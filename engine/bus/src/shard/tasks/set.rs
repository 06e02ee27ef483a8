//! The tasks of one companion, polled in turn.
//!
//! A task that panics ends, and its caller gets the panic; so does one whose future panics when it is dropped.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::line::Line;
use crate::core::foreign;

/// A task as its companion steps it; it sends its outcome itself.
pub(crate) type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// A task on its way to the companion: makes it there.
pub(crate) struct NewTask(Box<dyn FnOnce() -> LocalTask + Send>);

impl NewTask {
    pub(crate) fn new(make: impl FnOnce() -> LocalTask + Send + 'static) -> Self {
        Self(Box::new(make))
    }
}

impl std::fmt::Debug for NewTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewTask")
    }
}

/// Tasks, each with a waker of its own: one waker of the runtime is called for all of them.
#[derive(Default)]
pub(super) struct TaskSet(Vec<Task>);

struct Task {
    future: LocalTask,
    alarm: Arc<Alarm>,
    waker: Waker,
}

/// Set when a task has something to do.
struct Alarm {
    is_set: AtomicBool,
    line: Arc<Line>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_set.swap(true, Ordering::AcqRel) {
            self.line.call();
        }
    }
}

impl TaskSet {
    /// Makes a task on this thread.
    pub(super) fn admit(&mut self, line: &Arc<Line>, task: NewTask) {
        let Ok(future) = foreign::contain(task.0) else { return };
        let alarm = Arc::new(Alarm { is_set: AtomicBool::new(true), line: Arc::clone(line) });
        let waker = Waker::from(Arc::clone(&alarm));
        self.0.push(Task { future, alarm, waker });
    }

    /// Polls each task that has something to do once. Returns whether any has more to do.
    pub(super) fn step(&mut self) -> bool {
        let mut at = 0;
        while let Some(task) = self.0.get_mut(at) {
            if task.step() { foreign::discard(self.0.remove(at)) } else { at += 1 }
        }
        self.0.iter().any(|task| task.alarm.is_set.load(Ordering::Acquire))
    }

    /// Ends all tasks.
    pub(super) fn clear(&mut self) {
        self.0.drain(..).for_each(foreign::discard);
    }
}

impl Drop for TaskSet {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Task {
    /// Polls the task if it has something to do; returns whether it has ended.
    fn step(&mut self) -> bool {
        if !self.alarm.is_set.swap(false, Ordering::AcqRel) {
            return false;
        }
        let mut context = Context::from_waker(&self.waker);
        let outcome = foreign::contain(|| self.future.as_mut().poll(&mut context));
        !matches!(outcome, Ok(Poll::Pending))
    }
}

/// Yields once: returns `Pending` after waking its own task.
pub(crate) async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            Poll::Ready(())
        } else {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
