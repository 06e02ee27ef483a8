//! The life of a session, as events of kind [`kinds::SESSION`](crate::kinds::SESSION) say it: opened, with what it is
//! about; closed, with how it ended. Their payloads are JSON objects, which lie on disk.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tapeline_capability::{CapabilitySet, Tag, TagKey, TagSeparator};

const OPEN: &str = "session.open";
const CLOSE: &str = "session.close";

/// Facts about a session, stated when it is opened. All of it is optional. It lies in the log as the fields `model`,
/// `user`, `content_type`, `labels` and `tags` of the open event's JSON; an event of up to 512 bytes is also found in
/// the index of its segment.
///
/// ```
/// use tapeline_reader::SessionMetadata;
///
/// let metadata = SessionMetadata::new().model("gpt-oss-20b").user("u-7").label("region", "eu");
/// assert_eq!(metadata.labels["region"], "eu");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct SessionMetadata {
    /// The model whose answers it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The user that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The media type of its events' payloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Whatever else it is to be found by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Tags of the capabilities of its source, beside the one that the model is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl SessionMetadata {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same of this model.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The same for this user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The same with payloads of this media type.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// The same with this label, too.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The same with this tag, too.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// The capabilities of the session's source: its tags, `software.model=` and the model, and as metadata its labels,
    /// `user` and `content_type`.
    ///
    /// ```
    /// use tapeline_capability::RequiredCapability;
    /// use tapeline_reader::SessionMetadata;
    ///
    /// let session = SessionMetadata::new().model("llama-7b").label("zone", "eu").tag("hardware.gpu=h100".parse()?);
    /// for met in ["software.model=llama-7b", "hardware.gpu=h100", "metadata_equals \"zone\", \"eu\""] {
    ///     assert!(met.parse::<RequiredCapability>()?.evaluate(&session.capabilities()), "{met}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capabilities(&self) -> CapabilitySet {
        let mut set: CapabilitySet = self.tags.iter().cloned().collect();
        if let (Some(model), Ok(key)) = (&self.model, TagKey::parse("software.model")) {
            set.insert(Tag::AxisValue { key, value: model.clone(), separator: TagSeparator::Eq });
        }
        for (name, value) in &self.labels {
            set.set_metadata(name, value);
        }
        for (name, value) in [("user", &self.user), ("content_type", &self.content_type)] {
            value.iter().for_each(|value| drop(set.set_metadata(name, value.as_str())));
        }
        set
    }

    /// Returns whether it states anything but the model.
    fn states_more_than_model(&self) -> bool {
        let Self { model: _, user, content_type, labels, tags } = self;
        user.is_some() || content_type.is_some() || !labels.is_empty() || !tags.is_empty()
    }
}

/// The way in which a session ended. Prints as it stands in the close event, and is read back from that.
///
/// ```
/// use tapeline_reader::SessionOutcome;
///
/// assert_eq!("timed_out".parse(), Ok(SessionOutcome::TimedOut));
/// assert_eq!(SessionOutcome::Finished.to_string(), "finished");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionOutcome {
    /// It came to its end.
    Finished,
    /// An error ended it.
    Failed,
    /// A user, an operator or a check ended it.
    Stopped,
    /// It took too long.
    TimedOut,
}

/// The text is no [`SessionOutcome`].
///
/// ```
/// use tapeline_reader::SessionOutcome;
///
/// let refused = "done".parse::<SessionOutcome>().expect_err("no outcome");
/// assert!(refused.to_string().contains("finished, failed, stopped or timed_out"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no outcome of a session: finished, failed, stopped or timed_out")]
pub struct ParseOutcomeError(String);

impl SessionOutcome {
    const ALL: [Self; 4] = [Self::Finished, Self::Failed, Self::Stopped, Self::TimedOut];

    /// As it stands in the close event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::TimedOut => "timed_out",
        }
    }
}

impl fmt::Display for SessionOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SessionOutcome {
    type Err = ParseOutcomeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|outcome| outcome.as_str() == text);
        found.ok_or_else(|| ParseOutcomeError(text.to_owned()))
    }
}

/// The state of a session.
///
/// ```
/// use tapeline_reader::{SessionOutcome, SessionState};
///
/// let is_over = |state| matches!(state, SessionState::Closed { .. });
/// assert!(is_over(SessionState::Closed { outcome: Some(SessionOutcome::Finished) }));
/// assert!(!is_over(SessionState::Open));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SessionState {
    /// It was not closed since it was opened last, or never opened.
    #[default]
    Open,
    /// It was closed.
    Closed {
        /// The outcome, if the event that closed it says so.
        outcome: Option<SessionOutcome>,
    },
    /// It was not closed, and the process that wrote its last event has ended: by a crash, or without closing it. Only
    /// an open bus tells this from [`SessionState::Open`].
    CutOff,
}

