//! `tapeline record`: files or standard input into a log, acknowledged when durable.

mod args;
mod ending;
mod field;
mod jsonl;
mod ledger;
mod raw;
mod recorder;
mod source;
mod split;
mod sse;
mod summary;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tapeline::config::Durability;
use tapeline::event::SESSION_NAME_BYTES_MAX;
use tapeline::log::Cut;
use tapeline::{BackpressureMode, EventBus, EventBusConfig, LogFiles};

pub(crate) use self::args::RecordArgs;
use self::args::{InputFormat, Level};
pub(crate) use self::ending::Ending;
use self::recorder::{Naming, Plan, Recorder, Stop};
pub(crate) use self::source::{Input, Source};
use self::summary::{Outcome, Summary};
use crate::cut_off;
use crate::exit::{Exit, Failure, check_no_log_around, open_log};
use crate::human;
use crate::message;
use crate::owner;
use crate::progress::Progress;

/// Longest time that one event waits for a full lane before the recorder looks for a signal and goes on waiting.
const PATIENCE: Duration = Duration::from_millis(200);

/// The memory budget of the bus: as much as its default, and enough for the blocks of each shard and a lane to it.
const MEMORY_BYTES: usize = 1 << 30;
const SHARD_MEMORY_BYTES: usize = 160 << 20;

/// Records what the command line names.
///
/// Whatever ends the recording (the end of the input, a signal, a line that cannot be taken), what was accepted until
/// then is made durable, counted and acknowledged.
pub(crate) fn run(args: &RecordArgs) -> Result<Exit, Failure> {
    let naming = naming(args)?;
    let (sources, bytes) = Source::all(&args.files)?;
    if matches!(naming, Naming::Stem) {
        refuse_equal_stems(&sources)?;
    }
    check_no_log_around(&args.directory)?;
    let config = config(args)?;
    // Before the bus starts its threads: they inherit what this holds back.
    let ending = Ending::catch()?;
    let cut_off = cut_off::sessions(&args.directory);
    let bus = open(&args.directory, config)?;
    let before = ends(bus.shard_stats().iter().map(|shard| (shard.shard_id, shard.events_appended)));
    let start = Instant::now();
    let progress = Progress::new(bytes);
    let plan = Plan { format: args.format, naming, on_bad: args.on_bad };
    let mut recorder = Recorder::new(bus.producer().map_err(Failure::failed)?, plan, &ending, &progress);
    let outcome = recorder.note_cut_off(&cut_off).and_then(|()| recorder.record_all(&sources));
    let flushed = pollster::block_on(bus.flush());
    let shut = match &flushed {
        Ok(()) => None,
        // Records that the disk had no room for stay unwritten from here on, so that it is known what was written.
        Err(_) => Some(pollster::block_on(bus.shutdown_via_ref())),
    };
    let (counts, lost) = match &flushed {
        Ok(()) => (recorder.counts(), None),
        Err(_) => recorder.stored(&added(&args.directory, &before)?, &sources),
    };
    let tally = recorder.tally();
    drop(recorder);
    drop(progress);
    let interrupted = matches!(outcome, Err(Stop::Interrupted));
    let said = Outcome { counts, tally, taken: start.elapsed(), interrupted };
    Summary::new(said, level(args.durability).to_string(), bus.log_id().to_string()).print(args.json)?;
    if let Err(error) = flushed {
        return Err(cut_short(Failure::from(error), lost));
    }
    // From here on a signal ends the program at once: all that was read is acknowledged.
    drop(ending);
    shut.unwrap_or_else(|| pollster::block_on(bus.shutdown()))?;
    exit_of(outcome)
}

/// Opens the bus, and says what it found.
fn open(directory: &Path, config: EventBusConfig) -> Result<EventBus, Failure> {
    owner::warn_of_another(directory);
    let bus = pollster::block_on(EventBus::new(config)).map_err(|error| Failure::of_written_log(directory, error))?;
    warn_of_ahead(&bus);
    report_cuts(&bus);
    Ok(bus)
}

