//! Tasks of users on a shard's own thread, between its turns.
//!
//! The shard comes first: while events stream in, tasks get a tenth of the thread's time; the time that a task took
//! longer than its share is made up for before the next one. A poll of a task cannot be interrupted, so it has to be
//! short; what a task reads through [`ShardContext`](crate::ShardContext) comes a block at a time.
//!
//! A task that panics ends, and whoever waits for it is told. The shard goes on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::ShardControl;
use crate::foreign;

/// Turns' time for each unit of tasks' time, while events stream in.
const TURNS_PER_TASK: u64 = 9;

/// A task as the shard steps it; it sends its outcome itself.
pub(crate) type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// A task on its way to the shard: makes it there.
pub(crate) struct TaskSeed(Box<dyn FnOnce() -> LocalTask + Send>);

impl TaskSeed {
    pub(crate) fn new(make: impl FnOnce() -> LocalTask + Send + 'static) -> Self {
        Self(Box::new(make))
    }
}

impl std::fmt::Debug for TaskSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TaskSeed")
    }
}

/// The tasks of one shard.
#[derive(Default)]
pub(super) struct Tasks {
    present: Vec<Task>,
    /// Whose turn it is.
    next: usize,
    /// No task is polled before, while events stream in.
    resumes_at: u64,
}

struct Task {
    future: LocalTask,
    alarm: Arc<Alarm>,
    waker: Waker,
}

/// Set when a task has something to do.
struct Alarm {
    is_set: AtomicBool,
    control: Arc<ShardControl>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_set.swap(true, Ordering::AcqRel) {
            self.control.wake();
        }
    }
}

impl Tasks {
    /// Makes a task on this thread.
    pub(super) fn admit(&mut self, control: &Arc<ShardControl>, seed: TaskSeed) {
        let Ok(future) = foreign::contain(seed.0) else { return };
        let alarm = Arc::new(Alarm { is_set: AtomicBool::new(true), control: Arc::clone(control) });
        let waker = Waker::from(Arc::clone(&alarm));
        self.present.push(Task { future, alarm, waker });
    }

    /// Polls tasks that have something to do, each at most once; one of them, while events stream in (`is_busy`), and
    /// none while they have had their share. Returns how long until the next one may be polled, if one wants to be.
    pub(super) fn run(&mut self, is_busy: bool, mut clock: impl FnMut() -> u64) -> Option<Duration> {
        if self.present.is_empty() {
            return None;
        }
        let mut now = clock();
        let mut left = if is_busy { 1 } else { self.present.len() };
        if !is_busy || now >= self.resumes_at {
            for _ in 0..self.present.len() {
                if left == 0 {
                    break;
                }
                self.next = (self.next + 1) % self.present.len().max(1);
                if let Some(is_done) = self.present.get_mut(self.next).and_then(Task::step) {
                    left -= 1;
                    let begun = std::mem::replace(&mut now, clock());
                    self.resumes_at = now.saturating_add(now.saturating_sub(begun).saturating_mul(TURNS_PER_TASK));
                    if is_done {
                        foreign::discard(self.present.swap_remove(self.next));
                    }
                }
            }
        }
        let wants = self.present.iter().any(|task| task.alarm.is_set.load(Ordering::Acquire));
        let wait = if is_busy { self.resumes_at.saturating_sub(now) } else { 0 };
        wants.then(|| Duration::from_nanos(wait))
    }

    /// Ends all tasks.
    pub(super) fn clear(&mut self) {
        self.present.drain(..).for_each(foreign::discard);
    }
}

/// Also where the shard panics: what a task drops may do so, too.
impl Drop for Tasks {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Task {
    /// Polls the task if it has something to do; returns whether it has ended.
    fn step(&mut self) -> Option<bool> {
        if !self.alarm.is_set.swap(false, Ordering::AcqRel) {
            return None;
        }
        let mut context = Context::from_waker(&self.waker);
        let outcome = foreign::contain(|| self.future.as_mut().poll(&mut context));
        Some(!matches!(outcome, Ok(Poll::Pending)))
    }
}
