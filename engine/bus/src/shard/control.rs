//! What other threads know of a shard, and how they wait for it.
//!
//! Events go to a shard through lanes and from it through feeds; through here go only new lanes, new followers,
//! numbers, and wishes to be woken.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use event_listener::{Event, EventListener};
use tapeline_reader::blocking::check_may_block;
use tapeline_reader::{AdapterError, AdapterResult};
use tapeline_storage::device::Doorbell;
use tapeline_storage::format::Sequence;
use tapeline_storage::log::{Cut, LogView, Poison, Trouble, Watermarks};

use super::lanes::{LaneStats, LaneTotals, Lanes};
use super::tasks::ShardTasks;
use crate::core::budget::MemoryShare;
use crate::core::foreign;
use crate::feed::Follower;
use crate::lane::{LaneHandle, LaneReader};
use crate::shard::handover::Handover;

/// How a shard runs, and what it found when it started.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShardReport {
    pub(crate) device: &'static str,
    pub(crate) core: Option<usize>,
    /// The cores it was left to, where it is not pinned. Empty: as its thread was made.
    pub(crate) among: Vec<usize>,
    pub(crate) notes: Vec<String>,
    pub(crate) cuts: Vec<Cut>,
}

/// Numbers of one shard, at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShardStats {
    /// The shard.
    pub shard_id: u16,
    /// Whether new events come to it: scaling may have others take them.
    pub is_active: bool,
    /// Events in the log, since it was created.
    pub events_appended: u64,
    /// Events acknowledged at the log's level, since it was created.
    pub events_durable: u64,
    /// Whether the shard waits for space on its disk.
    pub is_full: bool,
    /// The error that ended the shard's writing, if one did.
    pub poison: Option<Poison>,
    /// Errors that did not end it: what is being tried again, and what the log does without.
    pub troubles: Vec<Trouble>,
    /// What writes its blocks: `uring`, `blocking` or `memory`.
    pub device: &'static str,
    /// The core it is pinned to, if it is.
    pub core: Option<usize>,
    /// What runs its tasks: `glommio`, or `plain` where that cannot be had, as `notes` say then. `None` before the
    /// first.
    pub task_runtime: Option<&'static str>,
    /// Why the shard runs otherwise than it was asked to.
    pub notes: Vec<String>,
    /// Torn tails that were cut off when the log was opened: bytes that were never acknowledged.
    pub cuts: Vec<Cut>,
}

/// How busy one shard is, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reading {
    /// Nanoseconds.
    pub(crate) at: u64,
    /// Events taken so far.
    pub(crate) events: u64,
    /// Events in lanes.
    pub(crate) pending: u64,
    /// How full the fullest lane is.
    pub(crate) fill_ratio: f64,
    /// Blocks acknowledged so far.
    pub(crate) commits: u64,
    /// Nanoseconds that they took, all together.
    pub(crate) commit_ns: u64,
}

/// What a shard and all others share.
#[derive(Debug)]
pub(crate) struct ShardControl {
    id: u16,
    view: Arc<LogView>,
    /// First sequence since the bus was opened.
    opened_at: Sequence,
    report: ShardReport,
    /// That the log was ahead of the clock.
    ahead: OnceLock<String>,
    doorbell: Doorbell,
    arrivals: Mutex<Arrivals>,
    has_arrivals: AtomicBool,
    lanes: Mutex<Lanes>,
    /// How many wait for durability.
    awaiting: AtomicUsize,
    handover: Handover,
    /// What is below may go.
    trim_to: AtomicU64,
    active: AtomicBool,
    moved: Event,
    stop: AtomicBool,
    stopped: AtomicBool,
    /// Notes that the shard itself wrote.
    notes: AtomicU64,
    tasks: ShardTasks,
    /// Of its blocks.
    _memory: MemoryShare,
}

/// What has come to a shard since it looked.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pub(super) lanes: Vec<LaneReader>,
    pub(super) followers: Vec<Follower>,
    is_closed: bool,
}

/// How far events are to have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Readable.
    Appended,
    /// Acknowledged at the log's level.
    Durable,
}

