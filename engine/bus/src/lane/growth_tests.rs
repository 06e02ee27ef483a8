//! A lane that grows loses nothing, repeats nothing and mixes nothing, and takes no memory that it is not given.

use std::collections::VecDeque;
use std::ops::Range;

use tapeline_testing::{Random, seeds};

use super::tests::{check, drain, produce, publish, size, write};
use super::*;

const MOST: LaneOptions = LaneOptions { capacity_bytes: 1 << 20, capacity_events: 1 << 14, overflow: Overflow::Refuse };

fn growing(most: LaneOptions, budget: &StdArc<MemoryBudget>) -> (LaneWriter, LaneReader) {
    let first = budget.take(most.first().memory_bytes()).unwrap();
    lane(most, 0, LaneMemory { first, budget: StdArc::clone(budget) }).unwrap()
}

fn ample() -> StdArc<MemoryBudget> {
    MemoryBudget::new(1 << 30)
}

/// Publishes records of 96 bytes until there is no room; returns the number of the next.
fn fill(writer: &mut LaneWriter, first: u64) -> u64 {
    (first..).find(|number| publish(writer, *number, 96).is_err()).unwrap()
}

#[test]
fn lane_begins_small_and_takes_as_much_as_its_largest_ring() {
    for overflow in [Overflow::Refuse, Overflow::Choose, Overflow::Evict] {
        let most = LaneOptions { overflow, ..MOST };
        let budget = ample();
        let (mut writer, mut reader) = growing(most, &budget);
        let handle = writer.handle();
        assert_eq!((budget.used(), handle.capacity_bytes()), (most.first().memory_bytes(), 4096));
        assert_eq!(publish(&mut writer, 0, 96), Ok(1));
        assert_eq!(handle.capacity_bytes(), 4096, "one event needs no more");
        let written = fill(&mut writer, 1);
        assert_eq!(handle.capacity_bytes(), most.capacity_bytes as u64);
        let kept = most.reserve().0 as usize + written as usize * 96;
        assert!(kept <= most.capacity_bytes && kept + 2 * 96 > most.capacity_bytes, "{kept}");
        assert_eq!(handle.counts().pending_bytes, written * 96, "no skip was needed");
        assert_eq!(drain(&mut reader, 0), written);
        assert_eq!(handle.counts().pending_bytes, 0);
        drop(writer);
        assert!(reader.is_drained());
        drop(reader);
        assert_eq!(budget.used(), 0, "every ring's memory comes back");
    }
}

#[test]
fn rings_that_are_read_to_their_end_give_their_memory_back() {
    let budget = ample();
    let (mut writer, mut reader) = growing(MOST, &budget);
    let next = fill(&mut writer, 0);
    assert!(budget.used() > MOST.memory_bytes());
    let _ = drain(&mut reader, 0);
    assert_eq!(budget.used(), MOST.memory_bytes(), "the last ring is left");
    assert_eq!(publish(&mut writer, next, 96).map(|_| drain(&mut reader, next)), Ok(1));
}

#[test]
fn growth_that_the_budget_refuses_leaves_the_lane_as_it_is() {
    let first = MOST.first();
    // The next ring is four times as large, and takes no more than half of what is left.
    let budget = MemoryBudget::new(first.memory_bytes() * 9 - 1);
    let (mut writer, mut reader) = growing(MOST, &budget);
    assert_eq!(writer.handle().room_bytes(), MOST.capacity_bytes as u64);
    let next = fill(&mut writer, 0);
    assert_eq!(next as usize, first.capacity_bytes / 96);
    assert_eq!((writer.handle().room_bytes(), budget.used()), (first.capacity_bytes as u64, first.memory_bytes()));
    assert_eq!(drain(&mut reader, 0), next);
    let end = fill(&mut writer, next);
    assert_eq!(drain(&mut reader, next), end - next, "it works as before");

    let budget = MemoryBudget::new(first.memory_bytes() * 9);
    let (mut writer, _reader) = growing(MOST, &budget);
    let _ = fill(&mut writer, 0);
    assert_eq!(writer.handle().capacity_bytes(), 4 * first.capacity_bytes as u64);
}

