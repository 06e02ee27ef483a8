//! The command line.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tapeline::config::Durability;

use crate::page::PageArgs;
use crate::scenario::catchup::CatchupArgs;
use crate::scenario::serving::ServingArgs;
use crate::scenario::sessions::{SessionsArgs, SessionsFinderArgs};

/// Measures Tapeline against the limits of the machine it runs on.
#[derive(Debug, Parser)]
#[command(name = "tapeline-bench", version, about)]
pub(crate) struct Cli {
    /// Scenario to measure
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
    /// Print each result as one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Append each result as JSON to FILE as well
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

/// The scenarios.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Sustained ingest; events count once they are durable
    Ingest(IngestArgs),
    /// Microbursts into a lane, per event and in batches
    Burst(BurstArgs),
    /// Latency of the ingest call at fixed rates, while the log is written
    Latency(LatencyArgs),
    /// Histograms of ingest, deliver and durable latencies under a chosen load, as files and a page
    Histogram(HistogramArgs),
    /// Scan of sealed segments: mapped, freshly mapped, cold, verified
    Replay(ReplayArgs),
    /// Replay as its users have it: the program's JSON lines, and events at their pace
    Play(PlayArgs),
    /// Time to open a log after kill -9, against the size of its active segment
    Recover(RecoverArgs),
    /// One session found among very many, all of them listed, indexes built beside ingest
    Sessions(SessionsArgs),
    /// From ingest to a live subscriber: under a stream, after a pause, catching up
    Deliver(DeliverArgs),
    /// Clients that reconnect to sessions of a running server's log, and an unrelated task meanwhile
    Catchup(CatchupArgs),
    /// From an engine's tokens to followers and clients over HTTP, at a server's rates, beside a file of JSON lines
    Serving(ServingArgs),
    /// Gains and costs of a task beside a shard
    Task(TaskArgs),
    /// Events through a daemon: until the output is durable, and how many a second
    Daemon(TaskArgs),
    /// Pages out of four shards, in both orders
    Poll(PollArgs),
    /// Predicates over capability sets, over an index of them, and from hostile documents
    Capability(CapabilityArgs),
    /// Reading through filters, by what decides
    Filter(FilterArgs),
    /// Into Redis beside a plain client, through an outage, and ingest beside a server that hangs
    Relay(RelayArgs),
    /// Costs of live subscribers for the shard and the producer
    Fanout(FanoutArgs),
    /// Costs of calls without room, their effects on others, and the memory of an overload
    Overload(OverloadArgs),
    /// Producers by shards beside a model, the cost of watching, the time to another shard
    Scale(ScaleArgs),
    /// Ingest and latency beside crate net-mesh, which stores nothing
    #[cfg(feature = "peers")]
    Peers(PeersArgs),
    /// A load that looks like production, until the time is over or the process is killed
    Workload(WorkloadArgs),
    /// The results of all scenarios as one page of HTML
    Page(PageArgs),
    #[command(hide = true)]
    SessionsFinder(SessionsFinderArgs),
    #[command(hide = true)]
    RecoverWriter(RecoverWriterArgs),
}

impl Scenario {
    /// The directory that the scenario writes to, if it was given.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Ingest(args) => args.common.dir.as_deref(),
            Self::Burst(args) => args.common.dir.as_deref(),
            Self::Latency(args) => args.common.dir.as_deref(),
            Self::Histogram(args) => args.dir.as_deref(),
            Self::Replay(args) => args.common.dir.as_deref(),
            Self::Play(args) => args.common.dir.as_deref(),
            Self::Recover(args) => args.common.dir.as_deref(),
            Self::Sessions(args) => args.common.dir.as_deref(),
            Self::SessionsFinder(args) => Some(&args.dir),
            Self::Deliver(args) => args.common.dir.as_deref(),
            Self::Catchup(args) => args.common.dir.as_deref(),
            Self::Serving(args) => args.common.dir.as_deref(),
            Self::Task(args) | Self::Daemon(args) => args.common.dir.as_deref(),
            Self::Fanout(args) => args.common.dir.as_deref(),
            Self::Overload(args) => args.common.dir.as_deref(),
            Self::Scale(args) => args.common.dir.as_deref(),
            Self::Relay(args) => args.common.dir.as_deref(),
            Self::Poll(_) | Self::Filter(_) | Self::Capability(_) | Self::Page(_) => None,
            #[cfg(feature = "peers")]
            Self::Peers(args) => args.common.dir.as_deref(),
            Self::Workload(args) => args.dir.as_deref(),
            Self::RecoverWriter(args) => Some(&args.dir),
        }
    }
}

/// The arguments that most scenarios take.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommonArgs {
    /// Directory to write to; a directory is made in it and removed again [default: the directory for temporary files]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Payload of an event in bytes
    #[arg(long, default_value_t = 64, value_parser = payload)]
    pub(crate) payload: usize,
}

/// Options of `ingest`.
#[derive(Debug, Clone, Args)]
pub(crate) struct IngestArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Seconds of a round
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Failure that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
    /// Producer threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) producers: u16,
    /// Lanes that each of these threads writes to in turn, so that their shard has to put each event in its place
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) lanes: u16,
    /// Shards
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) shards: u16,
    /// Action of a producer while its lane is full
    #[arg(long, value_enum, default_value_t = WhenFull::Wait)]
    pub(crate) full: WhenFull,
    /// MiB of a lane, a power of two
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) lane_mib: u32,
}

/// Options of `burst`.
#[derive(Debug, Clone, Args)]
pub(crate) struct BurstArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Bursts of a round; the median counts
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) bursts: u32,
    /// Producer threads, each with a burst into a lane of its own at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) producers: u16,
    /// Failure that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Memory)]
    pub(crate) durability: Level,
}

