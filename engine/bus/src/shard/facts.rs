//! The facts that a shard states about itself: how it runs, what it found when it started, how far it has come, its
//! load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tapeline_storage::format::Sequence;
use tapeline_storage::log::{Cut, LogView, Poison, Trouble, Watermarks};

/// The report of a shard that has started: how it runs, and what it found.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShardReport {
    pub(crate) device: &'static str,
    pub(crate) core: Option<usize>,
    /// The cores that the shard may use, where it is not pinned. Empty: those that its thread was made with.
    pub(crate) among: Vec<usize>,
    pub(crate) notes: Vec<String>,
    pub(crate) cuts: Vec<Cut>,
}

/// Numbers of one shard, at one moment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// for shard in bus.shard_stats() {
///     println!("shard {} on core {:?}: {:?}", shard.shard_id, shard.host.core, shard.host.notes);
///     assert!(shard.health.poison.is_none());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShardStats {
    /// The shard.
    pub shard_id: u16,
    /// True if new events come to it: scaling may have others take them.
    pub is_active: bool,
    /// Events in the log, since it was created.
    pub events_appended: u64,
    /// Events acknowledged at the log's level, since it was created.
    pub events_durable: u64,
    /// Torn tails that were cut off when the log was opened: bytes that were never acknowledged.
    pub cuts: Vec<Cut>,
    /// The errors that its writing has met.
    pub health: ShardHealth,
    /// The core, driver and runtime that it has.
    pub host: ShardHost,
}

/// The errors that the writing of one shard has met, at one moment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let health = bus.shard_stats().remove(0).health;
/// assert!(!health.is_full && health.poison.is_none() && health.troubles.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShardHealth {
    /// True if the shard waits for space on its disk.
    pub is_full: bool,
    /// The error that ended the shard's writing, if one did.
    pub poison: Option<Poison>,
    /// Errors that did not end it: the steps that the shard tries again, and the parts that the log does without.
    pub troubles: Vec<Trouble>,
}

/// The core, driver and runtime that a shard has.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let host = bus.shard_stats().remove(0).host;
/// // This bus has no directory, and its shard has not run a task.
/// assert_eq!((host.device, host.task_runtime), ("memory", None));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShardHost {
    /// The driver that writes the shard's blocks: `uring`, `blocking` or `memory`.
    pub device: &'static str,
    /// The core that the shard is pinned to, if it is.
    pub core: Option<usize>,
    /// The runtime of its tasks: `glommio`, or `plain` where glommio cannot start, for a reason that `notes` gives.
    /// `None` before the first task.
    pub task_runtime: Option<&'static str>,
    /// The ways in which the shard runs otherwise than it was asked to, with reasons.
    pub notes: Vec<String>,
}

/// The load of one shard, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reading {
    /// Nanoseconds.
    pub(crate) at: u64,
    /// Events taken so far.
    pub(crate) events: u64,
    /// Events in lanes.
    pub(crate) pending: u64,
    /// The fill of the fullest lane.
    pub(crate) fill_ratio: f64,
    /// Blocks acknowledged so far.
    pub(crate) commits: u64,
    /// Nanoseconds that they took, all together.
    pub(crate) commit_ns: u64,
}

/// The facts of one shard.
#[derive(Debug)]
pub(crate) struct ShardFacts {
    view: Arc<LogView>,
    /// The first sequence since the bus was opened.
    opened_at: Sequence,
    report: ShardReport,
    /// Says that the log was ahead of the clock, if it was.
    ahead: OnceLock<String>,
    /// The number of notes that the shard itself wrote.
    notes: AtomicU64,
    /// Everything that was published before this time is taken.
    taken_until: AtomicU64,
}

impl ShardFacts {
    pub(super) fn new(view: Arc<LogView>, report: ShardReport) -> Self {
        let opened_at = view.appended();
        Self {
            view,
            opened_at,
            report,
            ahead: OnceLock::new(),
            notes: AtomicU64::new(0),
            taken_until: AtomicU64::new(u64::MAX),
        }
    }

    pub(super) fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    /// The first sequence since the bus was opened.
    pub(crate) fn opened_at(&self) -> Sequence {
        self.opened_at
    }

    /// The cores that the shard may use. Empty: those that its thread was made with.
    pub(crate) fn cores(&self) -> Vec<usize> {
        self.report.core.map_or_else(|| self.report.among.clone(), |core| vec![core])
    }

    /// Has the statistics say that the log was ahead of the clock.
    pub(crate) fn note_ahead(&self, note: String) {
        let _ = self.ahead.set(note);
    }

    /// Notes that the shard has taken everything that was published before this time.
    pub(super) fn set_taken_until(&self, time: u64) {
        self.taken_until.store(time, Ordering::Relaxed);
    }

    /// Since when something may be pending: in the log, or else in the lanes, which have so many events.
    pub(super) fn pending_since(&self, events_in_lanes: u64) -> Option<u64> {
        let in_lanes = (events_in_lanes > 0).then(|| self.taken_until.load(Ordering::Relaxed));
        [self.view.pending_since(), in_lanes].into_iter().flatten().min()
    }

    /// Counts a note that the shard has written.
    pub(super) fn count_note(&self) {
        self.notes.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of notes that the shard itself wrote.
    pub(crate) fn notes(&self) -> u64 {
        self.notes.load(Ordering::Relaxed)
    }

    /// The numbers of records appended and durable since the bus was opened.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let Watermarks { durable, appended, .. } = self.view.watermarks();
        (appended.since(self.opened_at), durable.since(self.opened_at))
    }

    /// The statistics of a shard that takes no events and has no tasks.
    pub(super) fn stats(&self) -> ShardStats {
        let ShardReport { device, core, among: _, mut notes, cuts } = self.report.clone();
        notes.extend(self.ahead.get().cloned());
        let Watermarks { durable, appended, .. } = self.view.watermarks();
        ShardStats {
            shard_id: self.view.shard(),
            is_active: false,
            events_appended: appended.get(),
            events_durable: durable.get(),
            cuts,
            health: ShardHealth {
                is_full: self.view.is_full(),
                poison: self.view.poison().cloned(),
                troubles: self.view.troubles(),
            },
            host: ShardHost { device, core, task_runtime: None, notes },
        }
    }
}
