//! The host: the shard's pinned thread, which steps it in a plain loop, and the threads that run what blocks.
//!
//! The simulation in `shard/tests.rs` is the other host of the same [`Shard`].

mod background;

use std::sync::Arc;
use std::time::Instant;

use tapeline_reader::blocking::become_shard_thread;
use tapeline_reader::timestamp::Clock;

pub(super) use background::ThreadBackground;

use super::pace::{Needs, Pace, Pacer};
use super::tasks::REMIND_NS;
use super::{Shard, ShardControl};
use crate::core::config::IdleMode;
use crate::core::seam;
use crate::core::seam::Step;

/// Runs a shard until it is stopped.
pub(super) fn run(
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
    let mut reminded_at = 0;
    while !shard.control().inbox().is_stopping() {
        let now = clock.now();
        let _ = seam::pass(log, Step::Turn);
        let turn = shard.turn(now);
        let retired = !shard.control().handover().is_active();
        let (chore, followed, writes) = (shard.has_chore(), shard.has_followers(), shard.has_writes());
        let needs = Needs { chore, followed, retired, writes };
        if now.abs_diff(reminded_at) > REMIND_NS {
            reminded_at = now;
            shard.control().tasks().remind();
        }
        match pacer.after(turn, now, needs) {
            Pace::Spin => std::hint::spin_loop(),
            Pace::Poll => shard.poll(),
            Pace::Gather(nanos) => shard.gather(|| clock.now(), now + nanos),
            Pace::Nap(longest) => {
                shard.nap(now, longest);
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

/// The clock of a host, which keeps the process's clock in step.
#[derive(Debug, Default)]
struct HostClock {
    steered: u64,
    /// The time at which it was steered last, by a clock that no suspend puts out of step.
    steered_at: Option<Instant>,
    /// Readings since the last look at that clock.
    readings: u32,
}

impl HostClock {
    /// Nanoseconds since the Unix epoch.
    fn now(&mut self) -> u64 {
        let now = Clock::global().now();
        self.readings += 1;
        if now.abs_diff(self.steered) > STEER_NS {
            return self.steer();
        }
        if self.readings >= READINGS {
            self.look();
        }
        now
    }

    /// Steers the clock if it is time, whatever the clock itself says: it may stand, or crawl.
    fn look(&mut self) {
        self.readings = 0;
        if self.steered_at.is_none_or(|at| at.elapsed().as_nanos() > u128::from(STEER_NS)) {
            self.steer();
        }
    }

    fn steer(&mut self) -> u64 {
        Clock::global().discipline();
        self.steered_at = Some(Instant::now());
        self.steered = Clock::global().now();
        self.steered
    }
}

/// Readings of the clock after which another one is asked whether it is time to steer.
const READINGS: u32 = 4_096;

/// The time between two corrections of the clock, in nanoseconds.
const STEER_NS: u64 = 1_000_000_000;
