//! The events that open sessions, found through the indexes of a log's segments instead of a pass over its events.
//!
//! An index repeats the first opening of each session in its segment. A search goes from the newest segment to the
//! oldest and reads blocks where an index does not determine a session's last opening: in the segment that reaches over
//! the time in question, in one without an index, and in one with more openings than its index repeats. It reads at
//! most [`READ_BYTES_MAX`] of a shard; of older segments the word of the index has to do.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tapeline_storage::format::{ArchivedIndexedSession, ArchivedSegmentIndex, Kind, SessionId};
use tapeline_storage::log::{LogView, Segment};
use tapeline_storage::read::{Block, Visibility};

use crate::selection::Selection;
use crate::source::{Next, Source};

/// Most bytes of payloads that one search reads of one shard.
const READ_BYTES_MAX: usize = 1 << 30;

/// The contents of an event of kind [`kinds::SESSION`](crate::kinds::SESSION), if it has any.
///
/// ```
/// use tapeline_reader::SessionOpening;
///
/// let opening = SessionOpening::parse(br#"{"type": "session.open", "name": "chat-42", "model": "small"}"#);
/// assert_eq!((opening.name.as_deref(), opening.model.as_deref()), (Some("chat-42"), Some("small")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "Fields")]
#[non_exhaustive]
pub struct SessionOpening {
    /// The session's name. An event without it opens no session.
    pub name: Option<String>,
    /// The model whose answers it holds.
    pub model: Option<String>,
    /// The form of the stream that `tapeline record` has cut its events from: `sse` for server-sent events, `jsonl` for
    /// lines, `raw` for bytes.
    pub format: Option<String>,
}

/// The fields as they stand. One that is no string says nothing, and is no reason to ignore the others.
#[derive(Deserialize)]
struct Fields {
    name: Option<Value>,
    model: Option<Value>,
    format: Option<Value>,
}

impl From<Fields> for SessionOpening {
    fn from(Fields { name, model, format }: Fields) -> Self {
        let text = |field| if let Some(Value::String(text)) = field { Some(text) } else { None };
        Self { name: text(name), model: text(model), format: text(format) }
    }
}

impl SessionOpening {
    /// Reads the payload of an event of kind session. Any producer may write one: what is no JSON object says nothing.
    pub fn parse(payload: &[u8]) -> Self {
        serde_json::from_slice(payload).unwrap_or_default()
    }

    /// Adds what a later event says. One that opens the session anew also says in what format.
    pub fn amend(&mut self, later: Self) {
        if later.name.is_some() {
            self.name = later.name;
            self.format = later.format;
        }
        if later.model.is_some() {
            self.model = later.model;
        }
    }
}

/// The openings of one shard, and a time that each of them is not later than.
type Found = HashMap<SessionId, (u64, SessionOpening)>;

/// A search for the openings of sessions before a time.
#[derive(Debug)]
pub(super) struct OpeningSearch {
    time: u64,
    /// `None`: of all sessions.
    sessions: Option<Vec<SessionId>>,
    /// In the shards that were searched.
    found: Found,
}

impl OpeningSearch {
    pub(super) fn new(time: u64, sessions: Option<&[SessionId]>) -> Self {
        Self { time, sessions: sessions.map(<[SessionId]>::to_vec), found: Found::new() }
    }

    /// Searches a shard. What cannot be read says nothing.
    pub(super) fn add(&mut self, view: &Arc<LogView>) {
        let (mut found, mut bytes_left) = (Found::new(), READ_BYTES_MAX);
        for segment in view.segments().into_iter().rev() {
            if segment.footer().is_some_and(|footer| footer.first_timestamp >= self.time) {
                continue;
            }
            let look = |index: &ArchivedSegmentIndex| self.add_index(&segment, index, bytes_left, &mut found);
            if !matches!(segment.with_index(look), Ok(Some(Answer::Complete))) {
                let here = self.read(view, &segment, &mut bytes_left);
                here.into_iter().for_each(|(session, (time, opening))| prepend(&mut found, session, time, opening));
            }
        }
        for (session, (time, opening)) in found {
            match self.found.get_mut(&session) {
                // A session that moved between shards was opened in both.
                Some((known, later)) if *known > time => amend_earlier(later, opening),
                Some((known, earlier)) => {
                    *known = time;
                    earlier.amend(opening);
                }
                None => drop(self.found.insert(session, (time, opening))),
            }
        }
    }