/// The statement of an event of kind [`kinds::SESSION`](crate::kinds::SESSION) about its session. Any producer may
/// write one.
///
/// ```
/// use tapeline_reader::{SessionChange, SessionOutcome};
///
/// let closed = SessionChange::parse(br#"{"type": "session.close", "outcome": "failed"}"#);
/// assert_eq!(closed, Some(SessionChange::Closed { outcome: Some(SessionOutcome::Failed) }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionChange {
    /// It begins, or begins anew.
    Opened {
        /// The session's name.
        name: Option<String>,
        /// Facts about the session.
        metadata: SessionMetadata,
    },
    /// It ends.
    Closed {
        /// How, if the event says so: one that was not written by `close_session` may not.
        outcome: Option<SessionOutcome>,
    },
}

/// The statement of an event of kind [`kinds::SESSION`](crate::kinds::SESSION) that opens its session, if it makes any.
///
/// ```
/// use tapeline_reader::SessionOpening;
///
/// let opening = SessionOpening::parse(br#"{"type": "session.open", "name": "chat-42", "model": "small"}"#);
/// assert_eq!((opening.name.as_deref(), opening.metadata.model.as_deref()), (Some("chat-42"), Some("small")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct SessionOpening {
    /// The session's name. An event without it opens no session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The form of the stream that `tapeline record` has cut its events from: `sse` for server-sent events, `jsonl` for
    /// lines, `raw` for bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Facts about the session.
    #[serde(flatten)]
    pub metadata: SessionMetadata,
}

impl SessionOpening {
    /// Reads the payload of an event of kind session. Any producer may write one: what is no JSON object says nothing.
    pub fn parse(payload: &[u8]) -> Self {
        serde_json::from_slice::<Fields>(payload).map(Self::from).unwrap_or_default()
    }

    /// Adds what a later event says. One that opens the session anew also says in what format, and for whom.
    pub fn amend(&mut self, later: Self) {
        let model = later.metadata.model.clone().or_else(|| self.metadata.model.take());
        if later.name.is_some() {
            *self = later;
        } else if later.metadata.states_more_than_model() {
            self.metadata = later.metadata;
        }
        self.metadata.model = model;
    }

    /// The payload of an event that says the same, of [`Self::BYTES_MAX`] bytes and the name at most: of more, only the
    /// fields are left that readers need.
    #[doc(hidden)]
    pub fn payload(&self) -> String {
        #[derive(Serialize)]
        struct Opened<'a> {
            r#type: &'a str,
            #[serde(flatten)]
            opening: &'a SessionOpening,
        }
        // Strings and maps of strings: nothing that JSON does not have.
        let text = |opening: &Self| serde_json::to_string(&Opened { r#type: OPEN, opening }).unwrap_or_default();
        let Self { name, format, metadata } = self;
        let model = SessionMetadata { model: metadata.model.clone(), ..SessionMetadata::default() };
        let needed = Self { name: None, format: format.clone(), metadata: model };
        let fits = |opening: &Self| text(opening).len() <= Self::BYTES_MAX;
        let rest = [Self { name: None, ..self.clone() }, needed].into_iter().find(fits).unwrap_or_default();
        text(&Self { name: name.clone(), ..rest })
    }

    /// Most bytes beside the name of an opening that is kept when its event goes.
    #[doc(hidden)]
    pub const BYTES_MAX: usize = 4096;
}

impl From<Fields> for SessionOpening {
    fn from(fields: Fields) -> Self {
        let text = |field| if let Value::String(text) = field { Some(text) } else { None };
        let labels = if let Value::Object(labels) = fields.labels { labels } else { serde_json::Map::new() };
        let tags = if let Value::Array(tags) = fields.tags { tags } else { Vec::new() };
        Self {
            name: text(fields.name),
            format: text(fields.format),
            metadata: SessionMetadata {
                model: text(fields.model),
                user: text(fields.user),
                content_type: text(fields.content_type),
                labels: labels.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect(),
                tags: tags.into_iter().filter_map(|tag| Tag::parse(&text(tag)?).ok()).collect(),
            },
        }
    }
}

/// The fields of both. One that is of another type than it should be says nothing, and is no reason to ignore the
/// others.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type", default)]
    kind: Value,
    #[serde(default)]
    name: Value,
    #[serde(default)]
    outcome: Value,
    #[serde(default)]
    format: Value,
    #[serde(default)]
    model: Value,
    #[serde(default)]
    user: Value,
    #[serde(default)]
    content_type: Value,
    #[serde(default)]
    labels: Value,
    #[serde(default)]
    tags: Value,
}

