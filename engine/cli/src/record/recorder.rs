//! Puts the events of one source after the other into a bus.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use serde_json::json;
use tapeline::event::Kind;
use tapeline::sse::FrameEnds;
use tapeline::{IngestionError, Producer, Session, Ticket, kinds};
use tapeline_reader::{SessionId, advice};

use super::args::{InputFormat, OnBad};
use super::ending::Ending;
use super::field;
use super::jsonl::Lines;
use super::ledger::{Entry, Ledger, What};
use super::raw::Chunks;
use super::source::{self, Input, Source};
use super::split::{Cutter, Extent, Limit, Piece, SplitError, Splitter};
use super::summary::Counts;
use super::tally::{Oddity, Tally};
use crate::cut_off;
use crate::exit::{Exit, Failure};
use crate::memory;
use crate::output;
use crate::progress::Progress;
use crate::recorded::Recorded;

/// The time for which an event waits for room in its lane before the shard is asked what keeps it.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The source of an event's session name.
#[derive(Debug)]
pub(super) enum Naming {
    /// All events are of this one.
    Fixed(String),
    /// A field of the event.
    Field(String),
    /// The stem of the file.
    Stem,
}

/// The treatment of a source's bytes.
#[derive(Debug)]
pub(super) struct Plan {
    /// The end of an event.
    pub(super) format: InputFormat,
    /// The session that it belongs to.
    pub(super) naming: Naming,
    /// The treatment of input that cannot be recorded as it should be.
    pub(super) on_bad: OnBad,
}

/// The reason why a recording ends before its sources do.
#[derive(Debug)]
pub(super) enum Stop {
    /// A signal asks for it.
    Interrupted,
    /// Something failed.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The one producer of a recording.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    producer: Producer,
    plan: Plan,
    /// Sessions opened by this recording. One entry each, for as long as it lasts.
    sessions: HashMap<String, Session>,
    ending: &'a Ending,
    progress: &'a Progress,
    ledger: Ledger,
    tally: Tally,
}

impl<'a> Recorder<'a> {
    /// A recorder that has recorded nothing.
    pub(super) fn new(producer: Producer, plan: Plan, ending: &'a Ending, progress: &'a Progress) -> Self {
        let (sessions, ledger, tally) = (HashMap::new(), Ledger::default(), Tally::default());
        Self { producer, plan, sessions, ending, progress, ledger, tally }
    }

    /// The records that the bus has accepted, all of which are durable.
    pub(super) fn counts(&self) -> Counts {
        self.ledger.accepted()
    }

    /// The records of it that are in the log, where each shard has so many records of this recording; and the place of
    /// the first event that is not, `FILE:LINE`.
    pub(super) fn stored(&self, records: &HashMap<u16, u64>, sources: &[Source]) -> (Counts, Option<String>) {
        let (counts, lost) = self.ledger.stored(records);
        (counts, lost.and_then(|(source, line)| Some(format!("{}:{line}", sources.get(source)?.name()))))
    }

    /// The oddities that it met.
    pub(super) fn tally(&self) -> Tally {
        self.tally.clone()
    }

    /// Notes in sessions that the log's last writer was killed before they came to an end.
    ///
    /// # Errors
    /// As [`Recorder::record_all`].
    pub(super) fn note_cut_off(&mut self, sessions: &[SessionId]) -> Result<(), Stop> {
        for id in sessions {
            self.ledger.reserve().map_err(|error| Failure::failed(format_args!("{error}{}", advice(&error))))?;
            let session = self.producer.session(*id);
            let noted = self.ingest(session, kinds::SESSION, cut_off::NOTE.as_bytes())?;
            let ticket = noted.map_err(|error| Failure::failed(format_args!("session {id}: {error}")))?;
            self.ledger.add(Entry { ticket, what: What::Opening { is_new: false } }, &self.producer);
        }
        Ok(())
    }

    /// Records the sources to their ends. A session of one that is not recorded to its end gets a note of that.
    ///
    /// # Errors
    /// [`Stop`]; what was recorded before stays recorded and counted.
    pub(super) fn record_all(&mut self, sources: &[Source]) -> Result<(), Stop> {
        for (number, source) in sources.iter().enumerate() {
            self.ledger.begin(number);
            if let Err(stop) = self.record(source) {
                let sessions = self.sessions_of(source);
                // Where there is no room for the note, the stop says what is lost.
                let _ = self.note_cut_off(&sessions);
                return Err(stop);
            }
        }
        Ok(())
    }

