//! Microbursts: how fast threads get a burst each into lanes that take it whole.
//!
//! Several producers begin together; the rate is that of all their events from the first beginning to the last end. The
//! shard drains meanwhile, as it does in life, and has drained everything before the next burst. Limit: memory
//! copied, the same payload bytes in one piece, walking through a target as large as the lane. The distance of the two
//! cores is measured after each burst; where bursts met both kinds, they are also reported apart.

use std::sync::Barrier;
use std::time::Instant;

use tapeline::bus::ProducerBatch;
use tapeline::{EventBus, IngestionError, Producer, Session, kinds};

use crate::args::BurstArgs;
use crate::harness::cores::{Cores, on_core, pin};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report};
use crate::harness::scratch::Scratch;
use crate::harness::stats::{median, median_of};
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus, limits};

use super::ingest::Publish;

/// Events of a burst.
const BURSTS: [usize; 3] = [10_000, 100_000, 1_000_000];

/// Events of one published batch.
const BATCH: usize = 64;

/// Lanes are this many times larger than a burst, so that none meets a full lane.
const LANE_ROOM: usize = 2;

/// Measures each size of burst, each way of publishing.
pub(crate) fn run(args: &BurstArgs, output: &mut Output) -> Outcome<()> {
    for publish in [Publish::Each, Publish::Batch] {
        for events in BURSTS {
            output.emit(&measure(args, events, publish)?)?;
        }
    }
    Ok(())
}

fn measure(args: &BurstArgs, events: usize, publish: Publish) -> Outcome<Report> {
    let cores = Cores::plan(usize::from(args.producers), 1)?;
    let payload = args.common.payload;
    let level = args.durability.into();
    let burst_bytes = events * bus::logged_bytes(payload);
    let lane_bytes = (LANE_ROOM * burst_bytes).next_power_of_two().max(4 << 20);
    let lane_events = (LANE_ROOM * events).next_power_of_two().max(1 << 16);
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let config = bus::config(level, scratch.path(), &cores).lane_bytes(lane_bytes).ring_buffer_capacity(lane_events);
    let bus = bus::open(config)?;
    let report = Report::new("burst")
        .param("publish", publish.name())
        .param("events", events)
        .param("durability", level.to_string())
        .param("payload", payload)
        .param("producers", args.producers)
        .param("lane_bytes", lane_bytes)
        .param("bursts", args.bursts)
        .param("rounds", args.common.rounds);
    let report = bus::describe(report, &bus);
    // The lane grows, and its memory is touched once, before anything counts.
    let warm_up = (lane_bytes / burst_bytes).max(1) + 1;
    let rounds = warm_up + args.bursts as usize * args.common.rounds as usize;
    let team = Team { bus: &bus, cores: &cores, payload, events, publish, rounds };
    let bursts = team.run()?.split_off(warm_up);
    let limit = on_core(cores.producer(), || Ok(limits::copy_rate((events * payload).max(1), lane_bytes)))?;
    bus::close(bus)?;
    let rate = median_of(&bursts, |burst| burst.rate);
    let payload_rate = rate * payload as f64;
    let report = by_distance(report.figure("events_per_second", rate), &bursts);
    Ok(report
        .figure("payload_bytes_per_second", payload_rate)
        .figure("seconds", events as f64 / rate)
        .limit("memcpy_bytes_per_second", limit)
        .ratio("to_memcpy", payload_rate / limit))
}

/// Producers that send a burst each, round by round.
struct Team<'a> {
    bus: &'a EventBus,
    cores: &'a Cores,
    payload: usize,
    /// Of each burst.
    events: usize,
    publish: Publish,
    rounds: usize,
}

/// The work of one producer in one round.
struct Span {
    start: Instant,
    end: Instant,
    /// Nanoseconds between the cores and back, after the round.
    trip: Option<f64>,
}

