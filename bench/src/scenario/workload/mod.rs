//! A load that looks like production: requests arrive at an inference engine, which streams their tokens.
//!
//! Arrivals and lengths come from a CSV trace (`--trace`, the columns of the Azure LLM inference traces), else from a
//! model ([`model`]). The timing of tokens is a model in both cases ([`engine`]). `--speed` compresses time; what
//! counts for the bus, several streams emitting together at every engine step, stays.
//!
//! One result a second tells how much is accepted and how much of it is acknowledged, so that whoever kills the process
//! can compare what is found afterwards.

mod engine;
mod model;
mod progress;
mod request;
mod trace;

use std::path::Path;
use std::time::{Duration, Instant};

use tapeline::{Durability, EventBus, Kind, Producer, Session};

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
use request::Requests;

/// How long before a step is due the thread stops sleeping and spins: the kernel wakes it that late at worst.
const SPIN: Duration = Duration::from_micros(100);

/// Runs the load for `--seconds`.
pub(crate) fn run(args: &WorkloadArgs, output: &mut Output) -> Outcome<()> {
    let requests = Requests::open(args.trace.as_deref(), args.seed)?;
    let cores = Cores::plan(1, usize::from(args.shards))?;
    let scratch = match &args.dir {
        Some(_) => None,
        None => Some(Scratch::below(None)?),
    };
    let bus = open(args, &cores, scratch.as_ref().map(Scratch::path))?;
    let report = Report::new("workload")
        .param("source", requests.source())
        .param("speed", rounded(args.speed))
        .param("seconds", rounded(args.seconds))
        .param("durability", Durability::from(args.durability).to_string())
        .param("shards", args.shards)
        .param("step_ms", rounded(engine::STEP.as_secs_f64() * 1e3));
    let report = bus::describe(report, &bus);
    let report = on_core(cores.producer(), || stream(args, &bus, requests, report, output))?;
    output.emit(&report)?;
    bus::close(bus)
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

fn stream(
    args: &WorkloadArgs,
    bus: &EventBus,
    requests: Requests,
    report: Report,
    output: &mut Output,
) -> Outcome<Report> {
    let mut engine = Engine::new(requests);
    let mut emitter = Emitter { producer: bus.producer()?, latencies: Latencies::new()?, bytes: 0 };
    let mut progress = Progress::new(bus, Clock::calibrate(), report);
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.seconds);
    let mut late = Duration::ZERO;
    loop {
        let due = start + engine.now().div_f64(args.speed);
        if due >= end {
            break;
        }
        late = sleep_until(due);
        engine.step(&mut emitter)?;
        if let Some((report, text)) = progress.second(start.elapsed(), &emitter, engine.sessions()) {
            output.progress(&report, &text)?;
        }
        if Instant::now() >= end {
            break;
        }
    }
    block_on(bus.flush())?;
    let report = progress.total(start.elapsed(), &emitter, engine.sessions());
    Ok(report.figure("late_seconds", late.as_secs_f64()))
}

/// Waits for `due`; returns how late it is.
fn sleep_until(due: Instant) -> Duration {
    loop {
        let now = Instant::now();
        match due.checked_duration_since(now) {
            None => return now - due,
            Some(rest) if rest > SPIN => std::thread::sleep(rest - SPIN),
            Some(_) => std::hint::spin_loop(),
        }
    }
}

/// Hands events to the bus, and keeps what each call took.
struct Emitter {
    producer: Producer,
    latencies: Latencies,
    /// Payload bytes handed in.
    bytes: u64,
}

impl Sink for Emitter {
    fn open(&mut self, name: &str) -> Outcome<Session> {
        Ok(self.producer.open_session(name)?)
    }

    fn emit(&mut self, session: Session, kind: Kind, payload: &[u8]) -> Outcome<()> {
        let before = ticks();
        let _ = self.producer.emit(session, kind, payload)?;
        self.latencies.record(ticks().saturating_sub(before));
        self.bytes += payload.len() as u64;
        Ok(())
    }
}
