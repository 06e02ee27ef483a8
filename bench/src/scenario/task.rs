//! Task: what a user's task beside a shard gets and costs.
//!
//! Cases: `emit-to-task`, from the call of ingest until a task on the event's shard has it, one event after the other
//! and after pauses; `task-to-log`, from the call of ingest in a task until the event is acknowledged; `beside`, what
//! calls and acknowledgements on another core take while no task runs, while one reads everything, and while one spins;
//! `through`, events a second that a task reads and ingests anew. Limit: the cores' round trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tapeline::bus::ShardTask;
use tapeline::config::Durability;
use tapeline::{EventBus, SubscribeRequest, kinds};

use super::latency::open_loop_on;
use crate::args::TaskArgs;
use crate::harness::clock::{Clock, ticks};
use crate::harness::cores::{Cores, on_core};
use crate::harness::latencies::{Latencies, Percentiles};
use crate::harness::open_loop::Sample;
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::{Outcome, bus, limits};

/// Between two events: not a multiple of any nap.
const PAUSE: Duration = Duration::from_micros(7_300);

/// Events after a pause, in a round.
const PAUSES: u64 = 100;

/// Calls a second beside a task.
const RATE: f64 = 1e6;

/// Events a second that go through a task, as they are expected: a round of `seconds` has so many.
const THROUGH_RATE: f64 = 2e6;

/// The session that tasks read, and the one that they ingest into.
const SESSIONS: [u128; 2] = [1, 2];

/// The work beside the calls.
#[derive(Debug, Clone, Copy)]
enum Neighbour {
    None,
    Reader,
    Spinner,
}

/// Measures the four cases.
pub(crate) fn run(args: &TaskArgs, output: &mut Output) -> Outcome<()> {
    let clock = Clock::calibrate();
    for (case, pause) in [("emit-to-task, stream", None), ("emit-to-task, pause", Some(PAUSE))] {
        let events = if pause.is_some() { PAUSES } else { (args.seconds * 20_000.0) as u64 };
        latency(args, clock, output, case, |bus| to_task(bus, args, clock, events, pause))?;
    }
    latency(args, clock, output, "task-to-log", |bus| to_log(bus, args, clock))?;
    for neighbour in [Neighbour::None, Neighbour::Reader, Neighbour::Spinner] {
        beside(args, clock, output, neighbour)?;
    }
    through(args, output)
}

fn report(args: &TaskArgs, case: &str) -> Report {
    Report::new("task")
        .param("case", case)
        .param("durability", Durability::from(args.durability).to_string())
        .param("payload", args.common.payload)
        .param("seconds", rounded(args.seconds))
        .param("rounds", args.common.rounds)
}

/// A round on a bus of its own.
fn on_bus<T: Send>(
    args: &TaskArgs,
    report: &mut Report,
    work: impl FnOnce(&EventBus, &Cores) -> Outcome<T> + Send,
) -> Outcome<T> {
    let cores = Cores::plan(1, 1)?;
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let bus = bus::open(bus::config(args.durability.into(), scratch.path(), &cores))?;
    let measured = on_core(cores.producer(), || work(&bus, &cores))?;
    if let Some(runtime) = bus.shard_stats().first().and_then(|shard| shard.host.task_runtime) {
        *report = report.clone().param("runtime", runtime);
    }
    bus::close(bus)?;
    Ok(measured)
}

fn latency(
    args: &TaskArgs,
    clock: Clock,
    output: &mut Output,
    case: &str,
    measure: impl Fn(&EventBus) -> Outcome<Percentiles> + Sync,
) -> Outcome<()> {
    let mut report = report(args, case).param("timer_overhead_ns", rounded(clock.overhead_ns()));
    let (mut rounds, mut trips) = (Vec::new(), Vec::new());
    for _ in 0..args.common.rounds {
        let (round, trip) = on_bus(args, &mut report, |bus, cores| Ok((measure(bus)?, limits::round_trip_ns(cores)?)))?;
        rounds.push(round);
        trips.extend(trip);
    }
    for (name, value) in Percentiles::median(&rounds).named() {
        report = report.figure(name, value);
    }
    if !trips.is_empty() {
        report = report.limit("core_round_trip_ns", median(&trips));
    }
    Ok(output.emit(&report)?)
}

/// A task that reads the shard and counts what it has seen, until the bus ends. Its errors are text, to cross threads.
fn reader(bus: &EventBus, seen: &Arc<AtomicU64>) -> Outcome<ShardTask<Result<(), String>>> {
    let seen = Arc::clone(seen);
    Ok(bus.run_on_shard(0, move |context| async move {
        let mut events = context.subscribe(SubscribeRequest::live()).map_err(|error| error.to_string())?;
        seen.store(0, Ordering::Release);
        while let Some(batch) = events.next_batch().await {
            let batch = batch.map_err(|error| error.to_string())?;
            let count = batch.events().filter(Result::is_ok).count() as u64;
            seen.fetch_add(count, Ordering::Release);
        }
        Ok(())
    })?)
}

/// Before the reader reads.
const NOT_YET: u64 = u64::MAX;

fn start_reader(bus: &EventBus) -> Outcome<Arc<AtomicU64>> {
    let seen = Arc::new(AtomicU64::new(NOT_YET));
    let _task = reader(bus, &seen)?;
    while seen.load(Ordering::Acquire) == NOT_YET {
        std::hint::spin_loop();
    }
    Ok(seen)
}

