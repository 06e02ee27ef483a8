//! The way of a session to the daemon that can process it.

use std::sync::Arc;

use tapeline_capability::RequiredCapability;
use tapeline_reader::SessionMetadata;

use super::worker::ROUTED;
use crate::bus_core::{BusCore, Job, Unassigned};
use crate::core::error::IngestionError;
use crate::ingest::{Producer, Session};

/// Hands sessions to daemons that meet a requirement. From [`EventBus::route_to`](crate::EventBus::route_to).
///
/// A session that it opens states the requirement, in its opening, and belongs to one
/// [worker](super::DaemonOptions::worker): that one alone processes its events, whichever producer ingests them, for as
/// long as it lives and is healthy. After it, another worker goes on where it has come to.
///
/// ```
/// use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult, Dispatcher};
/// use tapeline::{EventBus, EventBusConfig, StoredEvent, kinds, require};
///
/// # use tapeline::capability::CapabilitySet;
/// # struct Scorer;
/// # impl Daemon for Scorer {
/// #     fn name(&self) -> &str {
/// #         "scorer"
/// #     }
/// #     fn capabilities(&self) -> CapabilitySet {
/// #         CapabilitySet::parse(["software.scorer=toxicity"]).unwrap_or_default()
/// #     }
/// #     fn process(&mut self, _: &StoredEvent) -> DaemonResult {
/// #         Ok(Vec::new())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let scorer = bus.start_daemon(Scorer, DaemonOptions::new().worker())?;
/// let mut producer = bus.producer()?;
/// let toxicity: Dispatcher = bus.route_to(require!("software.scorer=toxicity"));
/// let chat = toxicity.open_session(&mut producer, "chat-1")?;
/// producer.emit(chat, kinds::TOKEN, b"hello")?;
/// # scorer.drain(std::time::Duration::from_secs(60)).ended().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Dispatcher {
    core: Arc<BusCore>,
    needs: RequiredCapability,
    /// True if the opening of a session can state the requirement.
    is_written: bool,
}

/// The reason why a session was not opened for a worker.
///
/// ```
/// use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult, RouteError};
/// use tapeline::{EventBus, EventBusConfig, StoredEvent, require};
///
/// # use tapeline::capability::CapabilitySet;
/// # struct Scorer;
/// # impl Daemon for Scorer {
/// #     fn name(&self) -> &str {
/// #         "scorer"
/// #     }
/// #     fn capabilities(&self) -> CapabilitySet {
/// #         CapabilitySet::parse(["software.scorer=toxicity"]).unwrap_or_default()
/// #     }
/// #     fn process(&mut self, _: &StoredEvent) -> DaemonResult {
/// #         Ok(Vec::new())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let scorer = bus.start_daemon(Scorer, DaemonOptions::new().worker())?;
/// let mut producer = bus.producer()?;
/// let spam = bus.route_to(require!("software.scorer=spam")).open_session(&mut producer, "chat-1");
/// assert!(matches!(spam, Err(RouteError::NoWorker { .. })));
/// # scorer.drain(std::time::Duration::from_secs(60)).ended().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No worker meets the requirement, or none that does takes events of such a source.
    #[error("no worker of this bus meets the requirement {requirement}")]
    NoWorker {
        /// The requirement.
        requirement: Box<RequiredCapability>,
    },
    /// The workers that meet the requirement are saturated or not healthy, or about to end. Another try makes sense
    /// later; a server that refuses its client meanwhile passes the pressure on.
    #[error("the workers that meet the requirement {requirement} take no further session at present")]
    Saturated {
        /// The requirement.
        requirement: Box<RequiredCapability>,
    },
    /// A worker has the session that does not meet the requirement.
    #[error("session {session:?} is with worker {worker:?}, which does not meet the requirement {requirement}")]
    Elsewhere {
        /// The requirement.
        requirement: Box<RequiredCapability>,
        /// The session's name.
        session: String,
        /// The worker's name.
        worker: String,
    },
    /// The opening of a session cannot state the requirement, so the next process would find no worker for the session:
    /// it compares with no finite number, names no metadata entry, or is larger than a document.
    #[error(
        "the requirement {requirement} cannot be written: a number is not finite, a name is empty, or it is too large"
    )]
    Unwritable {
        /// The requirement.
        requirement: Box<RequiredCapability>,
    },
    /// The producer is of another bus.
    #[error("the producer is of another bus than the one that routes")]
    OtherBus,
    /// The opening cannot be ingested.
    #[error(transparent)]
    Ingest(#[from] IngestionError),
}

enum Refused {
    Unassigned(Unassigned),
    Ingest(IngestionError),
}

impl From<Unassigned> for Refused {
    fn from(reason: Unassigned) -> Self {
        Self::Unassigned(reason)
    }
}

impl Dispatcher {
    pub(crate) fn new(core: &Arc<BusCore>, needs: RequiredCapability) -> Self {
        let is_written = SessionMetadata::new().requires(needs.clone()).requirement().as_ref() == Some(&needs);
        Self { core: Arc::clone(core), needs, is_written }
    }

    /// The requirement.
    pub fn requirement(&self) -> &RequiredCapability {
        &self.needs
    }

    /// Opens a session for a worker. One that has a worker stays with it; another goes to the worker that has the
    /// fewest.
    ///
    /// # Errors
    /// [`RouteError`]; then nothing was ingested.
    pub fn open_session(&self, producer: &mut Producer, name: &str) -> Result<Session, RouteError> {
        self.open_session_with(producer, name, &SessionMetadata::new())
    }

    /// As [`Dispatcher::open_session`], stating what the session is about. It
    /// [requires](SessionMetadata::requires) what the dispatcher does, and has the label `routed`.
    ///
    /// # Errors
    /// As [`Dispatcher::open_session`].
    pub fn open_session_with(
        &self,
        producer: &mut Producer,
        name: &str,
        metadata: &SessionMetadata,
    ) -> Result<Session, RouteError> {
        if !producer.is_of(&self.core) {
            return Err(RouteError::OtherBus);
        }
        if !self.is_written {
            return Err(RouteError::Unwritable { requirement: Box::new(self.needs.clone()) });
        }
        let metadata = metadata.clone().requires(self.needs.clone()).label(ROUTED, "worker");
        let session = producer.session(name).id();
        let source = producer.stated(&metadata).capabilities();
        let job = Job { session, needs: &self.needs, source };
        let opened = self.core.assignments().open(job, || {
            let (session, ticket) = producer.begin_session(name, &metadata).map_err(Refused::Ingest)?;
            Ok((session, ticket.insertion_ts))
        });
        opened.map_err(|refused| self.refuse(refused, name))
    }

    fn refuse(&self, refused: Refused, session: &str) -> RouteError {
        let requirement = Box::new(self.needs.clone());
        match refused {
            Refused::Ingest(error) => error.into(),
            Refused::Unassigned(Unassigned::NoWorker) => RouteError::NoWorker { requirement },
            Refused::Unassigned(Unassigned::Saturated) => RouteError::Saturated { requirement },
            Refused::Unassigned(Unassigned::Elsewhere { worker }) => {
                RouteError::Elsewhere { requirement, session: session.to_owned(), worker }
            }
        }
    }
}
