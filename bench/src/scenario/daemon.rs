//! Daemon: what an event that goes through a daemon costs.
//!
//! Cases: `emit-to-output`, from the call of ingest until the daemon's output is durable, after pauses, where the
//! daemon reads what is appended and where it reads what is durable; `keeps-up`, events a second that a daemon looks
//! at, one output for a thousand of them, while a producer ingests without a pause.

use std::time::{Duration, Instant};

use tapeline::consumer::Visibility;
use tapeline::daemon::{Daemon, DaemonHandle, DaemonOptions, DaemonResult, Output as Emitted};
use tapeline::{EventBus, StoredEvent, SubscribeRequest, kinds};

use crate::args::TaskArgs;
use crate::harness::clock::{Clock, ticks};
use crate::harness::cores::{Cores, on_core};
use crate::harness::latencies::{Latencies, Percentiles};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus};

/// Between two events: not a multiple of any nap.
const PAUSE: Duration = Duration::from_micros(7_300);
/// Events of a latency round.
const EVENTS: u64 = 200;
/// Events of `keeps-up`, a second of a round.
const RATE: f64 = 1.5e6;
const SESSION: u128 = 1;
const GRACE: Duration = Duration::from_secs(60);

/// Answers to one event of so many.
struct Answers {
    every: u64,
    seen: u64,
    visibility: Visibility,
}

impl Daemon for Answers {
    fn name(&self) -> &str {
        "answers"
    }

    fn inputs(&self) -> SubscribeRequest {
        SubscribeRequest::new().kind(kinds::TOKEN).visibility(self.visibility)
    }

    fn process(&mut self, event: &StoredEvent) -> DaemonResult {
        self.seen += 1;
        if self.seen.is_multiple_of(self.every) {
            Ok(vec![Emitted::new(kinds::GUARDRAIL, event.sequence.get().to_le_bytes())])
        } else {
            Ok(Vec::new())
        }
    }
}

/// Measures the cases.
pub(crate) fn run(args: &TaskArgs, output: &mut Output) -> Outcome<()> {
    let clock = Clock::calibrate();
    for (case, visibility) in
        [("emit-to-output, appended", Visibility::Appended), ("emit-to-output, durable", Visibility::Durable)]
    {
        let mut rounds = Vec::new();
        for _ in 0..args.common.rounds {
            rounds.push(on_bus(args, |bus| latency(bus, args, clock, visibility))?);
        }
        let mut report = report(args, case);
        for (name, value) in Percentiles::median(&rounds).named() {
            report = report.figure(name, value);
        }
        output.emit(&report)?;
    }
    let events = ((args.seconds * RATE) as u64).max(1);
    let mut rates = Vec::new();
    for _ in 0..args.common.rounds {
        rates.push(on_bus(args, |bus| keeps_up(bus, args, events))?);
    }
    let report = report(args, "keeps-up").param("events", events);
    Ok(output.emit(&report.figure("events_per_second", median(&rates)))?)
}

fn report(args: &TaskArgs, case: &str) -> Report {
    Report::new("daemon")
        .param("case", case)
        .param("durability", tapeline::config::Durability::from(args.durability).to_string())
        .param("payload", args.common.payload)
        .param("seconds", rounded(args.seconds))
        .param("rounds", args.common.rounds)
}

fn on_bus<T: Send>(args: &TaskArgs, work: impl FnOnce(&EventBus) -> Outcome<T> + Send) -> Outcome<T> {
    let cores = Cores::plan(1, 1)?;
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let bus = bus::open(bus::config(args.durability.into(), scratch.path(), &cores))?;
    let measured = on_core(cores.producer(), || work(&bus))?;
    bus::close(bus)?;
    Ok(measured)
}

fn start(bus: &EventBus, every: u64, visibility: Visibility) -> Outcome<DaemonHandle> {
    Ok(bus.start_daemon(Answers { every, seen: 0, visibility }, DaemonOptions::new())?)
}

fn latency(bus: &EventBus, args: &TaskArgs, clock: Clock, visibility: Visibility) -> Outcome<Percentiles> {
    let daemon = start(bus, 1, visibility)?;
    let request = SubscribeRequest::live().session("answers").kind(kinds::GUARDRAIL).visibility(Visibility::Durable);
    let mut answers = block_on(bus.subscribe(request))?;
    let mut producer = bus.producer()?;
    let session = producer.session(SESSION);
    let payloads = Payloads::new(args.common.payload);
    let mut latencies = Latencies::new()?;
    for number in 0..EVENTS {
        std::thread::sleep(PAUSE);
        let start = ticks();
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
        block_on(answers.next()).ok_or("the bus ended early")??;
        latencies.record(ticks() - start);
    }
    let end = daemon.stop().join();
    if !end.is_clean() {
        return Err(format!("the daemon ended: {:?}", end.reason).into());
    }
    Ok(latencies.percentiles(clock))
}

/// Events a second until the daemon has looked at all of them.
fn keeps_up(bus: &EventBus, args: &TaskArgs, events: u64) -> Outcome<f64> {
    let daemon = start(bus, 1000, Visibility::Durable)?;
    let mut producer = bus.producer()?;
    let session = producer.session(SESSION);
    let payloads = Payloads::new(args.common.payload);
    let start = Instant::now();
    for number in 0..events {
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
    }
    block_on(producer.flush())?;
    let end = daemon.drain(GRACE).join();
    if end.stats.counts.events != events {
        return Err(
            format!("the daemon looked at {} of {events} events: {:?}", end.stats.counts.events, end.reason).into()
        );
    }
    Ok(events as f64 / start.elapsed().as_secs_f64())
}
