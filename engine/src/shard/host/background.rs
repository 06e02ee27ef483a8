//! The threads that run what blocks: one for what the log may be waiting for, one, of the lowest priority, for what it does
//! when there is time.

use std::sync::mpsc::{self, Receiver, Sender};

use tapeline_storage::log::{Chore, ChoreDone};

use super::super::Background;

/// Two threads, each made for the first chore it gets.
#[derive(Debug, Default)]
pub(in super::super) struct ThreadBackground {
    chores: Option<Worker>,
    tidyings: Option<Worker>,
    /// Done on the shard's own thread, because no other could be had.
    done_here: Vec<ChoreDone>,
}

#[derive(Debug)]
struct Worker {
    chores: Sender<Chore>,
    done: Receiver<ChoreDone>,
}

impl Worker {
    fn spawn(name: &str, is_idle_work: bool) -> Option<Self> {
        let (chores, queue) = mpsc::channel::<Chore>();
        let (finished, done) = mpsc::channel();
        let work = move || {
            if is_idle_work {
                yield_to_all_others();
            }
            for chore in queue {
                if finished.send(chore.run()).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name(name.into()).spawn(work).ok()?;
        Some(Self { chores, done })
    }
}

impl Background for ThreadBackground {
    fn run(&mut self, chore: Chore) {
        let is_tidying = chore.is_tidying();
        let worker = if is_tidying { &mut self.tidyings } else { &mut self.chores };
        if worker.is_none() {
            *worker = Worker::spawn(if is_tidying { "tapeline-tidy" } else { "tapeline-chores" }, is_tidying);
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

/// The calling thread gets little of a core that others want.
#[allow(unsafe_code)]
fn yield_to_all_others() {
    const LOWEST: libc::c_int = 19;
    // SAFETY: the call takes no pointers. Zero is the calling thread; a refusal leaves its priority as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
}
