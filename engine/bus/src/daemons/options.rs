//! The settings of a daemon that its owner chooses, and the reasons why it does not start.

use std::path::PathBuf;

use tapeline_reader::{AdapterError, ConsumerError};

use crate::core::error::IngestionError;

/// Settings of one daemon.
///
/// ```
/// use tapeline::daemon::DaemonOptions;
///
/// let options = DaemonOptions::new().tries(5).follow("/var/lib/engine/log");
/// assert_eq!(options.tries, 5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaemonOptions {
    /// Calls of `process` with one event that fail before it is set aside. Default 3; at least 1.
    pub tries: u32,
    /// The log that another process writes, to read events from. `None`: those of the bus. Outputs are of the bus.
    pub follow: Option<PathBuf>,
    /// True if it shares work with other daemons of the bus: it gets the sessions that
    /// [`EventBus::route_to`](crate::EventBus::route_to) gives it, and no others.
    pub is_worker: bool,
}

impl Default for DaemonOptions {
    fn default() -> Self {
        Self { tries: 3, follow: None, is_worker: false }
    }
}

impl DaemonOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with so many tries.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// The same, reading the log at this path.
    #[must_use]
    pub fn follow(mut self, log: impl Into<PathBuf>) -> Self {
        self.follow = Some(log.into());
        self
    }

    /// The same, sharing work with other daemons.
    #[must_use]
    pub fn worker(mut self) -> Self {
        self.is_worker = true;
        self
    }
}

/// The reason why a daemon does not start.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::daemon::{Daemon, DaemonOptions, DaemonRefused, DaemonResult, Output};
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
/// let first = bus.start_daemon(Shout, DaemonOptions::new())?;
/// let second = bus.start_daemon(Shout, DaemonOptions::new());
/// assert!(matches!(second, Err(DaemonRefused::Running { name }) if name == "shout"));
/// # first.drain(Duration::from_secs(5)).ended().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonRefused {
    /// The name is none.
    #[error("{name:?} is no name of a daemon: letters, digits, '-', '_' and '.', up to 128 of them")]
    Name {
        /// The name.
        name: String,
    },
    /// A daemon of the name runs on this bus.
    #[error("a daemon {name:?} runs on this bus already")]
    Running {
        /// The name.
        name: String,
    },
    /// The daemon does not take its state back.
    #[error("daemon {name:?} refuses the state that it left: {reason}")]
    Restore {
        /// The name.
        name: String,
        /// Its error.
        reason: String,
    },
    /// Its last checkpoint is none.
    #[error("the last checkpoint of daemon {name:?}, event {event}, cannot be read: {reason}")]
    Checkpoint {
        /// The name.
        name: String,
        /// The id of the event.
        event: String,
        /// The fault.
        reason: String,
    },
    /// It is to share work, and to read no more than a shard, or a log that another process writes.
    #[error("daemon {name:?} cannot share work: a worker reads all shards of its own bus")]
    Worker {
        /// The name.
        name: String,
    },
    /// It cannot read.
    #[error(transparent)]
    Read(#[from] ConsumerError),
    /// It cannot write.
    #[error(transparent)]
    Write(#[from] IngestionError),
    /// The bus does not run it.
    #[error(transparent)]
    Bus(#[from] AdapterError),
}
