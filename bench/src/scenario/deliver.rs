//! Deliver: from the call of ingest until the event is in the hands of a live subscriber.
//!
//! Cases: `stream`, one thread ingests and spins on its own subscription, the shard on the other core; `pause`, the
//! same after some milliseconds of nothing, with what a followed, idle shard costs; `catch-up`, a subscription reads a
//! log that is warm from its beginning by batches. Limits: the cores' round trip, memory read.

use std::time::{Duration, Instant};

use tapeline::{EventBus, SubscribeRequest, Subscription, kinds};

use crate::args::{DeliverArgs, Level};
use crate::harness::clock::{Clock, ticks};
use crate::harness::cores::{Cores, on_core};
use crate::harness::latencies::{Latencies, Percentiles};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::threads::{SHARDS, cpu_seconds};
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus, limits};

/// Events after a pause, in a round.
const PAUSES: u64 = 100;

/// The pauses: not a multiple of any nap.
const PAUSE: Duration = Duration::from_micros(7_300);

/// The time for which a followed shard is watched doing nothing.
const IDLE: Duration = Duration::from_secs(2);

/// Measures the three cases.
pub(crate) fn run(args: &DeliverArgs, output: &mut Output) -> Outcome<()> {
    let (cores, clock) = (Cores::plan(1, 1)?, Clock::calibrate());
    live(args, &cores, clock, output)?;
    catch_up(args, &cores, output)
}

fn live(args: &DeliverArgs, cores: &Cores, clock: Clock, output: &mut Output) -> Outcome<()> {
    let (mut streams, mut pauses, mut idle, mut trips) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.common.rounds {
        let scratch = Scratch::below(args.common.dir.as_deref())?;
        let bus = bus::open(bus::config(args.durability.into(), scratch.path(), cores))?;
        let mut subscription = block_on(bus.subscribe(SubscribeRequest::live()))?;
        on_core(cores.producer(), || {
            let events = (args.seconds * 500_000.0) as u64;
            streams.push(spin(&bus, &mut subscription, args.common.payload, events, None, clock)?);
            trips.extend(limits::round_trip_ns(cores)?);
            pauses.push(spin(&bus, &mut subscription, args.common.payload, PAUSES, Some(PAUSE), clock)?);
            let before = cpu_seconds(SHARDS)?;
            std::thread::sleep(IDLE);
            idle.push((cpu_seconds(SHARDS)? - before) / IDLE.as_secs_f64());
            Ok(())
        })?;
        drop(subscription);
        bus::close(bus)?;
    }
    for (case, samples) in [("stream", &streams), ("pause", &pauses)] {
        let mut report = Report::new("deliver")
            .param("case", case)
            .param("durability", tapeline::config::Durability::from(args.durability).to_string())
            .param("payload", args.common.payload)
            .param("rounds", args.common.rounds);
        for (name, value) in Percentiles::median(samples).named() {
            report = report.figure(name, value);
        }
        if case == "pause" {
            report = report.param("pause_us", PAUSE.as_micros() as u64).figure("idle_cpu_ratio", median(&idle));
        }
        if !trips.is_empty() {
            report = report.limit("core_round_trip_ns", median(&trips));
        }
        output.emit(&report)?;
    }
    Ok(())
}

/// Ingests one event after the other, each when the one before has been delivered.
fn spin(
    bus: &EventBus,
    subscription: &mut Subscription,
    payload: usize,
    events: u64,
    pause: Option<Duration>,
    clock: Clock,
) -> Outcome<Percentiles> {
    let mut producer = bus.producer()?;
    let session = producer.session("deliver");
    let payloads = Payloads::new(payload);
    let mut latencies = Latencies::new()?;
    for number in 0..events {
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
        let start = ticks();
        let ticket = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
        let delivered = loop {
            if let Some(batch) = subscription.try_next_batch() {
                let batch = batch?;
                let event = batch.events().next().ok_or("an empty batch")?.map_err(|gap| gap.to_string())?;
                break event.insertion_ts();
            }
            std::hint::spin_loop();
        };
        latencies.record(ticks() - start);
        if delivered != ticket.insertion_ts {
            return Err("another event was delivered".into());
        }
    }
    Ok(latencies.percentiles(clock))
}

fn catch_up(args: &DeliverArgs, cores: &Cores, output: &mut Output) -> Outcome<()> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let config = bus::config(args.durability.into(), scratch.path(), cores);
    // In memory the log has to hold it all; on disk it is read from mappings, and the rest from the active segment.
    let config = match args.durability {
        Level::Memory => config.memory_bytes(1 << 30).memory_budget(2 << 30),
        _ => config,
    };
    let bus = bus::open(config)?;
    let events = (512u64 << 20) / bus::logged_bytes(args.common.payload) as u64;
    on_core(cores.producer(), || fill(&bus, events, args.common.payload))?;
    let rates = on_core(cores.producer(), || {
        // The first pass warms what the others read.
        (0..=args.common.rounds).map(|_| read_all(&bus, events)).collect::<Outcome<Vec<_>>>()
    })?;
    let memory = on_core(cores.producer(), || Ok(limits::scan_rate()))?;
    bus::close(bus)?;
    let rate = median(&rates[1..]);
    let log_rate = rate * bus::logged_bytes(args.common.payload) as f64;
    output.emit(
        &Report::new("deliver")
            .param("case", "catch-up")
            .param("durability", tapeline::config::Durability::from(args.durability).to_string())
            .param("payload", args.common.payload)
            .param("rounds", args.common.rounds)
            .figure("events_per_second", rate)
            .figure("log_bytes_per_second", log_rate)
            .figure("events", events as f64)
            .limit("memory_read_bytes_per_second", memory)
            .ratio("to_memory_read", log_rate / memory),
    )?;
    Ok(())
}

/// Ingests so many events, and waits until they can be read.
fn fill(bus: &EventBus, events: u64, payload: usize) -> Outcome<()> {
    let mut producer = bus.producer()?;
    let session = producer.session("catch-up");
    let payloads = Payloads::new(payload);
    for number in 0..events {
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
    }
    Ok(block_on(bus.flush())?)
}

/// Reads everything by a new subscription; returns events a second.
fn read_all(bus: &EventBus, events: u64) -> Outcome<f64> {
    let mut subscription = block_on(bus.subscribe(SubscribeRequest::new()))?;
    let (start, mut seen, mut times) = (Instant::now(), 0, 0u64);
    while seen < events {
        let batch = subscription.try_next_batch().ok_or("the log ended early")??;
        for event in batch.events() {
            times = times.wrapping_add(event.map_err(|gap| gap.to_string())?.insertion_ts());
            seen += 1;
        }
    }
    std::hint::black_box(times);
    Ok(events as f64 / start.elapsed().as_secs_f64())
}
