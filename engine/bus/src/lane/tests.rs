//! A lane loses nothing, repeats nothing, mixes nothing, and stays within its memory.

use std::io;

use tapeline_testing::{Random, seed};

use super::reader::RecordRun;
use super::writer::LaneFull;
use super::*;

const SMALL: LaneOptions =
    LaneOptions { capacity_bytes: LaneOptions::CAPACITY_BYTES_MIN, capacity_events: 1024, overflow: Overflow::Refuse };

fn small() -> (LaneWriter, LaneReader) {
    fixed(SMALL).unwrap()
}

/// A record of `bytes`, each unit of which holds the record's number, its own number and its length.
pub(super) fn write(
    writer: &mut LaneWriter,
    number: u64,
    bytes: usize,
    claim: impl for<'w> FnOnce(&'w mut LaneWriter, usize) -> Result<Claim<'w>, LaneFull>,
) -> Result<u64, LaneFull> {
    let mut claim = claim(writer, bytes)?;
    let slot = claim.slot();
    assert_eq!(slot.len(), bytes);
    assert!(slot.as_ptr().addr().is_multiple_of(UNIT_BYTES));
    for (index, unit) in slot.chunks_exact_mut(UNIT_BYTES).enumerate() {
        unit[..8].copy_from_slice(&number.to_le_bytes());
        unit[8..12].copy_from_slice(&(index as u32).to_le_bytes());
        unit[12..].copy_from_slice(&(bytes as u32).to_le_bytes());
    }
    Ok(claim.commit())
}

/// A claim whose memory was written to.
fn claim_noise(writer: &mut LaneWriter, bytes: usize) {
    writer.claim(bytes).unwrap().slot().fill(0xff);
}

pub(super) fn publish(writer: &mut LaneWriter, number: u64, bytes: usize) -> Result<u64, LaneFull> {
    let index = write(writer, number, bytes, LaneWriter::claim)?;
    writer.publish();
    Ok(index)
}

/// The size of a record: mostly short, sometimes as long as may be.
pub(super) fn size(sizes: &mut Random, longest: usize) -> usize {
    let most = if sizes.below(500) == 0 { longest } else { 512 };
    (1 + sizes.below(most / UNIT_BYTES)) * UNIT_BYTES
}

/// Writes records of these numbers, and publishes each `batch` of them, and where there is no room.
pub(super) fn produce(
    writer: &mut LaneWriter,
    numbers: std::ops::Range<u64>,
    batch: u64,
    mut bytes: impl FnMut() -> usize,
) {
    for number in numbers {
        let bytes = bytes();
        while write(writer, number, bytes, LaneWriter::claim).is_err() {
            writer.publish();
            std::thread::yield_now();
        }
        if number % batch == 0 {
            writer.publish();
        }
    }
    writer.publish();
}

/// Checks the records of a run against their numbers, which go on from `first`. Returns how many there were.
pub(super) fn check(run: RecordRun<'_>, first: u64) -> usize {
    let mut rest = run.records;
    for (number, &units) in (first..).zip(run.lengths) {
        let (record, after) = rest.split_at(usize::from(units) * UNIT_BYTES);
        for (index, unit) in record.chunks_exact(UNIT_BYTES).enumerate() {
            assert_eq!(unit[..8], number.to_le_bytes(), "number");
            assert_eq!(unit[8..12], (index as u32).to_le_bytes(), "unit in record {number}");
            assert_eq!(unit[12..], (record.len() as u32).to_le_bytes(), "length of record {number}");
        }
        rest = after;
    }
    assert!(rest.is_empty(), "{} bytes without a length", rest.len());
    run.lengths.len()
}

