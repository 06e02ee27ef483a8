//! A shard: a state machine that moves events from its lanes to its log, stepped by a host.
//!
//! Reading order: `Shard::turn` here, `slot` (a lane, and which of its events are acknowledged), `followers` (readers
//! that get its blocks and are woken), `tasks` (users' work beside it, on a thread of its own), `control` (the state
//! that it shares with all other threads: `inbox`, `waiters`, `facts`, `lanes`, `handover`), `start` (its start),
//! `host` (the thread that steps it), `pace` (spinning and napping), `core_choice` (the core that it is pinned to).
//!
//! A shard owns no thread, no clock and no executor. Per event it makes no system call, takes no lock and allocates
//! nothing; waiters and bookkeeping cost per turn or per block.

mod control;
mod core_choice;
mod facts;
mod followers;
mod handover;
mod host;
mod inbox;
mod lanes;
mod merge;
mod pace;
mod slot;
mod start;
mod tasks;
mod waiters;

use std::sync::Arc;
use std::time::Duration;

use tapeline_reader::timestamp::Clock;
use tapeline_storage::format::{BLOCK_BYTES_MAX, Sequence};
use tapeline_storage::log::{Chore, ChoreDone, Log, LogOptions, Urgency};

pub(crate) use control::ShardControl;
pub(crate) use core_choice::choose_core;
pub(crate) use facts::Reading;
pub use facts::{ShardHealth, ShardHost, ShardStats};
use followers::{Followers, Watermarks};
use inbox::Arrivals;
pub(crate) use lanes::LaneState;
pub use lanes::LaneStats;
use merge::{HasLane, Merge};
use slot::LaneSlot;
pub(crate) use waiters::{Barrier, Reach};

use crate::core::fence;
use crate::lane::LaneReader;
pub(crate) use start::{ShardSpec, ShardThread, Started, start};
pub(crate) use tasks::{CompanionSpec, Line, NewTask, Refusal, ShardTasks, TASK_PATIENCE, yield_now};

/// Bytes that a lane alone may give in one turn: a block, which holds any record.
const LANE_TURN_BYTES: usize = BLOCK_BYTES_MAX;

/// Bytes that several lanes may give together in one turn.
const TURN_BYTES: usize = 4 * BLOCK_BYTES_MAX;

/// The time for which a shard that ends waits for space on its disk, while it holds events: two attempts.
const FULL_PATIENCE_NS: u64 = 2 * LogOptions::FULL_RETRY_NS;

/// Runs the chores of a log somewhere else.
pub(crate) trait Background {
    /// Takes a chore.
    fn run(&mut self, chore: Chore);

    /// Gives back a chore that is done.
    fn done(&mut self) -> Option<ChoreDone>;
}

/// The outcome of a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Events taken from lanes.
    pub(crate) drained: usize,
    /// True if anything moved at all.
    pub(crate) moved: bool,
}

/// The work that is under way beside the turns.
#[derive(Debug, Clone, Copy, Default)]
struct Upkeep {
    /// The background has a chore.
    chore_runs: bool,
    /// The background has a tidying chore.
    tidying_runs: bool,
    /// The end of the last trim that the log was asked for.
    trimmed_to: Sequence,
}

/// The state of one shard.
pub(crate) struct Shard<B> {
    control: Arc<ShardControl>,
    log: Log,
    slots: Vec<LaneSlot>,
    merge: Merge,
    followers: Followers,
    background: B,
    upkeep: Upkeep,
    /// Number of the route whose records it takes.
    route: u64,
    standstill: Option<Standstill>,
}

/// The reason why a log does not write, as it was last reported to waiters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standstill {
    Poisoned,
    Full,
    /// This many attempts of an operation were in vain.
    HeldUp(u64),
}

impl<B: Background> Shard<B> {
    pub(crate) fn new(control: Arc<ShardControl>, log: Log, background: B) -> Self {
        Self {
            followers: Followers::new(control.inbox().surveys().clone()),
            control,
            log,
            slots: Vec::new(),
            merge: Merge::default(),
            background,
            upkeep: Upkeep::default(),
            route: 0,
            standstill: None,
        }
    }

