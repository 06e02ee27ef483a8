//! Fan-out: what live subscribers cost the shard and the producer, at a fixed rate.
//!
//! Cases: no subscriber, eight on threads of their own that sleep while there is nothing and are woken by the shard,
//! and the same with one of them paused for good. They share the cores with producer and shard. A shard under a steady
//! stream does not sleep, so its processor time is bounded by the time that passes.

use tapeline::{EventBus, SubscribeRequest, Subscription};

use super::latency;
use crate::args::FanoutArgs;
use crate::harness::clock::Clock;
use crate::harness::cores::Cores;
use crate::harness::cores::on_core;
use crate::harness::open_loop::Sample;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::threads::{SHARDS, cpu_seconds};
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus};

/// Subscribers in each case, and how many of them read nothing.
const CASES: [(&str, usize, usize); 3] = [("none", 0, 0), ("8 live", 8, 0), ("8 live, one paused", 8, 1)];

/// Measures each case; rounds alternate between them.
pub(crate) fn run(args: &FanoutArgs, output: &mut Output) -> Outcome<()> {
    let (cores, clock) = (Cores::plan(1, 1)?, Clock::calibrate());
    let mut rounds = CASES.map(|_| Vec::new());
    for _ in 0..args.common.rounds {
        for (rounds, (_, subscribers, paused)) in rounds.iter_mut().zip(CASES) {
            rounds.push(round(args, &cores, clock, subscribers, paused)?);
        }
    }
    let shard = |rounds: &[Round]| median(&rounds.iter().map(|round| round.shard_seconds).collect::<Vec<_>>());
    let base = (shard(&rounds[0]), sample(&rounds[0]).plain.p99_ns);
    for (rounds, (case, ..)) in rounds.iter().zip(CASES) {
        let (shard_seconds, sample) = (shard(rounds), sample(rounds));
        let report = Report::new("fanout")
            .param("case", case)
            .param("rate", rounded(args.rate))
            .param("durability", tapeline::config::Durability::from(args.durability).to_string())
            .param("payload", args.common.payload)
            .param("rounds", args.common.rounds);
        let report = latency::with_figures(report, sample)
            .figure("shard_cpu_seconds_per_million", shard_seconds)
            .figure("delivered_ratio", median(&rounds.iter().map(|round| round.delivered).collect::<Vec<_>>()))
            .ratio("shard_cpu_to_none", shard_seconds / base.0)
            .ratio("p99_to_none", sample.plain.p99_ns / base.1);
        output.emit(&report)?;
    }
    Ok(())
}

/// The measurements of one round.
struct Round {
    sample: Sample,
    shard_seconds: f64,
    /// Events read over events ingested, of the reader that read least.
    delivered: f64,
}

fn sample(rounds: &[Round]) -> Sample {
    Sample::median(&rounds.iter().map(|round| round.sample).collect::<Vec<_>>())
}

fn round(args: &FanoutArgs, cores: &Cores, clock: Clock, subscribers: usize, paused: usize) -> Outcome<Round> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let bus = bus::open(bus::config(args.durability.into(), scratch.path(), cores))?;
    let mut live = (0..subscribers)
        .map(|_| Ok(block_on(bus.subscribe(SubscribeRequest::live()))?))
        .collect::<Outcome<Vec<_>>>()?;
    let readers: Vec<_> =
        live.split_off(paused).into_iter().map(|subscription| std::thread::spawn(|| read(subscription))).collect();
    let (sample, shard_seconds) = measure(&bus, args, cores, clock)?;
    let events = bus.stats().events_ingested as f64;
    // Its end is that of those who read it.
    bus::close(bus)?;
    let mut delivered = Vec::new();
    for reader in readers {
        let seen = reader.join().unwrap_or_else(|_| Err("a reading thread panicked".into()))?;
        delivered.push(seen as f64 / events);
    }
    let delivered = delivered.into_iter().reduce(f64::min).unwrap_or(1.0);
    Ok(Round { sample, shard_seconds: shard_seconds / events * 1e6, delivered })
}

fn measure(bus: &EventBus, args: &FanoutArgs, cores: &Cores, clock: Clock) -> Outcome<(Sample, f64)> {
    let before = cpu_seconds(SHARDS)?;
    let sample =
        on_core(cores.producer(), || latency::open_loop_on(bus, clock, args.rate, args.seconds, args.common.payload))?;
    Ok((sample, cpu_seconds(SHARDS)? - before))
}

/// Reads until the bus has ended, asleep while there is nothing; returns how many events were seen.
fn read(subscription: Subscription) -> Outcome<u64> {
    let (mut subscription, mut seen) = (subscription.blocking(), 0);
    while let Some(batch) = subscription.next_batch() {
        seen += batch?.events().count() as u64;
    }
    Ok(seen)
}
