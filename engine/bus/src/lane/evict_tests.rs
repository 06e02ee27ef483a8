//! A lane that gives up its oldest records keeps its newest, counts what goes, and mixes nothing.

use tapeline_testing::{Random, seed};

use super::tests::{check, write};
use super::*;

const EVICTING: LaneOptions =
    LaneOptions { capacity_bytes: LaneOptions::CAPACITY_BYTES_MIN, capacity_events: 1024, overflow: Overflow::Evict };

fn evicting() -> (LaneWriter, LaneReader) {
    fixed(EVICTING).unwrap()
}

/// Writes a record, giving up others for it. Returns whether it found room.
fn force(writer: &mut LaneWriter, number: u64, bytes: usize) -> bool {
    if writer.is_pressed(bytes) {
        let _ = writer.evict(bytes);
    }
    let is_there = write(writer, number, bytes, LaneWriter::claim_reserve).is_ok();
    writer.publish();
    is_there
}

/// Numbers of the records that the reader finds now, all of them taken.
fn take_all(reader: &mut LaneReader) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let run = reader.peek(usize::MAX);
        let entries = run.lengths.len();
        if entries == 0 {
            reader.free();
            return numbers;
        }
        let first = u64::from_le_bytes(run.records[..8].try_into().unwrap());
        check(run, first);
        numbers.extend(first..first + entries as u64);
        reader.consume(entries);
        reader.release();
    }
}

#[test]
fn newest_records_are_kept_and_the_others_counted() {
    let (mut writer, mut reader) = evicting();
    for number in 0..10_000 {
        assert!(force(&mut writer, number, 96), "{number}");
    }
    let numbers = take_all(&mut reader);
    assert!(numbers.iter().copied().eq(10_000 - numbers.len() as u64..10_000), "the newest, without a hole");
    assert!(numbers.len() * 96 > EVICTING.capacity_bytes * 3 / 4, "not much more goes than has to");
    assert_eq!(reader.drops().oldest, 10_000 - numbers.len() as u64);
    let first = *numbers.first().unwrap();
    // No skip of this run is counted as a record, so entries and numbers differ by the skips.
    assert!(writer.was_evicted(1) && !writer.was_evicted(writer.handle().published()), "{first}");
}

#[test]
fn what_the_reader_copies_stays_and_the_reserve_is_used() {
    let (mut writer, mut reader) = evicting();
    let mut number = 0;
    while !writer.is_pressed(96) {
        assert!(force(&mut writer, number, 96));
        number += 1;
    }
    assert!(reader.hold());
    let seen = reader.peek(1 << 12).lengths.len();
    assert_eq!(writer.evict(96), None, "the reader copies");
    while force(&mut writer, number, 96) {
        number += 1;
    }
    assert!(seen > 0 && number as usize * 96 > EVICTING.capacity_bytes - 256, "the reserve was used to its end");
    check(reader.peek(1 << 12), 0);
    reader.consume(seen);
    reader.release();
    assert_eq!(writer.evict(96), Some(true));
    assert!(force(&mut writer, number, 96));
    let numbers = take_all(&mut reader);
    assert_eq!(numbers.last(), Some(&number));
    assert_eq!(reader.drops().oldest + seen as u64 + numbers.len() as u64, number + 1);
}

#[test]
fn a_batch_that_is_not_published_is_not_given_up() {
    let (mut writer, mut reader) = evicting();
    let mut number = 0;
    while write(&mut writer, number, 96, LaneWriter::claim_reserve).is_ok() {
        number += 1;
    }
    assert_eq!(writer.evict(96), Some(false));
    writer.publish();
    assert_eq!(take_all(&mut reader).len() as u64, number);
    assert_eq!(reader.drops().total(), 0);
}

#[test]
fn random_sizes_and_paces_lose_nothing_uncounted() {
    let mut random = Random::new(seed());
    for _ in 0..20 {
        let (mut writer, mut reader) = evicting();
        let (mut written, mut read, mut next) = (0u64, 0u64, 0u64);
        for _ in 0..5_000 {
            if random.below(200) == 0 {
                for number in take_all(&mut reader) {
                    assert!(number >= next, "{number} after {next}");
                    (next, read) = (number + 1, read + 1);
                }
            }
            // Numbers of records that found no room are not used.
            let bytes = (1 + random.below(40)) * UNIT_BYTES;
            written += u64::from(force(&mut writer, written, bytes));
        }
        read += take_all(&mut reader).len() as u64;
        assert_eq!(read + reader.drops().oldest, written);
        assert_eq!(reader.handle().counts().taken, read);
    }
}

#[test]
fn threads_find_every_record_whole_and_every_loss_counted() {
    let (mut writer, mut reader) = evicting();
    let events = 300_000;
    let producer = std::thread::spawn(move || {
        let mut written = 0;
        for _ in 0..events {
            written += u64::from(force(&mut writer, written, 96));
        }
        written
    });
    let mut read = 0;
    while !reader.is_drained() {
        read += take_all(&mut reader).len() as u64;
    }
    let written = producer.join().unwrap();
    assert_eq!(read + reader.drops().oldest, written);
}