#[test]
fn lanes_that_grow_leave_memory_for_lanes_that_begin() {
    let budget = MemoryBudget::new(16 << 20);
    let mut lanes: Vec<_> = (0..200).map(|_| growing(MOST, &budget)).collect();
    lanes.iter_mut().for_each(|(writer, _)| _ = fill(writer, 0));
    let begun = std::iter::from_fn(|| budget.take(MOST.first().memory_bytes()).ok()).collect::<Vec<_>>();
    assert!(begun.len() >= (16 << 20) / 32 / MOST.first().memory_bytes(), "{}", begun.len());
}

#[test]
fn record_that_no_small_ring_takes_makes_the_lane_grow() {
    let budget = ample();
    let (mut writer, mut reader) = growing(MOST, &budget);
    assert_eq!(writer.largest_record(), MOST.capacity_bytes / 2);
    for (number, bytes) in [32, 16 << 10, 48, MOST.capacity_bytes / 2, 2048].into_iter().enumerate() {
        assert!(publish(&mut writer, number as u64, bytes).is_ok(), "{bytes}");
    }
    assert_eq!(drain(&mut reader, 0), 5);

    let budget = MemoryBudget::new(MOST.first().memory_bytes() + 1000);
    let (mut writer, _reader) = growing(MOST, &budget);
    assert_eq!(publish(&mut writer, 0, 4096 + 16), Err(LaneFull));
    let needed = RingNeeded { bytes: (16 << 10) + 512, left: 1000, budget: budget.bytes() };
    assert_eq!((writer.ring_needed(4096 + 16), writer.ring_needed(2048)), (Some(needed), None));
    assert!(publish(&mut writer, 0, 2048).is_ok());
}

#[test]
fn batch_that_outgrows_its_ring_is_seen_whole_or_not_at_all() {
    for is_published in [true, false] {
        let (mut writer, mut reader) = growing(MOST, &ample());
        assert_eq!(publish(&mut writer, 0, 96), Ok(1));
        for number in 1..2_000 {
            assert!(write(&mut writer, number, 96, LaneWriter::claim).is_ok());
        }
        assert_eq!(writer.position(), 2_000);
        assert_eq!(drain(&mut reader, 0), 1);
        if is_published {
            writer.publish();
            assert_eq!(drain(&mut reader, 1), 1_999);
        } else {
            assert!(writer.discard());
            assert_eq!((writer.position(), drain(&mut reader, 1)), (1, 0));
            assert_eq!(publish(&mut writer, 1, 96), Ok(2));
            assert_eq!(drain(&mut reader, 1), 1);
        }
    }
}

#[test]
fn groups_are_taken_whole_and_in_their_turn_while_the_lane_grows() {
    for seed in seeds(20) {
        let mut random = Random::new(seed);
        let (mut writer, mut reader) = growing(MOST, &ample());
        let (mut written, mut taken, mut groups) = (0_u64, 0_u64, VecDeque::new());
        let mut take = |written: u64, groups: &mut VecDeque<Range<u64>>| {
            while taken < written {
                let Some(group) = reader.copy_group() else {
                    let entries = check(reader.peek(usize::MAX), taken);
                    assert!(entries > 0, "seed {seed}: all of it is published");
                    reader.consume(entries);
                    reader.release();
                    taken += entries as u64;
                    assert!(groups.front().is_none_or(|group| taken <= group.start), "seed {seed}: part of a group");
                    continue;
                };
                let numbers = group.records.chunks_exact(96).map(|record| record[..8].try_into().unwrap());
                assert_eq!(groups.pop_front(), Some(taken..taken + group.lengths.len() as u64), "seed {seed}");
                assert!(numbers.map(u64::from_le_bytes).eq(taken..taken + group.lengths.len() as u64), "seed {seed}");
                reader.consume_group(&group);
                reader.release();
                taken += group.lengths.len() as u64;
            }
        };
        for _ in 0..200 {
            let (begin, is_group) = (written, random.below(2) == 0);
            while written - begin < 40 && write(&mut writer, written, 96, LaneWriter::claim).is_ok() {
                written += 1;
            }
            if is_group && written > begin {
                writer.publish_group(written);
                groups.push_back(begin..written);
            } else {
                writer.publish();
            }
            if random.below(20) == 0 {
                take(written, &mut groups);
            }
        }
        take(written, &mut groups);
        assert!(groups.is_empty() && writer.handle().capacity_bytes() > 4096, "seed {seed}");
    }
}

