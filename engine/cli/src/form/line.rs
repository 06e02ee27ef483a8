//! An event as one JSON object on a line, with all that is known of it. Two to three hundred nanoseconds an event.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::io::{self, Write};

use tapeline_reader::{LogId, SessionId, SessionOpening, StoredEvent, kinds};

use super::payload::Form;
use crate::output;

const SECOND_NS: u64 = 1_000_000_000;

/// Sessions whose text is remembered.
const SESSIONS_MAX: usize = 4096;

/// Writes lines. What they have in common from one to the next is written once.
#[derive(Debug)]
pub(super) struct Lines {
    /// True if each line has the event's id, which names the log.
    has_id: bool,
    buffer: Vec<u8>,
    log: Option<(LogId, String)>,
    /// A second since 1970, and its text up to the fraction.
    second: Option<(u64, String)>,
    /// True if a session had a name, and what its lines say of it.
    sessions: HashMap<SessionId, (bool, String)>,
    /// The openings that the next lines of their sessions are to have.
    openings: HashMap<SessionId, String>,
}

impl Lines {
    /// Lines with the ids of their events.
    pub(super) fn new() -> Self {
        Self {
            has_id: true,
            buffer: Vec::new(),
            log: None,
            second: None,
            sessions: HashMap::new(),
            openings: HashMap::new(),
        }
    }

    /// Lines without ids.
    pub(super) fn without_ids() -> Self {
        Self { has_id: false, ..Self::new() }
    }

    /// The session was opened as this before its next line. Names are in each.
    pub(super) fn open(&mut self, session: SessionId, opening: &SessionOpening) {
        let mut rest = opening.clone();
        rest.name = None;
        if rest != SessionOpening::default() {
            self.openings.insert(session, rest.payload());
        }
    }

    /// Writes the event's line; `name` is that of its session.
    pub(super) fn write(&mut self, out: &mut impl Write, event: &StoredEvent, name: Option<&str>) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.push(b'{');
        if self.has_id {
            self.id(event);
        }
        self.number(b"\"shard\":", event.shard_id);
        self.number(b",\"sequence\":", event.sequence.get());
        self.number(b",\"timestamp\":", event.insertion_ts);
        self.time(event.insertion_ts);
        self.session(event.session, name)?;
        self.kind(event);
        if !self.openings.is_empty()
            && let Some(opening) = self.openings.remove(&event.session)
        {
            self.buffer.extend_from_slice(b",\"opened\":");
            self.buffer.extend_from_slice(opening.as_bytes());
        }
        self.payload(&event.raw)?;
        self.buffer.extend_from_slice(b"}\n");
        out.write_all(&self.buffer)
    }

    fn id(&mut self, event: &StoredEvent) {
        let log = match &self.log {
            Some((known, text)) if *known == event.id.log => text,
            _ => &self.log.insert((event.id.log, format!("\"id\":\"{}-", event.id.log))).1,
        };
        self.buffer.extend_from_slice(log.as_bytes());
        self.number(b"", event.shard_id);
        self.number(b"-", event.sequence.get());
        self.buffer.extend_from_slice(b"\",");
    }

    fn number(&mut self, name: &[u8], number: impl itoa::Integer) {
        self.buffer.extend_from_slice(name);
        self.buffer.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn time(&mut self, timestamp: u64) {
        let (second, fraction) = (timestamp / SECOND_NS, timestamp % SECOND_NS);
        let text = match &self.second {
            Some((known, text)) if *known == second => text,
            _ => {
                let whole = output::time(second * SECOND_NS);
                let text = whole.split('.').next().unwrap_or_default().to_owned();
                &self.second.insert((second, text)).1
            }
        };
        self.buffer.extend_from_slice(b",\"time\":\"");
        self.buffer.extend_from_slice(text.as_bytes());
        // A one in front keeps the leading zeros.
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(fraction + SECOND_NS);
        self.buffer.push(b'.');
        self.buffer.extend_from_slice(&digits.as_bytes()[1..]);
        self.buffer.push(b'Z');
    }

    fn session(&mut self, session: SessionId, name: Option<&str>) -> io::Result<()> {
        if let Some((_, text)) = self.sessions.get(&session).filter(|(is_named, _)| *is_named == name.is_some()) {
            self.buffer.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let text = format!("\",\"session\":{},\"session_id\":\"{session}\",\"kind\":\"", serde_json::to_string(&name)?);
        self.buffer.extend_from_slice(text.as_bytes());
        if self.sessions.len() >= SESSIONS_MAX {
            self.sessions.clear();
        }
        self.sessions.insert(session, (name.is_some(), text));
        Ok(())
    }

    fn kind(&mut self, event: &StoredEvent) {
        match kinds::name(event.kind) {
            Some(name) => self.buffer.extend_from_slice(name.as_bytes()),
            None => self.number(b"", event.kind.0),
        }
        self.buffer.push(b'"');
    }

    fn payload(&mut self, payload: &[u8]) -> io::Result<()> {
        match Form::of(payload) {
            Form::Json { value, end } => {
                self.buffer.extend_from_slice(b",\"payload\":");
                self.buffer.extend_from_slice(value.as_bytes());
                match end {
                    "" => {}
                    "\n" => self.buffer.extend_from_slice(b",\"payload_end\":\"\\n\""),
                    _ => {
                        self.buffer.extend_from_slice(b",\"payload_end\":");
                        serde_json::to_writer(&mut self.buffer, end)?;
                    }
                }
            }
            Form::Text(text) => {
                self.buffer.extend_from_slice(b",\"payload_text\":");
                serde_json::to_writer(&mut self.buffer, text)?;
            }
            Form::Bytes(bytes) => {
                write!(self.buffer, ",\"payload_base64\":\"{}\"", STANDARD.encode(bytes))?;
            }
        }
        Ok(())
    }
}
