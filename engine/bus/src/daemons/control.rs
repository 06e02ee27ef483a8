//! The words of a daemon's owner, and its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::DaemonStats;
use crate::bus_core::DaemonStatus;
use crate::core::park;

/// Words of a daemon's owner.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::daemon::{Daemon, DaemonControl, DaemonOptions, DaemonResult, Output};
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
/// shout.control(DaemonControl::Message("reload".into()));
/// shout.control(DaemonControl::Drain { grace: Duration::from_secs(5) });
/// assert!(shout.ended().await.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DaemonControl {
    /// It ends once it has processed what there is, or after so long.
    Drain {
        /// So long at most.
        grace: Duration,
    },
    /// It ends after the event in hand.
    Stop,
    /// Whatever the two have agreed on.
    Message(String),
}

/// The reason why a daemon ended.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult, EndReason, Output};
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
/// match shout.drain(Duration::from_secs(5)).ended().await.reason {
///     EndReason::Drained => {}
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// It was drained, and has processed all that there was.
    Drained,
    /// It was drained, and the time was over before all was processed. The rest is processed when it starts again.
    GraceOver,
    /// It was stopped.
    Stopped,
    /// The bus has ended, or the log that it followed.
    BusEnded,
    /// It could not read or write any more.
    Failed(String),
}

/// The end of a daemon. Its cursor and its outputs are ingested, and durable unless it failed.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::daemon::{Daemon, DaemonEnd, DaemonOptions, DaemonResult, EndReason, Output};
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
/// let end: DaemonEnd = bus.start_daemon(Shout, DaemonOptions::new())?.drain(Duration::from_secs(5)).ended().await;
/// assert_eq!((end.reason, end.stats.counts.failures), (EndReason::Drained, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DaemonEnd {
    /// The reason.
    pub reason: EndReason,
    /// Its numbers.
    pub stats: DaemonStats,
}

impl DaemonEnd {
    /// Returns whether it ended as its owner asked it to.
    pub fn is_clean(&self) -> bool {
        matches!(self.reason, EndReason::Drained | EndReason::Stopped | EndReason::BusEnded)
    }
}

/// The hold on a daemon that runs. Dropping it leaves the daemon to itself.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::daemon::{Daemon, DaemonHandle, DaemonOptions, DaemonResult, Output};
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
/// let shout: DaemonHandle = bus.start_daemon(Shout, DaemonOptions::new())?;
/// assert_eq!(shout.stats().name, "shout");
/// let end = shout.drain(Duration::from_secs(5)).ended().await;
/// assert!(end.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DaemonHandle {
    pub(super) line: Arc<Line>,
    pub(super) status: Arc<DaemonStatus>,
    pub(super) end: oneshot::Receiver<DaemonEnd>,
}

impl DaemonHandle {
    /// Says something to it. It hears it after the event in hand.
    pub fn control(&self, control: DaemonControl) {
        self.line.say(control);
    }

    /// Has it end once it has processed what there is, or after so long.
    #[must_use = "the daemon has ended when `join` or `ended` returns"]
    pub fn drain(self, grace: Duration) -> Self {
        self.control(DaemonControl::Drain { grace });
        self
    }

    /// Has it end after the event in hand.
    #[must_use = "the daemon has ended when `join` or `ended` returns"]
    pub fn stop(self) -> Self {
        self.control(DaemonControl::Stop);
        self
    }

    /// Its numbers.
    pub fn stats(&self) -> DaemonStats {
        self.status.stats()
    }

    /// Waits for its end.
    pub async fn ended(self) -> DaemonEnd {
        let stats = || self.status.stats();
        self.end.await.unwrap_or_else(|_| DaemonEnd { reason: EndReason::BusEnded, stats: stats() })
    }

    /// Waits for its end, blocking the thread.
    pub fn join(self) -> DaemonEnd {
        park::block_on(self.ended())
    }
}

/// The way from the owner to the daemon.
#[derive(Debug, Default)]
pub(super) struct Line(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    words: Vec<DaemonControl>,
    waker: Option<Waker>,
}

impl Line {
    fn say(&self, control: DaemonControl) {
        let waker = {
            let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            said.words.push(control);
            said.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes what was said; the context is woken by the next word.
    pub(super) fn listen(&self, context: &Context<'_>) -> Vec<DaemonControl> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.words.is_empty() && !said.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            said.waker = Some(context.waker().clone());
        }
        std::mem::take(&mut said.words)
    }
}

/// The end that a daemon was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Once there is nothing to process, by then at the latest. `None`: whenever that is.
    Drain(Option<Instant>),
    Now,
}
