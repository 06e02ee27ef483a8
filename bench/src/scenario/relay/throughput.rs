//! Events a second into Redis, by a relay and by a plain client.

use std::cell::Cell;
use std::path::Path;
use std::time::Instant;

use tapeline::adapter::{RelayEnd, RelayOptions, relay_log};
use tapeline::config::Durability;
use tapeline::kinds;
use tapeline_testing::server::Server;

use super::{PATIENCE, adapter, described, server};
use crate::args::RelayArgs;
use crate::harness::cores::Cores;
use crate::harness::payloads::Payloads;
use crate::harness::report::Output;
use crate::harness::scratch::Scratch;
use crate::harness::stats::median_of;
use crate::harness::threads::process_cpu_seconds;
use crate::harness::{Outcome, bus};

/// Commands of a pipeline: those of the relay's transactions.
const PIPELINE: u64 = 1000;

/// Pipelines of the plain client that are under way at a time: each number is tried, and the best one counts.
const UNDER_WAY: [usize; 2] = [1, 4];

/// The time and the processor time of so many events.
#[derive(Debug, Clone, Copy)]
struct Run {
    events_per_second: f64,
    cpu_per_million: f64,
}

impl Run {
    fn measure(events: u64, work: impl FnOnce() -> Outcome<()>) -> Outcome<Self> {
        let (begun, cpu) = (Instant::now(), process_cpu_seconds()?);
        work()?;
        let (seconds, cpu) = (begun.elapsed().as_secs_f64(), process_cpu_seconds()? - cpu);
        Ok(Self { events_per_second: events as f64 / seconds, cpu_per_million: cpu / events as f64 * 1e6 })
    }
}

pub(super) fn run(args: &RelayArgs, output: &mut Output) -> Outcome<()> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let (log, server) = (scratch.path().join("log"), server());
    fill(args, scratch.path())?;
    let (mut relays, mut plains) = (Vec::new(), Vec::new());
    for round in 0..args.common.rounds {
        let best = |best: Run, run: Run| if run.events_per_second > best.events_per_second { run } else { best };
        let runs = UNDER_WAY.map(|under_way| {
            server.cli(&["FLUSHALL"]);
            Run::measure(args.events, || plain(&server, args, under_way))
        });
        let runs = runs.into_iter().collect::<Outcome<Vec<_>>>()?;
        plains.extend(runs.into_iter().reduce(best));
        server.cli(&["FLUSHALL"]);
        relays.push(Run::measure(args.events, || relay(&log, &server, args, round))?);
    }
    let rate = |runs: &[Run]| median_of(runs, |run| run.events_per_second);
    let cpu = |runs: &[Run]| median_of(runs, |run| run.cpu_per_million);
    let report = described("throughput", args)
        .param("events", args.events)
        .figure("events_per_second", rate(&relays))
        .figure("cpu_seconds_per_million", cpu(&relays))
        .limit("plain_events_per_second", rate(&plains))
        .limit("plain_cpu_seconds_per_million", cpu(&plains))
        .ratio("events_per_second_to_plain", rate(&relays) / rate(&plains));
    Ok(output.emit(&report)?)
}

/// Makes the log.
fn fill(args: &RelayArgs, directory: &Path) -> Outcome<()> {
    let cores = Cores::plan(1, 1)?;
    let bus = bus::open(bus::config(Durability::Durable, directory, &cores))?;
    let mut producer = bus.producer()?;
    let session = producer.session("relay");
    let payloads = Payloads::new(args.common.payload);
    for number in 0..args.events {
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
    }
    drop(producer);
    bus::close_balanced(bus).map(drop)
}

fn relay(log: &Path, server: &Server, args: &RelayArgs, round: u32) -> Outcome<()> {
    let name = format!("round-{round}");
    let relay = relay_log(log, adapter(server, &name)?, RelayOptions::new(name))?;
    relay.drain(PATIENCE);
    match (relay.join(), relay.stats()) {
        (RelayEnd::Drained, stats) if stats.delivered.events >= args.events => Ok(()),
        (end, stats) => Err(format!("the relay ended as {end:?}: {stats:?}").into()),
    }
}

/// The same fields, in pipelines, as a program without a log of its own would send them.
fn plain(server: &Server, args: &RelayArgs, under_way: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let payloads = Payloads::new(args.common.payload);
    let next = Cell::new(0);
    runtime.block_on(async {
        let client = redis::Client::open(server.url())?;
        let connection = client.get_multiplexed_async_connection().await?;
        let work = || async {
            let mut connection = connection.clone();
            while next.get() < args.events {
                let first = next.replace(next.get() + PIPELINE);
                let mut pipeline = redis::pipe();
                for number in first..(first + PIPELINE).min(args.events) {
                    let add = pipeline.cmd("XADD").arg("plain").arg("*");
                    add.arg("dedup_id").arg(format!("000102030405060708090a0b0c0d0e0f-0-{number}"));
                    add.arg("ts").arg(1_700_000_000_000_000_000 + number);
                    add.arg("session").arg("000102030405060708090a0b0c0d0e0f");
                    add.arg("kind").arg(kinds::TOKEN.0);
                    add.arg("payload").arg(payloads.of(number)).ignore();
                }
                pipeline.query_async::<()>(&mut connection).await?;
            }
            Ok::<(), redis::RedisError>(())
        };
        let mut working: Vec<_> = (0..under_way).map(|_| Box::pin(work())).collect();
        std::future::poll_fn(|context| {
            let mut failed = None;
            working.retain_mut(|work| match work.as_mut().poll(context) {
                std::task::Poll::Ready(outcome) => {
                    failed = failed.take().or(outcome.err());
                    false
                }
                std::task::Poll::Pending => true,
            });
            match failed {
                Some(error) => std::task::Poll::Ready(Err(error)),
                None if working.is_empty() => std::task::Poll::Ready(Ok(())),
                None => std::task::Poll::Pending,
            }
        })
        .await
    })?;
    Ok(())
}