#[test]
fn batch_that_outgrew_its_ring_is_taken_back_whole() {
    let (mut writer, mut reader) = growing(MOST, &ample());
    assert_eq!(publish(&mut writer, 0, 96), Ok(1));
    let sizes: Vec<usize> = (1..400).map(|units| units % 9 * UNIT_BYTES + 32).collect();
    for (number, bytes) in sizes.iter().enumerate() {
        assert!(write(&mut writer, number as u64, *bytes, LaneWriter::claim).is_ok());
    }
    let (records, lengths) = writer.take_back();
    assert_eq!(lengths, sizes);
    let units: Vec<u16> = lengths.iter().map(|bytes| (bytes / UNIT_BYTES) as u16).collect();
    assert_eq!(check(RecordRun { records: &records, lengths: &units, ..RecordRun::default() }, 0), sizes.len());
    assert_eq!(drain(&mut reader, 0), 1, "nothing of the batch is left");
}

#[test]
fn evicting_lane_gives_up_records_of_every_ring() {
    let most = LaneOptions { capacity_bytes: 64 << 10, capacity_events: 1024, overflow: Overflow::Evict };
    let (mut writer, mut reader) = growing(most, &ample());
    let force = |writer: &mut LaneWriter, number: u64| {
        if writer.is_pressed(96) {
            assert_eq!(writer.evict(96), Some(true), "{number}");
        }
        assert!(write(writer, number, 96, LaneWriter::claim_reserve).is_ok(), "{number}");
        writer.publish();
    };
    // The reader, in the first ring, has looked at what is given up later, and is led over all the rings.
    (0..20).for_each(|number| force(&mut writer, number));
    assert!(check(reader.peek(usize::MAX), 0) > 0);
    reader.free();
    (20..10_000).for_each(|number| force(&mut writer, number));
    assert_eq!(writer.handle().capacity_bytes(), 64 << 10);
    let gone = reader.drops().oldest;
    assert!(gone > 9_000);
    assert_eq!(drain(&mut reader, gone), 10_000 - gone, "the newest, without a hole");
    assert!(writer.was_evicted(1));
}

#[test]
fn evicting_lane_that_stopped_in_an_older_ring_gives_up_its_records_first() {
    let most = LaneOptions { capacity_bytes: 64 << 10, capacity_events: 1024, overflow: Overflow::Evict };
    let (mut writer, mut reader) = growing(most, &ample());
    let written = fill(&mut writer, 0);
    // Less than what the first two rings hold.
    assert_eq!(writer.evict(96), Some(true));
    let gone = reader.drops().oldest;
    assert!(gone > 0 && gone < written / 2, "{gone} of {written}");
    assert_eq!(drain(&mut reader, gone), written - gone);
}

#[test]
fn stream_gets_a_ring_that_it_does_not_go_round_often_and_no_larger_one() {
    let (mut writer, mut reader) = growing(MOST, &ample());
    let mut number = 0;
    let mut send = |writer: &mut LaneWriter| {
        publish(writer, number, 96).unwrap();
        number += drain(&mut reader, number);
    };
    while writer.handle().capacity_bytes() < 256 << 10 {
        send(&mut writer);
    }
    (0..20_000).for_each(|_| send(&mut writer));
    assert_eq!(writer.handle().capacity_bytes(), 256 << 10);
}

