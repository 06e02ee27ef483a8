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
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tapeline::adapter::{NoopAdapter, RelayOptions};
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let event = bus.ingest_raw(RawEvent::from_str("hello"))?;
/// let relay = bus.start_relay(Box::new(NoopAdapter::new()), RelayOptions::new("nowhere"))?;
/// bus.readable(event).await?;
/// relay.drain(Duration::from_secs(10));
/// relay.ended().await;
/// let stats = relay.stats();
/// assert!(!stats.is_running && stats.health.is_healthy());
/// assert_eq!((stats.delivered.events, stats.lag.events), (1, 0));
/// # Ok(())
/// # }
/// ```
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
    /// The events that its backend confirmed.
    pub delivered: RelayDeliveries,
    /// The events that its backend refuses.
    pub dead_letters: RelayDeadLetters,
    /// The events that its log did not have any more.
    pub missed: RelayMissed,
    /// The events that its backend has not confirmed.
    pub lag: RelayLag,
}

/// The events that the backend of a relay confirmed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tapeline::adapter::{NoopAdapter, RelayOptions};
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// let relay = bus.start_relay(Box::new(NoopAdapter::new()), RelayOptions::new("nowhere"))?;
/// relay.drain(Duration::from_secs(10));
/// relay.ended().await;
/// let delivered = relay.stats().delivered;
/// assert_eq!((delivered.events, delivered.bytes, delivered.retries), (1, 5, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct RelayDeliveries {
    /// Events. One that was delivered twice counts twice.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Batches.
    pub batches: u64,
    /// Times that the cursor was stored.
    pub checkpoints: u64,
    /// Calls that failed and were repeated.
    pub retries: u64,
    /// Events of the last second or so.
    pub events_per_second: f64,
}

/// The events that the backend of a relay refuses.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tapeline::adapter::{NoopAdapter, RelayOptions};
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// let relay = bus.start_relay(Box::new(NoopAdapter::new()), RelayOptions::new("nowhere"))?;
/// relay.drain(Duration::from_secs(10));
/// relay.ended().await;
/// // The backend refused no event.
/// assert_eq!(relay.stats().dead_letters.written, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RelayDeadLetters {
    /// Events written to the dead letters.
    pub written: u64,
    /// Events that are in the dead letters now, those of earlier runs included.
    pub waiting: u64,
    /// Events of the dead letters that the backend has confirmed since.
    pub redriven: u64,
}

/// The events that the log of a relay did not have any more, or never had.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tapeline::adapter::{NoopAdapter, RelayOptions};
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// let relay = bus.start_relay(Box::new(NoopAdapter::new()), RelayOptions::new("nowhere"))?;
/// relay.drain(Duration::from_secs(10));
/// relay.ended().await;
/// // The log had every event.
/// assert_eq!(relay.stats().missed.gaps, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RelayMissed {
    /// Gaps.
    pub gaps: u64,
    /// Events in these gaps.
    pub events: u64,
}

/// The events that the backend of a relay has not confirmed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tapeline::adapter::{NoopAdapter, RelayOptions};
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// let relay = bus.start_relay(Box::new(NoopAdapter::new()), RelayOptions::new("nowhere"))?;
/// relay.drain(Duration::from_secs(10));
/// relay.ended().await;
/// let lag = relay.stats().lag;
/// assert!(lag.events == 0 && lag.time.is_zero());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RelayLag {
    /// Events of the log, those included that the relay leaves out.
    pub events: u64,
    /// Age of the oldest event that was taken up and is not confirmed; zero without any.
    pub time: Duration,
}

/// The state of one relay, which it keeps up to date.
#[derive(Debug)]
pub(crate) struct RelayStatus {
    name: String,
    adapter: &'static str,
    is_running: AtomicBool,
    pub(crate) is_paused: AtomicBool,
    health: Mutex<RelayHealth>,
    pub(crate) delivered: DeliveryCounters,
    pub(crate) dead_letters: DeadLetterCounters,
    missed: MissedCounters,
    pub(crate) lag: LagCounters,
}

/// The counters of [`RelayDeliveries`].
#[derive(Debug, Default)]
pub(crate) struct DeliveryCounters {
    pub(crate) events: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) retries: AtomicU64,
    rate: Mutex<Rate>,
}

/// The counters of [`RelayDeadLetters`].
#[derive(Debug, Default)]
pub(crate) struct DeadLetterCounters {
    pub(crate) written: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) redriven: AtomicU64,
}

/// The counters of [`RelayMissed`].
#[derive(Debug, Default)]
struct MissedCounters {
    gaps: AtomicU64,
    events: AtomicU64,
}

/// The counters of [`RelayLag`].
#[derive(Debug, Default)]
pub(crate) struct LagCounters {
    pub(crate) events: AtomicU64,
    /// Time of the oldest event that is not confirmed, in nanoseconds; 0 without any.
    pub(crate) oldest: AtomicU64,
}

fn of(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl DeliveryCounters {
    fn stats(&self) -> RelayDeliveries {
        let events = of(&self.events);
        RelayDeliveries {
            events,
            bytes: of(&self.bytes),
            batches: of(&self.batches),
            checkpoints: of(&self.checkpoints),
            retries: of(&self.retries),
            events_per_second: lock(&self.rate).look(events),
        }
    }
}

impl DeadLetterCounters {
    fn stats(&self) -> RelayDeadLetters {
        RelayDeadLetters { written: of(&self.written), waiting: of(&self.waiting), redriven: of(&self.redriven) }
    }
}

impl LagCounters {
    fn stats(&self) -> RelayLag {
        let oldest = of(&self.oldest);
        let lag = if oldest == 0 { 0 } else { Clock::global().now().saturating_sub(oldest) };
        RelayLag { events: of(&self.events), time: Duration::from_nanos(lag) }
    }
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
        Self {
            name: name.to_owned(),
            adapter,
            is_running: AtomicBool::new(true),
            is_paused: AtomicBool::new(false),
            health: Mutex::default(),
            delivered: DeliveryCounters::default(),
            dead_letters: DeadLetterCounters::default(),
            missed: MissedCounters::default(),
            lag: LagCounters::default(),
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
        self.missed.gaps.fetch_add(1, Ordering::Relaxed);
        self.missed.events.fetch_add(missed, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> RelayStats {
        RelayStats {
            name: self.name.clone(),
            adapter: self.adapter,
            is_running: self.is_running.load(Ordering::Acquire),
            is_paused: self.is_paused.load(Ordering::Relaxed),
            health: lock(&self.health).clone(),
            delivered: self.delivered.stats(),
            dead_letters: self.dead_letters.stats(),
            missed: RelayMissed { gaps: of(&self.missed.gaps), events: of(&self.missed.events) },
            lag: self.lag.stats(),
        }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self { since: Instant::now(), before: 0, per_second: 0.0 }
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
