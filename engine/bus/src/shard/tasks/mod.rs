//! Tasks of users beside a shard, on the shard's core.
//!
//! [`ShardTasks`] is what a shard and all others know of them. `companion` is the thread they run on, made for the
//! first task; `line` is how other threads reach it; `runtime` is what runs them there: a glommio executor, or a plain
//! loop where that cannot be had; `set` are the tasks themselves.
//!
//! The companion is a thread beside the shard's, so a task takes nothing from the shard but its share of the core,
//! whatever it does: it may spin, block or panic. It may touch the log's directory, so it holds the directory's lock
//! for its life.

mod companion;
mod line;
mod runtime;
mod set;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tapeline_storage::device::fs::DirectoryLock;

pub(crate) use line::Line;
pub(super) use runtime::REMIND_NS;
pub(crate) use set::{NewTask, yield_now};

use crate::core::foreign;
use crate::core::lock::lock;

/// The time for which a shutdown waits for tasks that do not come to an `await`.
pub(crate) const TASK_PATIENCE: Duration = Duration::from_secs(5);

/// The tasks of one shard, for all threads.
#[derive(Debug, Default)]
pub(crate) struct ShardTasks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    /// The line to the last companion there was.
    line: Option<Arc<Line>>,
    /// The threads of it and of those that ended before it.
    threads: Vec<(Arc<Line>, JoinHandle<()>)>,
}

/// The reason for which a task is not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The shard takes no more tasks.
    Closed,
    /// Its companion cannot be made.
    NoThread(io::Error),
}

/// Everything that a companion is made with.
#[derive(Debug, Default)]
pub(crate) struct CompanionSpec {
    pub(crate) name: String,
    /// The cores it may use. Empty: those of the thread that makes it.
    pub(crate) cores: Vec<usize>,
    /// The lock of the log's directory, if it has one.
    pub(crate) hold: Option<Arc<DirectoryLock>>,
}

impl ShardTasks {
    /// Name of the runtime that is glommio's.
    pub(crate) const GLOMMIO: &'static str = runtime::Runtime::GLOMMIO;

    /// Hands a task to the companion, which is made by `spec` if there is none. Returns the line to it.
    ///
    /// # Errors
    /// [`Refusal`]; the task is dropped.
    pub(crate) fn submit(
        &self,
        task: NewTask,
        spec: impl FnOnce() -> io::Result<CompanionSpec>,
    ) -> Result<Arc<Line>, Refusal> {
        let mut state = lock(&self.0);
        let refused = match state.take(task, spec) {
            Ok(line) => return Ok(line),
            Err(refused) => refused,
        };
        // The task of a user is dropped without a lock.
        drop(state);
        let (task, refusal) = refused;
        foreign::discard(task);
        Err(refusal)
    }

    /// Asks the companion to end, with its tasks; no more are taken.
    pub(crate) fn close(&self) {
        let line = {
            let mut state = lock(&self.0);
            state.is_closed = true;
            state.line.clone()
        };
        if let Some(line) = line {
            line.close();
        }
    }

    /// Has a companion that sleeps look again; glommio may sleep with a task ready (see `runtime`). Never waits.
    pub(crate) fn remind(&self) {
        if let Ok(state) = self.0.try_lock()
            && let Some(line) = &state.line
        {
            line.remind();
        }
    }

    /// Waits until some time for the end of the companion, which was asked to end, but not on its own thread. Returns
    /// whether it has come: a task that does not come to an `await` keeps it.
    pub(crate) fn join(&self, until: Instant) -> bool {
        let lines: Vec<_> = lock(&self.0).threads.iter().map(|(line, _)| Arc::clone(line)).collect();
        let is_over = lines.iter().filter(|line| !line.is_here()).all(|line| line.wait_for_end(until));
        let ended: Vec<_> = {
            let mut state = lock(&self.0);
            let (ended, left) = std::mem::take(&mut state.threads).into_iter().partition(|(line, _)| line.has_ended());
            state.threads = left;
            ended
        };
        // Panics are caught on the thread.
        ended.into_iter().for_each(|(_, thread)| foreign::discard(thread.join()));
        is_over
    }

    /// Returns whether the calling thread is the companion.
    pub(crate) fn is_here(&self) -> bool {
        lock(&self.0).line.as_ref().is_some_and(|line| line.is_here())
    }

    /// The runtime of the tasks, and why it is not glommio where that is so. `None` before the first task.
    pub(crate) fn runtime(&self) -> Option<(&'static str, Option<String>)> {
        lock(&self.0).line.as_ref().and_then(|line| line.runtime())
    }

    /// In a forked child: the thread is the parent's. Returns `false` where a thread of the parent had the lock.
    pub(crate) fn forget_thread(&self) -> bool {
        let Ok(mut state) = self.0.try_lock() else { return false };
        std::mem::take(&mut state.threads).into_iter().for_each(std::mem::forget);
        true
    }
}

impl State {
    fn take(
        &mut self,
        task: NewTask,
        spec: impl FnOnce() -> io::Result<CompanionSpec>,
    ) -> Result<Arc<Line>, (NewTask, Refusal)> {
        if self.is_closed {
            return Err((task, Refusal::Closed));
        }
        let task = match &self.line {
            Some(line) => match line.push(task) {
                Ok(()) => return Ok(Arc::clone(line)),
                Err(task) => task,
            },
            None => task,
        };
        let line = Arc::new(Line::default());
        match spec().and_then(|spec| companion::start(spec, &line)) {
            Ok(thread) => self.threads.push((Arc::clone(&line), thread)),
            Err(error) => return Err((task, Refusal::NoThread(error))),
        }
        self.line = Some(Arc::clone(&line));
        line.push(task).map(|()| line).map_err(|task| (task, Refusal::Closed))
    }
}

#[cfg(test)]
mod tests;
