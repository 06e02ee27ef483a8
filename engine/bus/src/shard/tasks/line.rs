//! The line to a companion: how other threads reach it, and how they learn of its end.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::lock;
use super::runtime::Runtime;
use super::set::NewTask;
use crate::core::foreign;

/// Reminders without an answer after which there are no more. Each holds on to a waker until it is heard, and glommio
/// counts wakers in 16 bits.
const REMINDERS_MAX: u32 = 1_000;

/// The time between two reminders of a companion that is to end.
const REMIND_TO_END: Duration = Duration::from_millis(20);

/// The state that a companion and other threads share.
#[derive(Debug, Default)]
pub(crate) struct Line {
    inbox: Mutex<Inbox>,
    is_closing: AtomicBool,
    caller: Caller,
    thread: OnceLock<ThreadId>,
    runtime: OnceLock<(&'static str, Option<String>)>,
    end: End,
}

/// Tasks on their way.
#[derive(Debug, Default)]
struct Inbox {
    tasks: Vec<NewTask>,
    is_closed: bool,
}

/// Calls the companion, which may sleep.
#[derive(Debug, Default)]
struct Caller {
    /// The companion was called since it looked last.
    is_called: AtomicBool,
    /// The number of reminders since it looked last.
    reminders: AtomicU32,
    /// Outlives the runtime, because the companion's thread holds the line for its life.
    waker: OnceLock<Waker>,
}

/// The end of the companion.
#[derive(Debug, Default)]
struct End {
    /// The runtime has done its work.
    is_over: AtomicBool,
    /// The panic that ended the companion, if one did.
    panic: OnceLock<String>,
    has_ended: Mutex<bool>,
    changed: Condvar,
}

impl Line {
    /// Hands the companion a task.
    ///
    /// # Errors
    /// The task, if it takes no more.
    pub(super) fn push(&self, task: NewTask) -> Result<(), NewTask> {
        {
            let mut inbox = lock(&self.inbox);
            if inbox.is_closed {
                return Err(task);
            }
            inbox.tasks.push(task);
        }
        self.call();
        Ok(())
    }

    /// Takes the tasks that were handed over.
    pub(super) fn take(&self) -> Vec<NewTask> {
        std::mem::take(&mut lock(&self.inbox).tasks)
    }

    /// Has the companion look for work. A system call while it sleeps, else some nanoseconds.
    pub(super) fn call(&self) {
        self.caller.call();
    }

    /// Calls once more, in case that the call was heard and forgotten.
    pub(super) fn remind(&self) {
        let may_forget = self.runtime.get().is_some_and(|runtime| runtime.0 == Runtime::GLOMMIO);
        if may_forget && !self.end.is_over.load(Ordering::Relaxed) {
            self.caller.remind();
        }
    }

    /// The companion calls this before a look. The waker is the same each time.
    pub(super) fn answer(&self, waker: &Waker) {
        self.caller.answer(waker);
    }

    /// Asks the companion to end.
    pub(super) fn close(&self) {
        // SYNC: pairs with the Acquire load in is_closing().
        self.is_closing.store(true, Ordering::Release);
        self.call();
    }

    pub(super) fn is_closing(&self) -> bool {
        // SYNC: pairs with the Release store in close().
        self.is_closing.load(Ordering::Acquire)
    }

    /// The calling thread is the companion from now on.
    pub(super) fn begin(&self) {
        let _ = self.thread.set(thread::current().id());
    }

    /// Returns whether the calling thread is the companion.
    pub(crate) fn is_here(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
    }

    pub(super) fn set_runtime(&self, name: &'static str, note: Option<String>) {
        let _ = self.runtime.set((name, note));
    }

    pub(super) fn runtime(&self) -> Option<(&'static str, Option<String>)> {
        self.runtime.get().cloned()
    }

    /// Takes no more tasks, and drops those on their way. `panic`: the reason, if it is not that the companion was
    /// asked to end.
    pub(super) fn finish(&self, panic: Option<String>) {
        if let Some(panic) = panic {
            let _ = self.end.panic.set(panic);
        }
        let tasks = {
            let mut inbox = lock(&self.inbox);
            inbox.is_closed = true;
            std::mem::take(&mut inbox.tasks)
        };
        self.end.is_over.store(true, Ordering::Relaxed);
        tasks.into_iter().for_each(foreign::discard);
    }

    /// The companion's work has ended, and it holds nothing more.
    pub(super) fn set_ended(&self) {
        *lock(&self.end.has_ended) = true;
        self.end.changed.notify_all();
    }

    pub(super) fn has_ended(&self) -> bool {
        *lock(&self.end.has_ended)
    }

    /// Waits until `until` for the end of the companion's work. Returns whether it has come.
    pub(super) fn wait_for_end(&self, until: Instant) -> bool {
        let mut has_ended = lock(&self.end.has_ended);
        while !*has_ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.end.changed.wait_timeout(has_ended, left.min(REMIND_TO_END));
            has_ended = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.remind();
        }
        true
    }

    /// The panic that ended the companion, if one did.
    pub(crate) fn panic(&self) -> Option<&str> {
        self.end.panic.get().map(String::as_str)
    }
}

impl Caller {
    fn call(&self) {
        // SYNC: pairs with the swap in answer(): what was done before the call is seen by the look after it.
        if !self.is_called.swap(true, Ordering::AcqRel)
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
    }

    fn remind(&self) {
        if let Some(waker) = self.waker.get()
            && self.reminders.fetch_add(1, Ordering::Relaxed) < REMINDERS_MAX
        {
            waker.wake_by_ref();
        }
    }

    fn answer(&self, waker: &Waker) {
        let _ = self.waker.get_or_init(|| waker.clone());
        // SYNC: pairs with the swap in call().
        self.is_called.swap(false, Ordering::AcqRel);
        self.reminders.store(0, Ordering::Relaxed);
    }
}
