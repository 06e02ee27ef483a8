//! `tapeline record`: files or standard input into a log, acknowledged when durable.

mod args;
mod jsonl;
mod raw;
mod recorder;
mod source;
mod split;
mod sse;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tapeline::{BackpressureMode, Cut, Durability, EventBus, EventBusConfig, LogFiles};

pub(crate) use self::args::RecordArgs;
use self::args::{InputFormat, Level};
use self::recorder::{Naming, Plan, Recorder, Stop};
pub(crate) use self::source::{Input, Source};
use self::summary::Summary;
use crate::exit::{Exit, Failure};
use crate::progress::Progress;
use crate::signal::Interrupt;

/// How long one event waits for a full lane before the recorder looks for a signal and goes on waiting.
const PATIENCE: Duration = Duration::from_millis(200);

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
    let config = config(args)?;
    // Before the bus starts its threads: they inherit what this holds back.
    let interrupt = Interrupt::catch().map_err(|error| Failure::failed(format_args!("signals: {error}")))?;
    let bus = pollster::block_on(EventBus::new(config))?;
    tell_cuts(&bus);
    let start = Instant::now();
    let progress = Progress::new(bytes);
    let plan = Plan { format: args.format, naming };
    let mut recorder = Recorder::new(bus.producer().map_err(Failure::failed)?, plan, &interrupt, &progress);
    let outcome = sources.iter().try_for_each(|source| recorder.record(source));
    let counts = recorder.counts();
    drop(recorder);
    drop(progress);
    // From here on a signal ends the program at once: nothing has been acknowledged.
    drop(interrupt);
    let log = bus.log_id().to_string();
    pollster::block_on(bus.flush())?;
    let interrupted = matches!(outcome, Err(Stop::Interrupted));
    let level = level(args.durability);
    Summary::new(counts, start.elapsed(), level.to_string(), log, interrupted).print(args.json)?;
    pollster::block_on(bus.shutdown())?;
    match outcome {
        Ok(()) => Ok(Exit::Done),
        Err(Stop::Interrupted) => Ok(Exit::Interrupted),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

/// Says what an earlier writer left unfinished when it was killed: never acknowledged, and not in the log.
fn tell_cuts(bus: &EventBus) {
    for shard in bus.shard_stats() {
        for Cut { segment, offset, reason, .. } in shard.cuts {
            eprintln!(
                "recovered shard {}: unfinished end of {segment} cut at offset {offset}: {reason}",
                shard.shard_id
            );
        }
    }
}

fn config(args: &RecordArgs) -> Result<EventBusConfig, Failure> {
    // A log that cannot be read is refused by the bus, in better words.
    let known = || LogFiles::open(&args.directory).ok().and_then(|log| u16::try_from(log.shards().len()).ok());
    let mut builder = EventBusConfig::builder()
        .directory(&args.directory)
        .durability(level(args.durability))
        .num_shards(args.shards.or_else(known).unwrap_or(1))
        .backpressure_mode(BackpressureMode::Block { deadline: PATIENCE });
    if let Some(bytes) = args.segment_bytes {
        builder = builder.segment_bytes(bytes);
    }
    builder.build().map_err(|error| Failure::new(Exit::Usage, error))
}

fn naming(args: &RecordArgs) -> Result<Naming, Failure> {
    match (&args.session, &args.session_field) {
        (Some(name), _) if name.is_empty() => Err(Failure::new(Exit::Usage, "--session: the name is empty")),
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
