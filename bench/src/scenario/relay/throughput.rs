//! Events a second into a server, by a relay and by a plain client.

use std::path::Path;
use std::time::Instant;

use tapeline::adapter::{Adapter, RelayEnd, RelayOptions, relay_log};
use tapeline::config::Durability;
use tapeline::kinds;

use super::{PATIENCE, adapter, described, plain, server};
use crate::args::{RelayArgs, RelayBackend};
use crate::harness::cores::Cores;
use crate::harness::payloads::Payloads;
use crate::harness::report::Output;
use crate::harness::scratch::Scratch;
use crate::harness::stats::median_of;
use crate::harness::threads::process_cpu_seconds;
use crate::harness::{Outcome, bus};

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

pub(super) fn run(args: &RelayArgs, backend: RelayBackend, output: &mut Output) -> Outcome<()> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let log = scratch.path().join("log");
    fill(args, scratch.path())?;
    let (mut relays, mut plains) = (Vec::new(), Vec::new());
    for round in 0..args.common.rounds {
        let best = |best: Run, run: Run| if run.events_per_second > best.events_per_second { run } else { best };
        let runs = plain::UNDER_WAY.map(|under_way| {
            let server = server(backend);
            Run::measure(args.events, || plain::send(backend, &server, args, under_way))
        });
        let runs = runs.into_iter().collect::<Outcome<Vec<_>>>()?;
        plains.extend(runs.into_iter().reduce(best));
        let server = server(backend);
        relays.push(Run::measure(args.events, || relay(&log, adapter(backend, &server)?, args, round))?);
    }
    let rate = |runs: &[Run]| median_of(runs, |run| run.events_per_second);
    let cpu = |runs: &[Run]| median_of(runs, |run| run.cpu_per_million);
    let mut report = described("throughput", backend, args)
        .param("events", args.events)
        .figure("events_per_second", rate(&relays))
        .figure("cpu_seconds_per_million", cpu(&relays))
        .limit("plain_events_per_second", rate(&plains))
        .limit("plain_cpu_seconds_per_million", cpu(&plains))
        .ratio("events_per_second_to_plain", rate(&relays) / rate(&plains));
    if let Some(theirs) = of_net_mesh(args, backend)? {
        let report_of = report.limit("net_mesh_events_per_second", rate(&theirs));
        report = report_of.ratio("events_per_second_to_net_mesh", rate(&relays) / rate(&theirs));
    }
    Ok(output.emit(&report)?)
}

/// The predecessor's runs.
#[cfg(feature = "peers")]
fn of_net_mesh(args: &RelayArgs, backend: RelayBackend) -> Outcome<Option<Vec<Run>>> {
    let runs = (0..args.common.rounds).map(|_| {
        let server = server(backend);
        Run::measure(args.events, || super::net_mesh::send(backend, &server, args))
    });
    runs.collect::<Outcome<_>>().map(Some)
}

#[cfg(not(feature = "peers"))]
fn of_net_mesh(_: &RelayArgs, _: RelayBackend) -> Outcome<Option<Vec<Run>>> {
    Ok(None)
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

fn relay(log: &Path, adapter: Box<dyn Adapter>, args: &RelayArgs, round: u32) -> Outcome<()> {
    let options = RelayOptions::new(format!("{}-{round}", adapter.name()));
    let relay = relay_log(log, adapter, options)?;
    relay.drain(PATIENCE);
    match (relay.join(), relay.stats()) {
        (RelayEnd::Drained, stats) if stats.delivered.events >= args.events => Ok(()),
        (end, stats) => Err(format!("the relay ended as {end:?}: {stats:?}").into()),
    }
}
