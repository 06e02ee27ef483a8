//! The state that a shard and all other threads share: one type for each subject.
//!
//! | subject | type |
//! |---|---|
//! | what others hand to the shard or ask of it | [`Inbox`] |
//! | callers that wait for it | [`Waiters`] |
//! | what it states about itself | [`ShardFacts`] |
//! | the numbers of its lanes | [`Lanes`] |
//! | the route of the records that it takes | [`Handover`] |
//! | users' tasks beside it | [`ShardTasks`] |
//!
//! [`ShardControl`] has only the calls that need several of them.

use std::sync::Arc;
use std::time::Duration;

use tapeline_reader::blocking::check_may_block;
use tapeline_reader::timestamp::Clock;
use tapeline_reader::{AdapterError, AdapterResult, NotDurable};
use tapeline_storage::device::Doorbell;
use tapeline_storage::format::Sequence;
use tapeline_storage::log::{LogView, Watermarks};

use super::facts::{Reading, ShardFacts, ShardReport, ShardStats};
use super::handover::Handover;
use super::inbox::Inbox;
use super::lanes::Lanes;
use super::tasks::ShardTasks;
use super::waiters::{Barrier, NextMove, Reach, Waiters};
use crate::core::budget::MemoryShare;
use crate::lane::{LaneHandle, LaneReader};

/// The state that a shard and all other threads share.
#[derive(Debug)]
pub(crate) struct ShardControl {
    inbox: Inbox,
    waiters: Waiters,
    facts: ShardFacts,
    lanes: Lanes,
    handover: Handover,
    tasks: ShardTasks,
    /// Of the shard's blocks.
    _memory: MemoryShare,
}

impl ShardControl {
    pub(crate) fn new(view: Arc<LogView>, doorbell: Doorbell, report: ShardReport, memory: MemoryShare) -> Self {
        Self {
            inbox: Inbox::new(doorbell),
            waiters: Waiters::default(),
            facts: ShardFacts::new(view, report),
            lanes: Lanes::default(),
            handover: Handover::default(),
            tasks: ShardTasks::default(),
            _memory: memory,
        }
    }

    pub(crate) fn id(&self) -> u16 {
        self.view().shard()
    }

