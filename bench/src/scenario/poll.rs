//! Poll: pages of 1,000 events out of a bus of four shards in memory, in both orders.
//!
//! net-mesh is not beside it: its default adapter stores nothing, and what it can read is a server on the network.

use std::time::Instant;

use tapeline::config::Durability;
use tapeline::{ConsumeRequest, EventBus, Ordering, kinds};

use crate::args::PollArgs;
use crate::harness::cores::{Cores, on_core};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus};

/// Events that are read in a pass.
const EVENTS: u64 = 1 << 20;

/// Shards and the sessions that are spread over them.
const SHARDS: usize = 4;
const SESSIONS: u64 = 64;

/// Measures both orders.
pub(crate) fn run(args: &PollArgs, output: &mut Output) -> Outcome<()> {
    let cores = Cores::plan(1, SHARDS)?;
    let scratch = Scratch::below(None)?;
    let config = bus::config(Durability::Memory, scratch.path(), &cores).memory_bytes(256 << 20);
    let bus = bus::open(config.memory_budget(2 << 30))?;
    on_core(cores.producer(), || fill(&bus, args.payload))?;
    for (name, ordering) in [("none", Ordering::None), ("insertion-ts", Ordering::InsertionTs)] {
        let rates = on_core(cores.producer(), || {
            (0..=args.rounds).map(|_| pass(&bus, args.limit, ordering)).collect::<Outcome<Vec<_>>>()
        })?;
        let rate = median(&rates[1..]);
        let report = Report::new("poll")
            .param("ordering", name)
            .param("limit", args.limit)
            .param("shards", SHARDS)
            .param("payload", args.payload)
            .param("rounds", args.rounds);
        output.emit(
            &report
                .figure("events_per_second", rate)
                .figure("pages_per_second", rate / args.limit as f64)
                .figure("payload_bytes_per_second", rate * args.payload as f64),
        )?;
    }
    bus::close(bus)
}

fn fill(bus: &EventBus, payload: usize) -> Outcome<()> {
    let mut producer = bus.producer()?;
    let payloads = Payloads::new(payload);
    for number in 0..EVENTS {
        let session = producer.session(u128::from(number % SESSIONS) + 1);
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
    }
    Ok(block_on(bus.flush())?)
}

/// Reads everything by pages; returns events a second.
fn pass(bus: &EventBus, limit: usize, ordering: Ordering) -> Outcome<f64> {
    let (start, mut seen, mut cursor, mut last) = (Instant::now(), 0, None, 0);
    loop {
        let request = ConsumeRequest { from_id: cursor, ..ConsumeRequest::new(limit).ordering(ordering) };
        let page = block_on(bus.poll(request))?;
        for event in &page.events {
            if ordering == Ordering::InsertionTs && event.insertion_ts < last {
                return Err("an event is older than the one before it".into());
            }
            last = event.insertion_ts;
        }
        seen += page.events.len() as u64;
        if !page.has_more {
            break;
        }
        cursor = page.next_id;
    }
    if seen == EVENTS {
        Ok(EVENTS as f64 / start.elapsed().as_secs_f64())
    } else {
        Err(format!("{seen} events were read, not {EVENTS}").into())
    }
}