fn to_task(
    bus: &EventBus,
    args: &TaskArgs,
    clock: Clock,
    events: u64,
    pause: Option<Duration>,
) -> Outcome<Percentiles> {
    let seen = start_reader(bus)?;
    let mut producer = bus.producer()?;
    let session = producer.session(SESSIONS[0]);
    let payloads = Payloads::new(args.common.payload);
    let mut latencies = Latencies::new()?;
    for number in 0..events {
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
        let start = ticks();
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
        while seen.load(Ordering::Acquire) <= number {
            std::hint::spin_loop();
        }
        latencies.record(ticks() - start);
    }
    Ok(latencies.percentiles(clock))
}

fn to_log(bus: &EventBus, args: &TaskArgs, clock: Clock) -> Outcome<Percentiles> {
    let (payload, until) = (args.common.payload, Instant::now() + Duration::from_secs_f64(args.seconds));
    let task = bus.run_on_shard(0, move |mut context| async move {
        let session = context.session(SESSIONS[0]);
        let payloads = Payloads::new(payload);
        let mut latencies = Latencies::new().map_err(|error| error.to_string())?;
        for number in 0.. {
            if Instant::now() > until {
                break;
            }
            let start = ticks();
            let ticket = context.emit(session, kinds::TOKEN, payloads.of(number)).map_err(|error| error.to_string())?;
            context.producer().durable(ticket).await.map_err(|error| error.to_string())?;
            latencies.record(ticks() - start);
        }
        Ok::<_, String>(latencies)
    })?;
    Ok(task.join()??.percentiles(clock))
}

fn beside(args: &TaskArgs, clock: Clock, output: &mut Output, neighbour: Neighbour) -> Outcome<()> {
    let case = match neighbour {
        Neighbour::None => "beside no task",
        Neighbour::Reader => "beside a task that reads",
        Neighbour::Spinner => "beside a task that spins",
    };
    let mut report = report(args, case).param("rate", rounded(RATE));
    let (mut calls, mut durables) = (Vec::new(), Vec::new());
    for _ in 0..args.common.rounds {
        let (call, durable) = on_bus(args, &mut report, |bus, _| {
            let stop = Arc::new(AtomicBool::new(false));
            match neighbour {
                Neighbour::None => {}
                Neighbour::Reader => drop(start_reader(bus)?),
                Neighbour::Spinner => spin(bus, &stop)?,
            }
            let call = open_loop_on(bus, clock, RATE, args.seconds, args.common.payload);
            let durable = durables_on(bus, args, clock);
            stop.store(true, Ordering::Relaxed);
            Ok((call?, durable?))
        })?;
        calls.push(call);
        durables.push(durable);
    }
    report = super::latency::with_figures(report, Sample::median(&calls));
    for (name, value) in Percentiles::median(&durables).named() {
        report = report.figure(format!("durable_{name}"), value);
    }
    Ok(output.emit(&report)?)
}

fn spin(bus: &EventBus, stop: &Arc<AtomicBool>) -> Outcome<()> {
    let (stop, begun) = (Arc::clone(stop), Arc::new(AtomicBool::new(false)));
    let begins = Arc::clone(&begun);
    let _task = bus.run_on_shard(0, move |_| async move {
        begins.store(true, Ordering::Relaxed);
        while !stop.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    })?;
    while !begun.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    Ok(())
}

/// From the call until the event is acknowledged, after pauses.
fn durables_on(bus: &EventBus, args: &TaskArgs, clock: Clock) -> Outcome<Percentiles> {
    let mut producer = bus.producer()?;
    let session = producer.session(SESSIONS[0]);
    let payloads = Payloads::new(args.common.payload);
    let mut latencies = Latencies::new()?;
    for number in 0..PAUSES {
        std::thread::sleep(PAUSE);
        let start = ticks();
        let ticket = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
        producer.wait_durable(ticket)?;
        latencies.record(ticks() - start);
    }
    Ok(latencies.percentiles(clock))
}

fn through(args: &TaskArgs, output: &mut Output) -> Outcome<()> {
    let mut report = report(args, "through");
    let events = ((args.seconds * THROUGH_RATE) as u64).max(1);
    let mut rates = Vec::new();
    for _ in 0..args.common.rounds {
        rates.push(on_bus(args, &mut report, |bus, _| pass_through(bus, args, events))?);
    }
    Ok(output.emit(&report.param("events", events).figure("events_per_second", median(&rates)))?)
}

/// Ingests as fast as there is room, while a task ingests each event anew; returns events a second until all are
/// durable.
fn pass_through(bus: &EventBus, args: &TaskArgs, events: u64) -> Outcome<f64> {
    let task = bus.run_on_shard(0, move |mut context| async move {
        let request = SubscribeRequest::new().session(SESSIONS[0]);
        let mut subscription = context.subscribe(request).map_err(|error| error.to_string())?;
        let (session, mut seen) = (context.session(SESSIONS[1]), 0);
        while seen < events {
            let batch = subscription.next_batch().await.ok_or("the bus ended early")?;
            let batch = batch.map_err(|error| error.to_string())?;
            for event in batch.events() {
                let event = event.map_err(|gap| gap.to_string())?;
                while context.emit(session, kinds::TOKEN, event.payload()).is_err() {
                    context.yield_now().await;
                }
                seen += 1;
            }
        }
        Ok::<_, String>(())
    })?;
    let mut producer = bus.producer()?;
    let session = producer.session(SESSIONS[0]);
    let payloads = Payloads::new(args.common.payload);
    let start = Instant::now();
    for number in 0..events {
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
    }
    task.join()??;
    crate::harness::wait::block_on(bus.flush())?;
    Ok(events as f64 / start.elapsed().as_secs_f64())
}