    /// One turn at `now` (nanoseconds): drains the lanes up to a budget, commits what is due, reaps what has completed,
    /// acknowledges, wakes.
    pub(crate) fn turn(&mut self, now: u64) -> Turn {
        self.admit();
        self.pass();
        let before = self.watermarks();
        let drained = self.drain(now);
        let reported = self.report_boundary();
        let is_awaited = self.control.waiters().want_durability()
            || self.control.handover().is_under_way()
            || self.followers.want_durability(self.watermarks());
        let worked = self.log.turn(now, if is_awaited { Urgency::Awaited } else { Urgency::None });
        let chored = self.do_chores(now);
        let advanced = self.watermarks() != before;
        if advanced || self.slots.iter().any(LaneSlot::is_served) {
            self.acknowledge();
        }
        if self.report_standstill() || advanced || reported {
            self.control.waiters().notify();
        }
        self.followers.ring(now, self.watermarks());
        Turn { drained, moved: drained > 0 || advanced || worked || chored }
    }

    fn watermarks(&self) -> Watermarks {
        Watermarks { appended: self.log.view().appended(), durable: self.log.view().durable() }
    }

    /// Takes in the lanes and followers that have been made since the last turn.
    fn admit(&mut self) {
        if self.control.inbox().has_arrivals() {
            let Arrivals { lanes, followers, .. } = self.control.inbox().take_arrivals();
            self.slots.extend(lanes.into_iter().map(|lane| LaneSlot::new(lane, self.route)));
            self.followers.admit(followers);
        }
    }

    /// Goes on with the records of the present route.
    fn pass(&mut self) {
        let passed = self.control.handover().passed();
        if self.route != passed {
            self.route = passed;
            self.slots.iter_mut().for_each(|slot| slot.pass_to(passed));
        }
    }

    /// Reports where the wanted route begins, if another thread asks for that and no more records of an earlier route
    /// can come. Returns whether it did.
    fn report_boundary(&mut self) -> bool {
        let Some(wanted) = self.control.handover().wanted() else { return false };
        // Lanes that came since this turn began may hold records of the old route.
        self.admit();
        let is_found = self.log.poison().is_some() || self.slots.iter().all(|slot| slot.has_passed_to(wanted));
        if is_found {
            let boundary = self.log.next_sequence();
            self.followers.begin_route(boundary);
            self.control.handover().report_boundary(wanted, boundary);
        }
        is_found
    }

    fn drain(&mut self, now: u64) -> usize {
        let mut drained = if self.is_one_lane() { self.drain_alone(now) } else { self.drain_in_order(now) };
        for slot in &mut self.slots {
            slot.end_turn(&self.log);
            if slot.is_drained() {
                drained += slot.report_the_rest(&self.control, &mut self.log, now);
            }
        }
        let (view, followers) = (self.control.view(), &mut self.followers);
        self.log.publish(|block| followers.announce(view, block));
        self.release();
        drained
    }

    /// Looks at the lane, and then whether another one has come: what is known after this comes before what that holds,
    /// or has nothing to do with it.
    fn is_one_lane(&mut self) -> bool {
        match &mut self.slots[..] {
            [] => true,
            [slot] => slot.lane().look_again().is_some() && !self.control.inbox().has_arrivals(),
            _ => false,
        }
    }

    fn drain_alone(&mut self, now: u64) -> usize {
        let slot = self.slots.first_mut();
        let drained = slot.map_or(0, |slot| slot.drain(&self.control, &mut self.log, now, LANE_TURN_BYTES));
        if !self.slots.first_mut().is_some_and(|slot| slot.lane().knows_more()) {
            self.control.facts().set_taken_until(now);
        }
        drained
    }

