//! The threads that run what blocks: one for what the log may be waiting for, one, of the lowest priority, for what it does
//! when there is time.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use tapeline_storage::device::fs::DirectoryLock;
use tapeline_storage::log::{Chore, ChoreDone};

use super::super::Background;
use crate::foreign;

/// Two threads, each made for the first chore it gets.
#[derive(Debug)]
pub(in super::super) struct ThreadBackground {
    chores: Option<Worker>,
    tidyings: Option<Worker>,
    /// Done on the shard's own thread, because no other could be had.
    done_here: Vec<ChoreDone>,
    /// The lock of the directory that chores change: each thread holds it for its life.
    hold: Option<Arc<DirectoryLock>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Worker {
    chores: Sender<Chore>,
    done: Receiver<ChoreDone>,
}

impl Worker {
    fn spawn(name: &str, is_idle_work: bool, hold: Option<Arc<DirectoryLock>>) -> Option<(Self, JoinHandle<()>)> {
        let (chores, queue) = mpsc::channel::<Chore>();
        let (finished, done) = mpsc::channel();
        let work = move || {
            let _hold = hold;
            if is_idle_work {
                yield_to_all_others();
            }
            for chore in queue {
                if finished.send(chore.run()).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(work).ok()?;
        Some((Self { chores, done }, thread))
    }
}

impl ThreadBackground {
    pub(in super::super) fn new(hold: Option<Arc<DirectoryLock>>) -> Self {
        Self { chores: None, tidyings: None, done_here: Vec::new(), hold, threads: Vec::new() }
    }
}

impl Background for ThreadBackground {
    fn run(&mut self, chore: Chore) {
        let is_tidying = chore.is_tidying();
        let worker = if is_tidying { &mut self.tidyings } else { &mut self.chores };
        if worker.is_none() {
            let name = if is_tidying { "tapeline-tidy" } else { "tapeline-chores" };
            if let Some((made, thread)) = Worker::spawn(name, is_tidying, self.hold.clone()) {
                *worker = Some(made);
                self.threads.push(thread);
            }
        }
        let refused = match worker {
            Some(worker) => worker.chores.send(chore).err().map(|error| error.0),
            None => Some(chore),
        };
        self.done_here.extend(refused.map(Chore::run));
    }

    fn done(&mut self) -> Option<ChoreDone> {
        let done = |worker: &Option<Worker>| worker.as_ref()?.done.try_recv().ok();
        self.done_here.pop().or_else(|| done(&self.chores)).or_else(|| done(&self.tidyings))
    }
}

/// Its threads end with it: none is left that may touch the directory when the shard's has ended.
impl Drop for ThreadBackground {
    fn drop(&mut self) {
        (self.chores, self.tidyings) = (None, None);
        self.threads.drain(..).for_each(|thread| foreign::discard(thread.join()));
    }
}

/// The calling thread gets little of a core that others want.
#[allow(unsafe_code)]
fn yield_to_all_others() {
    const LOWEST: libc::c_int = 19;
    // SAFETY: the call takes no pointers. Zero is the calling thread; a refusal leaves its priority as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
}
