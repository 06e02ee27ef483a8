//! The interleavings, in small: loom runs the shipped lane and watches each unit of bytes and each length entry.
//!
//! `RUSTFLAGS="--cfg tapeline_loom" cargo test -p tapeline --release lane::`

use loom::thread;

use super::sync::{AtomicU64, Ordering};

use super::writer::LaneFull;
use super::*;

/// A lane of four units and two or four entries; its longest record has two units.
fn tiny(capacity_events: usize) -> (LaneWriter, LaneReader) {
    let capacity_bytes = LaneOptions::CAPACITY_BYTES_MIN;
    fixed(LaneOptions { capacity_bytes, capacity_events, overflow: Overflow::Refuse }).unwrap()
}

/// A lane that begins with four units and may grow to so many times that.
fn growing(times: usize, overflow: Overflow) -> (LaneWriter, LaneReader) {
    let capacity_bytes = times * LaneOptions::CAPACITY_BYTES_MIN;
    let most = LaneOptions { capacity_bytes, capacity_events: 4 * times, overflow };
    let memory = LaneMemory { first: MemoryShare::default(), budget: MemoryBudget::new(1 << 20) };
    lane(most, 0, memory).unwrap()
}

fn write(writer: &mut LaneWriter, number: u8, units: usize) -> Result<u64, LaneFull> {
    let mut claim = writer.claim(units * UNIT_BYTES)?;
    claim.slot().fill(number);
    Ok(claim.commit())
}

/// Writes until there is room.
fn write_waiting(writer: &mut LaneWriter, number: u8, units: usize) {
    while write(writer, number, units).is_err() {
        thread::yield_now();
    }
}

/// Consumes and releases one run, whose records are numbered on from `first`. Returns how many there were.
fn read(reader: &mut LaneReader, first: u8) -> usize {
    let run = reader.peek(usize::MAX);
    let mut rest = run.records;
    for (number, &units) in (first..).zip(run.lengths) {
        let (record, after) = rest.split_at(usize::from(units) * UNIT_BYTES);
        assert!(record.iter().all(|&byte| byte == number), "record {number} is {record:?}");
        rest = after;
    }
    assert!(rest.is_empty());
    let entries = run.lengths.len();
    if entries > 0 {
        reader.consume(entries);
        reader.release();
    }
    entries
}

fn read_all(reader: &mut LaneReader, count: usize) {
    let mut seen = 0;
    while seen < count {
        match read(reader, seen as u8) {
            0 => thread::yield_now(),
            entries => seen += entries,
        }
    }
}

/// Publishes records of these lengths one by one while the reader takes them. Both sides wait for each other, so the
/// interleavings are bounded: those with at most four preemptions, beside the waits, are tried.
fn relay(capacity_events: usize, units: &'static [usize]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(move || {
        relay_in(tiny(capacity_events), units);
    });
}

/// One such relay.
fn relay_in((mut writer, mut reader): (LaneWriter, LaneReader), units: &'static [usize]) {
    let producer = thread::spawn(move || {
        for (number, &units) in units.iter().enumerate() {
            write_waiting(&mut writer, number as u8, units);
            writer.publish();
        }
    });
    read_all(&mut reader, units.len());
    producer.join().unwrap();
    assert!(reader.is_drained());
    assert_eq!(reader.handle().counts().pending_bytes, 0);
}

#[test]
fn reader_follows_into_the_next_ring_without_a_race() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| relay_in(growing(2, Overflow::Refuse), &[2, 2, 1, 2]));
}

#[test]
fn reader_follows_over_two_rings() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mut writer, mut reader) = growing(4, Overflow::Refuse);
        (0..3).for_each(|number| assert!(write(&mut writer, number, 1).is_ok()));
        writer.publish();
        let producer = thread::spawn(move || {
            for number in 3..10 {
                write_waiting(&mut writer, number, 1);
                writer.publish();
            }
        });
        let mut seen = read(&mut reader, 0);
        seen += read(&mut reader, seen as u8);
        producer.join().unwrap();
        while let entries @ 1.. = read(&mut reader, seen as u8) {
            seen += entries;
        }
        assert_eq!(seen, 10);
        assert!(reader.is_drained());
    });
}

