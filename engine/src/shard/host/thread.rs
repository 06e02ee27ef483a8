//! The thread host: a plain pinned thread steps the shard, threads of its own run what blocks.

use std::sync::Arc;

use super::super::pace::{Needs, Pace, Pacer};
use super::super::{Shard, ShardControl};
use super::HostClock;
use super::background::ThreadBackground;
use crate::blocking::become_shard_thread;
use crate::config::IdleMode;
use crate::seam::{self, Step};

/// Runs a shard until it is stopped.
pub(in super::super) fn run(
    idle: IdleMode,
    background: ThreadBackground,
    make: impl FnOnce(ThreadBackground) -> Shard<ThreadBackground>,
) {
    become_shard_thread();
    let mut shard = make(background);
    // Dropped before the shard, whose end its readers learn of by its drop.
    let mut life = Life(Some(Arc::clone(&shard.control)));
    let log = shard.control().view().log_id();
    let mut pacer = Pacer::new(idle);
    let mut clock = HostClock::default();
    while !shard.control().is_stopping() {
        let now = clock.now();
        let _ = seam::pass(log, Step::Turn);
        let turn = shard.turn(now);
        let retired = !shard.control().is_active();
        let needs = Needs { chore: shard.has_chore(), followed: shard.has_followers(), retired };
        let task = shard.run_tasks(turn, || clock.now());
        match pacer.after(turn, now, needs) {
            Pace::Spin => std::hint::spin_loop(),
            Pace::Poll => shard.poll(),
            _ if task.is_some_and(|wait| wait.is_zero()) => {}
            Pace::Gather(nanos) => shard.gather(|| clock.now(), now + nanos),
            Pace::Nap(longest) => {
                shard.nap(now, task.map_or(longest, |wait| longest.min(wait)));
                clock.look();
            }
        }
    }
    shard.finish(|| clock.now());
    life.0 = None;
}

/// Poisons the log of a shard that ends otherwise than by [`Shard::finish`].
struct Life(Option<Arc<ShardControl>>);

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(control) = &self.0 {
            let thread = std::thread::current();
            control.view().set_dead(thread.name().unwrap_or_default(), "it panicked");
        }
    }
}
