//! The stream of the adapter for NATS JetStream, and the layout of events in it.

use std::time::Duration;

use tapeline_reader::{ConfigError, StoredEvent};
use tapeline_storage::format::LogId;

use crate::core::config::{EventMapping, Layout};

/// The window of the server's default.
const DEDUP_WINDOW: Duration = Duration::from_secs(120);

/// Digits of a session in a subject.
const SESSION_DIGITS: usize = 32;

/// The shortest window and age that a server takes.
const SHORTEST: Duration = Duration::from_millis(100);

/// The fate of events where the stream is at a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum JetStreamDiscard {
    /// The stream drops its oldest messages.
    #[default]
    Old,
    /// The stream refuses new ones, and the relay waits.
    New,
}

/// The one who makes the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum JetStreamCreation {
    /// The adapter, where there is none. One that is there has to have the same settings.
    #[default]
    Adapter,
    /// The operator, who also chooses limits and replicas. The adapter takes it as it is; where there is none, it
    /// reports [`AdapterError::NotFound`](crate::AdapterError::NotFound).
    Operator,
}

/// A stream: the adapter creates it, or checks that it has these settings. See
/// [`JetStreamAdapterConfig`](crate::adapter::JetStreamAdapterConfig).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JetStreamSettings {
    /// Its name. Default: the prefix, with `_` for `.`.
    pub name: Option<String>,
    /// The first tokens of subjects. The stream has those that begin with them. Default `tapeline`.
    pub prefix: String,
    /// The subjects of events, and headers of messages. Default: one subject for each shard, no further headers.
    pub mapping: EventMapping,
    /// The fate of events where a limit is met. Default: the oldest go.
    pub discard: JetStreamDiscard,
    /// Messages that it keeps at most. Default: all.
    pub max_messages: Option<u64>,
    /// Bytes that it keeps at most. Default: all.
    pub max_bytes: Option<u64>,
    /// The age at which messages go. Default: none.
    pub max_age: Option<Duration>,
    /// Servers that have a copy, 1 to 5. Default 1.
    pub replicas: usize,
    /// The time for which the server remembers the id of a message, which costs it memory. Default 2 minutes, or
    /// `max_age` where that is less.
    pub dedup_window: Duration,
}

impl Default for JetStreamSettings {
    fn default() -> Self {
        Self {
            name: None,
            prefix: "tapeline".into(),
            mapping: EventMapping::default(),
            discard: JetStreamDiscard::Old,
            max_messages: None,
            max_bytes: None,
            max_age: None,
            replicas: 1,
            dedup_window: DEDUP_WINDOW,
        }
    }
}

impl JetStreamSettings {
    /// Its name.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.prefix.replace('.', "_"))
    }

    /// The time for which the server remembers ids: no longer than messages stay.
    pub(crate) fn dedup_window(&self) -> Duration {
        match self.max_age {
            Some(age) if self.dedup_window == DEDUP_WINDOW => age.min(DEDUP_WINDOW),
            _ => self.dedup_window,
        }
    }

    /// The subject of an event that comes in the order of its shard.
    pub(crate) fn subject(&self, event: &StoredEvent) -> String {
        let shard = format!("{}.{}.{}", self.prefix, event.id.log, event.shard_id);
        match self.mapping.layout.part(event) {
            None => shard,
            Some(part) => format!("{shard}.{part}"),
        }
    }

    /// The subject of a shard's events that were refused before, and are out of order.
    pub(crate) fn redriven_subject(&self, log: LogId, shard: u16) -> String {
        format!("{}.{log}.redriven.{shard}", self.prefix)
    }

    /// The log, the shard and the layout in a subject; the layout is `None` for events out of order. `None`: it is no
    /// subject of events.
    pub(crate) fn parse<'s>(&self, subject: &'s str) -> Option<(&'s str, &'s str, Option<Layout>)> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        let tokens: Vec<&str> = rest.split('.').collect();
        match tokens.as_slice() {
            [log, "redriven", shard] => Some((log, shard, None)),
            [log, shard] => Some((log, shard, Some(Layout::PerShard))),
            [log, shard, session] if session.len() == SESSION_DIGITS => Some((log, shard, Some(Layout::PerSession))),
            [log, shard, _] => Some((log, shard, Some(Layout::PerKind))),
            _ => None,
        }
    }

    /// The subjects of a shard's events.
    pub(crate) fn shard_filter(&self, log: LogId, shard: u16) -> String {
        let shard = format!("{}.{log}.{shard}", self.prefix);
        match self.mapping.layout {
            Layout::PerShard => shard,
            Layout::PerSession | Layout::PerKind => format!("{shard}.*"),
        }
    }

    /// # Errors
    /// [`ConfigError::InvalidValue`].
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.mapping.validate()?;
        let is_plain = |text: &str| {
            let reserved = |char: char| char.is_whitespace() || char.is_control() || "*>/\\".contains(char);
            !text.is_empty() && !text.contains(reserved)
        };
        let is_prefix = self.prefix.split('.').all(is_plain) && !self.prefix.starts_with('$');
        let is_countable = |limit: Option<u64>| limit.is_none_or(|limit| limit > 0 && i64::try_from(limit).is_ok());
        let broken = match self {
            _ if !is_prefix => "the prefix of subjects is empty, begins with $, or has a wildcard or a space",
            _ if !is_plain(&self.name()) || self.name().contains('.') => {
                "the name of the stream is empty, or has one of . * > / \\ or a space"
            }
            _ if !is_countable(self.max_messages) => "max_messages is out of range; 1 to 2^63 - 1",
            _ if !is_countable(self.max_bytes) => "max_bytes is out of range; 1 to 2^63 - 1",
            _ if self.max_age.is_some_and(|age| age < SHORTEST) => "max_age is too short; at least 0.1 s",
            Self { replicas: 0 | 6.., .. } => "replicas is out of range; 1 to 5",
            _ if self.dedup_window < SHORTEST => "dedup_window is too short; at least 0.1 s",
            _ if self.max_age.is_some_and(|age| age < self.dedup_window()) => {
                "dedup_window is longer than max_age; at most that"
            }
            _ => return Ok(()),
        };
        Err(ConfigError::InvalidValue(broken.into()))
    }
}
