//! The cost of indexes: the time to build one, and the effect on the producer.

use std::time::Instant;

use memmap2::Mmap;
use tapeline::config::Durability;
use tapeline::{EventBus, kinds};
use tapeline_storage::format::{BlockView, IndexBuilder, PAGE_BYTES, SegmentHeader};

use super::SessionsArgs;
use crate::harness::clock::Clock;
use crate::harness::cores::{Cores, on_core};
use crate::harness::open_loop::{self, Sample};
use crate::harness::payloads::Payloads;
use crate::harness::report::Report;
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus, files};

/// Sessions that stream at the same time.
const STREAMS: u64 = 1000;

/// Events of one engine step of all streams.
const EVENTS: u64 = 2_000_000;

const RATE: f64 = 1e6;

/// Small enough that a segment is sealed several times a second.
const SMALL_SEGMENTS: u64 = 16 << 20;

/// Large enough that none is sealed.
const LARGE_SEGMENTS: u64 = 2 << 30;

/// Builds the index of a segment of many interleaved sessions, from memory.
pub(super) fn rate(args: &SessionsArgs) -> Outcome<Report> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let bus = bus::open(bus::config(Durability::Durable, scratch.path(), &Cores::plan(1, 1)?))?;
    stream(&bus, args.common.payload)?;
    bus::close(bus)?;
    let file = std::fs::File::open(&files::segments(&scratch.path().join("log"))?[0])?;
    let (mut rates, mut index_bytes) = (Vec::new(), 0);
    for _ in 0..args.common.rounds {
        let (rate, bytes) = build(&file)?;
        rates.push(rate);
        index_bytes = bytes;
    }
    Ok(Report::new("sessions")
        .param("case", "index")
        .param("streams", STREAMS)
        .param("payload", args.common.payload)
        .param("index_bytes", index_bytes)
        .figure("events_per_second", median(&rates)))
}

/// Interleaves the streams event by event, as engine steps do.
fn stream(bus: &EventBus, payload: usize) -> Outcome<()> {
    let mut producer = bus.producer()?;
    let sessions: Vec<_> = (0..STREAMS).map(|number| producer.session(&*format!("stream {number}"))).collect();
    let payloads = Payloads::new(payload);
    for number in 0..EVENTS {
        let session = sessions[(number % STREAMS) as usize];
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
    }
    Ok(block_on(bus.flush())?)
}

/// Events a second, checksums and encoding included, and the bytes of the index.
#[allow(unsafe_code)]
fn build(file: &std::fs::File) -> Outcome<(f64, u64)> {
    // SAFETY: the segment is sealed, and in a directory of this process alone: no process changes it.
    let map = unsafe { Mmap::map(file) }?;
    // Once, so that what is measured is not the device.
    let touched: u64 = map.iter().step_by(PAGE_BYTES).map(|byte| u64::from(*byte)).sum();
    std::hint::black_box(touched);
    let (header, _) = SegmentHeader::decode(&map)?;
    let start = Instant::now();
    let (mut builder, mut offset, mut events) = (IndexBuilder::new(header.epoch), PAGE_BYTES, 0);
    while let Ok(block) = BlockView::check(&map[offset..], header.epoch) {
        builder.add(offset as u64, &block)?;
        events += u64::from(block.header().count);
        offset += block.header().block_bytes as usize;
    }
    let (_, place) = builder.finish().encode(header.epoch).ok_or("the index does not encode")?;
    Ok((events as f64 / start.elapsed().as_secs_f64(), place.length))
}

/// Latency of the ingest call with indexes being built all the time, to that without any.
pub(super) fn beside_ingest(args: &SessionsArgs) -> Outcome<Report> {
    let clock = Clock::calibrate();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..args.common.rounds {
        without.push(latency(args, clock, LARGE_SEGMENTS)?);
        with.push(latency(args, clock, SMALL_SEGMENTS)?);
    }
    let (with, without) = (Sample::median(&with), Sample::median(&without));
    Ok(Report::new("sessions")
        .param("case", "beside_ingest")
        .param("rate", RATE as u64)
        .param("segment_bytes", SMALL_SEGMENTS)
        .param("rounds", args.common.rounds)
        .figure("p50_ns", with.plain.p50_ns)
        .figure("p99_ns", with.plain.p99_ns)
        .figure("p999_ns", with.plain.p999_ns)
        .figure("undisturbed_p50_ns", without.plain.p50_ns)
        .figure("undisturbed_p99_ns", without.plain.p99_ns)
        .figure("undisturbed_p999_ns", without.plain.p999_ns)
        .ratio("p99_to_undisturbed", with.plain.p99_ns / without.plain.p99_ns))
}

fn latency(args: &SessionsArgs, clock: Clock, segment_bytes: u64) -> Outcome<Sample> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let cores = Cores::plan(1, 1)?;
    let config = bus::config(Durability::Durable, scratch.path(), &cores).segment_bytes(segment_bytes);
    let bus = bus::open(config)?;
    let sample = on_core(cores.producer(), || {
        let mut producer = bus.producer()?;
        let sessions: Vec<_> = (0..STREAMS).map(|number| producer.session(&*format!("stream {number}"))).collect();
        let payloads = Payloads::new(args.common.payload);
        open_loop::run(clock, RATE, args.seconds, |number| {
            let session = sessions[(number % STREAMS) as usize];
            let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
            Ok(())
        })
    })?;
    bus::close(bus)?;
    Ok(sample)
}