    pub(crate) fn view(&self) -> &Arc<LogView> {
        self.facts.view()
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(crate) fn facts(&self) -> &ShardFacts {
        &self.facts
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    pub(crate) fn handover(&self) -> &Handover {
        &self.handover
    }

    pub(crate) fn tasks(&self) -> &ShardTasks {
        &self.tasks
    }

    pub(super) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Hands the shard a new lane. Rings no bell: the shard takes the lane in at its next turn, as it does an event.
    ///
    /// # Errors
    /// The lane, if the shard takes no more.
    pub(crate) fn connect(&self, lane: LaneReader) -> Result<(), LaneReader> {
        self.inbox.connect(lane, &self.lanes)
    }

    /// The numbers of the shard at this moment. A few locks.
    pub(crate) fn stats(&self) -> ShardStats {
        let (task_runtime, note) = self.tasks.runtime().unzip();
        let mut stats = ShardStats { is_active: self.handover.is_active(), ..self.facts.stats() };
        stats.host.task_runtime = task_runtime;
        stats.host.notes.extend(note.flatten());
        stats
    }

    /// The age of the oldest event that is taken over and not durable. A lock, and a dozen loads a lane.
    pub(crate) fn oldest_not_durable(&self) -> Option<Duration> {
        let (pending, _) = self.lanes.pressure();
        let since = self.facts.pending_since(pending)?;
        Some(Duration::from_nanos(Clock::global().now().saturating_sub(since)))
    }

    /// The events that are taken over and not durable.
    pub(crate) fn not_durable(&self) -> NotDurable {
        let Watermarks { durable, appended, .. } = self.view().watermarks();
        let (events_in_lanes, _) = self.lanes.pressure();
        NotDurable::new(self.id(), durable..appended, events_in_lanes)
    }

    /// Reads the load of the shard. A lock, and a dozen loads a lane.
    pub(crate) fn reading(&self, at: u64) -> Reading {
        let (events, _) = self.facts.progress();
        let (commits, commit_ns) = self.view().commits();
        let (pending, fill_ratio) = self.lanes.pressure();
        Reading { at, events, pending, fill_ratio, commits, commit_ns }
    }

    /// The barrier after everything published to this shard before the call.
    pub(crate) fn barrier(&self) -> Barrier {
        // A shard that has ended in order has taken what it has released; what came later was refused. Of one that
        // died, or whose log did, what it had not taken is lost.
        let stopped = self.is_stopped() && self.view().poison().is_none();
        let end = |lane: &LaneHandle| if stopped { lane.released() } else { lane.published() };
        Barrier::after(self.lanes.each(|lane| (lane.clone(), end(lane))))
    }

    /// The barrier after everything published, and the time below which nothing else was begun.
    pub(crate) fn pending(&self) -> (u64, Barrier) {
        // Each mark before the barrier: what no mark speaks of is before the barrier.
        let since = self.lanes.unpublished_since();
        (since.unwrap_or(u64::MAX), self.barrier())
    }

    /// Waits until `barrier` is reached. The shard commits at once if durability is waited for.
    ///
    /// # Errors
    /// Poison, a full disk, a shortage of something else, or the end of the shard, where these keep the barrier from
    /// being reached. [`AdapterError::OnShard`], where a shard's thread would have to wait.
    pub(crate) async fn reached(&self, barrier: &Barrier, reach: Reach) -> AdapterResult<()> {
        let (_counted, known) = (self.waiters.enter(reach), self.attempts());
        self.waiters.wait(reach.wait(), &self.inbox, || self.outcome(barrier, reach, known)).await
    }

    /// As [`ShardControl::reached`], blocking the thread. A thread that steps a shard would wait for itself: there it
    /// is an error.
    pub(crate) fn wait_reached(&self, barrier: &Barrier, reach: Reach) -> AdapterResult<()> {
        check_may_block(reach.wait())?;
        let (_counted, known) = (self.waiters.enter(reach), self.attempts());
        self.waiters.wait_blocking(&self.inbox, || self.outcome(barrier, reach, known))
    }

    /// Waits, blocking the thread, until a shard that ends has taken what is before `barrier`, or has ended without it.
    /// A full disk or a shortage does not end the wait: the shard may take it yet, and gives up after a while.
    ///
    /// # Errors
    /// Poison or the end of the shard; [`AdapterError::OnShard`].
    pub(crate) fn wait_taken(&self, barrier: &Barrier) -> AdapterResult<()> {
        check_may_block(Reach::Appended.wait())?;
        self.waiters.wait_blocking(&self.inbox, || {
            let end = self.end();
            if barrier.is_reached(Reach::Appended) { Some(Ok(())) } else { end.map(Err) }
        })
    }

    /// The number of attempts that a shortage has made vain, if there is one.
    fn attempts(&self) -> Option<u64> {
        self.view().shortage().map(|trouble| trouble.times)
    }

    /// The outcome of waiting for `barrier`, if there is one yet. A shortage counts once an attempt after the `known`
    /// ones was in vain, so that one that is over is not reported.
    fn outcome(&self, barrier: &Barrier, reach: Reach, known: Option<u64>) -> Option<AdapterResult<()>> {
        // Asked first: what a shard did before it ended is seen by the look after this.
        let end = self.end();
        if barrier.is_reached(reach) {
            return Some(Ok(()));
        }
        let full = || self.view().is_full().then(|| AdapterError::StorageFull { shard_id: self.id() });
        let held_up = || {
            let trouble = self.view().shortage().filter(|trouble| Some(trouble.times) != known)?;
            Some(AdapterError::HeldUp { shard_id: self.id(), trouble: Box::new(trouble) })
        };
        end.or_else(full).or_else(held_up).map(Err)
    }

    /// Waits until readers learn of the trim below `to`.
    ///
    /// # Errors
    /// The poison or the end of the shard, where that keeps it from being trimmed.
    pub(crate) async fn trimmed(&self, to: Sequence) -> AdapterResult<()> {
        let look = || {
            let end = self.end();
            if self.view().trimmed() >= to { Some(Ok(())) } else { end.map(Err) }
        };
        self.waiters.wait("trim", &self.inbox, look).await
    }

    /// The error of waiters for a shard that moves nothing any more.
    fn end(&self) -> Option<AdapterError> {
        let stopped = self.is_stopped().then_some(AdapterError::Shutdown);
        let poison = self.view().poison().map(|poison| AdapterError::Poisoned(Box::new(poison.clone())));
        poison.or(stopped)
    }

    /// Wakes the shard, and returns its next move, to be waited for.
    pub(crate) fn next_move(&self) -> NextMove {
        self.waiters.next_move(&self.inbox)
    }

    /// Returns whether the shard's log can write: it is not poisoned, its disk is not full, and nothing else holds it
    /// up.
    pub(crate) fn can_write(&self) -> bool {
        let view = self.view();
        view.poison().is_none() && !view.is_full() && view.shortage().is_none()
    }

    /// Asks the shard and its tasks to end.
    pub(crate) fn stop(&self) {
        self.tasks.close();
        self.inbox.ask_to_stop();
    }

    /// Waits for the end of the shard's thread.
    ///
    /// # Errors
    /// [`AdapterError::OnShard`], where a shard's thread would have to wait.
    pub(crate) async fn stopped(&self) -> AdapterResult<()> {
        self.waiters.wait("shutdown", &self.inbox, || self.is_stopped().then_some(Ok(()))).await
    }

    /// The shard's thread is at its end; nothing moves any more.
    pub(crate) fn set_stopped(&self) {
        self.waiters.set_stopped();
        self.inbox.close();
        // Followers that the shard has not taken in learn of its end by their drop.
        drop(self.inbox.take_arrivals());
        self.tasks.close();
        self.waiters.notify();
    }

    /// Returns whether the shard was asked to end, or has.
    pub(crate) fn is_closing(&self) -> bool {
        self.inbox.is_stopping() || self.is_stopped()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.waiters.is_stopped()
    }
}
