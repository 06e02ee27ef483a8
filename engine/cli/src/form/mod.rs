//! The forms an event is printed in.

mod line;
pub(crate) mod payload;
mod sse;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use clap::ValueEnum;
use tapeline_reader::{SessionId, SessionOpening, StoredEvent, kinds};

use self::line::Lines;
use self::sse::Frames;
use crate::output;
use crate::recorded::Recorded;
use crate::select::AsksFor;

/// The form in which an event is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// The payload bytes as recorded, nothing else
    Raw,
    /// One JSON object a line, with all that is known of the event
    Jsonl,
    /// Server-sent events; those that were recorded as such stand as they are
    Sse,
    /// One line to read: time, session, kind, payload
    Text,
}

impl OutputFormat {
    /// True if what is printed says what sessions are called.
    pub(crate) fn has_names(self) -> bool {
        matches!(self, Self::Jsonl | Self::Text)
    }

    /// The openings that a printer of this form has to know: sessions that were recorded as server-sent events are
    /// printed as such.
    pub(crate) fn asks_for(self) -> AsksFor {
        if self == Self::Sse { AsksFor::Openings } else { AsksFor::Events }
    }
}

/// Prints events, and learns the names of sessions from the events that open them.
#[derive(Debug)]
pub(crate) struct Printer {
    format: OutputFormat,
    names: HashMap<SessionId, String>,
    lines: Lines,
    frames: Frames,
}

impl Printer {
    /// A printer of the events of a log in one form.
    pub(crate) fn new(format: OutputFormat, log: &Path) -> Self {
        Self { format, names: HashMap::new(), lines: Lines::new(), frames: Frames::of(log) }
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
            OutputFormat::Jsonl => self.lines.write(out, event, self.names.get(&event.session).map(String::as_str)),
            OutputFormat::Sse => self.frames.write(out, event),
            OutputFormat::Text => self.text(out, event),
        }
    }

    /// Prints what is left where nothing follows, and says what was left out.
    pub(crate) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.frames.finish(out)
    }

    /// A printer of what is exported: lines do not name the log, so that a log put back is exported to the same lines.
    pub(crate) fn for_export(format: OutputFormat, log: &Path) -> Self {
        Self { lines: Lines::without_ids(), ..Self::new(format, log) }
    }

    /// Learns what there is to learn of an event that is not printed.
    pub(crate) fn meet(&mut self, event: &StoredEvent) {
        if event.kind == kinds::SESSION {
            self.learn(event);
        }
    }

    /// The name of a session, if it is known.
    pub(crate) fn name_of(&self, session: SessionId) -> Option<&str> {
        self.names.get(&session).map(String::as_str)
    }

    /// True if the name of a session is known.
    pub(crate) fn knows(&self, session: SessionId) -> bool {
        self.names.contains_key(&session)
    }

    /// The session is called so.
    pub(crate) fn name(&mut self, session: SessionId, name: String) {
        self.names.insert(session, name);
    }

    /// Learns the name of a session from an event that opens it.
    pub(crate) fn learn(&mut self, event: &StoredEvent) {
        self.open_at(event.session, SessionOpening::parse(&event.raw), Some(event));
    }

    /// Learns what a session was opened as before the events that come.
    pub(crate) fn open(&mut self, session: SessionId, opening: SessionOpening) {
        self.open_at(session, opening, None);
    }

    fn open_at(&mut self, session: SessionId, opening: SessionOpening, event: Option<&StoredEvent>) {
        let recorded = Recorded::of(&opening);
        if let Some(name) = opening.name {
            self.names.insert(session, name);
            self.frames.open(session, recorded, event);
        }
    }

    /// Learns what a session was opened as before its first event that is printed. A line says it, too.
    pub(crate) fn open_before(&mut self, session: SessionId, opening: SessionOpening) {
        self.lines.open(session, &opening);
        self.open(session, opening);
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
}
