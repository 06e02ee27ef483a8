//! The companion: the thread that a shard's tasks run on, and the line by which others reach it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use super::runtime::Runtime;
use super::set::{TaskSeed, TaskSet, yield_now};
use super::{CompanionSpec, lock};
use crate::core::foreign;
use crate::shard::placement;

/// By how much a companion's nice value is above its shard's: the kernel then gives the tasks a tenth of a core that
/// the shard wants as well.
const NICE: libc::c_int = 10;

/// Reminders without an answer after which there are no more. Each holds on to a waker until it is heard, and glommio
/// counts wakers in 16 bits.
const REMINDERS_MAX: u32 = 1_000;

/// How often a companion that is to end is reminded of it.
const REMIND_TO_END: Duration = Duration::from_millis(20);

/// What a companion and other threads share.
#[derive(Debug, Default)]
pub(crate) struct Line {
    inbox: Mutex<Inbox>,
    /// The runtime has done its work.
    is_over: AtomicBool,
    is_closing: AtomicBool,
    /// It was called since it looked last.
    is_called: AtomicBool,
    /// Reminders since it looked last.
    reminders: AtomicU32,
    /// Wakes it. Outlives the runtime, because the companion's thread holds the line for its life.
    waker: OnceLock<Waker>,
    thread: OnceLock<ThreadId>,
    runtime: OnceLock<(&'static str, Option<String>)>,
    /// The panic that ended it, if one did.
    panic: OnceLock<String>,
    has_ended: Mutex<bool>,
    end: Condvar,
}

/// Tasks on their way.
#[derive(Debug, Default)]
struct Inbox {
    seeds: Vec<TaskSeed>,
    is_closed: bool,
}

impl Line {
    /// Hands the companion a task.
    ///
    /// # Errors
    /// The task, if it takes no more.
    pub(super) fn push(&self, seed: TaskSeed) -> Result<(), TaskSeed> {
        {
            let mut inbox = lock(&self.inbox);
            if inbox.is_closed {
                return Err(seed);
            }
            inbox.seeds.push(seed);
        }
        self.call();
        Ok(())
    }

    /// Has the companion look for what there is to do. A system call while it sleeps, else some nanoseconds.
    pub(super) fn call(&self) {
        // SYNC: pairs with the swap in answer(): what was done before the call is seen by the look after it.
        if !self.is_called.swap(true, Ordering::AcqRel)
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// Calls once more, in case that the call was heard and forgotten.
    pub(super) fn remind(&self) {
        let may_forget = self.runtime.get().is_some_and(|runtime| runtime.0 == Runtime::GLOMMIO);
        if may_forget
            && !self.is_over.load(Ordering::Relaxed)
            && let Some(waker) = self.waker.get()
            && self.reminders.fetch_add(1, Ordering::Relaxed) < REMINDERS_MAX
        {
            waker.wake_by_ref();
        }
    }

    /// Before a look. The waker is the same each time.
    fn answer(&self, waker: &Waker) {
        let _ = self.waker.get_or_init(|| waker.clone());
        self.is_called.swap(false, Ordering::AcqRel);
        self.reminders.store(0, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.call();
    }

    /// Waits for the end of the companion's work, until some time. Returns whether it has come.
    pub(super) fn wait_for_end(&self, until: Instant) -> bool {
        let mut has_ended = lock(&self.has_ended);
        while !*has_ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.end.wait_timeout(has_ended, left.min(REMIND_TO_END));
            has_ended = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.remind();
        }
        true
    }

    pub(super) fn has_ended(&self) -> bool {
        *lock(&self.has_ended)
    }

    /// Whether the calling thread is the companion.
    pub(crate) fn is_here(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
    }

    pub(super) fn runtime(&self) -> Option<(&'static str, Option<String>)> {
        self.runtime.get().cloned()
    }

    /// The panic that ended the companion, if one did.
    pub(crate) fn panic(&self) -> Option<&str> {
        self.panic.get().map(String::as_str)
    }

    /// No more tasks are taken; those on their way are dropped. `panic` is why, if not because the companion was asked
    /// to end.
    fn finish(&self, panic: Option<String>) {
        if let Some(panic) = panic {
            let _ = self.panic.set(panic);
        }
        let seeds = {
            let mut inbox = lock(&self.inbox);
            inbox.is_closed = true;
            std::mem::take(&mut inbox.seeds)
        };
        self.is_over.store(true, Ordering::Relaxed);
        seeds.into_iter().for_each(foreign::discard);
    }
}

/// Starts a companion.
///
/// # Errors
/// The kernel's, where no thread can be made.
pub(super) fn start(spec: CompanionSpec, line: &Arc<Line>) -> io::Result<JoinHandle<()>> {
    let line = Arc::clone(line);
    thread::Builder::new().name(spec.name.clone()).spawn(move || {
        let _ = line.thread.set(thread::current().id());
        if !spec.cores.is_empty() {
            // Refused, it runs where its maker may.
            let _ = placement::leave_to(&spec.cores);
        }
        yield_to_the_shard();
        live(&line);
        drop(spec.hold);
        *lock(&line.has_ended) = true;
        line.end.notify_all();
    })
}

/// The companion's work: runs tasks until it is asked to end, or a panic ends it that is no task's.
fn live(line: &Arc<Line>) {
    let (runtime, note) = Runtime::make();
    let _ = line.runtime.set((runtime.name(), note));
    // Not the runtime's: what it does with a future after a panic is not known.
    let tasks = Rc::new(RefCell::new(TaskSet::default()));
    let outcome = foreign::contain(|| runtime.run(serve(Arc::clone(line), Rc::clone(&tasks))));
    line.finish(outcome.err());
    tasks.borrow_mut().clear();
    foreign::discard(runtime);
}

async fn serve(line: Arc<Line>, tasks: Rc<RefCell<TaskSet>>) {
    poll_fn(|context| {
        line.answer(context.waker());
        if line.is_closing.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut tasks = tasks.borrow_mut();
        let seeds = std::mem::take(&mut lock(&line.inbox).seeds);
        seeds.into_iter().for_each(|seed| tasks.admit(&line, seed));
        if tasks.step() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    line.finish(None);
    tasks.borrow_mut().clear();
    // What the tasks had of the runtime's own tasks is told to end, and does so when it runs.
    yield_now().await;
}

/// The calling thread gets a tenth of a core that the shard wants.
#[allow(unsafe_code)]
fn yield_to_the_shard() {
    // SAFETY: the call takes no pointers. It concerns the calling thread; a refusal leaves its priority as it is.
    unsafe { libc::nice(NICE) };
}