#[test]
fn batch_that_outgrows_its_ring_is_seen_whole_or_not_at_all() {
    loom::model(|| {
        let (mut writer, mut reader) = growing(2, Overflow::Refuse);
        let producer = thread::spawn(move || {
            write(&mut writer, 0, 2).unwrap();
            writer.publish();
            write(&mut writer, 1, 1).unwrap();
            write(&mut writer, 2, 2).unwrap();
            writer.publish();
        });
        let mut seen = read(&mut reader, 0);
        assert!(matches!(seen, 0 | 1), "the first ring has the first record alone: {seen}");
        producer.join().unwrap();
        while let entries @ 1.. = read(&mut reader, seen as u8) {
            seen += entries;
        }
        assert_eq!(seen, 3);
    });
}

#[test]
fn evictions_pass_over_rings_and_count_what_they_give_up() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mut writer, mut reader) = growing(2, Overflow::Evict);
        let before = (1..=6).filter(|number| force(&mut writer, *number)).count();
        let producer = thread::spawn(move || (7..=9).filter(|number| force(&mut writer, *number)).count());
        let (mut last, mut taken) = (0, 0);
        for _ in 0..2 {
            let (newest, entries) = take(&mut reader, last);
            (last, taken) = (newest, taken + entries);
        }
        let written = before + producer.join().unwrap();
        while let (newest, entries @ 1..) = take(&mut reader, last) {
            (last, taken) = (newest, taken + entries);
        }
        assert_eq!(taken + reader.drops().oldest as usize, written);
    });
}

#[test]
fn bytes_are_reused_after_a_wrap_without_a_race() {
    relay(4, &[2, 2, 2]);
}

#[test]
fn a_skip_races_with_nothing() {
    relay(4, &[1, 2, 2]);
}

#[test]
fn a_lane_full_of_entries_is_freed() {
    relay(2, &[1, 1, 1]);
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    loom::model(|| {
        let (mut writer, mut reader) = tiny(4);
        let producer = thread::spawn(move || {
            write(&mut writer, 0, 1).unwrap();
            write(&mut writer, 1, 2).unwrap();
            writer.publish();
        });
        let seen = read(&mut reader, 0);
        assert!(seen == 0 || seen == 2, "{seen} of a batch of 2");
        producer.join().unwrap();
        assert_eq!(seen + read(&mut reader, seen as u8), 2);
    });
}

#[test]
fn what_is_discarded_is_never_seen() {
    loom::model(|| {
        let (mut writer, mut reader) = tiny(4);
        let producer = thread::spawn(move || {
            write(&mut writer, 0, 1).unwrap();
            writer.publish();
            write(&mut writer, 9, 2).unwrap();
            writer.discard();
            write(&mut writer, 1, 1).unwrap();
            writer.publish();
        });
        let seen = read(&mut reader, 0);
        producer.join().unwrap();
        assert_eq!(seen + read(&mut reader, seen as u8), 2);
        assert!(reader.is_drained());
    });
}

#[test]
fn an_abandoned_lane_is_drained_of_what_was_published() {
    loom::model(|| {
        let (mut writer, mut reader) = tiny(4);
        let producer = thread::spawn(move || {
            write(&mut writer, 0, 1).unwrap();
            writer.publish();
            write(&mut writer, 1, 1).unwrap();
        });
        let mut seen = 0;
        while !reader.is_drained() {
            seen += read(&mut reader, seen as u8);
            thread::yield_now();
        }
        assert_eq!(seen, 1, "the published record, and not the other");
        producer.join().unwrap();
    });
}

#[test]
fn what_a_closed_lane_released_is_known() {
    loom::model(|| {
        let (mut writer, mut reader) = tiny(4);
        let handle = writer.handle();
        let shard = thread::spawn(move || {
            let seen = read(&mut reader, 0) as u64;
            reader.acknowledge(seen);
            reader.close();
            seen
        });
        let index = write(&mut writer, 0, 1).unwrap();
        writer.publish();
        let seen_closed = handle.is_closed().then(|| (handle.released(), handle.durable()));
        let seen = shard.join().unwrap();
        assert!(handle.is_closed() && seen <= index);
        assert_eq!((handle.released(), handle.durable()), (seen, seen));
        assert!(
            seen_closed.is_none_or(|numbers| numbers == (seen, seen)),
            "{seen_closed:?} was not final, {seen} were read"
        );
    });
}

/// Publishes a record of one unit, giving up the oldest ones for it. Returns whether it found room.
fn force(writer: &mut LaneWriter, number: u8) -> bool {
    if writer.is_pressed(UNIT_BYTES) {
        let _ = writer.evict(UNIT_BYTES);
    }
    let Ok(mut claim) = writer.claim_reserve(UNIT_BYTES) else { return false };
    claim.slot().fill(number);
    let _ = claim.commit();
    writer.publish();
    true
}