impl SessionChange {
    /// Reads the payload of an event of kind session. `None`: it says neither that the session begins nor that it ends.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let fields: Fields = serde_json::from_slice(payload).ok()?;
        match fields.kind.as_str()? {
            OPEN => {
                let SessionOpening { name, metadata, .. } = fields.into();
                Some(Self::Opened { name, metadata })
            }
            CLOSE => Some(Self::Closed { outcome: fields.outcome.as_str().and_then(|outcome| outcome.parse().ok()) }),
            _ => None,
        }
    }

    /// Returns whether the payload of an event of kind session says that the session ends.
    #[doc(hidden)]
    pub fn is_close(payload: &[u8]) -> bool {
        matches!(Self::parse(payload), Some(Self::Closed { .. }))
    }

    /// The payload of the event that opens a session.
    #[doc(hidden)]
    pub fn open_payload(name: Option<&str>, metadata: &SessionMetadata) -> Vec<u8> {
        #[derive(Serialize)]
        struct Opened<'a> {
            r#type: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
            #[serde(flatten)]
            metadata: &'a SessionMetadata,
        }
        // Strings and maps of strings: nothing that JSON does not have.
        serde_json::to_vec(&Opened { r#type: OPEN, name, metadata }).unwrap_or_default()
    }

    /// The payload of the event that closes a session.
    #[doc(hidden)]
    pub fn close_payload(outcome: SessionOutcome) -> Vec<u8> {
        format!(r#"{{"type":"{CLOSE}","outcome":"{outcome}"}}"#).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let plain = SessionChange::open_payload(Some("a\"b"), &SessionMetadata::new());
        assert_eq!(String::from_utf8(plain).unwrap(), r#"{"type":"session.open","name":"a\"b"}"#);
        let metadata =
            SessionMetadata::new().model("m").user("u").content_type("text/plain").label("k", "v").label("l", "ö");
        let payload = SessionChange::open_payload(Some("chat"), &metadata);
        let opened = SessionChange::Opened { name: Some("chat".to_owned()), metadata };
        assert_eq!(SessionChange::parse(&payload), Some(opened));
        for outcome in SessionOutcome::ALL {
            let closed = SessionChange::Closed { outcome: Some(outcome) };
            assert_eq!(SessionChange::parse(&SessionChange::close_payload(outcome)), Some(closed));
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
        }
    }

    #[test]
    fn what_other_producers_write_says_what_it_says() {
        let parse = |text: &str| SessionChange::parse(text.as_bytes());
        assert_eq!(parse(r#"{"type":"session.close","tokens":7}"#), Some(SessionChange::Closed { outcome: None }));
        assert_eq!(parse(r#"{"type":"session.close","outcome":"odd"}"#), Some(SessionChange::Closed { outcome: None }));
        let opened = parse(
            r#"{"type":"session.open","name":7,"model":"m","labels":{"a":1,"b":"c"},"user":null,
                "tags":["software.x=1",7,"","software.","software..y=1","a\nb","\u0000"]}"#,
        );
        let metadata = SessionMetadata::new().model("m").label("b", "c").tag("software.x=1".parse().expect("a tag"));
        assert_eq!(opened, Some(SessionChange::Opened { name: None, metadata }));
        for nothing in ["", "{}", "7", r#"{"type":7}"#, r#"{"type":"session.ping"}"#, r#"{"type":"session.close""#] {
            assert_eq!(parse(nothing), None, "{nothing}");
        }
    }

    fn opening(json: &str) -> SessionOpening {
        SessionOpening::parse(json.as_bytes())
    }

    #[test]
    fn openings_are_read_whatever_their_other_fields_hold() {
        let read = opening(r#"{"type":"session.open","name":"a","model":7,"format":"sse"}"#);
        assert_eq!(
            read,
            SessionOpening { name: Some("a".into()), format: Some("sse".into()), ..SessionOpening::default() }
        );
        for nothing in ["", "x", "[]", "{\"name\":null}", "{\"name\":1}"] {
            assert_eq!(opening(nothing), SessionOpening::default(), "{nothing}");
        }
    }

    #[test]
    fn what_opens_a_session_anew_says_its_format_anew() {
        let mut known = opening(r#"{"name":"a","model":"m","format":"sse"}"#);
        known.amend(opening(r#"{"type":"session.close"}"#));
        assert_eq!(known.format.as_deref(), Some("sse"));
        known.amend(opening(r#"{"name":"a"}"#));
        assert_eq!((known.format, known.metadata.model.as_deref()), (None, Some("m")));
    }

    #[test]
    fn a_turn_without_a_name_states_its_facts_anew() {
        let mut known = opening(r#"{"name":"a","model":"m","format":"sse","labels":{"k":"v"}}"#);
        known.amend(opening(r#"{"type":"session.open","tags":["software.x"]}"#));
        let metadata = SessionMetadata::new().model("m").tag("software.x".parse().expect("a tag"));
        assert_eq!(known, SessionOpening { name: Some("a".into()), format: Some("sse".into()), metadata });
    }

    #[test]
    fn openings_are_kept_in_bounds() {
        let facts = |user: &str, model: &str| {
            let metadata = SessionMetadata::new().user(user).label("k", "v").model(model);
            SessionOpening { name: Some("größer".into()), format: Some("sse".into()), metadata }
        };
        let long = "x".repeat(SessionOpening::BYTES_MAX);
        let read = |opening: &SessionOpening| SessionOpening::parse(opening.payload().as_bytes());
        let whole = facts("u", "m");
        assert_eq!(read(&whole), whole);
        let without_user = SessionOpening { metadata: SessionMetadata::new().model("m"), ..whole.clone() };
        assert_eq!(read(&facts(&long, "m")), without_user);
        let name = SessionOpening { name: whole.name, ..SessionOpening::default() };
        assert_eq!(read(&facts("u", &long)), name);
        assert!(matches!(SessionChange::parse(name.payload().as_bytes()), Some(SessionChange::Opened { .. })));
    }
}