    /// The sessions that a source may have events of.
    fn sessions_of(&self, source: &Source) -> Vec<SessionId> {
        let named = |name: &str| self.sessions.get(name).map(|session| session.id()).into_iter().collect();
        match &self.plan.naming {
            Naming::Fixed(name) => named(name),
            Naming::Stem => named(&source.stem()),
            Naming::Field(_) => self.sessions.values().map(|session| session.id()).collect(),
        }
    }

    fn record(&mut self, source: &Source) -> Result<(), Stop> {
        match self.plan.format {
            InputFormat::Jsonl => self.record_cut(source, Lines::default()),
            InputFormat::Sse => self.record_cut(source, FrameEnds::default()),
            InputFormat::Raw => self.record_cut(source, Chunks),
        }
    }

    fn record_cut(&mut self, source: &Source, cut: impl Cutter) -> Result<(), Stop> {
        // A source that names its session opens it even when it turns out to hold no event.
        let whole = match &self.plan.naming {
            Naming::Fixed(name) => Some(name.clone()),
            Naming::Stem => Some(source.stem()),
            Naming::Field(_) => None,
        };
        let mut session = whole.map(|name| self.session(name)).transpose()?;
        let is_fixed = session.is_some();
        let file = source.open()?;
        let is_pipe = source::is_pipe(&file);
        self.ending.drain(is_pipe);
        let input = Input::new(file, self.ending, self.progress);
        // Bytes that were read from a pipe have no other copy: a signal that ends the recording at once leaves them in
        // the log.
        let input = if is_pipe { input.ending_at_signals() } else { input };
        let limit = Limit { bytes_max: self.producer.payload_bytes_max(), on_bad: self.plan.on_bad };
        let mut pieces = Splitter::new(input, cut, limit);
        while let Some(piece) = pieces.next().map_err(|error| stopped_by(error, source, limit))? {
            match piece.extent {
                Extent::Whole | Extent::Later => {}
                Extent::First => {
                    self.tally.count(Oddity::KeptInParts, || place(source, piece.line, &too_long(limit.bytes_max)))
                }
                Extent::Skipped => {
                    self.tally.count(Oddity::Skipped, || place(source, piece.line, &too_long(limit.bytes_max)));
                    continue;
                }
            }
            // The parts of an event are of the session of the first.
            if !is_fixed && piece.extent != Extent::Later {
                session = self.session_of(piece, source)?;
            }
            if let Some(session) = session {
                self.emit(session, piece, source)?;
            }
        }
        if self.ending.is_asked() { Err(Stop::Interrupted) } else { Ok(()) }
    }

    /// The session of a line, by the field that names it; `None`: the line is left out.
    fn session_of(&mut self, piece: Piece<'_>, source: &Source) -> Result<Option<Session>, Stop> {
        let Naming::Field(name) = &self.plan.naming else { return Ok(None) };
        let named = match piece.extent {
            Extent::First => field::session_name_of_beginning(piece.bytes, name)
                .ok_or_else(|| format!("its beginning has no field {name:?}")),
            _ if field::is_blank(piece.bytes) => {
                self.tally.blank_line();
                return Ok(None);
            }
            _ => field::session_name(piece.bytes, name),
        };
        match (named, self.plan.on_bad) {
            (Ok(name), _) => self.session(name).map(Some),
            (Err(why), OnBad::Keep) => {
                self.tally.count(Oddity::KeptWithoutSession, || place(source, piece.line, &why));
                self.session(source.stem()).map(Some)
            }
            (Err(why), OnBad::Skip) => {
                self.tally.count(Oddity::Skipped, || place(source, piece.line, &why));
                Ok(None)
            }
            (Err(why), OnBad::Stop) => Err(refused(source, piece.line, &why)),
        }
    }