/// Everything that had been published to a shard at one moment.
#[derive(Debug)]
pub(crate) struct Barrier(Vec<(LaneHandle, u64)>);

impl Barrier {
    /// The barrier behind one entry of one lane.
    pub(crate) fn of(lane: LaneHandle, entry: u64) -> Self {
        Self(vec![(lane, entry)])
    }

    pub(crate) fn is_reached(&self, reach: Reach) -> bool {
        self.0.iter().all(|(lane, entry)| {
            let come = match reach {
                Reach::Appended => lane.released(),
                Reach::Durable => lane.durable(),
            };
            come >= *entry
        })
    }
}

impl ShardControl {
    pub(crate) fn new(
        id: u16,
        view: Arc<LogView>,
        doorbell: Doorbell,
        report: ShardReport,
        memory: MemoryShare,
    ) -> Self {
        Self {
            id,
            opened_at: view.appended(),
            view,
            report,
            ahead: OnceLock::new(),
            doorbell,
            arrivals: Mutex::default(),
            has_arrivals: AtomicBool::new(false),
            lanes: Mutex::default(),
            awaiting: AtomicUsize::new(0),
            handover: Handover::default(),
            trim_to: AtomicU64::new(0),
            active: AtomicBool::new(true),
            moved: Event::new(),
            stop: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            notes: AtomicU64::new(0),
            tasks: ShardTasks::default(),
            _memory: memory,
        }
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    pub(crate) fn stats(&self) -> ShardStats {
        let ShardReport { device, core, among: _, mut notes, cuts } = self.report.clone();
        notes.extend(self.ahead.get().cloned());
        let (task_runtime, note) = self.tasks.runtime().unzip();
        notes.extend(note.flatten());
        let Watermarks { durable, appended, .. } = self.view.watermarks();
        ShardStats {
            shard_id: self.id,
            is_active: self.is_active(),
            events_appended: appended.get(),
            events_durable: durable.get(),
            is_full: self.view.is_full(),
            poison: self.view.poison().cloned(),
            troubles: self.view.troubles(),
            device,
            core,
            task_runtime,
            notes,
            cuts,
        }
    }

    /// Has the statistics say that the log was ahead of the clock.
    pub(crate) fn note_ahead(&self, note: String) {
        let _ = self.ahead.set(note);
    }

    /// First sequence since the bus was opened.
    pub(crate) fn opened_at(&self) -> Sequence {
        self.opened_at
    }

    /// Hands the shard a new lane. Rings no bell: the shard takes it in at its next turn, as it does an event.
    ///
    /// # Errors
    /// The lane, if the shard takes no more.
    pub(crate) fn connect(&self, lane: LaneReader) -> Result<(), LaneReader> {
        let handle = lane.handle();
        {
            let mut arrivals = lock(&self.arrivals);
            if arrivals.is_closed {
                return Err(lane);
            }
            lock(&self.lanes).present.push(handle);
            arrivals.lanes.push(lane);
            // SYNC: pairs with the Acquire load in has_arrivals().
            self.has_arrivals.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Hands the shard a new follower, unless it has ended: a follower that is dropped is told so.
    pub(crate) fn follow(&self, follower: Follower) {
        {
            let mut arrivals = lock(&self.arrivals);
            if arrivals.is_closed {
                return;
            }
            arrivals.followers.push(follower);
            // SYNC: pairs with the Acquire load in has_arrivals().
            self.has_arrivals.store(true, Ordering::Release);
        }
        self.doorbell.ring();
    }

    /// The tasks of users beside the shard.
    pub(crate) fn tasks(&self) -> &ShardTasks {
        &self.tasks
    }

    /// The cores that the shard may use. Empty: as its thread was made.
    pub(crate) fn cores(&self) -> Vec<usize> {
        self.report.core.map_or_else(|| self.report.among.clone(), |core| vec![core])
    }

    pub(super) fn has_arrivals(&self) -> bool {
        self.has_arrivals.load(Ordering::Acquire)
    }

    pub(super) fn take_arrivals(&self) -> Arrivals {
        let mut arrivals = lock(&self.arrivals);
        self.has_arrivals.store(false, Ordering::Relaxed);
        let is_closed = arrivals.is_closed;
        std::mem::replace(&mut arrivals, Arrivals { is_closed, ..Arrivals::default() })
    }

    /// No lane and no follower can be handed in any more.
    pub(super) fn refuse_arrivals(&self) {
        lock(&self.arrivals).is_closed = true;
    }

    pub(super) fn retire(&self, lane: LaneHandle) {
        lock(&self.lanes).retire(&lane);
    }

    /// A lock, and a dozen loads for each lane.
    pub(crate) fn lane_totals(&self) -> LaneTotals {
        lock(&self.lanes).totals()
    }

    /// Numbers of each lane there is.
    pub(crate) fn lane_stats(&self) -> Vec<LaneStats> {
        lock(&self.lanes).stats(self.id)
    }

    /// Counts a note that the shard has written.
    pub(super) fn count_note(&self) {
        self.notes.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the shard itself wrote.
    pub(crate) fn notes(&self) -> u64 {
        self.notes.load(Ordering::Relaxed)
    }

    /// How busy the shard is. A lock, and a dozen loads a lane.
    pub(crate) fn reading(&self, at: u64) -> Reading {
        let (events, _) = self.progress();
        let (commits, commit_ns) = self.view.commits();
        let (pending, fill_ratio) = lock(&self.lanes).pressure();
        Reading { at, events, pending, fill_ratio, commits, commit_ns }
    }

    /// Records appended and durable since the bus was opened.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let Watermarks { durable, appended, .. } = self.view.watermarks();
        (appended.since(self.opened_at), durable.since(self.opened_at))
    }

    /// The barrier behind everything published to this shard before the call.
    pub(crate) fn barrier(&self) -> Barrier {
        // A shard that has ended in order has taken what it has released; what came later was refused. Of one that
        // died, or whose log did, what it had not taken is lost.
        let stopped = self.is_stopped() && self.view.poison().is_none();
        let end = |lane: &LaneHandle| if stopped { lane.released() } else { lane.published() };
        Barrier(lock(&self.lanes).present.iter().map(|lane| (lane.clone(), end(lane))).collect())
    }

    /// The barrier behind everything published, and the time below which nothing else was begun.
    pub(crate) fn pending(&self) -> (u64, Barrier) {
        // Each note before the barrier: what it does not speak of is behind the barrier.
        let since = lock(&self.lanes).present.iter().map(LaneHandle::unpublished_since).min();
        (since.unwrap_or(u64::MAX), self.barrier())
    }

    /// Waits until `barrier` is reached. The shard commits at once if durability is waited for.
    ///
    /// # Errors
    /// Poison, a full disk, or the end of the shard, where these keep the barrier from being reached.
    pub(crate) async fn reached(&self, barrier: &Barrier, reach: Reach) -> AdapterResult<()> {
        let _awaiting = Awaiting::new(self, reach);
        while let Some(listener) = self.look(barrier, reach)? {
            foreign::awaited(listener).await;
        }
        Ok(())
    }

    /// As [`ShardControl::reached`], blocking the thread.
    /// A thread that steps a shard would wait for itself: there it is an error.
    pub(crate) fn wait_reached(&self, barrier: &Barrier, reach: Reach) -> AdapterResult<()> {
        use event_listener::Listener;
        check_may_block("waiting for durability")?;
        let _awaiting = Awaiting::new(self, reach);
        while let Some(listener) = self.look(barrier, reach)? {
            listener.wait();
        }
        Ok(())
    }

    /// `None` if the barrier is reached, else something to wait for.
    fn look(&self, barrier: &Barrier, reach: Reach) -> AdapterResult<Option<EventListener>> {
        if barrier.is_reached(reach) {
            return Ok(None);
        }
        // Listening comes before the second look, so that no move is missed between.
        let listener = self.moved.listen();
        let stopped = self.is_stopped();
        if barrier.is_reached(reach) {
            return Ok(None);
        }
        if let Some(poison) = self.view.poison() {
            return Err(AdapterError::Poisoned(Box::new(poison.clone())));
        }
        if stopped {
            return Err(AdapterError::Shutdown);
        }
        if self.view.is_full() {
            return Err(AdapterError::StorageFull { shard: self.id });
        }
        self.doorbell.ring();
        Ok(Some(listener))
    }

    /// Ends the shard's nap. One system call while it naps, else about 10 ns.
    pub(crate) fn wake(&self) {
        self.doorbell.ring();
    }

    /// Ends the shard's nap, unless it is being woken already: usually just a load. Promises nothing of what the
    /// caller wrote before.
    pub(crate) fn nudge(&self) {
        if !self.doorbell.is_rung() {
            self.doorbell.ring();
        }
    }

    /// Something to wait for that ends when the shard moves; the shard is woken.
    pub(crate) fn next_move(&self) -> EventListener {
        let listener = self.moved.listen();
        self.doorbell.ring();
        listener
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.awaiting.load(Ordering::Relaxed) > 0
    }

    pub(super) fn notify(&self) {
        self.moved.notify(usize::MAX);
    }

    pub(super) fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    pub(super) fn answer(&self) {
        if self.doorbell.is_rung() {
            self.doorbell.answer();
        }
    }

    /// Whether new events come to the shard.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    pub(crate) fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    /// What is said of a change of the route.
    pub(crate) fn handover(&self) -> &Handover {
        &self.handover
    }

    /// The number of the route that the shard goes by, before it runs.
    pub(crate) fn set_route(&self, route: u64) {
        self.handover.begin(route);
        self.handover.pass(route);
    }

    /// Asks the shard to give up the sealed segments that end at `to` or before.
    pub(crate) fn ask_to_trim(&self, to: Sequence) {
        self.trim_to.fetch_max(to.get(), Ordering::Relaxed);
        self.doorbell.ring();
    }

    /// Below what the shard was asked to give up its segments.
    pub(super) fn trim_to(&self) -> Sequence {
        Sequence::new(self.trim_to.load(Ordering::Relaxed))
    }

    /// Waits until readers are told of what lies below `to`.
    ///
    /// # Errors
    /// The poison or the end of the shard, where that keeps it from being trimmed.
    pub(crate) async fn trimmed(&self, to: Sequence) -> AdapterResult<()> {
        while self.view.trimmed() < to {
            let listener = self.moved.listen();
            if self.view.trimmed() >= to {
                break;
            }
            if let Some(poison) = self.view.poison() {
                return Err(AdapterError::Poisoned(Box::new(poison.clone())));
            }
            if self.is_stopped() {
                return Err(AdapterError::Shutdown);
            }
            self.doorbell.ring();
            foreign::awaited(listener).await;
        }
        Ok(())
    }

    /// Asks the shard and its tasks to end.
    pub(crate) fn stop(&self) {
        self.tasks.close();
        self.stop.store(true, Ordering::Release);
        self.doorbell.ring();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The shard's thread is at its end; nothing moves any more.
    pub(crate) fn set_stopped(&self) {
        self.stopped.store(true, Ordering::Release);
        self.refuse_arrivals();
        // Those that the shard has not taken in are told that it has ended.
        drop(self.take_arrivals());
        self.tasks.close();
        self.notify();
    }

    /// Waits for the end of the shard's thread.
    pub(crate) async fn stopped(&self) {
        while !self.is_stopped() {
            let listener = self.moved.listen();
            if !self.is_stopped() {
                foreign::awaited(listener).await;
            }
        }
    }

    /// Whether the shard was asked to end, or has.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_stopping() || self.is_stopped()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// Counts a waiter for durability for as long as it lives.
struct Awaiting<'a>(Option<&'a ShardControl>);

impl<'a> Awaiting<'a> {
    fn new(control: &'a ShardControl, reach: Reach) -> Self {
        let counted = (reach == Reach::Durable).then_some(control);
        if let Some(control) = counted {
            control.awaiting.fetch_add(1, Ordering::Relaxed);
        }
        Self(counted)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        if let Some(control) = self.0 {
            control.awaiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Locks; a panic of another holder leaves plain lists, which are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
