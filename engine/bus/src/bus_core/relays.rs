//! The relays of a bus: what others know of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tapeline_reader::timestamp::Clock;
use tapeline_reader::{Gap, GapReason};

use crate::core::lock::lock;

/// The time over which a rate is measured, at least.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// The health of a relay.
///
/// ```
/// use tapeline::adapter::RelayHealth;
///
/// let health = RelayHealth::Retrying { reason: "no connection to the backend: refused".into() };
/// assert!(!health.is_healthy());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RelayHealth {
    /// The backend has not confirmed anything yet, and refused nothing.
    #[default]
    Starting,
    /// The last call succeeded.
    Healthy,
    /// The last call failed, and the relay tries again.
    Retrying {
        /// The error.
        reason: String,
    },
    /// An operator has to do something. The relay tries again after its longest pause.
    Unhealthy {
        /// The error.
        reason: String,
    },
}

impl RelayHealth {
    /// Returns whether nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        matches!(self, Self::Starting | Self::Healthy)
    }
}

/// The numbers of one relay, since it was started.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct RelayStats {
    /// Its name.
    pub name: String,
    /// The name of its adapter.
    pub adapter: &'static str,
    /// True until it has ended.
    pub is_running: bool,
    /// True while it is paused.
    pub is_paused: bool,
    /// Its health.
    pub health: RelayHealth,
    /// Events that the backend confirmed. One that was delivered twice counts twice.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Batches that the backend confirmed.
    pub batches: u64,
    /// Times that the cursor was stored.
    pub checkpoints: u64,
    /// Calls that failed and were repeated.
    pub retries: u64,
    /// Events written to the dead letters.
    pub dead_letters: u64,
    /// Events that are in the dead letters now.
    pub dead_letters_waiting: u64,
    /// Events of the dead letters that the backend has confirmed since.
    pub redriven: u64,
    /// Gaps: places where the log did not have events any more, or never had them.
    pub gaps: u64,
    /// Events in these gaps.
    pub missed: u64,
    /// Events of the log that the backend has not confirmed, those included that the relay leaves out.
    pub lag_events: u64,
    /// Age of the oldest event that was taken up and is not confirmed; zero without any.
    pub lag: Duration,
    /// Events that the backend confirmed in the last second or so.
    pub events_per_second: f64,
}

/// The state of one relay, which it keeps up to date.
#[derive(Debug)]
pub(crate) struct RelayStatus {
    name: String,
    adapter: &'static str,
    is_running: AtomicBool,
    pub(crate) is_paused: AtomicBool,
    health: Mutex<RelayHealth>,
    rate: Mutex<Rate>,
    pub(crate) events: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) dead_letters_waiting: AtomicU64,
    pub(crate) redriven: AtomicU64,
    gaps: AtomicU64,
    missed: AtomicU64,
    pub(crate) lag_events: AtomicU64,
    /// Time of the oldest event that is not confirmed, in nanoseconds; 0 without any.
    pub(crate) oldest: AtomicU64,
}

/// Events of the window before, and those of the present one.
#[derive(Debug)]
struct Rate {
    since: Instant,
    before: u64,
    per_second: f64,
}

impl RelayStatus {
    pub(crate) fn new(name: &str, adapter: &'static str) -> Self {
        let rate = Rate { since: Instant::now(), before: 0, per_second: 0.0 };
        Self {
            name: name.to_owned(),
            adapter,
            is_running: AtomicBool::new(true),
            is_paused: AtomicBool::new(false),
            health: Mutex::default(),
            rate: Mutex::new(rate),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            dead_letters_waiting: AtomicU64::new(0),
            redriven: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            lag_events: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn set_health(&self, health: RelayHealth) {
        *lock(&self.health) = health;
    }

    pub(crate) fn end(&self) {
        self.is_running.store(false, Ordering::Release);
    }

    pub(crate) fn note_gap(&self, gap: &Gap) {
        let missed = match &gap.reason {
            GapReason::Overflow { events, .. } => *events,
            _ => gap.to.since(gap.from),
        };
        self.gaps.fetch_add(1, Ordering::Relaxed);
        self.missed.fetch_add(missed, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> RelayStats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (events, oldest) = (of(&self.events), of(&self.oldest));
        let lag = if oldest == 0 { 0 } else { Clock::global().now().saturating_sub(oldest) };
        RelayStats {
            name: self.name.clone(),
            adapter: self.adapter,
            is_running: self.is_running.load(Ordering::Acquire),
            is_paused: self.is_paused.load(Ordering::Relaxed),
            health: lock(&self.health).clone(),
            events,
            bytes: of(&self.bytes),
            batches: of(&self.batches),
            checkpoints: of(&self.checkpoints),
            retries: of(&self.retries),
            dead_letters: of(&self.dead_letters),
            dead_letters_waiting: of(&self.dead_letters_waiting),
            redriven: of(&self.redriven),
            gaps: of(&self.gaps),
            missed: of(&self.missed),
            lag_events: of(&self.lag_events),
            lag: Duration::from_nanos(lag),
            events_per_second: lock(&self.rate).look(events),
        }
    }
}

impl Rate {
    /// Looks at the number of events so far. Returns the rate of the last window that is over.
    fn look(&mut self, events: u64) -> f64 {
        let elapsed = self.since.elapsed();
        if elapsed >= RATE_WINDOW {
            self.per_second = events.saturating_sub(self.before) as f64 / elapsed.as_secs_f64();
            (self.since, self.before) = (Instant::now(), events);
        }
        self.per_second
    }
}

/// All that were started on one bus: of those of a name, the last.
#[derive(Debug, Default)]
pub(crate) struct Relays(Mutex<Vec<Arc<RelayStatus>>>);

impl Relays {
    /// Enters a relay. `None`: one of this name runs.
    pub(crate) fn enter(&self, name: &str, adapter: &'static str) -> Option<Arc<RelayStatus>> {
        let mut relays = lock(&self.0);
        if relays.iter().any(|other| other.name == name && other.is_running.load(Ordering::Acquire)) {
            return None;
        }
        relays.retain(|other| other.name != name);
        let status = Arc::new(RelayStatus::new(name, adapter));
        relays.push(Arc::clone(&status));
        Some(status)
    }

    /// The numbers of each, in the order in which they were started.
    pub(crate) fn stats(&self) -> Vec<RelayStats> {
        lock(&self.0).iter().map(|status| status.stats()).collect()
    }
}
