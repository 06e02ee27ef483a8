//! The predecessor, crate net-mesh 0.46, in the same run: its adapter `Noop` stores nothing.
//!
//! Both get one producer core and one shard core, 64 fresh bytes for every event, and make the producer try again when
//! they are full, so that every event counts. Rounds alternate between the systems. `to_net_mesh` is our events a
//! second over theirs, and for latency our p99 over theirs.

use std::time::{Duration, Instant};

use bytes::Bytes;
use net::{AdapterConfig, BackpressureMode, EventBus, EventBusConfig, IngestionError, RawEvent};
use tapeline::config::Durability;
use tokio::runtime::{Builder, Runtime};

use crate::args::{PeersArgs, WhenFull};
use crate::harness::clock::Clock;
use crate::harness::cores::{Cores, on_core, pin};
use crate::harness::open_loop::{self, Sample};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median_of;
use crate::harness::{Outcome, bus};

use super::ingest::{self, Load, Publish};
use super::latency;

/// Calls between two looks at the clock.
const STRIDE: u64 = 1024;

/// Levels of ours that are compared.
const LEVELS: [Durability; 2] = [Durability::Durable, Durability::Memory];

/// Measures throughput, then latency at each rate.
pub(crate) fn run(args: &PeersArgs, output: &mut Output) -> Outcome<()> {
    let cores = Cores::plan(1, 1)?;
    throughput(args, &cores, output)?;
    let clock = Clock::calibrate();
    let rates = if args.rate.is_empty() { &latency::RATES[..] } else { &args.rate };
    for rate in rates {
        latency_at(*rate, args, &cores, clock, output)?;
    }
    Ok(())
}

fn report(scenario: &'static str, system: &str, args: &PeersArgs) -> Report {
    Report::new(scenario)
        .param("system", system)
        .param("payload", args.common.payload)
        .param("seconds", rounded(args.seconds))
        .param("rounds", args.common.rounds)
}

fn throughput(args: &PeersArgs, cores: &Cores, output: &mut Output) -> Outcome<()> {
    let load = |level| Load {
        level,
        payload: args.common.payload,
        publish: Publish::Each,
        full: WhenFull::Wait,
        lanes: 1,
        lane_mib: 4,
        seconds: args.seconds,
        cores: cores.clone(),
    };
    let mut ours = LEVELS.map(|_| Vec::new());
    let mut theirs = Vec::new();
    let mut reports = LEVELS.map(|level| {
        report("ingest", "tapeline", args).param("publish", "each").param("durability", level.to_string())
    });
    for number in 0..args.common.rounds {
        for (at, level) in LEVELS.into_iter().enumerate() {
            let scratch = Scratch::below(args.common.dir.as_deref())?;
            let (round, described) = ingest::round(&load(level), scratch.path(), reports[at].clone())?;
            if number == 0 {
                reports[at] = described;
            }
            ours[at].push(round.events_per_second());
        }
        theirs.push(Peer::open(cores)?.ingest(cores, args)?);
    }
    let their_rate = median_of(&theirs, |rate| *rate);
    for (report, rates) in reports.into_iter().zip(&ours) {
        let rate = median_of(rates, |rate| *rate);
        output.emit(&with_rate(report, rate, args).ratio("to_net_mesh", rate / their_rate))?;
    }
    let report = report("ingest", "net-mesh", args).param("publish", "each").param("durability", "none");
    output.emit(&with_rate(report, their_rate, args))?;
    Ok(())
}

fn with_rate(report: Report, rate: f64, args: &PeersArgs) -> Report {
    report.figure("events_per_second", rate).figure("payload_bytes_per_second", rate * args.common.payload as f64)
}

fn latency_at(rate: f64, args: &PeersArgs, cores: &Cores, clock: Clock, output: &mut Output) -> Outcome<()> {
    let (mut ours, mut theirs) = (LEVELS.map(|_| Vec::new()), Vec::new());
    for _ in 0..args.common.rounds {
        for (samples, level) in ours.iter_mut().zip(LEVELS) {
            let scratch = Scratch::below(args.common.dir.as_deref())?;
            let bus = bus::open(bus::config(level, scratch.path(), cores))?;
            samples.push(on_core(cores.producer(), || {
                latency::open_loop_on(&bus, clock, rate, args.seconds, args.common.payload)
            })?);
            bus::close(bus)?;
        }
        theirs.push(Peer::open(cores)?.latency(cores, clock, rate, args)?);
    }
    let theirs = Sample::median(&theirs);
    let report = |system| report("latency", system, args).param("case", "rate").param("rate", rounded(rate));
    for (samples, level) in ours.iter().zip(LEVELS) {
        let sample = Sample::median(samples);
        let report = report("tapeline").param("durability", level.to_string());
        let ratio = sample.plain.p99_ns / theirs.plain.p99_ns;
        output.emit(&latency::with_figures(report, sample).ratio("to_net_mesh", ratio))?;
    }
    output.emit(&latency::with_figures(report("net-mesh").param("durability", "none"), theirs))?;
    Ok(())
}

/// The predecessor's bus, on a runtime whose threads have the shards' cores.
struct Peer {
    runtime: Runtime,
    bus: EventBus,
}

impl Peer {
    fn open(cores: &Cores) -> Outcome<Self> {
        let core = cores.shard();
        let pin_worker = move || {
            // A worker that cannot be pinned runs where the kernel puts it.
            let _ = pin(core);
        };
        let runtime =
            Builder::new_multi_thread().worker_threads(1).on_thread_start(pin_worker).enable_time().build()?;
        let config = EventBusConfig::builder()
            .num_shards(1)
            .adapter(AdapterConfig::Noop)
            .backpressure_mode(BackpressureMode::FailProducer)
            .without_scaling()
            .build()?;
        let bus = runtime.block_on(EventBus::new(config))?;
        Ok(Self { runtime, bus })
    }

    /// Events a second until the flush has returned.
    fn ingest(self, cores: &Cores, args: &PeersArgs) -> Outcome<f64> {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(args.seconds);
        let bus = &self.bus;
        let events = on_core(cores.producer(), || {
            let payloads = Payloads::new(args.common.payload);
            let mut events = 0;
            while Instant::now() < end {
                for number in events..events + STRIDE {
                    emit(bus, payloads.of(number))?;
                }
                events += STRIDE;
            }
            Ok(events)
        })?;
        self.runtime.block_on(self.bus.flush())?;
        let seconds = start.elapsed().as_secs_f64();
        self.close()?;
        Ok(events as f64 / seconds)
    }

    fn latency(self, cores: &Cores, clock: Clock, rate: f64, args: &PeersArgs) -> Outcome<Sample> {
        let bus = &self.bus;
        let sample = on_core(cores.producer(), || {
            let payloads = Payloads::new(args.common.payload);
            open_loop::run(clock, rate, args.seconds, |number| emit(bus, payloads.of(number)))
        })?;
        self.close()?;
        Ok(sample)
    }

    fn close(self) -> Outcome<()> {
        Ok(self.runtime.block_on(self.bus.shutdown())?)
    }
}

/// One event of fresh bytes, again and again while the predecessor is full.
#[inline]
fn emit(bus: &EventBus, payload: &[u8]) -> Outcome<()> {
    loop {
        match bus.ingest_raw(RawEvent::from_bytes(Bytes::copy_from_slice(payload))) {
            Ok(_) => return Ok(()),
            Err(IngestionError::Backpressure) => std::hint::spin_loop(),
            Err(error) => return Err(error.into()),
        }
    }
}
