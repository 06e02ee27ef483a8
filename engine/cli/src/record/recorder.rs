//! Puts the events of one source after the other into a bus.

use std::collections::HashMap;
use std::io;

use serde_json::json;
use tapeline::{IngestionError, Producer, Session, kinds};

use super::args::InputFormat;
use super::jsonl::{self, Lines};
use super::raw::Chunks;
use super::source::{Input, Source};
use super::split::{Cutter, Piece, SplitError, Splitter};
use super::summary::Counts;
use crate::exit::{Exit, Failure};
use crate::form::RECORDED_SSE;
use crate::progress::Progress;
use crate::signal::Interrupt;
use crate::sse::FrameEnds;

/// No log takes a larger payload. The bus knows the exact limit, just below this, and says so.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What names the session of an event.
#[derive(Debug)]
pub(super) enum Naming {
    /// All events are of this one.
    Fixed(String),
    /// A field of the event.
    Field(String),
    /// The stem of the file.
    Stem,
}

/// What becomes of the bytes of a source.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is one event.
    pub(super) format: InputFormat,
    /// The session that it belongs to.
    pub(super) naming: Naming,
}

/// Why a recording ends before its sources do.
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
    interrupt: &'a Interrupt,
    progress: &'a Progress,
    counts: Counts,
}

impl<'a> Recorder<'a> {
    /// A recorder that has recorded nothing.
    pub(super) fn new(producer: Producer, plan: Plan, interrupt: &'a Interrupt, progress: &'a Progress) -> Self {
        Self { producer, plan, sessions: HashMap::new(), interrupt, progress, counts: Counts::default() }
    }

    /// What the bus has accepted so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Records a source to its end.
    ///
    /// # Errors
    /// [`Stop`]; what was recorded before stays recorded and counted.
    pub(super) fn record(&mut self, source: &Source) -> Result<(), Stop> {
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
        let whole = whole.map(|name| self.session(name)).transpose()?;
        let input = Input::new(source.open()?, self.interrupt, self.progress);
        let mut pieces = Splitter::new(input, cut, EVENT_BYTES_MAX);
        while let Some(piece) = pieces.next().map_err(|error| stopped_by(error, source))? {
            let session = match whole {
                Some(session) => session,
                None => self.session_of(piece, source)?,
            };
            self.emit(session, piece, source)?;
        }
        Ok(())
    }

    fn session_of(&mut self, piece: Piece<'_>, source: &Source) -> Result<Session, Stop> {
        let Naming::Field(field) = &self.plan.naming else {
            return self.session(source.stem());
        };
        let name = jsonl::session_name(piece.bytes, field);
        self.session(name.map_err(|error| at(source, piece.line, error))?)
    }

    /// The session of a name, opened in the log the first time it is met.
    fn session(&mut self, name: String) -> Result<Session, Stop> {
        if let Some(&session) = self.sessions.get(&name) {
            return Ok(session);
        }
        let session = self.producer.session(name.as_str());
        let opening = self.opening(&name);
        loop {
            match self.producer.emit(session, kinds::SESSION, opening.as_bytes()) {
                Ok(_ticket) => break,
                Err(IngestionError::Backpressure { .. }) => self.check_interrupt()?,
                Err(error) => return Err(Failure::failed(format_args!("session {name:?}: {error}")).into()),
            }
        }
        self.counts.sessions += 1;
        self.sessions.insert(name, session);
        Ok(session)
    }

    /// The event that opens a session. Readers must know frames as such: a payload alone does not always say so.
    fn opening(&self, name: &str) -> String {
        let mut opening = json!({ "type": "session.open", "name": name });
        if self.plan.format == InputFormat::Sse {
            opening["format"] = RECORDED_SSE.into();
        }
        opening.to_string()
    }

    /// Puts an event into the bus, waiting for as long as the disk takes to make space.
    fn emit(&mut self, session: Session, piece: Piece<'_>, source: &Source) -> Result<(), Stop> {
        loop {
            match self.producer.emit(session, kinds::UNSPECIFIED, piece.bytes) {
                Ok(_ticket) => break,
                Err(IngestionError::Backpressure { .. }) => self.check_interrupt()?,
                Err(error) => return Err(at(source, piece.line, error).into()),
            }
        }
        self.counts.events += 1;
        self.counts.bytes += piece.bytes.len() as u64;
        Ok(())
    }

    fn check_interrupt(&self) -> Result<(), Stop> {
        match self.interrupt.is_pending() {
            Ok(false) => Ok(()),
            Ok(true) => Err(Stop::Interrupted),
            Err(error) => Err(Failure::failed(format_args!("waiting for signals: {error}")).into()),
        }
    }
}

fn stopped_by(error: SplitError, source: &Source) -> Stop {
    match error {
        SplitError::Read(error) if error.kind() == io::ErrorKind::Interrupted => Stop::Interrupted,
        SplitError::Read(error) => Failure::failed(format_args!("{}: {error}", source.name())).into(),
        SplitError::TooLong { line } => {
            at(source, line, format_args!("the event that starts here is longer than {EVENT_BYTES_MAX} bytes")).into()
        }
    }
}

fn at(source: &Source, line: u64, error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format_args!("{}:{line}: {error}", source.name()))
}
