//! Catch-up: clients that reconnect to sessions of a log that a server has written at a server's rate.
//!
//! The log has the blocks that so many events a second leave in so many seconds: it is flushed for every ten
//! milliseconds of them. Then all clients connect at once, each to one session from its beginning, on a tokio runtime
//! of two threads, beside a task that sleeps a millisecond at a time: how late it wakes is what the clients do to all
//! others of the runtime. A client is live when it has read all events of its session that were there.

mod fill;
mod runtime;

use clap::Args;

use self::fill::Filled;
use self::runtime::Caught;
use crate::args::{CommonArgs, Level, positive};
use crate::harness::Outcome;
use crate::harness::bus;
use crate::harness::cores::Cores;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median_of;

/// Options of `catchup`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CatchupArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Clients that connect at once
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: u32,
    /// Seconds of events that the log holds
    #[arg(long, default_value_t = 60.0, value_parser = positive)]
    pub(crate) age: f64,
    /// Events a second
    #[arg(long, default_value_t = 5000.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// Sessions that the events are of
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sessions: u32,
    /// Failures that an acknowledged event survives
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
}

/// Measures it.
pub(crate) fn run(args: &CatchupArgs, output: &mut Output) -> Outcome<()> {
    let cores = Cores::plan(1, 1)?;
    let rounds = (0..args.common.rounds).map(|_| round(args, &cores)).collect::<Outcome<Vec<_>>>()?;
    let of = |number: fn(&Caught) -> f64| median_of(&rounds, number);
    let report = Report::new("catchup")
        .param("clients", args.clients)
        .param("age_seconds", rounded(args.age))
        .param("rate", rounded(args.rate))
        .param("sessions", args.sessions)
        .param("durability", tapeline::config::Durability::from(args.durability).to_string())
        .param("payload", args.common.payload)
        .param("rounds", args.common.rounds)
        .figure("live_seconds", of(|round| round.live_seconds))
        .figure("events_delivered", of(|round| round.events as f64))
        .figure("task_late_max_ms", of(|round| round.late_ms))
        .figure("task_late_max_ms_idle", of(|round| round.late_ms_idle))
        .figure("memory_more_mib", of(|round| round.memory_more_mib));
    output.emit(&report)?;
    Ok(())
}

fn round(args: &CatchupArgs, cores: &Cores) -> Outcome<Caught> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let bus = bus::open(bus::config(args.durability.into(), scratch.path(), cores))?;
    let filled = Filled::write(&bus, args)?;
    let caught = runtime::catch_up(&bus, &filled, args.clients)?;
    bus::close(bus)?;
    Ok(caught)
}
