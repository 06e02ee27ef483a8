//! Threads that read files for readers which must not block theirs: at most [`THREADS_MAX`], made when there is
//! something to read, and gone when there was nothing for [`IDLE`].
//!
//! Each holds the lock of the log's directory for its life. When the bus ends they do what they have taken and end;
//! what a reader wants after that, it reads on its own thread.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tapeline_storage::device::fs::DirectoryLock;
use tapeline_storage::log::{LoadJob, Loader};

use crate::core::foreign;

/// One reads while another wakes the readers of what it has read.
const THREADS_MAX: usize = 2;

/// The time after which a thread without work ends.
const IDLE: Duration = Duration::from_secs(5);

/// The threads of one bus that read.
#[derive(Debug)]
pub(crate) struct LoadThreads {
    state: Mutex<State>,
    has_work: Condvar,
}

/// Something to do.
enum Job {
    Load(LoadJob),
    Call(Box<dyn FnOnce() + Send>),
}

impl Job {
    fn run(self) {
        match self {
            Self::Load(job) => job.run(),
            Self::Call(call) => call(),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

#[derive(Debug, Default)]
struct State {
    /// Until the bus ends, however long its readers live.
    hold: Option<Arc<DirectoryLock>>,
    jobs: VecDeque<Job>,
    threads: Vec<JoinHandle<()>>,
    /// Threads that have not ended, and those of them that wait for work.
    running: usize,
    waiting: usize,
    is_over: bool,
}

impl LoadThreads {
    /// None yet. `hold`: the lock of the log's directory.
    pub(crate) fn new(hold: Option<Arc<DirectoryLock>>) -> Arc<Self> {
        let state = Mutex::new(State { hold, ..State::default() });
        Arc::new(Self { state, has_work: Condvar::new() })
    }

    /// The loader whose jobs they run.
    pub(crate) fn loader(self: &Arc<Self>) -> Arc<dyn Loader> {
        Arc::new(ThreadLoader(Arc::clone(self)))
    }

    /// Has them end when they have done what they have taken.
    pub(crate) fn end(&self) {
        let hold = {
            let mut state = self.lock();
            state.is_over = true;
            state.hold.take()
        };
        drop(hold);
        self.has_work.notify_all();
    }

    /// Has them call something that works on files. Dropped where none can.
    pub(crate) fn call(self: &Arc<Self>, call: impl FnOnce() + Send + 'static) {
        drop(self.take(Job::Call(Box::new(call))));
    }

    /// Takes a job.
    ///
    /// # Errors
    /// The job, where there is no thread for it.
    fn take(self: &Arc<Self>, job: Job) -> Result<(), Job> {
        let mut state = self.lock();
        if state.is_over {
            return Err(job);
        }
        if state.waiting <= state.jobs.len() && state.running < THREADS_MAX {
            state.threads.retain(|thread| !thread.is_finished());
            let (own, hold) = (Arc::clone(self), state.hold.clone());
            let work = move || {
                let _hold = hold;
                own.work();
            };
            if let Ok(thread) = std::thread::Builder::new().name("tapeline-read".into()).spawn(work) {
                state.threads.push(thread);
                state.running += 1;
            }
        }
        if state.running == 0 {
            return Err(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.has_work.notify_one();
        Ok(())
    }

    /// Waits for their end.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut self.lock().threads);
        threads.into_iter().for_each(|thread| foreign::discard(thread.join()));
    }

    /// In a forked child: the threads are the parent's, and so may be the lock of their list.
    pub(crate) fn forget_threads(self: &Arc<Self>) {
        match self.state.try_lock() {
            Ok(mut state) => std::mem::take(&mut state.threads).into_iter().for_each(std::mem::forget),
            Err(_) => std::mem::forget(Arc::clone(self)),
        }
    }

    /// Locks; what is locked is whole after every statement.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job. `None`: the thread is to end.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.is_over {
                return None;
            }
            state.waiting += 1;
            let (locked, waited) = self.has_work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = locked;
            state.waiting -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                return None;
            }
        }
    }

    /// Counts a thread out, unless there is something for it to do.
    fn leave(&self) -> bool {
        let mut state = self.lock();
        let leaves = state.jobs.is_empty();
        state.running -= usize::from(leaves);
        leaves
    }

    fn work(&self) {
        loop {
            while let Some(job) = self.next() {
                // A panic drops the job, whose readers then get an error.
                let _ = foreign::contain(|| job.run());
            }
            if self.leave() {
                return;
            }
        }
    }
}

/// Hands jobs to the threads.
#[derive(Debug)]
struct ThreadLoader(Arc<LoadThreads>);

impl Loader for ThreadLoader {
    fn load(&self, job: LoadJob) -> Result<(), LoadJob> {
        match self.0.take(Job::Load(job)) {
            Err(Job::Load(job)) => Err(job),
            _ => Ok(()),
        }
    }
}
