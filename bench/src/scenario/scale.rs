//! Scale: the throughput of producers by shards, beside a model of it; what it costs to watch a bus; and how soon a
//! shard that is added takes events.
//!
//! The model has two numbers, measured in the same run: what a producer alone writes into a lane (P), and what a shard
//! takes, the best of the points with one (S), in events a second. Threads that fit the cores do not wait for each
//! other, those that do not share them: `min(producers * P, shards * S, cores / (1/P + 1/S))`. Each measured point has
//! its ratio to the model; the rows of the case `model` are the model alone, for machines with more cores.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tapeline::{EventBus, ScalingPolicy, Session, kinds};

use crate::args::ScaleArgs;
use crate::harness::cores::{Cores, on_core, pin};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::threads::cpu_seconds;
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus};

/// Events that are published together.
const BATCH: usize = 64;

/// Sessions of a producer.
const SESSIONS: usize = 64;

/// Nanoseconds that looks at the numbers of buses have taken.
static WATCHED_NS: AtomicU64 = AtomicU64::new(0);

/// Events of the burst that measures a producer alone: they fit its lane.
const BURST: u64 = 1_000_000;

/// Measures all cases.
pub(crate) fn run(args: &ScaleArgs, output: &mut Output) -> Outcome<()> {
    let cores = std::thread::available_parallelism()?.get();
    let alone = median_of_rounds(args, || burst(args))?;
    let mut points = Vec::new();
    for shards in &args.shards {
        for producers in &args.producers {
            points.push((
                *producers,
                *shards,
                median_of_rounds(args, || round(args, *producers, *shards, Watch::None))?,
            ));
        }
    }
    let of_one_shard = points.iter().filter(|(_, shards, _)| *shards == 1);
    let shard = of_one_shard.map(|(.., rate)| *rate).reduce(f64::max).ok_or("the model needs points of one shard")?;
    let one = points.iter().find(|(producers, shards, _)| (*producers, *shards) == (1, 1));
    let one = one.map_or(shard, |(.., rate)| *rate);
    let model = Model { producer: alone, shard };
    for (producers, shards, rate) in points {
        let predicted = model.rate(producers, shards, cores);
        let report = described("curve", args)
            .param("producers", producers)
            .param("shards", shards)
            .param("cores", cores)
            .figure("events_per_second", rate)
            .figure("model_events_per_second", predicted);
        output.emit(&report.ratio("to_one_producer", rate / one).ratio("to_model", rate / predicted))?;
    }
    for cores in [4, 8, 16, 32] {
        let (shards, producers) = (cores / 4, cores - cores / 4);
        let report = described("model", args).param("producers", producers).param("shards", shards);
        let report = report.param("cores", cores);
        output.emit(&report.figure("model_events_per_second", model.rate(producers, shards, cores)))?;
    }
    watched(args, output)?;
    scale_up(args, output)
}

/// Rates of one producer and of one shard, each with a core of its own.
struct Model {
    producer: f64,
    shard: f64,
}

impl Model {
    fn rate(&self, producers: usize, shards: usize, cores: usize) -> f64 {
        let alone = (producers as f64 * self.producer).min(shards as f64 * self.shard);
        let shared = cores as f64 / (1.0 / self.producer + 1.0 / self.shard);
        if producers + shards <= cores { alone } else { alone.min(shared) }
    }
}

fn described(case: &str, args: &ScaleArgs) -> Report {
    Report::new("scale")
        .param("case", case)
        .param("durability", tapeline::config::Durability::from(args.durability).to_string())
        .param("payload", args.common.payload)
        .param("seconds", rounded(args.seconds))
        .param("rounds", args.common.rounds)
}

fn median_of_rounds(args: &ScaleArgs, mut round: impl FnMut() -> Outcome<f64>) -> Outcome<f64> {
    let rates = (0..args.common.rounds).map(|_| round()).collect::<Outcome<Vec<_>>>()?;
    Ok(median(&rates))
}

/// The rate at which a producer writes into a lane that is large enough, in events a second.
fn burst(args: &ScaleArgs) -> Outcome<f64> {
    let (cores, scratch) = (Cores::plan(1, 1)?, Scratch::below(args.common.dir.as_deref())?);
    let config = bus::config(args.durability.into(), scratch.path(), &cores).memory_budget(4 << 30);
    let bus = bus::open(config.lane_bytes(256 << 20).ring_buffer_capacity(1 << 21))?;
    let rate = on_core(cores.producer(), || {
        let mut producer = bus.producer()?;
        let payloads = Payloads::new(args.common.payload);
        let session = producer.session("burst");
        producer.emit(session, kinds::TOKEN, payloads.of(0))?;
        let begun = Instant::now();
        for first in (0..BURST).step_by(BATCH) {
            publish(&mut producer, session, &payloads, first)?;
        }
        Ok(BURST as f64 / begun.elapsed().as_secs_f64())
    })?;
    block_on(bus.flush())?;
    bus::close(bus)?;
    Ok(rate)
}

fn publish(producer: &mut tapeline::Producer, session: Session, payloads: &Payloads, first: u64) -> Outcome<()> {
    let mut batch = producer.batch(session);
    for number in first..first + BATCH as u64 {
        batch.push(kinds::TOKEN, payloads.of(number))?;
    }
    batch.publish()?;
    Ok(())
}

