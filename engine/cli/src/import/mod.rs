//! `tapeline import`: a new log of what `tapeline export` wrote, or of what a backend has.

mod args;
mod line;
mod stored;

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};

use serde::Serialize;
use tapeline_reader::{
    AdapterError, LogRestore, RestoreError, RestoredEvent, Sequence, SessionId, SessionOpening, StoredEvent, advice,
    kinds,
};

pub(crate) use self::args::ImportArgs;
use self::line::Line;
use self::stored::StoredLog;
use crate::exit::{Exit, Failure, check_no_log_around};
use crate::human;
use crate::message;
use crate::output;
use crate::progress::Progress;
use crate::record::{Ending, Input, Source};
use crate::signal::Interrupt;
use crate::stdout;

/// The longest line: that of the largest payload, each byte of it escaped.
const LINE_BYTES_MAX: u64 = 512 << 20;

/// The mark that editors and shells of other systems put before a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Most shards of a log that is imported. Each takes a directory, whatever one line says.
const SHARDS_MAX: u16 = 512;

/// The summary of an import, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Summary {
    events: u64,
    bytes: u64,
    /// Sequences between the events that were not imported.
    missing: u64,
    log: String,
    interrupted: bool,
}

/// The reason why an import ends before its files do.
enum Stop {
    Interrupted,
    Failed(Failure),
}

/// Imports what the command line names.
pub(crate) fn run(args: &ImportArgs) -> Result<Exit, Failure> {
    if args.from.is_some() || args.from_file.is_some() {
        let interrupt = Interrupt::catch().map_err(|error| Failure::failed(format_args!("signals: {error}")))?;
        let stored = StoredLog::find(&args.backend()?, args.log)?;
        return import(args, &Progress::events(None), |importer, progress| {
            stored.import(importer, &interrupt, progress)
        });
    }
    let (sources, bytes) = Source::all(&args.files)?;
    let ending = Ending::catch()?;
    import(args, &Progress::new(bytes), |importer, progress| {
        sources.iter().try_for_each(|source| importer.import(source, &ending, progress))
    })
}

