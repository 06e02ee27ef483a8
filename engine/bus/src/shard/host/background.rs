//! The threads that run what blocks: one for what the log may be waiting for, on the shard's core, and one, of the
//! lowest priority and on any core, for what it does when there is time.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::JoinHandle;

use tapeline_storage::device::fs::DirectoryLock;
use tapeline_storage::format::LogId;
use tapeline_storage::log::{Chore, ChoreDone, ChoreLabel};

use crate::core::seam::Step;
use crate::core::{foreign, seam};
use crate::shard::{Background, core_choice};

/// Two threads, each made for the first chore it gets.
#[derive(Debug)]
pub(in crate::shard) struct ThreadBackground {
    chores: Option<Worker>,
    tidyings: Option<Worker>,
    /// Cores that the tidying thread may use, so that a shard that polls its own does not starve it.
    tidying_cores: Vec<usize>,
    log: LogId,
    /// Done on the shard's own thread, because no other could be had.
    done_here: Vec<ChoreDone>,
    /// The lock of the directory that chores change: each thread holds it for its life.
    hold: Option<Arc<DirectoryLock>>,
}

/// A thread that runs chores, one at a time. Every chore that it takes is answered, if only by an error.
#[derive(Debug)]
struct Worker {
    chores: Sender<Chore>,
    done: Receiver<ChoreDone>,
    /// The chore that is out.
    runs: Option<ChoreLabel>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// A thread that holds the lock of the directory that chores change for its life.
    fn spawn(
        name: &str,
        log: LogId,
        hold: Option<Arc<DirectoryLock>>,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Option<Self> {
        let (chores, queue) = mpsc::channel::<Chore>();
        let (finished, done) = mpsc::channel();
        let work = move || {
            let _hold = hold;
            prepare();
            for chore in queue {
                let _ = seam::pass(log, Step::Chore);
                let done = chore.run();
                let _ = seam::pass(log, Step::ChoreDone);
                if finished.send(done).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(work).ok()?;
        Some(Self { chores, done, runs: None, thread })
    }

    /// Hands the chore back if the thread has ended.
    fn take(&mut self, chore: Chore) -> Option<Chore> {
        let label = chore.label();
        match self.chores.send(chore) {
            Ok(()) => {
                self.runs = Some(label);
                None
            }
            Err(refused) => Some(refused.0),
        }
    }

    fn done(&mut self) -> Option<ChoreDone> {
        let done = match self.done.try_recv() {
            Ok(done) => done,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => return Some(self.runs.take()?.lost()),
        };
        self.runs = None;
        Some(done)
    }

    /// Waits for the end of the thread.
    fn join(self) {
        drop(self.chores);
        foreign::discard(self.thread.join());
    }
}

impl ThreadBackground {
    /// `tidying_cores`: those that the tidying thread may use; without any, those of the shard.
    pub(in crate::shard) fn new(log: LogId, hold: Option<Arc<DirectoryLock>>, tidying_cores: Vec<usize>) -> Self {
        Self { chores: None, tidyings: None, tidying_cores, log, done_here: Vec::new(), hold }
    }
}

impl Background for ThreadBackground {
    fn run(&mut self, chore: Chore) {
        let (log, hold) = (self.log, &self.hold);
        let worker = if chore.is_tidying() {
            let cores = &self.tidying_cores;
            made(&mut self.tidyings, || {
                let cores = cores.clone();
                Worker::spawn("tapeline-tidy", log, hold.clone(), move || yield_to_all_others(&cores))
            })
        } else {
            made(&mut self.chores, || Worker::spawn("tapeline-chores", log, hold.clone(), || {}))
        };
        let refused = match worker {
            Some(worker) => worker.take(chore),
            None => Some(chore),
        };
        self.done_here.extend(refused.map(Chore::run));
    }

    fn done(&mut self) -> Option<ChoreDone> {
        let done = |worker: &mut Option<Worker>| worker.as_mut()?.done();
        self.done_here.pop().or_else(|| done(&mut self.chores)).or_else(|| done(&mut self.tidyings))
    }
}

/// Its threads end with it, but for one that tidies and gets no core: that one keeps the lock of the directory until it
/// ends.
impl Drop for ThreadBackground {
    fn drop(&mut self) {
        let tidyings = self.tidyings.take().filter(|worker| worker.runs.is_none());
        self.chores.take().into_iter().chain(tidyings).for_each(Worker::join);
    }
}

/// The worker, made by `make` where there is none.
fn made(worker: &mut Option<Worker>, make: impl FnOnce() -> Option<Worker>) -> Option<&mut Worker> {
    if worker.is_none() {
        *worker = make();
    }
    worker.as_mut()
}

/// The calling thread gets little of a core that others want, and may use all of `cores`.
#[allow(unsafe_code)]
fn yield_to_all_others(cores: &[usize]) {
    const LOWEST: libc::c_int = 19;
    // A refusal leaves it on the shard's core.
    let _ = cores.is_empty() || core_choice::leave_to(cores);
    // SAFETY: the call takes no pointers. Zero is the calling thread; a refusal leaves its priority as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOWEST) };
}

#[cfg(test)]
mod tests {
    use tapeline_storage::device::sim::{Faults, SimDisk};
    use tapeline_storage::format::LogShard;
    use tapeline_storage::log::{LogOptions, Urgency, recover};

    use super::*;

    #[test]
    fn thread_that_ended_answers_for_the_chore_it_took() {
        let (chores, queue) = mpsc::channel();
        let (finished, done) = mpsc::channel();
        let mut worker = Worker { chores, done, runs: None, thread: std::thread::spawn(|| {}) };
        assert!(worker.done().is_none());
        assert!(worker.take(a_chore()).is_none());
        assert!(worker.done().is_none(), "it may still come");
        drop((queue, finished));
        assert!(worker.done().is_some_and(|done| !done.is_tidying()));
        assert!(worker.done().is_none(), "once");
        assert!(worker.take(a_chore()).is_some(), "and no other is taken");
    }

    #[test]
    fn tidying_thread_is_left_to_all_cores_that_the_shard_may_use() {
        let cores = |thread: JoinHandle<Vec<usize>>| thread.join().expect("no panic");
        let present = || core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        let all: Vec<usize> = cores(std::thread::spawn(present));
        let among = all.clone();
        let left = cores(std::thread::spawn(move || {
            core_choice::leave_to(&among[..1]);
            yield_to_all_others(&among);
            present()
        }));
        assert_eq!(left, all);
    }

    /// The first chore of a log that fills its segment.
    fn a_chore() -> Chore {
        let disk = SimDisk::new(1, Faults::default());
        let options = LogOptions { segment_bytes: 1, ..LogOptions::new(LogShard::new(LogId([1; 16]), 0), 1) };
        let recovered = recover(disk.directory("shard-0000"), options).expect("opens");
        let mut log = recovered.start(Box::new(disk.device(1)));
        let record = vec![0; 700_000];
        log.append(&record, &[(record.len() / 16) as u16], 1);
        log.publish(|_| {});
        for _ in 0..2 {
            log.turn(u64::MAX, Urgency::Awaited);
        }
        log.next_chore(1).expect("a segment is prepared")
    }
}
