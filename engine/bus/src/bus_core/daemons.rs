//! The daemons of a bus: what others know of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A daemon's word about itself.
///
/// ```
/// use tapeline::daemon::DaemonHealth;
///
/// let health = DaemonHealth::Degraded { reason: "the scorer answers slowly".into() };
/// assert!(!health.is_healthy());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DaemonHealth {
    /// It works.
    #[default]
    Healthy,
    /// It works less well than it should.
    Degraded {
        /// The reason.
        reason: String,
    },
    /// It does not work.
    Unhealthy {
        /// The reason.
        reason: String,
    },
}

impl DaemonHealth {
    /// Returns whether nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy)
    }
}

/// The numbers of one daemon, since it was started.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult, Output};
/// use tapeline::{EventBus, EventBusConfig, StoredEvent};
///
/// # struct Shout;
/// # impl Daemon for Shout {
/// #     fn name(&self) -> &str {
/// #         "shout"
/// #     }
/// #     fn process(&mut self, event: &StoredEvent) -> DaemonResult {
/// #         Ok(vec![Output::new(event.kind, event.raw.to_ascii_uppercase())])
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let shout = bus.start_daemon(Shout, DaemonOptions::new())?;
/// for daemon in bus.daemons() {
///     println!("{}: {} events behind, {} failures", daemon.name, daemon.lag, daemon.counts.failures);
/// }
/// # shout.drain(Duration::from_secs(5)).ended().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct DaemonStats {
    /// Its name.
    pub name: String,
    /// True until it has ended.
    pub is_running: bool,
    /// Its health, as it said last; unhealthy, once an error has ended it.
    pub health: DaemonHealth,
    /// The part of its time that it works, from 0 to 1, or what it says itself: 1, where it says what is none of these.
    pub saturation: f32,
    /// Events of the log that it has not looked at.
    pub lag: u64,
    /// The work that it has done.
    pub counts: DaemonCounts,
}

/// The work of one daemon, since it was started.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult, Output};
/// use tapeline::{EventBus, EventBusConfig, RawEvent, StoredEvent};
///
/// # struct Shout;
/// # impl Daemon for Shout {
/// #     fn name(&self) -> &str {
/// #         "shout"
/// #     }
/// #     fn process(&mut self, event: &StoredEvent) -> DaemonResult {
/// #         Ok(vec![Output::new(event.kind, event.raw.to_ascii_uppercase())])
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// bus.flush().await?;
/// let shout = bus.start_daemon(Shout, DaemonOptions::new())?;
/// let counts = shout.drain(Duration::from_secs(5)).ended().await.stats.counts;
/// assert_eq!((counts.events, counts.outputs, counts.failures), (1, 1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DaemonCounts {
    /// Events that it processed, those set aside included.
    pub events: u64,
    /// Events that it emitted and that are ingested; the notes that name events set aside are none of them.
    pub outputs: u64,
    /// Groups of outputs with the cursor.
    pub checkpoints: u64,
    /// Calls of `process` that returned an error.
    pub failures: u64,
    /// Calls of `process` that panicked.
    pub panics: u64,
    /// Events that failed too often.
    pub set_aside: u64,
    /// Gaps that were reported to it.
    pub gaps: u64,
}

/// The load of a daemon that takes further work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) is_degraded: bool,
    pub(crate) saturation: f32,
}

/// The saturation from which a daemon takes no further work.
const SATURATED: f32 = 0.95;

/// The state of one daemon, which it keeps up to date.
#[derive(Debug)]
pub(crate) struct DaemonStatus {
    name: String,
    is_running: AtomicBool,
    said: Mutex<(DaemonHealth, f32)>,
    pub(crate) lag: AtomicU64,
    pub(crate) counters: DaemonCounters,
}

/// The counters of [`DaemonCounts`].
#[derive(Debug, Default)]
pub(crate) struct DaemonCounters {
    pub(crate) events: AtomicU64,
    pub(crate) outputs: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) set_aside: AtomicU64,
    pub(crate) gaps: AtomicU64,
}

impl DaemonCounters {
    fn counts(&self) -> DaemonCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DaemonCounts {
            events: of(&self.events),
            outputs: of(&self.outputs),
            checkpoints: of(&self.checkpoints),
            failures: of(&self.failures),
            panics: of(&self.panics),
            set_aside: of(&self.set_aside),
            gaps: of(&self.gaps),
        }
    }
}

impl DaemonStatus {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_running: AtomicBool::new(true),
            said: Mutex::default(),
            lag: AtomicU64::new(0),
            counters: DaemonCounters::default(),
        }
    }

    /// Notes what the daemon says of itself.
    pub(crate) fn say(&self, health: DaemonHealth, saturation: f32) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = (health, saturation);
    }

    /// It has ended, with an error perhaps.
    pub(crate) fn end(&self, error: Option<&str>) {
        if let Some(reason) = error {
            self.say(DaemonHealth::Unhealthy { reason: reason.to_owned() }, 0.0);
        }
        self.is_running.store(false, Ordering::Release);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its load, as it said last. `None`: it takes no further work.
    pub(crate) fn load(&self) -> Option<Load> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (health, saturation) = &*said;
        let is_free = *saturation < SATURATED && !matches!(health, DaemonHealth::Unhealthy { .. });
        is_free.then(|| Load { is_degraded: !health.is_healthy(), saturation: *saturation })
    }

    pub(crate) fn stats(&self) -> DaemonStats {
        let (health, saturation) = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        DaemonStats {
            name: self.name.clone(),
            is_running: self.is_running.load(Ordering::Acquire),
            health,
            saturation,
            lag: self.lag.load(Ordering::Relaxed),
            counts: self.counters.counts(),
        }
    }
}

/// All that were started on one bus: of those of a name, the last.
#[derive(Debug, Default)]
pub(crate) struct Daemons(Mutex<Vec<Arc<DaemonStatus>>>);

impl Daemons {
    /// Enters a daemon. `None`: one of this name runs.
    pub(crate) fn enter(&self, name: &str) -> Option<Arc<DaemonStatus>> {
        let mut daemons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if daemons.iter().any(|other| other.name == name && other.is_running.load(Ordering::Acquire)) {
            return None;
        }
        daemons.retain(|other| other.name != name);
        let status = Arc::new(DaemonStatus::new(name));
        daemons.push(Arc::clone(&status));
        Some(status)
    }

    /// The numbers of each, in the order in which they were started.
    pub(crate) fn stats(&self) -> Vec<DaemonStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|status| status.stats()).collect()
    }
}