/// The thing that a further thread does in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    None,
    /// It reads the bus's numbers, as a scaling policy does.
    Numbers,
}

/// Events a second that so many producers get into so many shards, acknowledged.
fn round(args: &ScaleArgs, producers: usize, shards: usize, watch: Watch) -> Outcome<f64> {
    let (cores, scratch) = (Cores::plan(producers, shards)?, Scratch::below(args.common.dir.as_deref())?);
    let policy = ScalingPolicy { auto_scale: false, ..ScalingPolicy::default_for_cpus(shards as u16) };
    let config = bus::config(args.durability.into(), scratch.path(), &cores).memory_budget(4 << 30);
    let bus = bus::open(if watch == Watch::Numbers { config.scaling(policy) } else { config })?;
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(args.seconds);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| -> Outcome<()> {
        if watch == Watch::Numbers {
            scope.spawn(|| read_numbers(&bus, &is_over));
        }
        let start = |core: &usize| {
            let core = *core;
            let bus = &bus;
            // More producers than cores are left to the scheduler.
            let is_pinned = producers + shards <= cores.producers.len().max(2);
            scope.spawn(move || {
                if is_pinned {
                    pin(core)?;
                }
                produce(bus, args.common.payload, end)
            })
        };
        let workers: Vec<_> = cores.producers.iter().map(start).collect();
        let outcome = workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| Err("a producer panicked".into())));
        is_over.store(true, Ordering::Relaxed);
        outcome
    })?;
    block_on(bus.flush())?;
    let seconds = begun.elapsed().as_secs_f64();
    let events = bus.stats().events_durable as f64;
    bus::close(bus)?;
    Ok(events / seconds)
}

fn produce(bus: &EventBus, payload: usize, end: Instant) -> Outcome<()> {
    let mut producer = bus.producer()?;
    let payloads = Payloads::new(payload);
    let sessions: Vec<_> =
        (0..SESSIONS).map(|number| producer.session(&format!("{}-{number}", producer.id()))).collect();
    while Instant::now() < end {
        for session in &sessions {
            publish(&mut producer, *session, &payloads, 0)?;
        }
    }
    Ok(())
}

/// Reads every number of the bus ten times a second.
fn read_numbers(bus: &EventBus, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let _ = std::hint::black_box((bus.stats(), bus.shard_stats(), bus.lane_stats(), bus.shard_metrics()));
        WATCHED_NS.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One producer and one shard, watched and not, by turns.
fn watched(args: &ScaleArgs, output: &mut Output) -> Outcome<()> {
    let (mut without, mut with, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    // More of them: the difference is smaller than what one round differs from the next by.
    for _ in 0..3 * args.common.rounds {
        without.push(round(args, 1, 1, Watch::None)?);
        let (begun, before) = (Instant::now(), watching_seconds()?);
        with.push(round(args, 1, 1, Watch::Numbers)?);
        shares.push((watching_seconds()? - before) / begun.elapsed().as_secs_f64());
    }
    let report = described("watched", args)
        .figure("events_per_second", median(&with))
        .figure("processor_share_of_watching", median(&shares));
    Ok(output.emit(&report.ratio("to_unwatched", median(&with) / median(&without)))?)
}

/// The part of a core's time that a look at all numbers takes, ten a second, and the part that the bus's own thread
/// takes.
fn watching_seconds() -> Outcome<f64> {
    Ok(WATCHED_NS.load(Ordering::Relaxed) as f64 / 1e9 + cpu_seconds("tapeline-scali")?)
}

/// From the wish for another shard to the first event on it, under a stream of events.
fn scale_up(args: &ScaleArgs, output: &mut Output) -> Outcome<()> {
    let mut times = Vec::new();
    for _ in 0..args.common.rounds {
        let (cores, scratch) = (Cores::plan(1, 1)?, Scratch::below(args.common.dir.as_deref())?);
        let policy = ScalingPolicy { auto_scale: false, ..ScalingPolicy::default_for_cpus(2) };
        let bus = bus::open(bus::config(args.durability.into(), scratch.path(), &cores).scaling(policy))?;
        let wished = on_core(cores.producer(), || first_on_new_shard(&bus))?;
        times.push(wished.as_secs_f64() * 1e3);
        bus::close(bus)?;
    }
    Ok(output.emit(&described("scale_up", args).figure("wish_to_first_event_ms", median(&times)))?)
}

fn first_on_new_shard(bus: &EventBus) -> Outcome<Duration> {
    let mut producer = bus.producer()?;
    let warm = Instant::now() + Duration::from_millis(100);
    std::thread::scope(|scope| {
        let mut wish = None;
        let mut asked = None;
        for number in 0u128.. {
            let session = producer.session(1 + number % SESSIONS as u128);
            let ticket = producer.emit(session, kinds::TOKEN, b"scale")?;
            if ticket.shard_id == 1 {
                break;
            }
            if asked.is_none() && Instant::now() > warm {
                asked = Some(Instant::now());
                wish = Some(scope.spawn(|| block_on(bus.manual_scale_up(1))));
            }
            std::hint::spin_loop();
        }
        let elapsed = asked.map(|asked| asked.elapsed()).ok_or("no shard was asked for")?;
        match wish.map(|wish| wish.join()) {
            Some(Ok(outcome)) => outcome.map(|_| elapsed).map_err(Into::into),
            _ => Err("the wish for a shard panicked".into()),
        }
    })
}
