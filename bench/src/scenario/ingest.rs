//! Sustained ingest: producers as fast as they can, for a while; the clock stops when the last event is durable.
//!
//! Limit: the same device written raw, or memory copied where nothing is written. What is compared is bytes: an event
//! takes its archive and its entry in the length column.

use std::path::Path;
use std::time::{Duration, Instant};

use tapeline::bus::ProducerBatch;
use tapeline::config::Durability;
use tapeline::{BackpressureMode, EventBus, IngestionError, Producer, Session, kinds};
use tapeline_storage::format::SHARED_PAYLOAD_BYTES_MAX;

use crate::args::{IngestArgs, WhenFull};
use crate::harness::cores::{Cores, on_core, pin};
use crate::harness::limits::{self, WriteLimit};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report, rounded};
use crate::harness::scratch::Scratch;
use crate::harness::stats::{median, median_of};
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus};

/// Events between two looks at the clock, and of one published batch.
const STRIDE: usize = 64;

/// Bytes of a lane for each event that it holds: as in the bus's defaults.
const EVENT_LANE_BYTES: usize = 64;

/// Strides between two looks at the clock.
const STRIDES: usize = 16;

/// Sessions of each producer, so that several shards have work.
const SESSIONS: usize = 16;

/// The way in which events are handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publish {
    /// Published one by one.
    Each,
    /// Published in batches of [`STRIDE`].
    Batch,
}

impl Publish {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Batch => "batch64",
        }
    }
}

/// The load of a round.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) level: Durability,
    pub(crate) payload: usize,
    pub(crate) publish: Publish,
    pub(crate) full: WhenFull,
    /// Of each producer thread.
    pub(crate) lanes: u16,
    pub(crate) lane_mib: u32,
    pub(crate) seconds: f64,
    pub(crate) cores: Cores,
}

/// The measurements of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// Events that are durable.
    pub(crate) events: u64,
    /// From the first event to the end of the flush.
    pub(crate) seconds: f64,
}

