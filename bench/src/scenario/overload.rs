//! Overload: what a call costs where there is no room, what it does to others, and how much memory it takes.
//!
//! Cases: a tight loop into a lane that the disk keeps full, for each mode that does not wait; an open loop on one lane
//! while the same thread calls a full lane of the same shard in every gap; and producers that ingest as fast as they
//! can for as long as asked, with the memory of the process before and at its largest.

use std::time::{Duration, Instant};

use tapeline::bus::ProducerOptions;
use tapeline::config::Driver;
use tapeline::{BackpressureMode, EventBus, IngestionError, kinds};

use crate::args::OverloadArgs;
use crate::harness::clock::{Clock, ticks};
use crate::harness::cores::{Cores, on_core};
use crate::harness::latencies::Latencies;
use crate::harness::open_loop::{self, Sample};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median_of;
use crate::harness::threads::resident_bytes;
use crate::harness::{Outcome, bus};

const MODES: [(&str, BackpressureMode); 4] = [
    ("fail-producer", BackpressureMode::FailProducer),
    ("drop-newest", BackpressureMode::DropNewest),
    ("drop-oldest", BackpressureMode::DropOldest),
    ("sample-10", BackpressureMode::Sample { rate: 10 }),
];

/// Events a second of the open loop.
const RATE: f64 = 1e6;

/// Producers that overload a bus together.
const PRODUCERS: usize = 4;

/// The lane of each of them.
const LANE_BYTES: usize = 16 << 20;

/// Measures all cases.
pub(crate) fn run(args: &OverloadArgs, output: &mut Output) -> Outcome<()> {
    let (cores, clock) = (Cores::plan(1, 1)?, Clock::calibrate());
    for (name, mode) in MODES {
        let rounds = (0..args.common.rounds).map(|_| flood(args, &cores, clock, mode)).collect::<Outcome<Vec<_>>>()?;
        let samples: Vec<_> = rounds.iter().map(|round| round.sample.plain).collect();
        let report = described("full_lane", args)
            .param("mode", name)
            .figure("calls_without_room", median_of(&rounds, |round| round.without_room));
        let figures = crate::harness::latencies::Percentiles::median(&samples).named().into_iter();
        output.emit(&figures.fold(report, |report, (name, value)| report.figure(name, value)))?;
    }
    beside(args, &cores, clock, output)?;
    memory(args, output)
}

fn described(case: &str, args: &OverloadArgs) -> Report {
    Report::new("overload")
        .param("case", case)
        .param("payload", args.common.payload)
        .param("seconds", rounded(args.seconds))
        .param("rounds", args.common.rounds)
}

struct Flood {
    sample: Sample,
    without_room: f64,
}

