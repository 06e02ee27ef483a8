//! The settings of a relay.

use std::path::PathBuf;
use std::time::Duration;

use tapeline_reader::named::check_name;
use tapeline_reader::{AdapterError, AdapterResult, ConfigError, Filter, IntoSession, Start, Visibility};
use tapeline_storage::format::Kind;

use crate::core::config::BatchConfig;
use crate::live::SubscribeRequest;

/// Settings of one relay.
///
/// ```
/// use tapeline::adapter::RelayOptions;
/// use tapeline::{Filter, kinds};
///
/// // Tool calls of one tenant alone, each delivered within a millisecond.
/// let options = RelayOptions::new("tool-calls")
///     .kind(kinds::TOOL_CALL)
///     .filter(Filter::eq("tenant", "acme"))
///     .batch(tapeline::BatchConfig::low_latency());
/// assert_eq!(options.name, "tool-calls");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RelayOptions {
    /// Its name: that of its cursor in the log. A relay of another name has a position of its own.
    pub name: String,
    /// Its events, and its start where it has no cursor yet.
    events: SubscribeRequest,
    /// The size of batches. `None`: as [`EventBusConfig::batch`](crate::EventBusConfig::batch); of a log without a bus,
    /// the default.
    pub batch: Option<BatchConfig>,
    /// The longest time for which it waits for one answer of the adapter. Default 30 seconds.
    pub timeout: Duration,
    /// The pause before a call is repeated: it doubles from the first to the second, and a quarter of it is left to
    /// chance. Default 0.1 s and 10 s.
    pub pauses: (Duration, Duration),
    /// The longest time for which the end of its bus waits for it. Default 5 seconds.
    pub drain: Duration,
    /// The file of events that the adapter does not take. Default: `relays/NAME/dead-letters.jsonl` in the log's
    /// directory, and memory without one.
    pub dead_letters: Option<PathBuf>,
}

impl RelayOptions {
    /// A relay of all events, from the earliest on.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            events: SubscribeRequest::new().visibility(Visibility::Durable),
            batch: None,
            timeout: Duration::from_secs(30),
            pauses: (Duration::from_millis(100), Duration::from_secs(10)),
            drain: Duration::from_secs(5),
            dead_letters: None,
        }
    }

    /// The same, starting here where it has no cursor yet.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.events = self.events.start(start);
        self
    }

    /// The same, with these events alone.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.events = self.events.filter(filter);
        self
    }

    /// The same, with this session, too; the first call leaves all others out.
    #[must_use]
    pub fn session(mut self, session: impl IntoSession) -> Self {
        self.events = self.events.session(session);
        self
    }

    /// The same, with this kind, too; the first call leaves all others out.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.events = self.events.kind(kind);
        self
    }

    /// Sets [`RelayOptions::batch`].
    #[must_use]
    pub fn batch(mut self, batch: BatchConfig) -> Self {
        self.batch = Some(batch);
        self
    }

    /// Sets [`RelayOptions::timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`RelayOptions::pauses`].
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.pauses = (first, longest);
        self
    }

    /// Sets [`RelayOptions::drain`].
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Sets [`RelayOptions::dead_letters`].
    #[must_use]
    pub fn dead_letters(mut self, file: impl Into<PathBuf>) -> Self {
        self.dead_letters = Some(file.into());
        self
    }

    /// The request for its events, from a cursor on.
    pub(super) fn request(&self, cursor: Option<String>) -> SubscribeRequest {
        SubscribeRequest { cursor, ..self.events.clone() }
    }

    /// Returns whether it leaves events out.
    pub(super) fn is_selective(&self) -> bool {
        self.events.filter.is_some() || self.events.sessions.is_some() || self.events.kinds.is_some()
    }

    /// # Errors
    /// [`AdapterError::Config`].
    pub(super) fn validate(&self) -> AdapterResult<()> {
        self.batch.as_ref().map_or(Ok(()), BatchConfig::validate)?;
        let (first, longest) = self.pauses;
        let broken = match self {
            _ if check_name(&self.name).is_err() => {
                format!("{:?} is no name of a relay: letters, digits, '-', '_' and '.', up to 128 of them", self.name)
            }
            Self { timeout: Duration::ZERO, .. } => "the timeout of a relay is 0; more than that".to_owned(),
            _ if first.is_zero() || first > longest => {
                format!("the pauses of a relay are {first:?} and {longest:?}; more than 0, and the second not shorter")
            }
            _ => return Ok(()),
        };
        Err(AdapterError::from(ConfigError::InvalidValue(broken)))
    }
}