/// Imports by `work`. Whatever ends it, what was imported until then is made durable and counted; if that is nothing,
/// no log is left.
fn import(
    args: &ImportArgs,
    progress: &Progress,
    work: impl FnOnce(&mut Importer, &Progress) -> Result<(), Stop>,
) -> Result<Exit, Failure> {
    check_no_log_around(&args.directory)?;
    let restore = LogRestore::create(&args.directory, args.segment_bytes)
        .map_err(|error| Failure::of_written_log(&args.directory, error))?;
    let log = restore.log_id().to_string();
    let (numbers, ends, opened) = (args.renumber.then(HashMap::new), HashMap::new(), HashSet::new());
    let mut importer = Importer { restore, numbers, ends, missing: 0, opened, events: 0, bytes: 0 };
    let outcome = work(&mut importer, progress);
    progress.clear();
    let Importer { restore, missing, events, bytes, .. } = importer;
    match (&outcome, events) {
        // There is no log yet, and the next attempt may make it.
        (Err(_), 0) => drop(restore),
        _ => restore.finish()?,
    }
    let interrupted = matches!(outcome, Err(Stop::Interrupted));
    if outcome.is_ok() || events > 0 {
        report(&Summary { events, bytes, missing, log, interrupted }, args.json)?;
    }
    match outcome {
        Ok(()) => Ok(Exit::Done),
        Err(Stop::Interrupted) => Ok(Exit::Interrupted),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn report(summary: &Summary, json: bool) -> io::Result<()> {
    if json {
        let mut out = stdout::buffered();
        output::json(&mut out, summary)?;
        return out.flush();
    }
    let (events, bytes) = (human::some(summary.events, "event"), human::bytes(summary.bytes));
    message::labelled(&message::style().good("imported"), format_args!("{events}, {bytes}, durable"));
    if summary.missing > 0 {
        let missing = human::some(summary.missing, "sequence");
        message::note(format_args!(
            "{missing} between them were not imported: readers get gaps there, and status 4; --renumber gives the events \
             sequences of their own"
        ));
    }
    Ok(())
}

struct Importer {
    restore: LogRestore,
    /// The next sequence of each shard, where events are numbered anew.
    numbers: Option<HashMap<u16, Sequence>>,
    /// The sequence after the last event of each shard.
    ends: HashMap<u16, Sequence>,
    /// Sequences between events that were not imported.
    missing: u64,
    /// Sessions whose openings are known to the log: 16 bytes each.
    opened: HashSet<SessionId>,
    events: u64,
    bytes: u64,
}

impl Importer {
    fn import(&mut self, source: &Source, ending: &Ending, progress: &Progress) -> Result<(), Stop> {
        // A reader of lines goes on after an interruption, and would for ever.
        let input = Input::new(source.open()?, ending, progress).ending_at_signals();
        let mut input = BufReader::with_capacity(1 << 20, input);
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            let read = input.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
            if ending.is_asked() {
                return Err(Stop::Interrupted);
            }
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(at(source, number, format_args!("{error}{}", advice(&error)))),
            }
            let line = if number == 1 { line.trim_start_matches(BYTE_ORDER_MARK) } else { &line };
            if !line.trim_ascii().is_empty() {
                self.take(line).map_err(|error| at(source, number, error))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let line = Line::parse(line)?;
        let payload = line.payload()?;
        let event = RestoredEvent {
            shard_id: line.shard,
            sequence: Sequence::new(line.sequence),
            insertion_ts: line.timestamp,
            session: line.session()?,
            kind: line.kind()?,
            payload: &payload,
        };
        self.append(event)?;
        let opens_itself = event.kind == kinds::SESSION && SessionOpening::parse(&payload).name.is_some();
        if event.session != SessionId::NONE && self.opened.insert(event.session) && !opens_itself {
            // The event that did was trimmed, or not exported.
            self.restore.open_session(event.session, line.opening());
        }
        Ok(())
    }

    /// Takes an event of a backend.
    fn take_stored(&mut self, event: &StoredEvent) -> Result<(), String> {
        let StoredEvent { shard_id, sequence, insertion_ts, session, kind, .. } = *event;
        self.append(RestoredEvent { shard_id, sequence, insertion_ts, session, kind, payload: &event.raw })?;
        // The event that opened the session may be one that the relay left out.
        if let Some(name) = event.session_name()
            && self.opened.insert(session)
            && kind != kinds::SESSION
        {
            let mut opening = SessionOpening::default();
            opening.name = Some(name.to_owned());
            self.restore.open_session(session, opening);
        }
        Ok(())
    }

    /// Appends an event to its shard, numbered anew where that was asked for.
    fn append(&mut self, event: RestoredEvent<'_>) -> Result<(), String> {
        let shard = event.shard_id;
        if shard >= SHARDS_MAX {
            return Err(format!("shard {shard}: a log that is imported has shards 0 to {}", SHARDS_MAX - 1));
        }
        let sequence = match &mut self.numbers {
            None => event.sequence,
            Some(numbers) => {
                let next = numbers.entry(shard).or_insert(Sequence::ZERO);
                std::mem::replace(next, next.plus(1))
            }
        };
        let is_numbered_anew = self.numbers.is_some();
        self.restore.append(&RestoredEvent { sequence, ..event }).map_err(|error| match error {
            AdapterError::Restore { source: RestoreError::Order { .. }, .. } if !is_numbered_anew => {
                format!("{error}; --renumber gives the events sequences of their own")
            }
            error => error.to_string(),
        })?;
        if let Some(end) = self.ends.insert(shard, sequence.plus(1)) {
            self.missing += sequence.since(end.min(sequence));
        }
        (self.events, self.bytes) = (self.events + 1, self.bytes + event.payload.len() as u64);
        Ok(())
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn at(source: &Source, line: u64, error: impl std::fmt::Display) -> Stop {
    Stop::Failed(Failure::new(Exit::Failed, format_args!("{}:{line}: {error}", source.name())))
}