    /// Takes from all lanes what comes next.
    fn drain_in_order(&mut self, now: u64) -> usize {
        let until = Clock::global().past();
        // A lane that was made before an event of that time was stamped is there.
        self.admit();
        self.merge.begin(until, &mut self.slots);
        let (mut left, mut drained) = (TURN_BYTES, 0);
        while left > 0 {
            let Some((head, bound)) = self.merge.next() else {
                self.control.facts().set_taken_until(until.min(now));
                break;
            };
            let slot = &mut self.slots[head.lane];
            let (entries, bytes) = slot.take(bound, &self.control, &mut self.log, now);
            if entries == 0 {
                break;
            }
            (drained, left) = (drained + entries, left.saturating_sub(bytes));
            self.merge.put_back(head, slot.lane());
        }
        drained
    }

    /// Gives the room of what was taken back to the producers. What readers cannot see yet is still the lane's.
    fn release(&mut self) {
        if self.log.is_published() {
            self.slots.iter_mut().for_each(LaneSlot::release);
        }
    }

    /// Acknowledges to each lane which of its events are durable, and drops lanes whose producers are gone and served.
    fn acknowledge(&mut self) {
        let durable = self.log.view().durable();
        self.slots.iter_mut().for_each(|slot| slot.acknowledge(durable));
        let mut gone = Vec::new();
        self.slots.retain(|slot| {
            let served = slot.is_served();
            gone.extend(served.then(|| slot.handle()));
            !served
        });
        if !gone.is_empty() {
            self.control.lanes().retire(&gone);
        }
    }

    fn do_chores(&mut self, now: u64) -> bool {
        let done = self.background.done();
        let any = done.is_some();
        if let Some(done) = done {
            self.take_done(done, now);
        }
        let trim_to = self.control.inbox().trim_to();
        if trim_to > self.upkeep.trimmed_to {
            self.upkeep.trimmed_to = trim_to;
            self.log.trim(trim_to);
            self.control.waiters().notify();
        }
        if let Some(chore) = self.log.next_chore(now) {
            self.upkeep.chore_runs = true;
            self.background.run(chore);
        }
        if let Some(chore) = self.log.next_tidying(now) {
            self.upkeep.tidying_runs = true;
            self.background.run(chore);
        }
        any
    }

    fn take_done(&mut self, done: ChoreDone, now: u64) {
        if done.is_tidying() {
            self.upkeep.tidying_runs = false;
        } else {
            self.upkeep.chore_runs = false;
        }
        self.log.chore_done(done, now);
    }

    /// Returns whether waiters have to know that the log cannot write, or can again. A poisoned log closes its lanes.
    fn report_standstill(&mut self) -> bool {
        let view = self.log.view();
        let standstill = if self.log.poison().is_some() {
            Some(Standstill::Poisoned)
        } else if view.is_full() {
            Some(Standstill::Full)
        } else if self.log.is_held_up() {
            view.shortage().map(|trouble| Standstill::HeldUp(trouble.times))
        } else {
            None
        };
        let before = std::mem::replace(&mut self.standstill, standstill);
        if standstill == Some(Standstill::Poisoned) {
            self.slots.iter().for_each(LaneSlot::close);
            if before != standstill {
                self.followers.report_all();
            }
        }
        before != standstill
    }

    /// Returns whether a chore is on its way that the log may be waiting for.
    pub(crate) fn has_chore(&self) -> bool {
        self.upkeep.chore_runs
    }

    /// Returns whether writes are in flight.
    pub(crate) fn has_writes(&self) -> bool {
        self.log.has_writes()
    }

    /// Returns whether a reader follows the shard live.
    pub(crate) fn has_followers(&self) -> bool {
        !self.followers.is_empty()
    }

    pub(crate) fn control(&self) -> &ShardControl {
        &self.control
    }

    /// Lets events gather in the lanes until `until`, or until the doorbell rings. Does not give the core away.
    pub(crate) fn gather(&mut self, mut clock: impl FnMut() -> u64, until: u64) {
        while clock() < until && !self.control.inbox().doorbell().is_rung() {
            std::hint::spin_loop();
        }
        self.control.inbox().answer();
    }