impl Team<'_> {
    /// The measurements of each round.
    fn run(&self) -> Outcome<Vec<Measured>> {
        let barrier = Barrier::new(self.cores.producers.len());
        let members = std::thread::scope(|scope| -> Outcome<Vec<Vec<Span>>> {
            let barrier = &barrier;
            let member = |number| scope.spawn(move || self.member(number, barrier));
            let threads: Vec<_> = (0..self.cores.producers.len()).map(member).collect();
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a measuring thread panicked")?).collect()
        })?;
        let of_round = |round: usize| members.iter().filter_map(move |spans| spans.get(round));
        let measured = (0..self.rounds).filter_map(|round| {
            let start = of_round(round).map(|span| span.start).min()?;
            let end = of_round(round).map(|span| span.end).max()?;
            let events = (self.events * members.len()) as f64;
            let trip = of_round(round).find_map(|span| span.trip);
            Some(Measured { rate: events / (end - start).as_secs_f64(), trip })
        });
        Ok(measured.collect())
    }

    /// Sends the bursts of the producer of this number. One that fails goes on to meet the others, who would wait for
    /// it.
    fn member(&self, number: usize, barrier: &Barrier) -> Outcome<Vec<Span>> {
        let core = self.cores.producers[number];
        let mut burst = pin(core).and_then(|()| Burst::new(self.bus, self.payload, self.events));
        let mut spans: Outcome<Vec<Span>> = Ok(Vec::new());
        for _ in 0..self.rounds {
            let _ = barrier.wait();
            let span = burst.as_mut().map_err(|error| error.to_string().into()).and_then(|burst| self.round(burst));
            let _ = barrier.wait();
            let span = span.and_then(|span| if number == 0 { self.rest(span) } else { Ok(span) });
            spans = spans.and_then(|mut spans| {
                spans.push(span?);
                Ok(spans)
            });
        }
        spans
    }

    fn round(&self, burst: &mut Burst) -> Outcome<Span> {
        let start = Instant::now();
        burst.run(self.publish)?;
        Ok(Span { start, end: Instant::now(), trip: None })
    }

    /// Has the shard take what was sent, and measures how far the cores are apart.
    fn rest(&self, span: Span) -> Outcome<Span> {
        block_on(self.bus.flush())?;
        Ok(Span { trip: limits::round_trip_ns(self.cores)?, ..span })
    }
}

/// One burst.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Events a second.
    rate: f64,
    /// Nanoseconds between the cores and back.
    trip: Option<f64>,
}

/// Adds the distance of the cores, and what bursts reached while they were near and while they were far.
fn by_distance(mut report: Report, bursts: &[Measured]) -> Report {
    let of = |near: bool| -> Vec<f64> {
        let there = bursts.iter().filter(|burst| burst.trip.is_some_and(|trip| (trip < limits::NEAR_NS) == near));
        there.map(|burst| burst.rate).collect()
    };
    for (name, rates) in [("near_events_per_second", of(true)), ("far_events_per_second", of(false))] {
        if !rates.is_empty() {
            report = report.figure(name, median(&rates));
        }
    }
    let trips: Vec<f64> = bursts.iter().filter_map(|burst| burst.trip).collect();
    if trips.is_empty() { report } else { report.limit("core_round_trip_ns", median(&trips)) }
}

/// One producer, and what it sends.
struct Burst {
    producer: Producer,
    session: Session,
    payloads: Payloads,
    events: usize,
}

impl Burst {
    fn new(bus: &EventBus, payload: usize, events: usize) -> Outcome<Self> {
        let producer = bus.producer()?;
        let session = producer.session("burst");
        Ok(Self { producer, session, payloads: Payloads::new(payload), events })
    }

    /// Sends a burst.
    fn run(&mut self, publish: Publish) -> Result<(), IngestionError> {
        match publish {
            Publish::Each => self.each(),
            Publish::Batch => self.batches(),
        }
    }

    fn each(&mut self) -> Result<(), IngestionError> {
        for payload in self.payloads.cycle().take(self.events) {
            let _ = self.producer.emit(self.session, kinds::TOKEN, payload)?;
        }
        Ok(())
    }

    fn batches(&mut self) -> Result<(), IngestionError> {
        let mut batch: ProducerBatch<'_> = self.producer.batch(self.session);
        let mut payloads = self.payloads.cycle();
        let mut left = self.events;
        while left > 0 {
            let events = left.min(BATCH);
            for payload in payloads.by_ref().take(events) {
                batch.push(kinds::TOKEN, payload)?;
            }
            batch.publish()?;
            left -= events;
        }
        Ok(())
    }
}
