//! A load that looks like production: sessions send requests to an inference engine, which streams their tokens.
//!
//! Sessions come from a trace (`--trace`; [`source`] finds out which), else from a model ([`model`]). The timing of
//! tokens is a model in all cases ([`engine`]). What is real and what is modelled is the first thing that is said, and
//! is in the result. `--speed` compresses time; what counts for the bus, several streams emitting together at every
//! step, stays.
//!
//! One result a second reports how much is accepted and how much of it is acknowledged, so that the person who kills
//! the process can compare what is found afterwards.

mod agents;
mod azure;
mod conversation;
mod engine;
mod lines;
mod model;
mod payload;
mod plan;
mod progress;
mod random;
mod source;
#[cfg(test)]
mod testing;

use std::path::Path;
use std::time::{Duration, Instant};

use tapeline::config::Durability;
use tapeline::event::Kind;
use tapeline::{EventBus, Producer, Session};

use crate::args::WorkloadArgs;
use crate::harness::clock::{Clock, ticks};
use crate::harness::cores::{Cores, on_core};
use crate::harness::latencies::Latencies;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus};

use engine::{Engine, Sink};
use progress::Progress;
use source::Source;

/// The time before a step is due at which the thread stops sleeping and spins: the kernel wakes it that late at worst.
const SPIN: Duration = Duration::from_micros(100);

/// Runs the load for `--seconds`, or until the last of `--sessions` has ended.
pub(crate) fn run(args: &WorkloadArgs, output: &mut Output) -> Outcome<()> {
    let source = Source::open(args.trace.as_deref(), args.seed)?;
    let cores = Cores::plan(1, usize::from(args.shards))?;
    let scratch = match &args.dir {
        Some(_) => None,
        None => Some(Scratch::below(None)?),
    };
    let bus = open(args, &cores, scratch.as_ref().map(Scratch::path))?;
    let report = describe(args, &source);
    output.progress(&report, &statement(args, &source))?;
    let report = bus::describe(report, &bus);
    let report = on_core(cores.producer(), || stream(args, &bus, source, report, output))?;
    output.emit(&report)?;
    bus::close(bus)
}

/// The description of the load, before it has begun.
fn describe(args: &WorkloadArgs, source: &Source) -> Report {
    let report = Report::new("workload")
        .param("source", source.name())
        .param("seed", args.seed)
        .param("speed", rounded(args.speed))
        .param("durability", Durability::from(args.durability).to_string())
        .param("shards", args.shards)
        .param("seconds_max", rounded(args.seconds));
    let report = match args.sessions {
        Some(sessions) => report.param("sessions_max", sessions),
        None => report,
    };
    report.param("real", source.real()).param("modelled", source.modelled())
}

/// The same for people.
fn statement(args: &WorkloadArgs, source: &Source) -> String {
    let mut text = format!("{}; seed {}; time passes {} times faster\n", source.name(), args.seed, args.speed);
    for (title, items) in [("real", source.real()), ("modelled", source.modelled())] {
        let items: String = items.iter().map(|item| format!("\n  - {item}")).collect();
        text += &format!("{title}:{}\n", if items.is_empty() { " nothing" } else { &items });
    }
    text
}

/// A bus over `--dir` itself, or below `scratch`.
fn open(args: &WorkloadArgs, cores: &Cores, scratch: Option<&Path>) -> Outcome<EventBus> {
    let level = args.durability.into();
    let path = args.dir.as_deref().or(scratch).ok_or("no directory")?;
    let config = bus::config(level, path, cores);
    bus::open(match (&args.dir, level) {
        (Some(path), Durability::PageCache | Durability::Durable) => config.directory(path),
        _ => config,
    })
}

fn stream(args: &WorkloadArgs, bus: &EventBus, source: Source, report: Report, output: &mut Output) -> Outcome<Report> {
    let mut engine = Engine::new(source, args.seed, args.sessions.unwrap_or(u64::MAX))?;
    let mut emitter = Emitter::new(bus.producer()?)?;
    let mut progress = Progress::new(bus, Clock::calibrate(), report);
    let start = Instant::now();
    let end = Duration::try_from_secs_f64(args.seconds).unwrap_or(Duration::MAX);
    let mut late = Duration::ZERO;
    while !engine.is_over() {
        let due = Duration::try_from_secs_f64(engine.now().as_secs_f64() / args.speed).unwrap_or(Duration::MAX);
        late = sleep_until(start, due.min(end).min(progress.due()));
        let elapsed = start.elapsed();
        if let Some((report, text)) = progress.second(elapsed, &emitter, engine.sessions()) {
            output.progress(&report, &text)?;
        }
        if elapsed >= end {
            break;
        }
        if elapsed >= due {
            engine.step(&mut emitter)?;
        }
    }
    block_on(bus.flush())?;
    let report = progress.total(start.elapsed(), &emitter, engine.sessions());
    Ok(report.figure("late_seconds", late.as_secs_f64()))
}

/// Waits until `due` has passed since `start`; returns how late it is.
fn sleep_until(start: Instant, due: Duration) -> Duration {
    loop {
        let elapsed = start.elapsed();
        match due.checked_sub(elapsed) {
            None | Some(Duration::ZERO) => return elapsed - due,
            Some(rest) if rest > SPIN => std::thread::sleep(rest - SPIN),
            Some(_) => std::hint::spin_loop(),
        }
    }
}

/// Hands events to the bus, and keeps what each call took.
struct Emitter {
    producer: Producer,
    latencies: Latencies,
    payload: Vec<u8>,
    /// Payload bytes handed in.
    bytes: u64,
}

impl Emitter {
    fn new(producer: Producer) -> Outcome<Self> {
        Ok(Self { producer, latencies: Latencies::new()?, payload: Vec::with_capacity(512), bytes: 0 })
    }
}

impl Sink for Emitter {
    type Session = Session;

    fn session(&mut self, name: &str) -> Session {
        self.producer.session(name)
    }

    fn emit(&mut self, session: Session, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> Outcome<()> {
        self.payload.clear();
        write(&mut self.payload);
        let before = ticks();
        let _ = self.producer.emit(session, kind, &self.payload)?;
        self.latencies.record(ticks().saturating_sub(before));
        self.bytes += self.payload.len() as u64;
        Ok(())
    }
}
