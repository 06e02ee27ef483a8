//! Latency of the ingest call, in an open loop, while the log is written.
//!
//! Cases: fixed rates; an idle shard, which naps between events; the first event after a pause, with the producer's
//! thread asleep meanwhile; and the first event of a producer, which makes its lane.

use std::time::Duration;

use tapeline::config::Durability;
use tapeline::{EventBus, kinds};

use crate::args::LatencyArgs;
use crate::harness::clock::{Clock, ticks};
use crate::harness::cores::{Cores, on_core};
use crate::harness::latencies::{Latencies, Percentiles};
use crate::harness::open_loop::{self, Sample};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::{Outcome, bus, limits};

/// Events a second where none are asked for.
pub(crate) const RATES: [f64; 3] = [1e5, 1e6, 5e6];

/// Events a second that leave a shard idle: it naps for about a millisecond at most.
const IDLE_RATE: f64 = 100.0;

/// A pause that a thread's caches do not survive unharmed.
const PAUSE: Duration = Duration::from_millis(50);

/// Producers whose first event is measured in a round.
const PRODUCERS: usize = 40;

/// The call that is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Case {
    /// An open loop at a rate.
    Rate(f64),
    /// An open loop so slow that every event meets a napping shard.
    Idle,
    /// Single events after pauses.
    AfterPause,
    /// First events of new producers.
    NewProducer,
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::Rate(_) => "rate",
            Self::Idle => "idle",
            Self::AfterPause => "after_pause",
            Self::NewProducer => "new_producer",
        }
    }
}

/// Measures all cases.
pub(crate) fn run(args: &LatencyArgs, output: &mut Output) -> Outcome<()> {
    let rates = if args.rate.is_empty() { &RATES[..] } else { &args.rate };
    let cases = rates.iter().map(|rate| Case::Rate(*rate)).chain([Case::Idle, Case::AfterPause, Case::NewProducer]);
    let (clock, cores) = (Clock::calibrate(), Cores::plan(1, 1)?);
    for case in cases {
        let mut report = Report::new("latency").param("case", case.name());
        if let Case::Rate(rate) = case {
            report = report.param("rate", rounded(rate));
        }
        let mut report = report
            .param("durability", Durability::from(args.durability).to_string())
            .param("payload", args.common.payload)
            .param("seconds", rounded(args.seconds))
            .param("rounds", args.common.rounds)
            .param("warm_up_seconds", open_loop::WARM_UP.as_secs_f64())
            .param("timer_overhead_ns", rounded(clock.overhead_ns()));
        let (mut rounds, mut trips) = (Vec::new(), Vec::new());
        for number in 0..args.common.rounds {
            let scratch = Scratch::below(args.common.dir.as_deref())?;
            let (sample, described) = round(case, args, clock, &scratch, report.clone())?;
            if number == 0 {
                report = described;
            }
            rounds.push(sample);
            trips.extend(limits::round_trip_ns(&cores)?);
        }
        if !trips.is_empty() {
            report = report.limit("core_round_trip_ns", median(&trips));
        }
        output.emit(&with_figures(report, Sample::median(&rounds)))?;
    }
    Ok(())
}

/// Adds the rate, where there was one, and the percentiles: plain, and corrected by intended starts.
pub(crate) fn with_figures(report: Report, sample: Sample) -> Report {
    let report = if sample.rate > 0.0 { report.figure("events_per_second", sample.rate) } else { report };
    let report = sample.plain.named().into_iter().fold(report, |report, (name, value)| report.figure(name, value));
    let corrected = sample.corrected.named().into_iter();
    corrected.fold(report, |report, (name, value)| report.figure(format!("corrected_{name}"), value))
}

fn round(case: Case, args: &LatencyArgs, clock: Clock, scratch: &Scratch, report: Report) -> Outcome<(Sample, Report)> {
    let cores = Cores::plan(1, 1)?;
    let bus = bus::open(bus::config(args.durability.into(), scratch.path(), &cores))?;
    let report = bus::describe(report, &bus);
    let payload = args.common.payload;
    let sample = on_core(cores.producer(), || match case {
        Case::Rate(rate) => open_loop_on(&bus, clock, rate, args.seconds, payload),
        Case::Idle => open_loop_on(&bus, clock, IDLE_RATE, args.seconds, payload),
        Case::AfterPause => after_pauses(&bus, clock, args.seconds, payload),
        Case::NewProducer => new_producers(&bus, clock, payload),
    })?;
    bus::close(bus)?;
    Ok((sample, report))
}

/// The open loop over [`Producer::emit`](tapeline::Producer::emit).
pub(crate) fn open_loop_on(bus: &EventBus, clock: Clock, rate: f64, seconds: f64, payload: usize) -> Outcome<Sample> {
    let mut producer = bus.producer()?;
    let session = producer.session("latency");
    let payloads = Payloads::new(payload);
    open_loop::run(clock, rate, seconds, |number| {
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
        Ok(())
    })
}

fn after_pauses(bus: &EventBus, clock: Clock, seconds: f64, payload: usize) -> Outcome<Sample> {
    let mut producer = bus.producer()?;
    let session = producer.session("latency");
    let payloads = Payloads::new(payload);
    let pauses = (seconds / PAUSE.as_secs_f64()).ceil() as u64;
    let mut latencies = Latencies::new()?;
    // One event more than is counted: the first makes the lane.
    for number in 0..=pauses {
        let before = ticks();
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
        let after = ticks();
        if number > 0 {
            latencies.record(after.saturating_sub(before));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(of_calls(latencies.percentiles(clock), 1.0 / PAUSE.as_secs_f64()))
}

fn new_producers(bus: &EventBus, clock: Clock, payload: usize) -> Outcome<Sample> {
    let payload = vec![0x5a; payload];
    let mut latencies = Latencies::new()?;
    for _ in 0..PRODUCERS {
        let mut producer = bus.producer()?;
        let session = producer.session("latency");
        let before = ticks();
        let ticket = producer.emit(session, kinds::TOKEN, &payload)?;
        latencies.record(ticks().saturating_sub(before));
        producer.wait_durable(ticket)?;
    }
    Ok(of_calls(latencies.percentiles(clock), 0.0))
}

/// Calls that were due when they were made: nothing to correct. A rate of 0: at no rate.
fn of_calls(percentiles: Percentiles, rate: f64) -> Sample {
    Sample { plain: percentiles, corrected: percentiles, rate }
}