/// The status of a recording that came to this end.
fn exit_of(outcome: Result<(), Stop>) -> Result<Exit, Failure> {
    match outcome {
        Ok(()) => Ok(Exit::Done),
        Err(Stop::Interrupted) => Ok(Exit::Interrupted),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// The highest end of each shard.
fn ends(ends: impl Iterator<Item = (u16, u64)>) -> HashMap<u16, u64> {
    let mut highest: HashMap<u16, u64> = HashMap::new();
    for (shard, end) in ends {
        let known = highest.entry(shard).or_default();
        *known = end.max(*known);
    }
    highest
}

/// Records that each shard of the log at rest has beyond those that it had `before`.
fn added(directory: &Path, before: &HashMap<u16, u64>) -> Result<HashMap<u16, u64>, Failure> {
    let log = open_log(directory)?;
    let now = ends(log.segments().iter().map(|segment| (segment.shard_id, segment.end.get())));
    let added = |(shard, end): (u16, u64)| (shard, end.saturating_sub(before.get(&shard).copied().unwrap_or(0)));
    Ok(now.into_iter().map(added).collect())
}

/// Not all of what was accepted could be written: says where to go on.
fn cut_short(failure: Failure, lost: Option<String>) -> Failure {
    match lost {
        Some(place) => Failure::new(failure.exit, format_args!("{failure}; go on from {place}")),
        None => failure,
    }
}

/// Warns of a log that is ahead of the clock: what is recorded now seems to be older.
fn warn_of_ahead(bus: &EventBus) {
    if let Some(ahead) = bus.log_ahead() {
        let days = ahead.as_secs() / (24 * 3600);
        let ahead = if days > 0 { human::some(days, "day") } else { format!("{} s", ahead.as_secs()) };
        message::note(format_args!(
            "warning: the log's last event is {ahead} ahead of the clock; what is recorded now has times of the clock"
        ));
    }
}

/// Says what an earlier writer left unfinished when it was killed: never acknowledged, and not in the log.
fn report_cuts(bus: &EventBus) {
    let cuts = bus.shard_stats().into_iter().map(|shard| (shard.shard_id, shard.cuts));
    for (shard, cuts) in cuts {
        for Cut { segment, offset, reason, large_events, .. } in cuts {
            let large = match large_events {
                0 => String::new(),
                some => format!(", with {}", human::some(some, "large event")),
            };
            message::plain(format_args!(
                "recovered shard {shard}: unfinished end of {segment} cut at offset {offset}{large}: {reason}"
            ));
        }
    }
}

fn config(args: &RecordArgs) -> Result<EventBusConfig, Failure> {
    // A log that cannot be read is refused by the bus, in better words.
    let known = || LogFiles::open(&args.directory).ok().map(|log| log.num_shards());
    let shards = args.shards.or_else(known).unwrap_or(1);
    let mut builder = EventBusConfig::builder()
        .directory(&args.directory)
        .durability(level(args.durability))
        .num_shards(shards)
        .memory_budget(MEMORY_BYTES.max(usize::from(shards) * SHARD_MEMORY_BYTES))
        .backpressure_mode(BackpressureMode::Block { deadline: PATIENCE });
    if let Some(bytes) = args.segment_bytes {
        builder = builder.segment_bytes(bytes);
    }
    builder.build().map_err(|error| Failure::new(Exit::Usage, error))
}

fn naming(args: &RecordArgs) -> Result<Naming, Failure> {
    match (&args.session, &args.session_field) {
        (Some(name), _) if name.is_empty() => Err(Failure::new(Exit::Usage, "--session: the name is empty")),
        (Some(name), _) if name.len() > SESSION_NAME_BYTES_MAX => Err(Failure::new(
            Exit::Usage,
            format_args!("--session: {} bytes; a session's name has {SESSION_NAME_BYTES_MAX} at most", name.len()),
        )),
        (_, Some(_)) if args.format != InputFormat::Jsonl => {
            Err(Failure::new(Exit::Usage, "--session-field: only with --format jsonl"))
        }
        (Some(name), _) => Ok(Naming::Fixed(name.clone())),
        (None, Some(field)) => Ok(Naming::Field(field.clone())),
        (None, None) => Ok(Naming::Stem),
    }
}

/// Two files of one stem would be mixed up in one session.
fn refuse_equal_stems(sources: &[Source]) -> Result<(), Failure> {
    let mut stems = HashMap::new();
    for source in sources {
        if let Some(other) = stems.insert(source.stem(), source.name()) {
            let (name, stem) = (source.name(), source.stem());
            let message =
                format!("{other} and {name} would both be session {stem:?}; record them apart, or use --session");
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    Ok(())
}

fn level(level: Level) -> Durability {
    match level {
        Level::Durable => Durability::Durable,
        Level::PageCache => Durability::PageCache,
    }
}