#[test]
fn random_lives_lose_nothing_and_repeat_nothing() {
    for seed in seeds(60) {
        let mut random = Random::new(seed);
        let events = 1 << (6 + random.below(8));
        let most = LaneOptions { capacity_bytes: 256 << 10, capacity_events: events, overflow: Overflow::Refuse };
        let budget = if random.below(2) == 0 { ample() } else { MemoryBudget::new(256 << 10) };
        let (mut writer, mut reader) = growing(most, &budget);
        // Numbers: of the next record, of the first that is not published, of the next to be read.
        let (mut next, mut published, mut read) = (0, 0, 0);
        for _ in 0..3_000 {
            match random.below(100) {
                0..60 => {
                    let longest = if random.below(50) == 0 { 400 } else { 12 };
                    let bytes = (1 + random.below(longest)) * UNIT_BYTES;
                    next += u64::from(write(&mut writer, next, bytes, LaneWriter::claim).is_ok());
                }
                60..80 => {
                    writer.publish();
                    published = next;
                }
                80..83 => {
                    let _ = writer.discard();
                    next = published;
                }
                83..85 => {
                    assert_eq!(writer.take_back().1.len() as u64, next - published, "seed {seed}");
                    next = published;
                }
                _ => {
                    let entries = check(reader.peek(1 << (8 + random.below(10))), read);
                    let taken = random.below(entries + 1);
                    reader.consume(taken);
                    reader.release();
                    read += taken as u64;
                }
            }
            assert!(read <= published, "seed {seed}");
            assert_eq!(reader.has_pending(), read < published || writer.handle().published() != reader.position());
        }
        writer.publish();
        read += drain(&mut reader, read);
        assert_eq!(
            (read, writer.handle().records(), reader.handle().counts().taken),
            (next, next, next),
            "seed {seed}"
        );
        assert_eq!(reader.handle().counts().pending_bytes, 0);
        drop((writer, reader));
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn random_evicting_lives_lose_nothing_uncounted() {
    for seed in seeds(40) {
        let mut random = Random::new(seed);
        let most = LaneOptions { capacity_bytes: 64 << 10, capacity_events: 1024, overflow: Overflow::Evict };
        let (mut writer, mut reader) = growing(most, &ample());
        let (mut next, mut written, mut read) = (0, 0, 0);
        for _ in 0..5_000 {
            if random.below(150) == 0 {
                let run = reader.peek(1 << (10 + random.below(8)));
                let entries = run.lengths.len();
                if entries > 0 {
                    let first = u64::from_le_bytes(run.records[..8].try_into().unwrap());
                    assert!(first >= next, "seed {seed}: {first} after {next}");
                    assert_eq!(check(run, first), entries);
                    let taken = random.below(entries) + 1;
                    reader.consume(taken);
                    (next, read) = (first + taken as u64, read + taken as u64);
                }
                reader.release();
            }
            let bytes = (1 + random.below(40)) * UNIT_BYTES;
            if writer.is_pressed(bytes) {
                let _ = writer.evict(bytes);
            }
            written += u64::from(write(&mut writer, written, bytes, LaneWriter::claim_reserve).is_ok());
            writer.publish();
        }
        let gone = reader.drops().oldest;
        let mut left = 0;
        while let entries @ 1.. = reader.peek(usize::MAX).lengths.len() {
            reader.consume(entries);
            reader.release();
            left += entries as u64;
        }
        assert_eq!(read + left + gone, written, "seed {seed}");
    }
}

#[test]
fn records_cross_threads_once_and_whole_while_the_lane_grows() {
    const RECORDS: u64 = 40_000;
    for seed in seeds(8) {
        let mut sizes = Random::new(seed);
        let batch = 1 + sizes.below(100) as u64;
        let (mut writer, mut reader) = growing(MOST, &ample());
        let producer = std::thread::spawn(move || {
            produce(&mut writer, 0..RECORDS, batch, || size(&mut sizes, 20_000));
        });
        let mut count = 0;
        while !reader.is_drained() {
            count += drain(&mut reader, count);
            std::thread::yield_now();
        }
        producer.join().unwrap();
        assert_eq!(count, RECORDS);
    }
}

#[test]
fn evictions_and_growth_on_two_threads_lose_nothing_uncounted() {
    for _ in 0..20 {
        let most = LaneOptions { capacity_bytes: 64 << 10, capacity_events: 1024, overflow: Overflow::Evict };
        let (mut writer, mut reader) = growing(most, &ample());
        let producer = std::thread::spawn(move || {
            let mut written = 0;
            for _ in 0..20_000 {
                if writer.is_pressed(96) {
                    let _ = writer.evict(96);
                }
                written += u64::from(write(&mut writer, written, 96, LaneWriter::claim_reserve).is_ok());
                writer.publish();
            }
            written
        });
        let (mut read, mut next) = (0, 0);
        while !reader.is_drained() {
            let run = reader.peek(usize::MAX);
            let entries = run.lengths.len();
            if entries > 0 {
                let first = u64::from_le_bytes(run.records[..8].try_into().unwrap());
                assert!(first >= next && check(run, first) == entries);
                reader.consume(entries);
                (next, read) = (first + entries as u64, read + entries as u64);
            }
            reader.release();
        }
        let written = producer.join().unwrap();
        assert_eq!(read + reader.drops().oldest, written);
    }
}