/// Calls in a tight loop, into a lane that is full most of the time.
fn flood(args: &OverloadArgs, cores: &Cores, clock: Clock, mode: BackpressureMode) -> Outcome<Flood> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let config = bus::config(tapeline::config::Durability::Durable, scratch.path(), cores);
    // Written by calls that block, the log is far slower than the producer: the lane is full at every moment.
    let config = config.driver(Driver::Blocking).lane_bytes(256 << 10).ring_buffer_capacity(2048);
    let bus = bus::open(config.backpressure_mode(mode))?;
    let payloads = Payloads::new(args.common.payload);
    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let (latencies, calls) = on_core(cores.producer(), || {
        let mut producer = bus.producer()?;
        let session = producer.session("flood");
        let (mut latencies, mut calls) = (Latencies::new()?, 0u64);
        while Instant::now() < end {
            for _ in 0..1000 {
                let before = ticks();
                let outcome = producer.emit(session, kinds::TOKEN, payloads.of(calls));
                latencies.record(ticks().saturating_sub(before));
                calls += 1;
                match outcome {
                    Ok(_) | Err(IngestionError::Backpressure { .. }) => {}
                    Err(error) if error.is_drop() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok((latencies.percentiles(clock), calls))
    })?;
    let stats = bus::close_balanced(bus)?;
    let without_room = (stats.refusals.total() + stats.drops.total()) as f64 / calls as f64;
    let sample = Sample { plain: latencies, corrected: latencies, rate: 0.0 };
    Ok(Flood { sample, without_room })
}

/// An open loop on one lane, alone and beside calls to a full lane of the same shard.
fn beside(args: &OverloadArgs, cores: &Cores, clock: Clock, output: &mut Output) -> Outcome<()> {
    let cases = [None, Some(MODES[0]), Some(MODES[1])];
    let mut rounds = cases.map(|_| Vec::new());
    for _ in 0..args.common.rounds {
        for (rounds, case) in rounds.iter_mut().zip(cases) {
            rounds
                .push(on_core(cores.producer(), || open_loop_beside(args, cores, clock, case.map(|(_, mode)| mode)))?);
        }
    }
    let medians = rounds.map(|rounds| Sample::median(&rounds));
    for (sample, case) in medians.iter().zip(cases) {
        let report = described("beside_full_lane", args).param("mode", case.map_or("none", |(name, _)| name));
        let report = super::latency::with_figures(report.param("rate", rounded(RATE)), *sample);
        output.emit(&report.ratio("p99_to_none", sample.plain.p99_ns / medians[0].plain.p99_ns))?;
    }
    Ok(())
}

fn open_loop_beside(
    args: &OverloadArgs,
    cores: &Cores,
    clock: Clock,
    mode: Option<BackpressureMode>,
) -> Outcome<Sample> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let bus = bus::open(bus::config(tapeline::config::Durability::Durable, scratch.path(), cores))?;
    let mut producer = bus.producer()?;
    let session = producer.session("measured");
    let payloads = Payloads::new(args.common.payload);
    let mut call = |number: u64| {
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
        Ok(())
    };
    let sample = match mode {
        None => open_loop::run(clock, RATE, args.seconds, call)?,
        Some(mode) => {
            let options = ProducerOptions::new().backpressure_mode(mode).lane_bytes(64 << 10);
            let mut other = bus.producer_with(options)?;
            let other_session = other.session("measured");
            let mut batch = other.batch(other_session);
            // What is not published is not taken: the lane stays full.
            while batch.push(kinds::TOKEN, payloads.of(0)).is_ok() {}
            let sample = open_loop::run_between(clock, RATE, args.seconds, &mut call, || {
                let _ = batch.push(kinds::TOKEN, payloads.of(1));
            })?;
            drop(batch);
            sample
        }
    };
    bus::close(bus)?;
    Ok(sample)
}

/// Producers that ingest as fast as they can; what memory the process takes.
fn memory(args: &OverloadArgs, output: &mut Output) -> Outcome<()> {
    let (cores, scratch) = (Cores::plan(PRODUCERS, 1)?, Scratch::below(args.common.dir.as_deref())?);
    let before = resident_bytes()?;
    let budget = (PRODUCERS + 1) * (LANE_BYTES + (LANE_BYTES >> 5)) + (16 << 20);
    let config = bus::config(tapeline::config::Durability::Durable, scratch.path(), &cores)
        .lane_bytes(LANE_BYTES)
        .ring_buffer_capacity(LANE_BYTES / 64)
        .memory_budget(budget)
        // Slow enough to be overloaded ten times over.
        .driver(Driver::Blocking)
        .backpressure_mode(BackpressureMode::DropOldest);
    let bus = bus::open(config)?;
    let end = Instant::now() + Duration::from_secs_f64(args.memory_seconds);
    let mut peak = 0;
    std::thread::scope(|scope| -> Outcome<()> {
        let workers: Vec<_> =
            (0..PRODUCERS).map(|_| scope.spawn(|| ingest_until(&bus, args.common.payload, end))).collect();
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
            peak = peak.max(resident_bytes()?);
        }
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a producer panicked".into())))
    })?;
    let stats = bus::close_balanced(bus)?;
    let report = described("memory", args)
        .param("memory_seconds", rounded(args.memory_seconds))
        .param("producers", PRODUCERS)
        .figure("offered_per_second", stats.events_ingested as f64 / args.memory_seconds)
        .figure("stored_per_second", stats.events_durable as f64 / args.memory_seconds)
        .figure("overload", stats.events_ingested as f64 / stats.events_durable.max(1) as f64)
        .figure("memory_bytes", stats.memory.bytes as f64)
        .figure("resident_growth_bytes", peak.saturating_sub(before) as f64)
        .limit("memory_budget_bytes", budget as f64);
    Ok(output.emit(&report.ratio("resident_to_budget", peak.saturating_sub(before) as f64 / budget as f64))?)
}

fn ingest_until(bus: &EventBus, payload: usize, end: Instant) -> Outcome<()> {
    let mut producer = bus.producer()?;
    let session = producer.session("flood");
    let payloads = Payloads::new(payload);
    while Instant::now() < end {
        for number in 0..1000 {
            match producer.emit(session, kinds::TOKEN, payloads.of(number)) {
                Ok(_) => {}
                Err(error) if error.is_drop() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
