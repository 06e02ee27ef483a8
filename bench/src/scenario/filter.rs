//! Filter: a subscription by batches over a bus in memory, by what decides about an event.
//!
//! Payloads are JSON objects of about 120 bytes. Each pass looks at every event; what it finds is counted and compared.

use std::time::Instant;

use tapeline::config::Durability;
use tapeline::event::Kind;
use tapeline::{EventBus, Filter, SubscribeRequest};

use crate::args::FilterArgs;
use crate::harness::cores::{Cores, on_core};
use crate::harness::report::{Output, Report};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus};

/// Events that are looked at in a pass.
const EVENTS: u64 = 1 << 20;

/// Sessions and kinds that the events are spread over, and values of the field that is asked for.
const SESSIONS: u64 = 64;
const KINDS: u64 = 8;
const TOOLS: u64 = 64;

/// Measures each kind of filter.
pub(crate) fn run(args: &FilterArgs, output: &mut Output) -> Outcome<()> {
    let cores = Cores::plan(1, 1)?;
    let scratch = Scratch::below(None)?;
    let bus = bus::open(bus::config(Durability::Memory, scratch.path(), &cores).memory_bytes(512 << 20))?;
    on_core(cores.producer(), || fill(&bus))?;
    let all = EVENTS as f64;
    let cases = [
        ("none", None, all),
        ("session", Some(Filter::session("session 7")), all / SESSIONS as f64),
        ("kind", Some(Filter::kind(Kind(3))), all / KINDS as f64),
        ("json, bytes reject", Some(Filter::eq("tool.name", "tool-7")), all / TOOLS as f64),
        ("json, read", Some(Filter::gte("index", EVENTS / 2)), all / 2.0),
    ];
    for (case, filter, matching) in cases {
        let rates = on_core(cores.producer(), || {
            (0..=args.rounds).map(|_| pass(&bus, filter.clone(), matching)).collect::<Outcome<Vec<_>>>()
        })?;
        let rate = median(&rates[1..]);
        let report = Report::new("filter").param("case", case).param("rounds", args.rounds);
        let report = report.figure("events_per_second", rate).figure("ns_per_event", 1e9 / rate);
        output.emit(&report.figure("matching", matching))?;
    }
    bus::close(bus)
}

fn fill(bus: &EventBus) -> Outcome<()> {
    let mut producer = bus.producer()?;
    for number in 0..EVENTS {
        let session = producer.session(&format!("session {}", number % SESSIONS));
        let payload = format!(
            r#"{{"type":"tool.call","index":{number},"tool":{{"name":"tool-{}","arguments":{{"query":"weather in Ulm","limit":10}}}},"done":false}}"#,
            number % TOOLS
        );
        let _ = producer.emit(session, Kind((number % KINDS) as u16), payload.as_bytes())?;
    }
    Ok(block_on(bus.flush())?)
}

/// Reads everything; returns events looked at a second.
fn pass(bus: &EventBus, filter: Option<Filter>, matching: f64) -> Outcome<f64> {
    let mut subscription = block_on(bus.subscribe(SubscribeRequest { filter, ..SubscribeRequest::new() }))?;
    let (start, mut scanned, mut found) = (Instant::now(), 0, 0u64);
    while scanned < EVENTS {
        let batch = subscription.try_next_batch().ok_or("the log ended early")??;
        scanned += batch.scanned() as u64;
        for event in batch.events() {
            std::hint::black_box(event.map_err(|gap| gap.to_string())?.payload().len());
            found += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    if found as f64 == matching {
        Ok(EVENTS as f64 / seconds)
    } else {
        Err(format!("{found} events match, not {matching}").into())
    }
}