/// Consumes and releases all that is published. Returns how many records that was.
pub(super) fn drain(reader: &mut LaneReader, first: u64) -> u64 {
    let mut count = 0;
    loop {
        let entries = check(reader.peek(usize::MAX), first + count);
        if entries == 0 {
            return count;
        }
        reader.consume(entries);
        reader.release();
        count += entries as u64;
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let refused = |capacity_bytes, capacity_events| {
        let error = fixed(LaneOptions { capacity_bytes, capacity_events, ..SMALL }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    };
    refused(0, 1024);
    refused(SMALL.capacity_bytes / 2, 1024);
    refused(SMALL.capacity_bytes + UNIT_BYTES, 1024);
    refused(usize::MAX / 2 + 1, 1024);
    refused(SMALL.capacity_bytes, 0);
    refused(SMALL.capacity_bytes, 1);
    refused(SMALL.capacity_bytes, 1000);
    refused(SMALL.capacity_bytes, SMALL.capacity_bytes / 8);
}

#[test]
fn memory_that_the_kernel_does_not_have_is_an_error() {
    let error = fixed(LaneOptions { capacity_bytes: 1 << 55, capacity_events: 2, ..SMALL }).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
}

#[test]
fn huge_lanes_work_in_all_their_memory() {
    let options = LaneOptions { capacity_bytes: 8 << 20, capacity_events: 1 << 16, ..SMALL };
    let (mut writer, mut reader) = fixed(options).unwrap();
    let largest = writer.largest_record();
    assert_eq!(largest, usize::from(u16::MAX) * UNIT_BYTES, "what a length entry can say");
    let mut number = 0;
    while publish(&mut writer, number, largest).is_ok() {
        number += 1;
    }
    assert_eq!(number, 8);
    assert_eq!(drain(&mut reader, 0), 8);
}

#[test]
fn records_wrap_at_every_offset() {
    let (mut writer, mut reader) = small();
    let largest = writer.largest_record();
    let units = SMALL.capacity_bytes / UNIT_BYTES;
    let mut number = 0;
    // Each round moves the start by one unit, then crosses the end with a long record.
    for _ in 0..=units {
        for bytes in [UNIT_BYTES, largest, largest] {
            publish(&mut writer, number, bytes).unwrap();
            assert_eq!(drain(&mut reader, number), 1);
            number += 1;
        }
    }
}

#[test]
fn a_record_that_ends_with_the_ring_needs_no_skip() {
    let (mut writer, mut reader) = small();
    let half = writer.largest_record();
    for number in 0..10 {
        assert_eq!(publish(&mut writer, number, half), Ok(number + 1), "an entry each, no skip");
        assert_eq!(drain(&mut reader, number), 1);
    }
    assert_eq!(reader.position(), 10);
}

#[test]
fn a_skip_takes_an_entry_and_is_never_seen() {
    let (mut writer, mut reader) = small();
    let half = writer.largest_record();
    publish(&mut writer, 0, half).unwrap();
    publish(&mut writer, 1, half / 2).unwrap();
    assert_eq!(drain(&mut reader, 0), 2);
    // A quarter is left before the end of the ring.
    assert_eq!(publish(&mut writer, 2, half), Ok(4));
    assert_eq!(reader.handle().counts().pending_bytes as usize, half + half / 2, "the skipped bytes are in use, too");
    let run = reader.peek(usize::MAX);
    assert_eq!(run.lengths, [(half / UNIT_BYTES) as u16]);
    assert_eq!(check(run, 2), 1);
    assert_eq!(reader.position(), 3, "the skip is behind the reader");
    reader.consume(1);
    reader.release();
    assert_eq!(reader.handle().released(), 4);
    assert_eq!(reader.handle().counts().pending_bytes, 0);
}

#[test]
fn a_run_ends_before_a_skip_and_at_the_end_of_either_ring() {
    let (mut writer, mut reader) = small();
    let half = writer.largest_record();
    for (number, bytes) in [half, half / 2, half / 2].into_iter().enumerate() {
        publish(&mut writer, number as u64, bytes).unwrap();
    }
    assert_eq!(check(reader.peek(usize::MAX), 0), 3, "all of the ring");
    reader.consume(2);
    reader.release();
    publish(&mut writer, 3, half).unwrap();
    assert_eq!(check(reader.peek(usize::MAX), 2), 1, "the end of the bytes");
    reader.consume(1);
    assert_eq!(check(reader.peek(usize::MAX), 3), 1);
    reader.consume(1);
    reader.release();

    let (mut writer, mut reader) = fixed(LaneOptions { capacity_events: 4, ..SMALL }).unwrap();
    (0..3).for_each(|number| _ = publish(&mut writer, number, 32).unwrap());
    assert_eq!(drain(&mut reader, 0), 3);
    (3..6).for_each(|number| _ = publish(&mut writer, number, 32).unwrap());
    assert_eq!(check(reader.peek(usize::MAX), 3), 1, "the end of the lengths");
    assert_eq!(drain(&mut reader, 3), 3);

    // A quarter is left, so the half skips; the run before it does not reach the end of the ring.
    let (mut writer, mut reader) = small();
    publish(&mut writer, 0, half).unwrap();
    assert_eq!(drain(&mut reader, 0), 1);
    publish(&mut writer, 1, half / 2).unwrap();
    publish(&mut writer, 2, half).unwrap();
    assert_eq!(check(reader.peek(usize::MAX), 1), 1, "the skip");
    assert_eq!(drain(&mut reader, 1), 2);
}

#[test]
fn a_peek_stays_within_its_bytes() {
    let (mut writer, mut reader) = small();
    (0..4).for_each(|number| _ = publish(&mut writer, number, 48).unwrap());
    assert!(reader.peek(0).is_empty());
    assert!(reader.peek(47).is_empty(), "the first record is longer");
    assert_eq!(check(reader.peek(48), 0), 1);
    assert_eq!(check(reader.peek(150), 0), 3);
    assert_eq!(check(reader.peek(usize::MAX), 0), 4);
    reader.consume(1);
    reader.consume(2);
    assert_eq!(reader.position(), 3, "a run may be consumed in parts");
    assert_eq!(check(reader.peek(usize::MAX), 3), 1);
}

#[test]
#[should_panic(expected = "not peeked")]
fn consume_beyond_the_run_is_a_bug() {
    let (mut writer, mut reader) = small();
    (0..2).for_each(|number| _ = publish(&mut writer, number, 16).unwrap());
    assert_eq!(check(reader.peek(16), 0), 1);
    reader.consume(2);
}

#[test]
fn a_lane_takes_its_capacity_and_not_a_unit_more() {
    let (mut writer, mut reader) = small();
    let half = writer.largest_record();
    publish(&mut writer, 0, half).unwrap();
    publish(&mut writer, 1, half).unwrap();
    assert_eq!(writer.fill(), (SMALL.capacity_bytes, SMALL.capacity_bytes));
    assert_eq!(publish(&mut writer, 2, UNIT_BYTES), Err(LaneFull));
    assert_eq!(check(reader.peek(half), 0), 1);
    reader.consume(1);
    assert_eq!(publish(&mut writer, 2, UNIT_BYTES), Err(LaneFull), "consumed is not released");
    reader.release();
    assert_eq!(publish(&mut writer, 2, half), Ok(3));
    assert_eq!(publish(&mut writer, 3, UNIT_BYTES), Err(LaneFull));
    assert_eq!(drain(&mut reader, 1), 2);
}

#[test]
fn a_lane_takes_its_events_and_not_one_more() {
    let (mut writer, mut reader) = small();
    let events = SMALL.capacity_events as u64;
    (0..events).for_each(|number| _ = publish(&mut writer, number, UNIT_BYTES).unwrap());
    assert_eq!(writer.fill(), (SMALL.capacity_bytes, SMALL.capacity_bytes), "the fuller ring counts");
    assert_eq!(publish(&mut writer, events, UNIT_BYTES), Err(LaneFull));
    assert_eq!(drain(&mut reader, 0), events);
    assert_eq!(writer.fill().0, 0);
    assert_eq!(publish(&mut writer, events, UNIT_BYTES), Ok(events + 1));
}

#[test]
fn a_skip_waits_for_its_entry() {
    let (mut writer, mut reader) = fixed(LaneOptions { capacity_events: 2, ..SMALL }).unwrap();
    let half = writer.largest_record();
    publish(&mut writer, 0, half).unwrap();
    assert_eq!(drain(&mut reader, 0), 1);
    publish(&mut writer, 1, half / 2).unwrap();
    assert!(writer.claim(half).is_err(), "one entry left, two needed, and the bytes as well");
    assert_eq!(drain(&mut reader, 1), 1);
    assert_eq!(publish(&mut writer, 2, half), Ok(4));
    assert_eq!(drain(&mut reader, 2), 1);
}

#[test]
fn claims_that_are_not_committed_leave_nothing() {
    let (mut writer, mut reader) = small();
    claim_noise(&mut writer, 64);
    writer.publish();
    assert!(reader.peek(usize::MAX).is_empty());
    claim_noise(&mut writer, 1024);
    assert_eq!(publish(&mut writer, 0, 32), Ok(1));
    assert_eq!(check(reader.peek(usize::MAX), 0), 1);
}

#[test]
fn a_claim_after_a_skip_that_is_not_committed_leaves_nothing() {
    let (mut writer, mut reader) = small();
    let half = writer.largest_record();
    publish(&mut writer, 0, half).unwrap();
    assert_eq!(drain(&mut reader, 0), 1);
    publish(&mut writer, 1, half / 2).unwrap();
    claim_noise(&mut writer, half);
    // What is left before the end of the ring is used, and not a byte beyond.
    assert_eq!(publish(&mut writer, 2, half / 2), Ok(3));
    assert_eq!(drain(&mut reader, 1), 2);
    assert_eq!(publish(&mut writer, 3, half), Ok(4), "no skip was needed");
    assert_eq!(drain(&mut reader, 3), 1);
}

#[test]
#[cfg(debug_assertions)]
fn lengths_that_are_no_record_are_a_bug() {
    for bytes in [0, 8, 17, SMALL.capacity_bytes / 2 + UNIT_BYTES, usize::MAX - 15] {
        let claim = std::panic::catch_unwind(|| small().0.claim(bytes).is_ok());
        assert!(claim.is_err(), "claim of {bytes}");
    }
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    let (mut writer, mut reader) = small();
    let handle = writer.handle();
    for number in 0..10 {
        assert_eq!(write(&mut writer, number, 32, LaneWriter::claim), Ok(number + 1));
        assert!(reader.peek(usize::MAX).is_empty());
        assert_eq!((handle.published(), handle.counts().pending_bytes), (0, 0));
    }
    writer.publish();
    assert_eq!((handle.published(), handle.counts().pending_bytes), (10, 320));
    assert_eq!(check(reader.peek(usize::MAX), 0), 10);
}

#[test]
fn discard_takes_back_to_the_last_publish() {
    let (mut writer, mut reader) = small();
    let half = writer.largest_record();
    publish(&mut writer, 0, half).unwrap();
    assert_eq!(drain(&mut reader, 0), 1);
    publish(&mut writer, 1, half / 2).unwrap();
    // After a skip, and with a claim open.
    write(&mut writer, 2, half / 2 + UNIT_BYTES, LaneWriter::claim).unwrap();
    claim_noise(&mut writer, 16);
    writer.discard();
    writer.publish();
    assert_eq!((writer.handle().published(), writer.handle().records()), (2, 2));
    assert_eq!(drain(&mut reader, 1), 1, "nothing of what was discarded");
    assert_eq!(publish(&mut writer, 2, half / 2), Ok(3), "the room is there again, up to the end of the ring");
    assert_eq!(drain(&mut reader, 2), 1);
}

#[test]
fn events_count_records_and_not_skips() {
    let (mut writer, mut reader) = small();
    let half = writer.largest_record();
    let bytes = [half, half / 2, half, half / 4];
    for (number, &bytes) in bytes.iter().enumerate() {
        publish(&mut writer, number as u64, bytes).unwrap();
        assert!(reader.has_pending());
        assert_eq!(drain(&mut reader, number as u64), 1);
        assert!(!reader.has_pending());
    }
    assert_eq!((writer.handle().published(), writer.handle().records()), (5, 4));
    assert!(writer.handle().is_same(&reader.handle()) && !writer.handle().is_same(&small().0.handle()));
}

#[test]
fn numbers_follow_the_records() {
    let (mut writer, mut reader) = small();
    let handle = reader.handle();
    (0..3).for_each(|number| _ = publish(&mut writer, number, 64).unwrap());
    assert_eq!((handle.published(), handle.released(), handle.durable()), (3, 0, 0));
    assert_eq!(check(reader.peek(128), 0), 2);
    reader.consume(2);
    assert_eq!(handle.released(), 0, "consumed is not released");
    reader.release();
    assert_eq!((handle.published(), handle.released(), handle.durable()), (3, 2, 0));
    assert_eq!(handle.counts().pending_bytes, 64);
    reader.acknowledge(1);
    assert_eq!((handle.durable(), writer.is_durable(1), writer.is_durable(2)), (1, true, false));
    assert_eq!(writer.fill(), (64, SMALL.capacity_bytes));
}

#[test]
fn a_dropped_writer_leaves_what_it_published_and_no_more() {
    let (mut writer, mut reader) = small();
    publish(&mut writer, 0, 32).unwrap();
    write(&mut writer, 1, 32, LaneWriter::claim).unwrap();
    assert!(!reader.is_abandoned());
    drop(writer);
    assert!(reader.is_abandoned() && reader.handle().is_abandoned());
    assert!(!reader.is_drained(), "a record is left");
    assert_eq!(drain(&mut reader, 0), 1);
    assert!(reader.is_drained());
}

#[test]
fn a_panicking_producer_publishes_nothing_half_done() {
    let (mut writer, mut reader) = small();
    let producer = std::thread::spawn(move || {
        publish(&mut writer, 0, 32).unwrap();
        write(&mut writer, 1, 32, LaneWriter::claim).unwrap();
        claim_noise(&mut writer, 64);
        panic!("a producer that dies, on purpose");
    });
    assert!(producer.join().is_err());
    assert_eq!(drain(&mut reader, 0), 1);
    assert!(reader.is_drained());
}

#[test]
fn a_dropped_or_closed_reader_is_seen() {
    let (writer, reader) = small();
    assert!(!writer.is_closed());
    reader.close();
    assert!(writer.is_closed() && writer.handle().is_closed());

    let (mut writer, reader) = small();
    drop(reader);
    assert!(writer.is_closed());
    assert_eq!(publish(&mut writer, 0, 32), Ok(1), "the writer goes on into memory that no reader reads");
    let handle = writer.handle();
    drop(writer);
    assert_eq!((handle.published(), handle.released()), (1, 0), "a handle outlives both ends");
}

#[test]
fn records_cross_threads_once_and_whole() {
    const RECORDS: u64 = 300_000;
    let seed = seed();
    let mut random = Random::new(seed);
    let (mut reads, mut sizes) = (Random::new(seed ^ 1), Random::new(seed ^ 2));
    let batch = 1 + random.below(16) as u64;
    let (mut writer, mut reader) = small();
    let producer = std::thread::spawn(move || {
        let longest = writer.largest_record();
        produce(&mut writer, 0..RECORDS, batch, || size(&mut sizes, longest));
    });
    let mut count = 0;
    while !reader.is_drained() {
        let max_bytes = if reads.below(4) == 0 { usize::MAX } else { SMALL.capacity_bytes };
        let entries = check(reader.peek(max_bytes), count);
        let taken = if entries == 0 { 0 } else { 1 + reads.below(entries) };
        reader.consume(taken);
        count += taken as u64;
        if reads.below(3) == 0 || taken == 0 {
            reader.release();
            reader.acknowledge(reader.position());
        }
        if taken == 0 {
            std::thread::yield_now();
        }
    }
    producer.join().unwrap();
    assert_eq!(count, RECORDS);
    assert_eq!(reader.handle().published(), reader.position());
}

#[test]
fn reader_passes_to_a_route_once_it_has_all_of_the_one_before() {
    let (mut writer, mut reader) = small();
    publish(&mut writer, 0, 32).unwrap();
    assert!(!reader.has_passed_to(1), "a record of the old route is not consumed");
    assert_eq!(drain(&mut reader, 0), 1);
    assert!(reader.has_passed_to(1), "an idle writer will see the new route");
    let mut claim = writer.claim(32).unwrap();
    claim.begin(7, Publish::Now);
    assert!(!reader.has_passed_to(1), "a writer about to publish may go by the old route");
    claim.cancel();
    assert!(reader.has_passed_to(1));
    write(&mut writer, 1, 32, |writer, bytes| {
        let mut claim = writer.claim(bytes)?;
        claim.begin(8, Publish::Later);
        Ok(claim)
    })
    .unwrap();
    assert!(reader.has_passed_to(1), "a batch looks at the route when it is published");
    writer.begin_publish();
    assert!(!reader.has_passed_to(1));
    assert_eq!((writer.take_back().1, reader.has_passed_to(1)), (vec![32], true), "it moves elsewhere");
}

#[test]
fn records_of_a_later_route_wait_for_the_reader() {
    let (mut writer, mut reader) = small();
    publish(&mut writer, 0, 32).unwrap();
    writer.set_route(1);
    publish(&mut writer, 1, 32).unwrap();
    assert!(!reader.has_passed_to(1));
    assert_eq!(drain(&mut reader, 0), 1, "the record of the old route alone");
    assert!(reader.has_passed_to(1));
    reader.pass_to(1);
    assert_eq!(drain(&mut reader, 1), 1);
    writer.set_route(2);
    publish(&mut writer, 2, 32).unwrap();
    reader.pass_to(LaneReader::ANY_ROUTE);
    assert_eq!(drain(&mut reader, 2), 1, "the end of a shard takes all there is");
}

#[test]
fn records_that_are_taken_back_are_whole() {
    let (mut writer, mut reader) = small();
    // The batch crosses the end of the ring.
    for number in 0..600 {
        publish(&mut writer, number, 96).unwrap();
        if number % 100 == 99 {
            drain(&mut reader, number - 99);
        }
    }
    let sizes: Vec<usize> = (1..60).map(|units| units % 9 * UNIT_BYTES + 32).collect();
    for (number, bytes) in sizes.iter().enumerate() {
        write(&mut writer, number as u64, *bytes, LaneWriter::claim).unwrap();
    }
    let (records, lengths) = writer.take_back();
    assert_eq!(lengths, sizes);
    let units: Vec<u16> = lengths.iter().map(|bytes| (bytes / UNIT_BYTES) as u16).collect();
    assert_eq!(check(RecordRun { records: &records, lengths: &units, ..RecordRun::default() }, 0), sizes.len());
    publish(&mut writer, 600, 32).unwrap();
    assert_eq!(drain(&mut reader, 600), 1, "nothing of the batch is left");
}
