//! Daemons: what they are, and how one runs. The page of the public module `daemon` is beside this.

mod checkpoint;
mod control;
mod dispatcher;
mod feed;
mod group;
mod options;
mod recover;
mod run;
mod saturation;
mod shift;
mod word;
mod worker;
mod writer;

use tapeline_capability::{CapabilitySet, RequiredCapability};
use tapeline_reader::{Gap, StoredEvent};
use tapeline_storage::format::Kind;

use crate::live::SubscribeRequest;

pub use crate::bus_core::{DaemonCounts, DaemonHealth, DaemonStats};
pub use checkpoint::SetAside;
pub use control::{DaemonControl, DaemonEnd, DaemonHandle, EndReason};
pub use dispatcher::{Dispatcher, RouteError};
pub use options::{DaemonOptions, DaemonRefused};
pub use run::DaemonRun;

/// The reason why a daemon cannot process an event.
pub type DaemonError = Box<dyn std::error::Error + Send + Sync>;

/// Outputs, or the reason why there are none.
pub type DaemonResult = Result<Vec<Output>, DaemonError>;

/// A program that reads events and writes others.
///
/// ```
/// use tapeline::daemon::{Daemon, DaemonOptions, DaemonResult, EndReason, Output};
/// use tapeline::{EventBus, EventBusConfig, StoredEvent, kinds};
///
/// struct Shout;
///
/// impl Daemon for Shout {
///     fn name(&self) -> &str {
///         "shout"
///     }
///
///     fn process(&mut self, event: &StoredEvent) -> DaemonResult {
///         Ok(vec![Output::new(kinds::AGENT_MESSAGE, event.raw.to_ascii_uppercase())])
///     }
/// }
///
/// # futures_lite::future::block_on(async {
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// let mut producer = bus.producer()?;
/// producer.emit(producer.session("chat-42"), kinds::TOKEN, b"hello")?;
/// producer.flush().await?;
///
/// let shout = bus.start_daemon(Shout, DaemonOptions::new())?;
/// let end = shout.drain(std::time::Duration::from_secs(5)).join();
/// assert_eq!((end.reason, end.stats.counts.outputs), (EndReason::Drained, 1));
/// let answer = bus.replay("shout").await?.flatten().find(|event| event.kind == kinds::AGENT_MESSAGE);
/// assert_eq!(answer.expect("an answer").raw, b"HELLO"[..]);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// # }).expect("runs");
/// ```
pub trait Daemon: Send + 'static {
    /// Its name: that of its session and of its cursor. Letters, digits, `-`, `_` and `.`; the same after a restart.
    fn name(&self) -> &str;

    /// The requirements that the source of an event's session meets, all of them. Events of other sessions are not
    /// processed. Default: none.
    fn requirements(&self) -> Vec<RequiredCapability> {
        Vec::new()
    }

    /// The capabilities of its session: what it can do. Default: nothing.
    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet::new()
    }

    /// The events that it wants, and where it begins the first time. Default: all that are durable, from the earliest
    /// on, but for its own outputs and the notes of daemons, which no daemon gets.
    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().visibility(tapeline_reader::Visibility::Durable)
    }

    /// Processes an event. A panic is contained: the daemon is used again as it is. After
    /// [`DaemonOptions::tries`] errors or panics the event is set aside: an event of kind
    /// [`kinds::DAEMON`](crate::kinds::DAEMON) names it, and the daemon goes on after it.
    ///
    /// # Errors
    /// Its own.
    fn process(&mut self, event: &StoredEvent) -> DaemonResult;

    /// Learns that events are missing here. Default: nothing.
    ///
    /// # Errors
    /// Its own; they are counted, and that is all.
    fn gap(&mut self, gap: &Gap) -> DaemonResult {
        let _ = gap;
        Ok(Vec::new())
    }

    /// Learns that it is to end, or something that its owner says. Its outputs are the last ones before the end.
    ///
    /// # Errors
    /// Its own; they are counted, and that is all.
    fn control(&mut self, control: &DaemonControl) -> DaemonResult {
        let _ = control;
        Ok(Vec::new())
    }

    /// Its word about itself. It is asked before its first event and after each group; a worker also every 100 ms, and
    /// before it takes a session over.
    fn health(&self) -> DaemonHealth {
        DaemonHealth::Healthy
    }

    /// Its saturation: how full it is, from 0 to 1; asked with the health. Any other number, NaN included, counts as 1,
    /// and the daemon as [`DaemonHealth::Degraded`]. `None`: the part of its time that it works.
    fn saturation(&self) -> Option<f32> {
        None
    }

    /// Its state, if it has one. It is stored with the cursor in each group, so it is best small: a group has 512 KiB.
    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }

    /// Takes over the state that a snapshot holds, before the first event.
    ///
    /// # Errors
    /// Its own: then it does not start. Default: an error, because there is no snapshot to come from.
    fn restore(&mut self, state: &[u8]) -> Result<(), DaemonError> {
        Err(format!("{} has no state, and is given {} bytes of it", self.name(), state.len()).into())
    }
}

/// An event that a daemon emits, into its session. Kinds that others write are an error of the daemon:
/// [`kinds::DAEMON`](crate::kinds::DAEMON), [`kinds::SESSION`](crate::kinds::SESSION), and those of the bus
/// ([`kinds::RESERVED`](crate::kinds::RESERVED)).
///
/// ```
/// use tapeline::daemon::Output;
/// use tapeline::kinds;
///
/// let verdict = Output::new(kinds::GUARDRAIL, br#"{"verdict":"pass"}"#);
/// assert_eq!(verdict.kind, kinds::GUARDRAIL);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its kind.
    pub kind: Kind,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Output {
    /// An event of this kind.
    pub fn new(kind: Kind, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, payload: payload.into() }
    }
}
