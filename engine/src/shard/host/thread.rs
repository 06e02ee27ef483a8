//! The thread host: a plain pinned thread steps the shard, a second thread runs what blocks.

use std::sync::mpsc::{self, Receiver, Sender};

use tapeline_storage::log::{Chore, ChoreDone};

use super::super::pace::{Needs, Pace, Pacer};
use super::super::{Background, Shard};
use super::HostClock;
use crate::config::IdleMode;

/// Runs a shard until it is stopped.
pub(in super::super) fn run(idle: IdleMode, make: impl FnOnce(ThreadBackground) -> Shard<ThreadBackground>) {
    super::super::IS_SHARD_THREAD.with(|is_shard| is_shard.set(true));
    let mut shard = make(ThreadBackground::default());
    let mut pacer = Pacer::new(idle);
    let mut clock = HostClock::default();
    while !shard.control().is_stopping() {
        let now = clock.now();
        let turn = shard.turn(now);
        let retired = !shard.control().is_active();
        let needs = Needs { chore: shard.has_chore(), followed: shard.has_followers(), retired };
        let task = shard.run_tasks(turn, || clock.now());
        match pacer.after(turn, now, needs) {
            Pace::Spin => std::hint::spin_loop(),
            Pace::Poll => shard.poll(),
            _ if task.is_some_and(|wait| wait.is_zero()) => {}
            Pace::Gather(nanos) => shard.gather(|| clock.now(), now + nanos),
            Pace::Nap(longest) => shard.nap(now, task.map_or(longest, |wait| longest.min(wait))),
        }
    }
    shard.finish(|| clock.now());
}

/// Chores, run by a thread that is made for the first one.
#[derive(Debug, Default)]
pub(in super::super) struct ThreadBackground {
    worker: Option<(Sender<Chore>, Receiver<ChoreDone>)>,
    /// Done on the shard's own thread, because no other could be had.
    done_here: Option<ChoreDone>,
}

impl ThreadBackground {
    fn spawn() -> Option<(Sender<Chore>, Receiver<ChoreDone>)> {
        let (chores, queue) = mpsc::channel::<Chore>();
        let (finished, done) = mpsc::channel();
        let work = move || {
            for chore in queue {
                if finished.send(chore.run()).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("tapeline-chores".into()).spawn(work).ok()?;
        Some((chores, done))
    }
}

impl Background for ThreadBackground {
    fn run(&mut self, chore: Chore) {
        if self.worker.is_none() {
            self.worker = Self::spawn();
        }
        let refused = match &self.worker {
            Some((chores, _)) => chores.send(chore).err().map(|error| error.0),
            None => Some(chore),
        };
        self.done_here = refused.map(Chore::run);
    }

    fn done(&mut self) -> Option<ChoreDone> {
        self.done_here.take().or_else(|| self.worker.as_ref()?.1.try_recv().ok())
    }
}