    /// Does what a nap does, except the sleep: followers that wait for what has moved are woken at once.
    pub(crate) fn poll(&mut self) {
        self.followers.ring_before_sleep(self.watermarks());
        self.control.inbox().answer();
        std::hint::spin_loop();
    }

    /// Sleeps, at most for `longest` and until the open block or a follower's patience is due. Ends early for a
    /// completion or the doorbell.
    pub(crate) fn nap(&mut self, now: u64, longest: Duration) {
        self.followers.ring_before_sleep(self.watermarks());
        let due = [self.log.commit_due(), self.followers.first_deadline()].into_iter().flatten().min();
        let left = due.map_or(longest, |due| Duration::from_nanos(due.saturating_sub(now)));
        self.log.wait(self.control.inbox().doorbell(), longest.min(left));
        self.control.inbox().answer();
    }

    /// The end: closes the lanes, takes what is in them, commits and seals. Blocks until the log is closed.
    pub(crate) fn finish(&mut self, mut clock: impl FnMut() -> u64) {
        self.control.inbox().close();
        // No route changes any more.
        self.route = LaneReader::ANY_ROUTE;
        self.slots.iter_mut().for_each(|slot| slot.pass_to(LaneReader::ANY_ROUTE));
        self.admit();
        self.slots.iter().for_each(LaneSlot::close);
        // From here on a producer either sees its lane closed after publishing, or has published before.
        fence::all_threads();
        self.take_chores_back(&mut clock);
        let mut full_since = None;
        loop {
            let now = clock();
            let drained = self.drain_to_the_end(now);
            let pending = self.slots.iter().any(|slot| slot.has_pending() || slot.unreported().total() > 0);
            let worked = self.log.turn(now, Urgency::Awaited);
            while let Some(chore) = self.log.next_chore(now) {
                self.log.chore_done(chore.run(), now);
            }
            if !pending || self.log.poison().is_some() || self.log.give_up_if_stuck(now) {
                break;
            }
            full_since = full_since.filter(|_| self.log.view().is_full()).or(self.log.view().is_full().then_some(now));
            if full_since.is_some_and(|since| now.saturating_sub(since) >= FULL_PATIENCE_NS) {
                self.log.give_up_for_want_of_space();
                break;
            }
            if drained == 0 && !worked {
                self.log.wait(self.control.inbox().doorbell(), Duration::from_millis(1));
                self.control.inbox().answer();
            }
        }
        // The outcome is in the view, where waiters look.
        let _ = self.log.close(self.control.inbox().doorbell(), &mut clock);
        // Events that were published at the very end are readable to their waiters, whatever became of their
        // durability.
        self.release();
        self.acknowledge();
    }

    /// Takes what is in the lanes, and reports what was dropped in those that are empty then. Returns the number of
    /// records.
    fn drain_to_the_end(&mut self, now: u64) -> usize {
        let mut drained = self.drain(now);
        for slot in self.slots.iter_mut().filter(|slot| !slot.has_pending()) {
            drained += slot.report_the_rest(&self.control, &mut self.log, now);
        }
        drained
    }

    /// Waits for the chores that are out. A tidying one is asked to end, and is left to its thread if that gets no
    /// core: the next opening does what it leaves undone.
    fn take_chores_back(&mut self, mut clock: impl FnMut() -> u64) {
        self.log.abandon_tidying();
        let until = clock().saturating_add(LogOptions::CLOSE_TIDYING_NS);
        while self.upkeep.chore_runs || (self.upkeep.tidying_runs && clock() < until) {
            match self.background.done() {
                Some(done) => self.take_done(done, clock()),
                None => self.log.wait(self.control.inbox().doorbell(), Duration::from_millis(1)),
            }
        }
    }
}

impl<B> std::fmt::Debug for Shard<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("control", &self.control).field("lanes", &self.slots.len()).finish()
    }
}

#[cfg(test)]
mod tests;
