//! Serving: from an engine's tokens to those who wait for them, at the rates that one server has.
//!
//! Cases: `follower`, one task of the process that follows all sessions; `sessions`, a task for each session, which
//! follows that; `sse`, clients over loopback HTTP, each of which reads one session as server-sent events. Each token
//! carries the time of its `emit`; the other end looks at the clock when it has the token in hands. The engine is a
//! thread that sleeps between steps, as one that waits for its device, and the bus has its default configuration but
//! for the idle mode. Beside them, on the same disk in the same run, stands what people write without a bus:
//! `json-lines`, a thread that appends lines to a file, syncs what has come meanwhile with one `fdatasync`, and then
//! sends it to its follower through a channel.

mod clients;
mod follower;
mod lines;
mod load;
mod sessions;
mod sse;

use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use tapeline::config::{Durability, IdleMode};
use tapeline::consumer::Visibility;
use tapeline::{EventBus, EventBusConfig};
use tokio::runtime::Runtime;

use self::load::Load;
use crate::args::{CommonArgs, positive};
use crate::harness::Outcome;
use crate::harness::clock::Clock;
use crate::harness::latencies::{Latencies, Percentiles};
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::threads::{SHARDS, cpu_seconds};
use crate::harness::wait::block_on;

/// Events a second where none are asked for.
const RATES: [f64; 4] = [100.0, 1_000.0, 5_000.0, 10_000.0];

/// Threads of the server's runtime.
const WORKERS: usize = 2;

const IDLE_MODES: [IdleMode; 2] = [IdleMode::Doze, IdleMode::BusyPoll];

const VISIBILITIES: [Visibility; 2] = [Visibility::Durable, Visibility::Appended];

/// Options of `serving`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServingArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Cases to measure; may be given several times [default: all]
    #[arg(long, value_enum)]
    pub(crate) case: Vec<Receiver>,
    /// Seconds of a round, for each case
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Events a second for the follower; may be given several times [default: 100, 1,000, 5,000 and 10,000]
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Vec<f64>,
    /// Events a second for the clients, and for the tasks that follow a session each
    #[arg(long, default_value_t = 5_000.0, value_parser = positive)]
    pub(crate) sse_rate: f64,
    /// Events of a step of the engine, which come at once, each of another session
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) step: u32,
    /// Clients, which share the sessions
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: u32,
    /// Sessions that the events are of
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sessions: u32,
}

/// The receiver of the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Receiver {
    Follower,
    Sessions,
    Sse,
}

/// The receiver of the tokens, and how many come in a second.
#[derive(Debug, Clone, Copy)]
enum Case {
    Follower(f64),
    Sessions(f64),
    Sse(f64),
}

impl Case {
    fn receiver(self) -> Receiver {
        match self {
            Self::Follower(_) => Receiver::Follower,
            Self::Sessions(_) => Receiver::Sessions,
            Self::Sse(_) => Receiver::Sse,
        }
    }
}

/// The system between them.
#[derive(Debug, Clone, Copy)]
enum System {
    Bus(IdleMode, Visibility),
    JsonLines,
}

/// Measures it. Rounds alternate between the systems.
pub(crate) fn run(args: &ServingArgs, output: &mut Output) -> Outcome<()> {
    let clock = Clock::calibrate();
    let rates = if args.rate.is_empty() { &RATES[..] } else { &args.rate };
    let buses = IDLE_MODES.iter().flat_map(|idle| VISIBILITIES.map(|visibility| System::Bus(*idle, visibility)));
    let buses: Vec<_> = buses.collect();
    let is_asked = |case: &Case| args.case.is_empty() || args.case.contains(&case.receiver());
    for case in rates
        .iter()
        .map(|rate| Case::Follower(*rate))
        .chain([Case::Sessions(args.sse_rate), Case::Sse(args.sse_rate)])
        .filter(is_asked)
    {
        let peer = matches!(case, Case::Follower(_)).then_some(System::JsonLines);
        let systems: Vec<_> = buses.iter().copied().chain(peer).collect();
        let mut rounds: Vec<_> = systems.iter().map(|_| Vec::new()).collect();
        for _ in 0..args.common.rounds {
            for (rounds, system) in rounds.iter_mut().zip(&systems) {
                rounds.push(round(args, case, *system)?);
            }
        }
        for (rounds, system) in rounds.iter().zip(&systems) {
            output.emit(&with_figures(described(args, case, *system), rounds, clock))?;
        }
    }
    Ok(())
}