/// Takes a run. Its records are whole and newer than `last`; returns the newest and how many there were.
fn take(reader: &mut LaneReader, last: u8) -> (u8, usize) {
    let run = reader.peek(usize::MAX);
    let mut newest = last;
    for record in run.records.chunks_exact(UNIT_BYTES) {
        assert!(record.iter().all(|&byte| byte == record[0]), "a record in pieces: {record:?}");
        assert!(record[0] > newest, "{} after {newest}", record[0]);
        newest = record[0];
    }
    let entries = run.lengths.len();
    if entries > 0 {
        reader.consume(entries);
        reader.release();
    } else {
        reader.free();
    }
    (newest, entries)
}

#[test]
fn evicted_records_are_counted_and_the_others_whole_and_in_order() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let options = LaneOptions {
            capacity_bytes: LaneOptions::CAPACITY_BYTES_MIN,
            capacity_events: 4,
            overflow: Overflow::Evict,
        };
        let (mut writer, mut reader) = fixed(options).unwrap();
        // The lane is nearly full before the race begins.
        let before = (1..=3).filter(|number| force(&mut writer, *number)).count();
        let producer = thread::spawn(move || (4..=6).filter(|number| force(&mut writer, *number)).count());
        let (mut last, mut taken) = (0, 0);
        for _ in 0..2 {
            let (newest, entries) = take(&mut reader, last);
            (last, taken) = (newest, taken + entries);
        }
        let written = before + producer.join().unwrap();
        loop {
            match take(&mut reader, last) {
                (_, 0) => break,
                (newest, entries) => (last, taken) = (newest, taken + entries),
            }
        }
        assert_eq!(taken + reader.drops().oldest as usize, written);
    });
}

/// A time of these models: what a [`mark::Mark`] keeps of it is exact.
const TICK: u64 = 2;

#[test]
fn no_event_turns_up_below_a_horizon_that_marks_allow() {
    loom::model(|| {
        let (mut writer, _reader) = tiny(4);
        let handle = writer.handle();
        let clock = Arc::new(AtomicU64::new(1));
        let read = |clock: &AtomicU64| clock.fetch_add(1, Ordering::Relaxed) * TICK;
        let producer = thread::spawn({
            let clock = Arc::clone(&clock);
            move || {
                let mut times = vec![0];
                for number in 0..2 {
                    let mut claim = writer.claim(UNIT_BYTES).unwrap();
                    claim.begin(times.last().unwrap() + 1, Publish::Now);
                    times.push(read(&clock));
                    claim.slot().fill(number);
                    let _ = claim.commit();
                    writer.publish();
                }
                times.split_off(1)
            }
        });
        let now = read(&clock);
        loom::sync::atomic::fence(Ordering::SeqCst);
        let horizon = now.min(handle.unpublished_since());
        let published = handle.published() as usize;
        let times = producer.join().unwrap();
        assert!(times[published..].iter().all(|time| *time >= horizon), "{times:?} from {published}, below {horizon}");
        assert_eq!(handle.unpublished_since(), u64::MAX, "an idle writer holds no horizon back");
    });
}

#[test]
fn nothing_goes_by_a_route_that_the_reader_has_passed() {
    loom::model(|| {
        let (mut writer, mut reader) = tiny(4);
        let route = Arc::new(AtomicU64::new(0));
        let producer = thread::spawn({
            let route = Arc::clone(&route);
            move || {
                let mut by_the_old = 0;
                for number in 0..2 {
                    let mut claim = writer.claim(UNIT_BYTES).unwrap();
                    claim.begin(1, Publish::Now);
                    if route.load(Ordering::Relaxed) != 0 {
                        claim.cancel();
                        break;
                    }
                    claim.slot().fill(number);
                    let _ = claim.commit();
                    writer.publish();
                    by_the_old += 1;
                }
                by_the_old
            }
        });
        route.store(1, Ordering::Relaxed);
        loom::sync::atomic::fence(Ordering::SeqCst);
        let _ = read(&mut reader, 0);
        let (has_passed, position) = (reader.has_passed_to(1), reader.position());
        let by_the_old = producer.join().unwrap();
        assert!(!has_passed || by_the_old == position, "{by_the_old} by the old route, passed at {position}");
        let _ = read(&mut reader, position as u8);
        assert!(reader.has_passed_to(1), "an idle writer will see the new route");
    });
}