impl Round {
    pub(crate) fn events_per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// Measures each way of publishing.
pub(crate) fn run(args: &IngestArgs, output: &mut Output) -> Outcome<()> {
    let is_large = args.common.payload > SHARED_PAYLOAD_BYTES_MAX;
    // A batch has no large events.
    for publish in [Publish::Each, Publish::Batch].into_iter().take(if is_large { 1 } else { 2 }) {
        let load = Load {
            level: args.durability.into(),
            payload: args.common.payload,
            publish,
            full: args.full,
            lanes: args.lanes,
            lane_mib: args.lane_mib,
            seconds: args.seconds,
            cores: Cores::plan(usize::from(args.producers), usize::from(args.shards))?,
        };
        output.emit(&measure(&load, args)?)?;
    }
    Ok(())
}

fn described(load: &Load, args: &IngestArgs) -> Report {
    Report::new("ingest")
        .param("publish", load.publish.name())
        .param("durability", load.level.to_string())
        .param("payload", load.payload)
        .param("producers", args.producers)
        .param("lanes", args.lanes)
        .param("shards", args.shards)
        .param("full", load.full.name())
        .param("lane_mib", load.lane_mib)
        .param("seconds", rounded(load.seconds))
        .param("rounds", args.common.rounds)
}

fn measure(load: &Load, args: &IngestArgs) -> Outcome<Report> {
    let mut report = described(load, args);
    let (mut rounds, mut trips) = (Vec::new(), Vec::new());
    for number in 0..args.common.rounds {
        let scratch = Scratch::below(args.common.dir.as_deref())?;
        let before = limit(load, scratch.path())?;
        trips.extend(limits::round_trip_ns(&load.cores)?);
        let (round, described) = round(load, scratch.path(), report.clone())?;
        trips.extend(limits::round_trip_ns(&load.cores)?);
        let after = limit(load, scratch.path())?;
        if number == 0 {
            report = described.param("limit_driver", before.driver);
        }
        rounds.push((round, (before.bytes_per_second + after.bytes_per_second) / 2.0));
    }
    let payload = load.payload as f64;
    let logged = bus::logged_bytes(load.payload) as f64;
    let rate = median_of(&rounds, |(round, _)| round.events_per_second());
    let limit = median_of(&rounds, |(_, limit)| *limit);
    let ratio = median_of(&rounds, |(round, limit)| round.events_per_second() * logged / limit);
    let (limit_name, ratio_name) = match load.level {
        Durability::Memory => ("memcpy_bytes_per_second", "to_memcpy"),
        _ => ("device_bytes_per_second", "to_device"),
    };
    if !trips.is_empty() {
        report = report.limit("core_round_trip_ns", median(&trips));
    }
    Ok(report
        .figure("events_per_second", rate)
        .figure("payload_bytes_per_second", rate * payload)
        .figure("log_bytes_per_second", rate * logged)
        .figure("seconds", median_of(&rounds, |(round, _)| round.seconds))
        .limit(limit_name, limit)
        .ratio(ratio_name, ratio))
}

/// The most that the target of the log can take, on the shard's core.
fn limit(load: &Load, directory: &Path) -> Outcome<WriteLimit> {
    on_core(load.cores.shard(), || match load.level {
        Durability::Memory => {
            let bytes_per_second = limits::copy_rate(1 << 20, 64 << 20);
            Ok(WriteLimit { bytes_per_second, driver: "memcpy" })
        }
        level => limits::write_rate(directory, level == Durability::Durable),
    })
}

/// One round with a new log. Adds to `report` how the bus ran.
pub(crate) fn round(load: &Load, directory: &Path, report: Report) -> Outcome<(Round, Report)> {
    let lane_bytes = (load.lane_mib as usize) << 20;
    let config = bus::config(load.level, directory, &load.cores)
        .lane_bytes(lane_bytes)
        .ring_buffer_capacity(lane_bytes / EVENT_LANE_BYTES);
    let bus = bus::open(match load.full {
        WhenFull::Wait => config,
        WhenFull::Spin => config.backpressure_mode(BackpressureMode::FailProducer),
    })?;
    let report = bus::describe(report, &bus);
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(load.seconds);
    let emitted = std::thread::scope(|scope| {
        let produce = |core| {
            let bus = &bus;
            scope.spawn(move || {
                pin(core)?;
                produce(bus, load, end)
            })
        };
        let threads: Vec<_> = load.cores.producers.iter().copied().map(produce).collect();
        threads.into_iter().try_fold(0, |sum, thread| {
            let events: Outcome<u64> = thread.join().unwrap_or_else(|_| Err("a producer panicked".into()));
            Ok::<u64, Box<dyn std::error::Error + Send + Sync>>(sum + events?)
        })
    })?;
    block_on(bus.flush())?;
    let seconds = start.elapsed().as_secs_f64();
    let events = bus.stats().events_durable;
    if events != emitted {
        return Err(format!("{emitted} events were taken, {events} are durable after the flush").into());
    }
    bus::close(bus)?;
    Ok((Round { events, seconds }, report))
}

/// Ingests until `end`. Returns how many events.
fn produce(bus: &EventBus, load: &Load, end: Instant) -> Outcome<u64> {
    let mut producers = (0..load.lanes).map(|_| bus.producer()).collect::<Result<Vec<_>, _>>()?;
    let name = |number| format!("session-{number}");
    let sessions: [Session; SESSIONS] = std::array::from_fn(|number| producers[0].session(&name(number)));
    let payloads = Payloads::new(load.payload);
    let mut events = 0;
    let mut stride = 0;
    let strides = if load.payload > SHARED_PAYLOAD_BYTES_MAX { 1 } else { STRIDES };
    loop {
        for _ in 0..strides {
            let session = sessions[stride % SESSIONS];
            match load.publish {
                Publish::Each => emit_each(&mut producers, session, &payloads, events)?,
                Publish::Batch => {
                    let lane = stride % producers.len();
                    emit_batch(&mut producers[lane], session, &payloads, events)?;
                }
            }
            events += STRIDE as u64;
            stride += 1;
        }
        if Instant::now() >= end {
            return Ok(events);
        }
    }
}

#[inline]
fn emit_each(
    producers: &mut [Producer],
    session: Session,
    payloads: &Payloads,
    first: u64,
) -> Result<(), IngestionError> {
    let mut lane = 0;
    for number in first..first + STRIDE as u64 {
        let next = if lane + 1 < producers.len() { lane + 1 } else { 0 };
        let producer = &mut producers[std::mem::replace(&mut lane, next)];
        while let Err(error) = producer.emit(session, kinds::TOKEN, payloads.of(number)) {
            spin_if_full(error)?;
        }
    }
    Ok(())
}

#[inline]
fn emit_batch(
    producer: &mut Producer,
    session: Session,
    payloads: &Payloads,
    first: u64,
) -> Result<(), IngestionError> {
    let mut batch: ProducerBatch<'_> = producer.batch(session);
    for number in first..first + STRIDE as u64 {
        while let Err(error) = batch.push(kinds::TOKEN, payloads.of(number)) {
            spin_if_full(error)?;
            batch.publish()?;
        }
    }
    batch.publish().map(drop)
}

/// Goes on where room is all that is missing; in the mode that waits for it, that is an error.
#[cold]
fn spin_if_full(error: IngestionError) -> Result<(), IngestionError> {
    match error {
        IngestionError::Backpressure { .. } | IngestionError::EventBudget { .. } => {
            std::hint::spin_loop();
            Ok(())
        }
        error => Err(error),
    }
}
