//! Relays into servers: beside a plain client, through an outage, and beside the ingest of events.
//!
//! Cases: `throughput`, a log that is there already into a server, by a relay and by a plain client that sends the same
//! commands in pipelines, and with the feature `peers` also by the predecessor; `outage`, a server that stands still
//! while events come at a rate, and the time until the relay is no longer behind; `hung`, the latency of ingest with no
//! relay, with one to a server that works, and with one to a server that stands still. The servers run on this machine:
//! `redis-server`, which keeps everything in memory, and `nats-server` with a stream in files.

mod hung;
#[cfg(feature = "peers")]
mod net_mesh;
mod outage;
mod plain;
mod throughput;

use std::time::Duration;

use tapeline::adapter::{
    Adapter, JetStreamAdapter, JetStreamAdapterConfig, RedisAdapter, RedisAdapterConfig, RelayHandle, RelayOptions,
    RelayStats,
};
use tapeline::{EventBus, kinds};
use tapeline_testing::server::{Program, Server};

use crate::args::{RelayArgs, RelayBackend, RelayCase};
use crate::harness::Outcome;
use crate::harness::report::{Output, Report};

/// The longest time for which it waits for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Measures the cases that were asked for.
pub(crate) fn run(args: &RelayArgs, output: &mut Output) -> Outcome<()> {
    let cases = [RelayCase::Throughput, RelayCase::Outage, RelayCase::Hung];
    let backends = [RelayBackend::Redis, RelayBackend::Jetstream];
    for case in cases.into_iter().filter(|case| args.case.is_empty() || args.case.contains(case)) {
        for backend in backends.into_iter().filter(|backend| args.to.is_empty() || args.to.contains(backend)) {
            match case {
                RelayCase::Throughput => throughput::run(args, backend, output)?,
                RelayCase::Outage => outage::run(args, backend, output)?,
                RelayCase::Hung => hung::run(args, backend, output)?,
            }
        }
    }
    Ok(())
}

fn described(case: &str, backend: RelayBackend, args: &RelayArgs) -> Report {
    let to = match backend {
        RelayBackend::Redis => "redis",
        RelayBackend::Jetstream => "jetstream",
    };
    let report = Report::new("relay").param("case", case).param("to", to);
    report.param("payload", args.common.payload).param("rounds", args.common.rounds)
}

/// A server that has nothing yet.
fn server(backend: RelayBackend) -> Server {
    match backend {
        RelayBackend::Redis => Server::start(Program::Redis, "bench-relay", &["--appendonly", "no"]),
        RelayBackend::Jetstream => Server::start(Program::Nats, "bench-relay", &[]),
    }
}

fn adapter(backend: RelayBackend, server: &Server) -> Outcome<Box<dyn Adapter>> {
    Ok(match backend {
        RelayBackend::Redis => Box::new(RedisAdapter::new(RedisAdapterConfig::new(server.url()))?),
        RelayBackend::Jetstream => Box::new(JetStreamAdapter::new(JetStreamAdapterConfig::new(server.url()))?),
    })
}

fn relay(bus: &EventBus, backend: RelayBackend, server: &Server) -> Outcome<RelayHandle> {
    Ok(bus.start_relay(adapter(backend, server)?, RelayOptions::new("bench"))?)
}

/// Waits for the relay to come to a state.
fn wait(relay: &RelayHandle, holds: impl Fn(&RelayStats) -> bool) -> Outcome<()> {
    let begun = std::time::Instant::now();
    while !holds(&relay.stats()) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("the relay does not come to that: {:?}", relay.stats()).into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Ingests `rate` events a second, in a burst each millisecond, until it is told to stop. Returns their number.
fn ingest(bus: &EventBus, args: &RelayArgs, is_over: impl Fn() -> bool) -> Outcome<u64> {
    let mut producer = bus.producer()?;
    let session = producer.session("relay");
    let payloads = crate::harness::payloads::Payloads::new(args.common.payload);
    let (begun, mut number) = (std::time::Instant::now(), 0u64);
    while !is_over() {
        let due = (begun.elapsed().as_secs_f64() * args.rate) as u64;
        while number < due {
            let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
            number += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(number)
}
