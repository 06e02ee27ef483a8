//! The forms an event is printed in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tapeline::{EventId, SessionId, StoredEvent, kinds};

use super::args::OutputFormat;
use crate::output;

/// An event as `jsonl` prints it. One of the three payload fields is there.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: EventId,
    shard: u16,
    sequence: u64,
    timestamp: u64,
    time: String,
    session: Option<&'a str>,
    session_id: String,
    kind: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// What an event that opens a session says.
#[derive(Debug, Deserialize)]
struct Opening {
    name: Option<String>,
}

/// Prints events, and learns the names of sessions from the events that open them.
#[derive(Debug)]
pub(crate) struct Printer {
    format: OutputFormat,
    names: HashMap<SessionId, String>,
}

impl Printer {
    /// A printer of one form.
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self { format, names: HashMap::new() }
    }

    /// Prints one event. Events about sessions, which the bus itself writes, are printed as `jsonl` only.
    pub(crate) fn print(&mut self, out: &mut impl Write, event: &StoredEvent) -> io::Result<()> {
        if event.kind == kinds::SESSION {
            self.learn(event);
            if self.format != OutputFormat::Jsonl {
                return Ok(());
            }
        }
        match self.format {
            OutputFormat::Raw => out.write_all(&event.raw),
            OutputFormat::Jsonl => self.jsonl(out, event),
            OutputFormat::Text => self.text(out, event),
        }
    }

    /// Whether the name of a session is known.
    pub(crate) fn knows(&self, session: SessionId) -> bool {
        self.names.contains_key(&session)
    }

    /// The session is called so.
    pub(crate) fn name(&mut self, session: SessionId, name: String) {
        self.names.insert(session, name);
    }

    /// Learns the name of a session from an event that opens it.
    pub(crate) fn learn(&mut self, event: &StoredEvent) {
        // Any producer may write an event of this kind: one that names no session is none of this printer's business.
        if let Ok(Opening { name: Some(name) }) = serde_json::from_slice(&event.raw) {
            self.names.insert(event.session, name);
        }
    }

    fn text(&self, out: &mut impl Write, event: &StoredEvent) -> io::Result<()> {
        let payload = String::from_utf8_lossy(&event.raw);
        writeln!(
            out,
            "{}  {}  {}  {}",
            output::time(event.insertion_ts),
            output::session(self.names.get(&event.session).map(String::as_str), event.session),
            output::kind(event.kind),
            output::printable(payload.trim_end_matches(['\r', '\n'])),
        )
    }

    fn jsonl(&self, out: &mut impl Write, event: &StoredEvent) -> io::Result<()> {
        let text = str::from_utf8(&event.raw).ok();
        let flat = text.map(flattened);
        let payload = flat.as_deref().and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        let payload_text = if payload.is_none() { text } else { None };
        let payload_base64 = if text.is_none() { Some(STANDARD.encode(&event.raw[..])) } else { None };
        let line = Line {
            id: event.id,
            shard: event.shard_id,
            sequence: event.sequence.get(),
            timestamp: event.insertion_ts,
            time: output::time(event.insertion_ts),
            session: self.names.get(&event.session).map(String::as_str),
            session_id: event.session.to_string(),
            kind: output::kind(event.kind),
            payload,
            payload_text,
            payload_base64,
        };
        output::json(out, &line)
    }
}

/// JSON on one line. Between the tokens of JSON a line end is as good as a space, and within them there is none.
fn flattened(json: &str) -> Cow<'_, str> {
    let json = json.trim_matches([' ', '\t', '\r', '\n']);
    if json.contains(['\r', '\n']) { Cow::Owned(json.replace(['\r', '\n'], " ")) } else { Cow::Borrowed(json) }
}