/// Options of `latency`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Seconds of a round, for each case
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Events a second; may be given several times [default: 0.1, 1 and 5 million]
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Vec<f64>,
    /// Failure that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
}

/// Options of `histogram`.
#[derive(Debug, Clone, Args)]
pub(crate) struct HistogramArgs {
    /// Directory to write the log to; a directory is made in it and removed again [default: the directory for temporary
    /// files]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Directory of the files, index.html among them
    #[arg(long, value_name = "DIR", default_value = "target/latency-histogram", overrides_with = "out")]
    pub(crate) out: PathBuf,
    /// Events a second, of all producers
    #[arg(long, default_value_t = 1e5, value_parser = positive)]
    pub(crate) rate: f64,
    /// Payload of an event in bytes
    #[arg(long, default_value_t = 64, value_parser = payload)]
    pub(crate) payload: usize,
    /// Seconds that count, after a fifth of a second that does not
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Producer threads; each wants a core
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) producers: u16,
    /// Failure that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
}

/// Options of `replay`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Size of the log that is made and read, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) mib: u64,
}

/// Options of `recover`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Size of the active segment in MiB; may be given several times [default: 64, 128 and 256]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) mib: Vec<u64>,
}

/// Options of the process that `recover` kills.
#[derive(Debug, Clone, Args)]
pub(crate) struct RecoverWriterArgs {
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) bytes: u64,
    #[arg(long, value_parser = payload)]
    pub(crate) payload: usize,
}

/// Options of `deliver`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DeliverArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Seconds of a round, roughly
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Failure that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
}

/// Options of `task` and `daemon`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TaskArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Seconds of a round, roughly
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Failure that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
}

/// Options of `play`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlayArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Events that are written as JSON lines
    #[arg(long, default_value_t = 1_500_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: u64,
    /// Seconds of the stream that is replayed at its pace
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
}

/// Options of `poll`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PollArgs {
    /// Rounds; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Payload of an event in bytes
    #[arg(long, default_value_t = 64, value_parser = payload)]
    pub(crate) payload: usize,
    /// Events of a page
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: usize,
}

/// Options of `filter`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FilterArgs {
    /// Rounds; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
}

/// Options of `capability`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CapabilityArgs {
    /// Rounds; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
}

/// Options of `fanout`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Seconds of a round, for each case
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Events a second
    #[arg(long, default_value_t = 1e6, value_parser = positive)]
    pub(crate) rate: f64,
    /// Failure that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
}

/// Options of `overload`.
#[derive(Debug, Clone, Args)]
pub(crate) struct OverloadArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Seconds of a round, for each case
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Seconds of the case that watches the memory of the process
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    pub(crate) memory_seconds: f64,
}

/// Options of `relay`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Cases; may be given several times [default: all]
    #[arg(long, value_enum)]
    pub(crate) case: Vec<RelayCase>,
    /// Servers that are fed; may be given several times [default: all]
    #[arg(long, value_enum)]
    pub(crate) to: Vec<RelayBackend>,
    /// Events of a round of `throughput`
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: u64,
    /// Events a second of `outage` and `hung`
    #[arg(long, default_value_t = 5e4, value_parser = positive)]
    pub(crate) rate: f64,
    /// Seconds for which the server stands still in `outage`
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) outage: f64,
    /// Seconds of a round of `hung`
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub(crate) seconds: f64,
}

/// The cases of `relay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RelayCase {
    Throughput,
    Outage,
    Hung,
}

/// The servers of `relay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RelayBackend {
    Redis,
    Jetstream,
}

/// Options of `scale`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ScaleArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Seconds of a round, for each point
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Numbers of producers
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8")]
    pub(crate) producers: Vec<usize>,
    /// Numbers of shards
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    pub(crate) shards: Vec<usize>,
    /// Failure that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Memory)]
    pub(crate) durability: Level,
}

/// Options of `peers`.
#[cfg(feature = "peers")]
#[derive(Debug, Clone, Args)]
pub(crate) struct PeersArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Seconds of a round, for each system and case
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Events a second; may be given several times [default: 0.1, 1 and 5 million]
    #[arg(long, value_parser = positive)]
    pub(crate) rate: Vec<f64>,
}

/// Options of `workload`.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkloadArgs {
    /// The log; it stays [default: one that is removed again]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Seconds to run
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    pub(crate) seconds: f64,
    /// Sessions to begin; the load ends when they have ended, if that is sooner [default: no end]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sessions: Option<u64>,
    /// Factor by which time passes faster than in the trace
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub(crate) speed: f64,
    /// Source of sessions: agent sessions as JSON lines, or requests as CSV with the columns TIMESTAMP, ContextTokens,
    /// GeneratedTokens [default: a model]
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Seed of all that is modelled
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Failure that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
    /// Shards
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) shards: u16,
}

/// Durability levels by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Memory,
    PageCache,
    Durable,
}

impl From<Level> for Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Memory => Self::Memory,
            Level::PageCache => Self::PageCache,
            Level::Durable => Self::Durable,
        }
    }
}

/// The action of a producer while its lane is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenFull {
    /// Sleep, in the bus's mode `Block`
    Wait,
    /// Try again at once, in the bus's mode `FailProducer`
    Spin,
}

impl WhenFull {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Spin => "spin",
        }
    }
}

pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above 0".to_owned()),
    }
}

fn payload(text: &str) -> Result<usize, String> {
    let max = tapeline_storage::format::PAYLOAD_BYTES_MAX;
    match text.parse::<usize>() {
        Ok(bytes) if bytes <= max => Ok(bytes),
        _ => Err(format!("a number of bytes up to {max}")),
    }
}
