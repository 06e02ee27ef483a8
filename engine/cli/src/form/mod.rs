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
use crate::human;
use crate::message;
use crate::output;
use crate::recorded::Recorded;
use crate::select::{AsksFor, Selection};

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
    shown: Shown,
}

/// An account of what was printed.
#[derive(Debug, Default)]
struct Shown {
    /// Bytes.
    bytes: u64,
    /// Events that were given to be printed, without those about sessions.
    events: u64,
    /// Events about sessions.
    changes: u64,
}

impl Printer {
    /// A printer of the events of a log in one form.
    pub(crate) fn new(format: OutputFormat, log: &Path) -> Self {
        Self { format, names: HashMap::new(), lines: Lines::new(), frames: Frames::of(log), shown: Shown::default() }
    }

    /// Prints one event. Events about sessions, which the bus itself writes, are printed as `jsonl` only.
    pub(crate) fn print(&mut self, out: &mut impl Write, event: &StoredEvent) -> io::Result<()> {
        if event.kind == kinds::SESSION {
            self.learn(event);
            self.shown.changes += 1;
            if self.format != OutputFormat::Jsonl {
                return Ok(());
            }
        } else {
            self.shown.events += 1;
        }
        let mut out = Counted { out, bytes: &mut self.shown.bytes };
        let name = self.names.get(&event.session).map(String::as_str);
        match self.format {
            OutputFormat::Raw => out.write_all(&event.raw),
            OutputFormat::Jsonl => self.lines.write(&mut out, event, name),
            OutputFormat::Sse => self.frames.write(&mut out, event),
            OutputFormat::Text => text(&mut out, event, name),
        }
    }

    /// Says why nothing was printed of events that are selected, if so.
    pub(crate) fn report_nothing(&self, selection: &Selection) {
        let Shown { bytes, events, changes } = self.shown;
        let (some, changed) = (human::some(events, "event"), human::some(changes, "event"));
        match (bytes, events, changes) {
            (0, 0, 1..) if selection.kind.contains(&kinds::SESSION) => message::note(format_args!(
                "nothing is printed: {changed} of kind session, which --format jsonl alone prints"
            )),
            (0, 1.., _) if self.format == OutputFormat::Sse => {
                message::note(format_args!(
                    "nothing is printed: {some}, and no whole server-sent event in what was recorded"
                ));
            }
            (0, 1.., _) => message::note(format_args!("nothing is printed: {some}, with empty payloads")),
            _ => {}
        }
    }

    /// Prints what is left where nothing follows, and says what was left out.
    pub(crate) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.frames.finish(&mut Counted { out, bytes: &mut self.shown.bytes })
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
}

/// Prints one line to read; `name` is that of the event's session.
fn text(out: &mut impl Write, event: &StoredEvent, name: Option<&str>) -> io::Result<()> {
    let payload = String::from_utf8_lossy(&event.raw);
    writeln!(
        out,
        "{}  {}  {}  {}",
        output::time(event.insertion_ts),
        output::session(name, event.session),
        output::kind(event.kind),
        output::printable(payload.trim_end_matches(['\r', '\n'])),
    )
}

/// An output whose bytes are counted.
struct Counted<'a, W> {
    out: &'a mut W,
    bytes: &'a mut u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        *self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
