//! The mapping of events to what a server has: the names of streams or subjects, and further fields or headers.

use std::borrow::Cow;

use serde_json::Value;
use tapeline_reader::{ConfigError, StoredEvent, json_path_get, sse};

/// The fields and headers that events have of themselves.
const TAKEN: [&str; 6] = ["dedup_id", "ts", "session", "session_name", "kind", "payload"];
const TAKEN_PREFIXES: [&str; 2] = ["nats-", "tapeline-"];

/// The streams of Redis, or the subjects of NATS, that a server has for the events of a shard.
///
/// Events of one stream or subject are in order. Reading back has all events of a shard in order, whatever the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Layout {
    /// One: `PREFIX:LOG:SHARD`, of NATS `PREFIX.LOG.SHARD`.
    #[default]
    PerShard,
    /// One for each session: `PREFIX:LOG:SHARD:SESSION`, with the session as 32 hexadecimal digits.
    PerSession,
    /// One for each kind: `PREFIX:LOG:SHARD:KIND`, with the kind's number.
    PerKind,
}

impl Layout {
    /// The part of a name after that of the shard; `None`, where the shard has one stream or subject.
    pub(crate) fn part(self, event: &StoredEvent) -> Option<String> {
        match self {
            Self::PerShard => None,
            Self::PerSession => Some(event.session.to_string()),
            Self::PerKind => Some(event.kind.0.to_string()),
        }
    }
}

/// The mapping of events to what a server gets: the layout of streams or subjects, and fields of entries (Redis) or
/// headers of messages (NATS) beside those of the event itself. Reading back leaves these further ones out.
///
/// ```
/// use tapeline::adapter::{EventMapping, Layout};
///
/// let mapping = EventMapping::new()
///     .layout(Layout::PerKind)
///     .constant("region", "eu-1")
///     // Of the payload {"user": {"tenant": "acme"}}.
///     .payload("tenant", "user.tenant");
/// assert_eq!(mapping.layout, Layout::PerKind);
/// assert_eq!(EventMapping::from(Layout::PerSession).layout, Layout::PerSession);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventMapping {
    /// The streams or subjects. Default: one for each shard.
    pub layout: Layout,
    /// Fields or headers with the same value for every event, by name.
    pub constants: Vec<(String, String)>,
    /// Fields or headers whose value is in the payload: each name with the dotted path of
    /// [`json_path_get`](crate::consumer::json_path_get). An event without a value there, or with null, has no such field. A text
    /// is taken as it is, anything else as JSON. A payload that is a server-sent event counts as its data.
    pub values: Vec<(String, String)>,
}

impl From<Layout> for EventMapping {
    fn from(layout: Layout) -> Self {
        Self { layout, ..Self::default() }
    }
}

impl EventMapping {
    /// One stream or subject for each shard, and no further fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`EventMapping::layout`].
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The same with one more of [`EventMapping::constants`].
    #[must_use]
    pub fn constant(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.constants.push((name.into(), value.into()));
        self
    }

    /// The same with one more of [`EventMapping::values`].
    #[must_use]
    pub fn payload(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.values.push((name.into(), path.into()));
        self
    }

    /// The values of an event that are in its payload, each with its name.
    pub(crate) fn values_of<'m>(&'m self, event: &StoredEvent) -> Vec<(&'m str, String)> {
        if self.values.is_empty() {
            return Vec::new();
        }
        let data = sse::sole_frame(&event.raw).and_then(sse::Frame::into_data);
        let data = data.unwrap_or(Cow::Borrowed(&event.raw[..]));
        let Ok(payload) = serde_json::from_slice::<Value>(&data) else { return Vec::new() };
        let value = |(name, path): &'m (String, String)| match json_path_get(&payload, path)? {
            Value::Null => None,
            Value::String(text) => Some((&**name, text.clone())),
            other => Some((&**name, other.to_string())),
        };
        self.values.iter().filter_map(value).collect()
    }

    /// # Errors
    /// [`ConfigError::InvalidValue`].
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |message: String| Err(ConfigError::InvalidValue(message));
        let mut known: Vec<String> = TAKEN.map(str::to_owned).to_vec();
        for (name, _) in self.constants.iter().chain(&self.values) {
            let is_plain =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if !is_plain {
                return invalid(format!("the field {name:?} is none: letters, digits, - and _"));
            }
            let lower = name.to_ascii_lowercase();
            if known.contains(&lower) || TAKEN_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
                return invalid(format!("the field {name:?} is there already; choose another name"));
            }
            known.push(lower);
        }
        match self.constants.iter().find(|(_, value)| value.chars().any(char::is_control)) {
            Some((name, _)) => {
                invalid(format!("the value of the field {name:?} has a line end or a control character"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tapeline_reader::{EventId, kinds};
    use tapeline_storage::format::{LogId, Sequence, SessionId};

    use super::*;

    fn event(payload: &str) -> StoredEvent {
        let sequence = Sequence::new(3);
        StoredEvent {
            id: EventId { log: LogId([7; 16]), shard_id: 0, sequence },
            raw: payload.as_bytes().to_vec().into(),
            insertion_ts: 1,
            shard_id: 0,
            sequence,
            session: SessionId(0xab),
            kind: kinds::TOKEN,
            name: None,
        }
    }

    #[test]
    fn values_come_out_of_json_and_of_server_sent_events() {
        let mapping = EventMapping::new().payload("a", "user.a").payload("b", "user.b").payload("whole", "user");
        let of = |payload: &str| mapping.values_of(&event(payload));
        let both = [("a", "x\n".to_owned()), ("b", "[1]".to_owned()), ("whole", r#"{"a":"x\n","b":[1]}"#.to_owned())];
        assert_eq!(of(r#"{"user":{"a":"x\n","b":[1]}}"#), both);
        assert_eq!(of("data: {\"user\":{\"a\":\"x\\n\",\"b\":[1]}}\n\n"), both);
        assert_eq!(of(r#"{"user":{"a":null}}"#), [("whole", r#"{"a":null}"#.to_owned())]);
        assert!(of("no JSON").is_empty() && of("{}").is_empty());
    }

    #[test]
    fn fields_that_are_there_already_or_break_a_header_are_refused() {
        let base = EventMapping::new;
        assert!(base().constant("region", "eu 1 \u{e9}").payload("tenant", "a.b").validate().is_ok());
        for broken in [
            base().constant("", "x"),
            base().constant("a b", "x"),
            base().constant("a:b", "x"),
            base().constant("Payload", "x"),
            base().payload("Nats-Msg-Id", "x"),
            base().payload("tapeline-kind", "x"),
            base().constant("a", "x").payload("A", "y"),
            base().constant("a", "x\r\nNats-Msg-Id: 1"),
        ] {
            assert!(broken.validate().is_err(), "{broken:?}");
        }
    }

    #[test]
    fn names_have_what_their_layout_says() {
        let parts = [Layout::PerShard, Layout::PerSession, Layout::PerKind].map(|layout| layout.part(&event("")));
        assert_eq!(parts, [None, Some(format!("{:032x}", 0xab)), Some(kinds::TOKEN.0.to_string())]);
    }
}