fn described(args: &ServingArgs, case: Case, system: System) -> Report {
    let (name, rate) = match case {
        Case::Follower(rate) => ("follower", rate),
        Case::Sessions(rate) => ("sessions", rate),
        Case::Sse(rate) => ("sse", rate),
    };
    let mut report = Report::new("serving").param("case", name).param("rate", rounded(rate)).param("step", args.step);
    report = match system {
        System::Bus(idle, visibility) => report
            .param("system", "tapeline")
            .param("visibility", format!("{visibility:?}").to_lowercase())
            .param("idle", format!("{idle:?}").to_lowercase()),
        System::JsonLines => report.param("system", "json-lines").param("visibility", "durable"),
    };
    if matches!(case, Case::Sse(_)) {
        report = report.param("clients", args.clients);
    }
    report
        .param("sessions", args.sessions)
        .param("payload", load::payload_bytes(args.common.payload))
        .param("seconds", rounded(args.seconds))
        .param("rounds", args.common.rounds)
}

/// The measurements of a round.
struct Round {
    latencies: Latencies,
    /// The part of a core that the shard took, where there is one.
    shard_cpu: Option<f64>,
}

fn with_figures(report: Report, rounds: &[Round], clock: Clock) -> Report {
    let percentiles: Vec<_> = rounds.iter().map(|round| round.latencies.percentiles(clock)).collect();
    let named = Percentiles::median(&percentiles).named();
    let report = named.into_iter().fold(report, |report, (name, value)| report.figure(name, value));
    let shard_cpu: Vec<_> = rounds.iter().filter_map(|round| round.shard_cpu).collect();
    if shard_cpu.is_empty() { report } else { report.figure("shard_cpu_ratio", median(&shard_cpu)) }
}

fn round(args: &ServingArgs, case: Case, system: System) -> Outcome<Round> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let load = |rate| Load {
        rate,
        step: args.step as usize,
        seconds: args.seconds,
        sessions: args.sessions as usize,
        payload: args.common.payload,
    };
    match (case, system) {
        (Case::Follower(rate), System::Bus(idle, visibility)) => {
            with_bus(&scratch, idle, |bus| follower::measure(&runtime, bus, &load(rate), visibility))
        }
        (Case::Sessions(rate), System::Bus(idle, visibility)) => {
            with_bus(&scratch, idle, |bus| sessions::measure(&runtime, bus, &load(rate), visibility))
        }
        (Case::Sse(rate), System::Bus(idle, visibility)) => {
            with_bus(&scratch, idle, |bus| sse::measure(&runtime, bus, &load(rate), (args.clients, visibility)))
        }
        (Case::Follower(rate) | Case::Sessions(rate) | Case::Sse(rate), System::JsonLines) => {
            let latencies = lines::measure(&runtime, scratch.path(), &load(rate))?;
            Ok(Round { latencies, shard_cpu: None })
        }
    }
}

fn with_bus(
    scratch: &Scratch,
    idle: IdleMode,
    work: impl FnOnce(&Arc<EventBus>) -> Outcome<Latencies>,
) -> Outcome<Round> {
    let config = EventBusConfig::builder().directory(scratch.path().join("log")).durability(Durability::Durable);
    let bus = Arc::new(block_on(EventBus::new(config.idle(idle).build()?))?);
    let (before, start) = (cpu_seconds(SHARDS)?, Instant::now());
    let latencies = work(&bus)?;
    let shard_cpu = (cpu_seconds(SHARDS)? - before) / start.elapsed().as_secs_f64();
    block_on(bus.shutdown_via_ref())?;
    Ok(Round { latencies, shard_cpu: Some(shard_cpu) })
}

/// Waits for a task of the runtime.
fn join<T>(runtime: &Runtime, task: tokio::task::JoinHandle<Outcome<T>>) -> Outcome<T> {
    runtime.block_on(task)?
}
