//! The followers of a shard: they are handed each new block, and woken when what they want to see has moved.
//!
//! Waking a follower is a system call, which costs a shard more than hundreds of events. So a follower that was woken
//! is woken again [`QUIET_NS`] later at the earliest, and for every one that a shard wakes it stays quiet that much
//! longer: a shard spends a bounded part of its time on them, and events that come faster wake none of them for each.
//! No follower is kept waiting while the shard naps: it rings before.
//!
//! A turn in which nothing moves costs the same however many followers there are, and so does a follower that comes: it
//! alone is rung. 10,000 clients that connect at once would otherwise be woken by each other. Nor are clients that
//! follow a session each woken for what others get (`sessions`).

mod new_blocks;
mod round;
mod sessions;

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use tapeline_storage::device::BlockMemory;
use tapeline_storage::format::Sequence;
use tapeline_storage::log::LogView;
use tapeline_storage::read::Visibility;

use crate::feed::{Follower, Surveys};
use sessions::SessionFollowers;

/// The time for which a shard wakes no follower, for each follower that it has woken, in nanoseconds. To wake one takes
/// 10 to 70 us.
const QUIET_NS: u64 = 100_000;

/// The longest time for which it wakes no follower.
const QUIET_NS_MAX: u64 = 1_000_000;

/// The followers that a shard looks at before it sleeps, for whether they are gone: all of them in turn.
const LOOKS: usize = 16;

/// The watermarks of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Watermarks {
    pub(super) appended: Sequence,
    pub(super) durable: Sequence,
}

impl Watermarks {
    fn of(self, visibility: Visibility) -> Sequence {
        match visibility {
            Visibility::Appended => self.appended,
            Visibility::Durable => self.durable,
        }
    }
}

/// The followers of one shard.
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// Those that are woken for everything, and timers.
    present: Vec<Follower>,
    /// Those of `present` that want to see what is durable.
    durable: usize,
    of_sessions: SessionFollowers,
    /// Watermarks at the last ring.
    rung_at: Option<Watermarks>,
    quiet_until: u64,
    /// The first time at which one of them waits no longer, or one that has gone did.
    deadline: Option<u64>,
    /// The next one to look at.
    next: usize,
}

impl Followers {
    /// None yet. `surveys`: those by which followers of sessions know the log.
    pub(super) fn new(surveys: Surveys) -> Self {
        Self { of_sessions: SessionFollowers::new(surveys), ..Self::default() }
    }

    /// Takes in followers that have come. Each is rung, since it may have looked before what has moved until now; the
    /// others are not.
    pub(super) fn admit(&mut self, arrivals: impl IntoIterator<Item = Follower>) {
        // SYNC: pairs with the fence in Bell::arm.
        fence(Ordering::SeqCst);
        for follower in arrivals {
            if follower.visibility().is_some() {
                follower.ring();
            }
            if follower.sessions().is_some() {
                self.of_sessions.admit(follower);
                continue;
            }
            self.durable += usize::from(wants_durable(&follower));
            self.deadline = [self.deadline, follower.deadline()].into_iter().flatten().min();
            self.present.push(follower);
        }
    }

    /// Has every follower woken at the next ring: the shard will have nothing more.
    pub(super) fn report_all(&mut self) {
        self.rung_at = None;
        self.quiet_until = 0;
    }

    /// A new route begins at this sequence: what other shards write by it is handed out by readers that have passed it
    /// here, whatever session it is of.
    pub(super) fn begin_route(&mut self, boundary: Sequence) {
        self.of_sessions.begin_route(boundary);
    }

    /// Counts those that want to see what is durable, and finds the first deadline, after some have gone.
    fn count(&mut self) {
        self.durable = self.present.iter().filter(|follower| wants_durable(follower)).count();
        self.deadline = self.present.iter().filter_map(Follower::deadline).min();
    }

    /// Forgets those that are gone, of a few.
    fn forget_some(&mut self) {
        for _ in 0..LOOKS.min(self.present.len()) {
            self.next = if self.next < self.present.len() { self.next } else { 0 };
            if self.present[self.next].is_gone() {
                let gone = self.present.swap_remove(self.next);
                self.durable -= usize::from(wants_durable(&gone));
            } else {
                self.next += 1;
            }
        }
        self.of_sessions.forget_some(LOOKS);
    }

    /// Returns whether a follower waits for something to become durable.
    pub(super) fn want_durability(&self, watermarks: Watermarks) -> bool {
        (self.durable > 0 || self.of_sessions.want_durability()) && watermarks.durable < watermarks.appended
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty() && self.of_sessions.is_empty()
    }

    /// The first time at which a follower waits no longer.
    pub(super) fn first_deadline(&self) -> Option<u64> {
        self.deadline.filter(|_| !self.present.is_empty())
    }

    /// Hands on a block of `view` that was begun.
    pub(super) fn announce(&mut self, view: &LogView, block: &Arc<BlockMemory>) {
        self.present.iter_mut().for_each(|follower| follower.announce(view, block));
        self.of_sessions.announce(view, block);
    }

    /// Wakes the followers that wait for what has moved, unless others were woken a moment ago, and those whose time is
    /// over.
    pub(super) fn ring(&mut self, now: u64, watermarks: Watermarks) {
        if self.is_empty() {
            return;
        }
        if now >= self.quiet_until && self.rung_at != Some(watermarks) {
            self.present.retain(|follower| !follower.is_gone());
            self.count();
            self.of_sessions.forget_some(LOOKS);
            let woken = self.ring_all(watermarks);
            self.quiet_until = now + (woken * QUIET_NS).min(QUIET_NS_MAX);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.present.retain(|follower| follower.deadline().is_none_or(|deadline| now < deadline));
            self.count();
        }
        self.of_sessions.go_round(now);
    }

    /// As [`Followers::ring`], at once: the shard is going to sleep. Forgets some that are gone, so that a shard which
    /// has no followers left sleeps as long as it may before long.
    pub(super) fn ring_before_sleep(&mut self, watermarks: Watermarks) {
        self.forget_some();
        if !self.is_empty() && self.rung_at != Some(watermarks) {
            self.ring_all(watermarks);
        }
    }

    /// Returns how many were woken.
    fn ring_all(&mut self, watermarks: Watermarks) -> u64 {
        // SYNC: pairs with the fence in Bell::arm.
        fence(Ordering::SeqCst);
        let before = self.rung_at.replace(watermarks);
        let moved = |visibility| before.is_none_or(|before| before.of(visibility) != watermarks.of(visibility));
        let of_all = self.present.iter().filter(|follower| follower.visibility().is_some_and(moved));
        let woken = of_all.filter(|follower| follower.ring()).count() as u64;
        woken + self.of_sessions.ring(before, watermarks)
    }
}

fn wants_durable(follower: &Follower) -> bool {
    follower.visibility() == Some(Visibility::Durable)
}

#[cfg(test)]
mod sessions_tests;
#[cfg(test)]
mod tests;