    /// The openings that were found.
    pub(super) fn into_openings(self) -> HashMap<SessionId, SessionOpening> {
        self.found.into_iter().map(|(session, (_, opening))| (session, opening)).collect()
    }

    /// Takes from an index what it determines.
    fn add_index(
        &self,
        segment: &Segment,
        index: &ArchivedSegmentIndex,
        bytes_left: usize,
        found: &mut Found,
    ) -> Answer {
        let opened = index.kinds.iter().filter(|total| Kind(total.kind.to_native()) == Kind::SESSION);
        let opened: u64 = opened.map(|total| total.events.to_native()).sum();
        let is_open = |entry: &&ArchivedIndexedSession| {
            let known = found.get(&SessionId(entry.session.to_native()));
            known.is_none_or(|(_, opening)| opening.name.is_none())
        };
        let entries: Vec<_> = self.entries(index).filter(is_open).collect();
        if opened == 0 || entries.is_empty() {
            return Answer::Complete;
        }
        let repeated = index.sessions.iter().filter(|entry| index.opening_of(entry).is_some()).count() as u64;
        let reaches_over = segment.footer().is_none_or(|footer| footer.last_timestamp >= self.time);
        if bytes_left > 0 && (reaches_over || repeated < opened) {
            return Answer::Partial;
        }
        for entry in entries {
            if let Some(payload) = index.opening_of(entry) {
                let (session, time) = (SessionId(entry.session.to_native()), entry.first_timestamp.to_native());
                prepend(found, session, time, SessionOpening::parse(payload));
            }
        }
        Answer::Complete
    }

    /// The entries of the sessions that are searched for.
    fn entries<'a>(
        &'a self,
        index: &'a ArchivedSegmentIndex,
    ) -> Box<dyn Iterator<Item = &'a ArchivedIndexedSession> + 'a> {
        match &self.sessions {
            Some(sessions) => Box::new(sessions.iter().filter_map(|session| index.session(*session))),
            None => Box::new(index.sessions.iter()),
        }
    }

    /// Reads the openings in the blocks of a segment.
    fn read(&self, view: &Arc<LogView>, segment: &Segment, bytes_left: &mut usize) -> Found {
        let mut found = Found::new();
        // Without a filter a selection cannot fail.
        let selection = Selection::new(None, self.sessions.as_deref(), None, None).unwrap_or_default();
        let mut source = Source::at(view, segment.base(), Visibility::Appended).seeking(&selection);
        while *bytes_left > 0 && source.next_sequence() < segment.end_sequence() {
            match source.step() {
                Ok(Next::Block(block)) => {
                    *bytes_left = bytes_left.saturating_sub(block.payload_bytes_max());
                    self.add_block(&block, &mut found);
                }
                Ok(Next::Gap(_)) => {}
                Ok(Next::End) | Err(_) => break,
            }
        }
        found
    }

    fn add_block(&self, block: &Block, found: &mut Found) {
        let is_wanted = |session| self.sessions.as_ref().is_none_or(|sessions| sessions.contains(&session));
        for record in block.records().flatten() {
            if record.kind() == Kind::SESSION && record.timestamp() < self.time && is_wanted(record.session()) {
                let (time, known) = found.entry(record.session()).or_default();
                *time = record.timestamp();
                known.amend(SessionOpening::parse(record.payload()));
            }
        }
    }
}

/// The answer of an index about the last openings of the sessions of its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Complete,
    Partial,
}

/// Adds an opening that is earlier than those found of its session in this shard.
fn prepend(found: &mut Found, session: SessionId, time: u64, opening: SessionOpening) {
    match found.get_mut(&session) {
        Some((_, later)) => amend_earlier(later, opening),
        None => drop(found.insert(session, (time, opening))),
    }
}

fn amend_earlier(later: &mut SessionOpening, mut earlier: SessionOpening) {
    earlier.amend(std::mem::take(later));
    *later = earlier;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(json: &str) -> SessionOpening {
        SessionOpening::parse(json.as_bytes())
    }

    #[test]
    fn openings_are_read_whatever_their_other_fields_hold() {
        let read = opening(r#"{"type":"session.open","name":"a","model":7,"format":"sse"}"#);
        assert_eq!(read, SessionOpening { name: Some("a".into()), model: None, format: Some("sse".into()) });
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
        assert_eq!((known.format, known.model.as_deref()), (None, Some("m")));
    }
}
