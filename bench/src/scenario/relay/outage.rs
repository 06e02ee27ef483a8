//! A server that stands still for a while: when the relay has caught up, and what memory it takes until then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapeline::EventBus;
use tapeline::adapter::{RelayHandle, RelayHealth};
use tapeline::config::Durability;
use tapeline_testing::server::Server;

use super::{LOOK, described, ingest, relay, server, wait};
use crate::args::{RelayArgs, RelayBackend};
use crate::harness::cores::Cores;
use crate::harness::report::{Output, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median_of;
use crate::harness::threads::resident_bytes;
use crate::harness::{Outcome, bus};

/// The time for which the relay runs before and after.
const CALM: Duration = Duration::from_secs(2);

/// The events that a relay may be behind without being late: those of so many seconds.
const LAG_SECONDS: f64 = 0.1;

struct Round {
    recovered_seconds: f64,
    resident_before: u64,
    resident_max: u64,
}

pub(super) fn run(args: &RelayArgs, backend: RelayBackend, output: &mut Output) -> Outcome<()> {
    let rounds = (0..args.common.rounds).map(|_| round(args, backend)).collect::<Outcome<Vec<_>>>()?;
    let report = described("outage", backend, args)
        .param("rate", rounded(args.rate))
        .param("outage_seconds", rounded(args.outage))
        .figure("recovered_seconds", median_of(&rounds, |round| round.recovered_seconds))
        .figure("resident_before_bytes", median_of(&rounds, |round| round.resident_before as f64))
        .figure("resident_max_bytes", median_of(&rounds, |round| round.resident_max as f64));
    Ok(output.emit(&report)?)
}

fn round(args: &RelayArgs, backend: RelayBackend) -> Outcome<Round> {
    let (scratch, cores) = (Scratch::below(args.common.dir.as_deref())?, Cores::plan(1, 1)?);
    let server = server(backend);
    let bus = bus::open(bus::config(Durability::Durable, scratch.path(), &cores))?;
    let (relay, is_over) = (relay(&bus, backend, &server)?, AtomicBool::new(false));
    let round = std::thread::scope(|scope| {
        let ingesting = scope.spawn(|| ingest(&bus, args, || is_over.load(Ordering::Relaxed)));
        let round = interrupt(args, &bus, &server, &relay);
        is_over.store(true, Ordering::Relaxed);
        let ingested = ingesting.join().unwrap_or_else(|_| Err("the producer panicked".into()));
        ingested.and(round)
    })?;
    relay.drain(super::PATIENCE);
    if !relay.join().is_complete() || relay.stats().delivered.retries == 0 {
        return Err(format!("the relay did not get through an outage: {:?}", relay.stats()).into());
    }
    bus::close_balanced(bus)?;
    Ok(round)
}

/// Has the server stand still for a while, and waits until the relay has caught up.
fn interrupt(args: &RelayArgs, bus: &EventBus, server: &Server, relay: &RelayHandle) -> Outcome<Round> {
    std::thread::sleep(CALM);
    let allowed = (args.rate * LAG_SECONDS) as u64;
    let is_calm = |lag: u64, health: &RelayHealth| lag <= allowed && *health == RelayHealth::Healthy;
    wait(relay, |stats| is_calm(stats.lag.events, &stats.health))?;
    let resident_before = resident_bytes()?;
    let mut resident_max = resident_before;
    server.signal("-STOP");
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < args.outage {
        resident_max = resident_max.max(resident_bytes()?);
        std::thread::sleep(LOOK);
    }
    server.signal("-CONT");
    let (resumed, due) = (Instant::now(), bus.stats().events_ingested);
    loop {
        let stats = relay.stats();
        resident_max = resident_max.max(resident_bytes()?);
        if stats.delivered.events >= due && is_calm(stats.lag.events, &stats.health) {
            break;
        }
        if resumed.elapsed() > super::PATIENCE {
            return Err(format!("the relay does not catch up: {stats:?}").into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(Round { recovered_seconds: resumed.elapsed().as_secs_f64(), resident_before, resident_max })
}