    /// The session of a name, opened in the log the first time it is met, and for each stream of frames.
    fn session(&mut self, name: String) -> Result<Session, Stop> {
        let known = self.sessions.get(&name).copied();
        if let Some(session) = known.filter(|_| self.plan.format != InputFormat::Sse) {
            return Ok(session);
        }
        let session = self.producer.session(name.as_str());
        let opening = self.opening(&name);
        let no_room = |error: io::Error| Failure::failed(format_args!("session {name:?}: {error}{}", advice(&error)));
        self.ledger.reserve().map_err(no_room)?;
        self.sessions.try_reserve(1).map_err(|_| no_room(io::Error::from_raw_os_error(libc::ENOMEM)))?;
        let opened = self.ingest(session, kinds::SESSION, opening.as_bytes());
        let ticket = opened?.map_err(|error| Failure::failed(format_args!("session {name:?}: {error}")))?;
        self.ledger.add(Entry { ticket, what: What::Opening { is_new: known.is_none() } }, &self.producer);
        self.sessions.insert(name, session);
        Ok(session)
    }

    /// The event that opens a session. Readers must know the form of its events: a payload alone does not always say
    /// it.
    fn opening(&self, name: &str) -> String {
        let format = match self.plan.format {
            InputFormat::Sse => Recorded::Frames,
            InputFormat::Jsonl => Recorded::Lines,
            InputFormat::Raw => Recorded::Bytes,
        };
        json!({ "type": "session.open", "name": name, "format": format.name() }).to_string()
    }

    fn emit(&mut self, session: Session, piece: Piece<'_>, source: &Source) -> Result<(), Stop> {
        if memory::is_short() {
            let none = io::Error::from_raw_os_error(libc::ENOMEM);
            return Err(no_memory(source, piece.line, &none).into());
        }
        self.ledger.reserve().map_err(|error| no_memory(source, piece.line, &error))?;
        let kind = if piece.extent == Extent::Later { kinds::PART } else { kinds::UNSPECIFIED };
        let ingested = self.ingest(session, kind, piece.bytes)?;
        let ticket = ingested.map_err(|error| at(source, piece.line, error))?;
        let what = What::Event { line: piece.line, bytes: piece.bytes.len() };
        self.ledger.add(Entry { ticket, what }, &self.producer);
        Ok(())
    }

    /// Puts an event into the bus, waiting for as long as the disk takes to make space. A shard that is held up by
    /// something else for long says so.
    fn ingest(&mut self, session: Session, kind: Kind, payload: &[u8]) -> Result<Result<Ticket, IngestionError>, Stop> {
        let mut waits_since = None;
        loop {
            match self.producer.emit(session, kind, payload) {
                Err(IngestionError::Backpressure { .. } | IngestionError::EventBudget { .. })
                    if self.ending.is_due()? =>
                {
                    return Err(Stop::Interrupted);
                }
                Err(IngestionError::Backpressure { .. } | IngestionError::EventBudget { .. }) => {
                    if waits_since.get_or_insert_with(Instant::now).elapsed() > WAIT_MAX {
                        pollster::block_on(self.producer.flush()).map_err(Failure::from)?;
                        waits_since = None;
                    }
                }
                ingested => return Ok(ingested),
            }
        }
    }
}

fn too_long(bytes_max: usize) -> String {
    format!("longer than {bytes_max} bytes, the most that an event of this log has")
}

fn stopped_by(error: SplitError, source: &Source, limit: Limit) -> Stop {
    match error {
        SplitError::Read(error) if error.kind() == io::ErrorKind::Interrupted => Stop::Interrupted,
        SplitError::Read(error) => Failure::failed(format_args!("{}: {error}{}", source.name(), advice(&error))).into(),
        SplitError::TooLong { line } => refused(source, line, &too_long(limit.bytes_max)),
    }
}

/// An event that only `--on-bad` lets pass.
fn refused(source: &Source, line: u64, why: &str) -> Stop {
    at(source, line, format_args!("{why}; --on-bad keep or skip goes on")).into()
}

fn at(source: &Source, line: u64, error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format_args!("{}:{line}: {error}", source.name()))
}

/// The failure for a piece that has no room in memory.
fn no_memory(source: &Source, line: u64, error: &io::Error) -> Failure {
    at(source, line, format_args!("{error}{}; the events before this one are recorded", advice(error)))
}

fn place(source: &Source, line: u64, why: &str) -> String {
    output::printable(&format!("{}:{line}: {why}", source.name()))
}
