//! Events of any size: a large one is there as a whole or not at all, and small ones beside it stay in order.

use std::sync::Arc;
use std::time::Duration;

use tapeline_testing::seeds;

use super::harness::{DIRECTORY, Machine, SHARD, check_each, directory, options, ticking, whole_disk, with_memory};
use crate::device::sim::{Faults, Random, SimDisk};
use crate::device::{Access, AlignedBytes, Doorbell, MemoryGuard};
use crate::format::{
    BLOCK_BYTES_MAX, Kind, PAYLOAD_BYTES_MAX, RECORD_ALIGN, Record, SHARED_PAYLOAD_BYTES_MAX, Sequence, SessionId,
    archive_into, archived_bytes, block_bytes,
};
use crate::log::scan::scan;
use crate::log::{
    LargeBlock, Log, LogOptions, LogView, Segment, ShardRestore, Surveyor, Urgency, plan_shard_repair, recover,
    repair_shard,
};
use crate::read::{GapCause, LogReader, PayloadReader, ReadError, Step, open_shard};

/// Bytes beyond which a payload of these tests has a block for itself.
const SMALL: usize = 4096;

/// The bytes of event `number`, of which there are so many.
fn content(number: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![number as u8; bytes];
    for (at, place) in content.chunks_mut(4096).enumerate() {
        let stamp = (number << 32 | at as u64).to_le_bytes();
        let length = place.len().min(8);
        place[..length].copy_from_slice(&stamp[..length]);
    }
    content
}

fn session_of(number: u64) -> SessionId {
    SessionId(u128::from(number % 3) + 1)
}

impl MemoryGuard for Arc<()> {}

fn large(number: u64, payload: &[u8]) -> Box<LargeBlock> {
    large_with(number, payload, Box::new(()))
}

fn large_with(number: u64, payload: &[u8], share: Box<dyn MemoryGuard>) -> Box<LargeBlock> {
    let fill = |place: &mut [u8]| {
        place.copy_from_slice(payload);
        std::io::Result::Ok(())
    };
    Box::new(LargeBlock::new((session_of(number), Kind(1)), payload.len(), share, fill).expect("memory"))
}

/// Appends an event, as a large one or beside others; `false` while there is no memory for it.
fn append(log: &mut Log, number: u64, payload: &[u8], now: u64) -> bool {
    let timestamp = 1000 + number;
    if payload.len() > SMALL {
        return log.append_large(large(number, payload), timestamp, now).is_ok();
    }
    let mut record = vec![0; archived_bytes(payload.len()) + RECORD_ALIGN];
    let start = record.as_ptr().align_offset(RECORD_ALIGN);
    let record = &mut record[start..start + archived_bytes(payload.len())];
    archive_into(&Record { session: session_of(number), timestamp, kind: Kind(1), payload }, record);
    log.append(record, &[(record.len() / RECORD_ALIGN) as u16], now).0 == 1
}

/// Reads events `from..`, which are those that `bytes_of` says, and returns the number after the last.
fn check_from(view: &Arc<LogView>, from: u64, bytes_of: impl Fn(u64) -> usize) -> u64 {
    check_each(view, from, |record, number| {
        assert!(record.payload() == content(number, bytes_of(number)), "event {number}");
        assert_eq!((record.timestamp(), record.session()), (1000 + number, session_of(number)));
    })
}

fn large_options(seed: u64, payload_bytes_max: usize) -> LogOptions {
    LogOptions { large_payload_bytes_max: payload_bytes_max, ..options(seed) }
}

/// One event in five is large, of up to a dozen pages.
fn mixed_bytes(number: u64) -> usize {
    let mut random = Random::new(number ^ 77);
    if random.chance(2000) { SMALL + 1 + random.below(40_000) as usize } else { random.below(3000) as usize }
}

fn machine(disk: &SimDisk, options: LogOptions) -> Option<Machine> {
    let log = recover(directory(disk), options).ok()?.start(Box::new(disk.device(4)));
    Some(Machine { disk: disk.clone(), log, now: 1, doorbell: Doorbell::new().expect("doorbell") })
}

/// A seeded workload until the power fails or `events` are durable; returns how many were acknowledged and appended.
fn work(disk: &SimDisk, seed: u64, events: u64) -> Option<(u64, u64)> {
    let mut machine = machine(disk, large_options(seed, 50_000))?;
    let mut random = Random::new(seed);
    let mut next = 0;
    while disk.is_on() && machine.log.poison().is_none() && machine.view().durable().get() < events {
        let end = (next + random.below(5)).min(events);
        while next < end && append(&mut machine.log, next, &content(next, mixed_bytes(next)), machine.now) {
            next += 1;
        }
        machine.turn_awaited_if(random.chance(3000) || next == events);
        if random.chance(2000) {
            machine.log.wait(&machine.doorbell, Duration::ZERO);
        }
    }
    let reached = (machine.view().durable().get(), next);
    if disk.is_on() && random.chance(5000) {
        machine.close();
    }
    Some(reached)
}

#[test]
fn every_step_of_a_workload_with_large_events_is_a_safe_crash_point() {
    for seed in seeds(3) {
        let disk = whole_disk(seed);
        work(&disk, seed, 40).expect("opens");
        let steps = disk.steps();
        for step in 1..=steps {
            let disk = SimDisk::new(seed, Faults { crash_at: Some(step), ..Faults::default() });
            let (acknowledged, appended) = work(&disk, seed, 40).unwrap_or((0, 0));
            let disk = disk.reboot(Faults::default());
            let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads what a crash left");
            let found = check_from(&seen, 0, mixed_bytes);
            let at = format!("seed {seed} step {step}");
            assert!((acknowledged..=appended).contains(&found), "{at}: {acknowledged} <= {found} <= {appended}");
            let plan = plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("plans");
            assert_eq!(plan, [], "{at}: what a crash leaves needs no repair");
            let recovered = recover(directory(&disk), large_options(seed + 1, 50_000)).expect("recovers");
            assert_eq!(check_from(recovered.view(), 0, mixed_bytes), found, "{at}");
        }
    }
}

/// Payloads around every limit, in an order of the seed.
fn sizes_around_the_limits(seed: u64) -> Vec<usize> {
    let mut random = Random::new(seed);
    let limits = [0, 4096, SHARED_PAYLOAD_BYTES_MAX, BLOCK_BYTES_MAX, 3 * BLOCK_BYTES_MAX, 5 * BLOCK_BYTES_MAX];
    let mut sizes: Vec<usize> = limits.iter().flat_map(|&at| [at.saturating_sub(1), at, at + 1]).collect();
    sizes.extend((0..12).map(|_| random.below(2 << 20) as usize));
    for at in (1..sizes.len()).rev() {
        sizes.swap(at, random.below(at as u64 + 1) as usize);
    }
    sizes
}

#[test]
fn events_of_every_size_are_read_as_they_were_appended() {
    for seed in seeds(2) {
        let (disk, sizes) = (whole_disk(seed), sizes_around_the_limits(seed));
        let most = *sizes.iter().max().expect("sizes");
        let options = LogOptions { block_bytes: BLOCK_BYTES_MAX, ..large_options(seed, most) };
        let mut machine = machine(&disk, options).expect("opens");
        for (number, &bytes) in sizes.iter().enumerate() {
            let payload = content(number as u64, bytes);
            while !append(&mut machine.log, number as u64, &payload, machine.now) {
                machine.turn();
            }
            machine.turn();
        }
        let end = sizes.len() as u64;
        let bytes_of = |number: u64| sizes[number as usize];
        machine.log.publish(|_| {});
        assert_eq!(check_from(machine.view(), 0, bytes_of), end, "from memory, and what has left it");
        machine.turn_until_durable();
        assert_eq!(check_from(machine.view(), 0, bytes_of), end, "from the active segment");
        machine.close();
        let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads");
        // From each event on: a reader begins in the midst of a log.
        (0..end).for_each(|from| assert_eq!(check_from(&seen, from, bytes_of), end, "sealed, from {from}"));
        let surveyed: u64 = seen
            .segment_list()
            .all()
            .iter()
            .map(|segment| Surveyor::default().segment(&seen, segment, &mut |_| {}).expect("surveys"))
            .map(|survey| {
                assert_eq!(survey.damage, []);
                survey.events
            })
            .sum();
        assert_eq!(surveyed, end);
    }
}

#[test]
fn a_restored_log_has_the_large_events() {
    let (disk, sizes) = (whole_disk(5), sizes_around_the_limits(5));
    let mut restore = ShardRestore::new(directory(&disk), large_options(5, 6 << 20), 1);
    for (number, &bytes) in sizes.iter().enumerate() {
        let (number, payload) = (number as u64, content(number as u64, bytes));
        let record = Record { session: session_of(number), timestamp: 1000 + number, kind: Kind(1), payload: &payload };
        restore.append(Sequence::new(number), &record).expect("restores");
    }
    restore.finish().expect("finishes");
    let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    assert_eq!(check_from(&seen, 0, |number| sizes[number as usize]), sizes.len() as u64);
}

#[test]
fn a_log_of_the_largest_event_takes_it_and_no_larger() {
    let disk = whole_disk(6);
    let mut machine = machine(&disk, large_options(6, PAYLOAD_BYTES_MAX)).expect("opens");
    let payload = content(0, PAYLOAD_BYTES_MAX);
    assert!(append(&mut machine.log, 0, &payload, 1));
    machine.turn_until_durable();
    machine.close();
    let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    assert_eq!(check_from(&seen, 0, |_| PAYLOAD_BYTES_MAX), 1);
    let record =
        Record { session: SessionId(1), timestamp: 1, kind: Kind(1), payload: &vec![0; PAYLOAD_BYTES_MAX + 1] };
    assert!(ShardRestore::check(Sequence::ZERO, &record).is_err());
}

#[test]
fn a_repair_of_a_damaged_large_event_loses_that_event_and_no_other() {
    let disk = whole_disk(7);
    let sizes = [100, 3 << 20, 200, 2 << 20, 300];
    let options = LogOptions { segment_bytes: 16 << 20, block_bytes: BLOCK_BYTES_MAX, ..large_options(7, 3 << 20) };
    let mut first = machine(&disk, options).expect("opens");
    for (number, &bytes) in sizes.iter().enumerate() {
        assert!(append(&mut first.log, number as u64, &content(number as u64, bytes), first.now));
        first.turn_until_durable();
    }
    first.close();
    let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    let name = Segment::file_name(Sequence::ZERO);
    let file = directory(&disk).open(&name, Access::Write).expect("opens");
    // Somewhere in the payload of event 1.
    let mut page = vec![0; 4096];
    file.read_at(&mut page, 1 << 20).expect("reads");
    page[17] ^= 1;
    file.write_at(&page, 1 << 20).expect("writes");
    drop(seen);
    let actions = plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("plans");
    repair_shard(&*directory(&disk), SHARD, &actions, 9).expect("repairs");
    let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    let mut reader = LogReader::new(Arc::clone(&seen), Sequence::ZERO);
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    loop {
        match reader.step().expect("reads") {
            Step::End => break,
            Step::Gap(gap) => gaps.push((gap.from.get(), gap.to.get(), gap.cause)),
            Step::Block(block) => {
                for (record, at) in block.records().zip(block.first_sequence().get()..) {
                    assert!(record.expect("record").payload() == content(at, sizes[at as usize]));
                    events.push(at);
                }
            }
        }
    }
    assert_eq!(events, [0, 2, 3, 4]);
    assert_eq!(gaps, [(1, 2, GapCause::Lost)]);
}

/// A disk after a power cut, with durable events of these sizes in a segment that was not sealed. The last two were in
/// flight together.
fn cut_off(seed: u64, sizes: &[usize]) -> (SimDisk, LogOptions) {
    let disk = whole_disk(seed);
    let options = LogOptions { segment_bytes: 32 << 20, block_bytes: BLOCK_BYTES_MAX, ..large_options(seed, 6 << 20) };
    let mut machine = machine(&disk, options).expect("opens");
    for (number, &bytes) in sizes.iter().enumerate() {
        assert!(append(&mut machine.log, number as u64, &content(number as u64, bytes), machine.now));
        if number + 2 != sizes.len() {
            machine.turn_until_durable();
        }
    }
    let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads what is being written");
    assert_eq!(check_from(&seen, 0, |number| sizes[number as usize]), sizes.len() as u64);
    (disk.reboot(Faults::default()), options)
}

#[test]
fn large_events_of_a_segment_that_was_not_sealed_are_recovered() {
    let sizes = [100, 6 << 20, 200, 5 << 20, 300];
    let (disk, options) = cut_off(9, &sizes);
    let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    assert_eq!(check_from(&seen, 0, |number| sizes[number as usize]), 5);
    assert_eq!(plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("plans"), []);
    let recovered = recover(directory(&disk), options).expect("recovers");
    assert_eq!(check_from(recovered.view(), 0, |number| sizes[number as usize]), 5);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SecondHeader {
    Blank,
    OfTheFirst,
    Own,
}

#[test]
fn large_event_that_is_torn_at_the_end_is_cut_off() {
    let name = Segment::file_name(Sequence::ZERO);
    // In the place of the second one's header is nothing, another one, or that.
    for (header, large_events) in [(SecondHeader::Blank, 1), (SecondHeader::OfTheFirst, 1), (SecondHeader::Own, 2)] {
        let sizes = [100, 200, 6 << 20, 2 << 20];
        let (disk, options) = cut_off(11, &sizes);
        let file = directory(&disk).open(&name, Access::Write).expect("opens");
        let found = scan(&directory(&disk), SHARD, Access::Read).expect("whole").segments[0].totals;
        let second = found.data_end - block_bytes(1, archived_bytes(2 << 20)) as u64;
        file.write_at(&[0; 4096], 5 << 20).expect("writes");
        let mut page = AlignedBytes::zeroed(4096).expect("memory");
        if header == SecondHeader::OfTheFirst {
            let first = second - block_bytes(1, archived_bytes(6 << 20)) as u64;
            file.read_at(page.as_mut_slice(), first).expect("reads");
        }
        if header != SecondHeader::Own {
            file.write_at(page.as_slice(), second).expect("writes");
        }
        assert_eq!(plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("plans"), []);
        let recovered = recover(directory(&disk), options).expect("recovers");
        assert_eq!(check_from(recovered.view(), 0, |number| sizes[number as usize]), 2);
        let cuts: Vec<_> = recovered.cuts().iter().map(|cut| (cut.sequence.get(), cut.large_events)).collect();
        assert_eq!(cuts, [(2, large_events)]);
    }
}

#[test]
fn a_payload_that_was_damaged_since_the_log_was_opened_is_refused() {
    let (disk, _) = cut_off(13, &[100, 3 << 20]);
    let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    let open = || PayloadReader::open(&seen, Sequence::new(1));
    assert_eq!(open().expect("reads").expect("it is there").payload_bytes(), 3 << 20);
    disk.overwrite(DIRECTORY, &Segment::file_name(Sequence::ZERO), 2 << 20, &[0xff; 4]);
    assert!(matches!(open(), Err(ReadError::Corrupt { .. })));
}

/// Checks all events from several of them on. Returns the segments.
fn check_copies(disk: &SimDisk, events: u64, bytes_of: impl Fn(u64) -> usize) -> Vec<Arc<Segment>> {
    let (seen, _) = open_shard(&directory(disk), SHARD).expect("reads");
    for from in (0..events).step_by(events as usize / 10) {
        assert_eq!(check_from(&seen, from, &bytes_of), events, "from {from}");
    }
    assert_eq!(plan_shard_repair(&*directory(disk), SHARD, &mut |_| {}).expect("plans"), []);
    seen.segments()
}

#[test]
fn large_events_of_short_openings_are_merged() {
    let disk = whole_disk(12);
    let bytes_of = |number: u64| if number.is_multiple_of(3) { BLOCK_BYTES_MAX + number as usize } else { 100 };
    for number in 0..30 {
        let options =
            LogOptions { segment_bytes: 64 << 20, block_bytes: BLOCK_BYTES_MAX, ..large_options(number, 2 << 20) };
        let mut machine = machine(&disk, options).expect("opens");
        assert!(append(&mut machine.log, number, &content(number, bytes_of(number)), machine.now));
        machine.turn_until_durable();
        machine.close();
    }
    let segments = check_copies(&disk, 30, bytes_of);
    assert!(segments.len() < 15 && segments[0].header().is_merged, "{} segments", segments.len());
}

#[test]
fn large_event_among_small_blocks_is_repacked_with_them() {
    let disk = whole_disk(13);
    let bytes_of = |number: u64| if number == 300 { BLOCK_BYTES_MAX + 5 } else { 100 };
    let options = LogOptions { segment_bytes: 3 << 20, block_bytes: BLOCK_BYTES_MAX, ..large_options(13, 2 << 20) };
    let mut machine = machine(&disk, options).expect("opens");
    for number in 0..600 {
        assert!(append(&mut machine.log, number, &content(number, bytes_of(number)), machine.now));
        machine.turn_until_durable();
    }
    machine.close();
    let segments = check_copies(&disk, 600, bytes_of);
    let totals = segments[0].footer().expect("sealed");
    assert!(totals.blocks <= 3 && totals.end_sequence.get() > 301, "{totals:?}");
}

#[test]
fn a_large_event_gets_a_segment_of_its_length_on_a_nearly_full_disk() {
    let disk = whole_disk(10);
    disk.set_capacity(700 << 10);
    let sizes = [100, 200_000, 200, 220_000, 300];
    let mut machine = machine(&disk, large_options(10, 300_000)).expect("opens");
    for (number, &bytes) in sizes.iter().enumerate() {
        assert!(append(&mut machine.log, number as u64, &content(number as u64, bytes), machine.now));
        machine.turn_until_durable();
    }
    assert_eq!(check_from(machine.view(), 0, |number| sizes[number as usize]), 5);
    machine.close();
    let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    assert_eq!(check_from(&seen, 0, |number| sizes[number as usize]), 5);
}

#[test]
fn a_log_in_memory_keeps_the_newest_large_events_in_its_budget() {
    let options = with_memory(large_options(8, 2 << 20), |memory| memory.blocks = 4);
    let (mut log, live) = (Log::in_memory(&options), Arc::new(()));
    for number in 0..20 {
        let payload = content(number, 1 << 20);
        let share = Box::new(Arc::clone(&live));
        assert!(log.append_large(large_with(number, &payload, share), 1000 + number, 1).is_ok());
        log.publish(|_| {});
        log.turn(number, Urgency::None);
        assert!(Arc::strong_count(&live) <= 1 + 4, "of event {number}");
    }
    let first = log.view().trimmed().get();
    assert_eq!(check_from(log.view(), first, |_| 1 << 20), 20);
    assert!(first >= 16);
}

#[test]
fn a_log_in_memory_keeps_its_last_large_event_whatever_its_budget() {
    let options = with_memory(large_options(8, 8 << 20), |memory| memory.blocks = 4);
    let mut log = Log::in_memory(&options);
    assert!(log.append_large(large(0, &content(0, 8 << 20)), 1000, 1).is_ok());
    assert!(append(&mut log, 1, &content(1, 100), 1));
    log.publish(|_| {});
    log.turn(1, Urgency::None);
    assert_eq!(check_from(log.view(), 0, |number| if number == 0 { 8 << 20 } else { 100 }), 2);
}

#[test]
fn memory_of_a_durable_large_event_is_free_at_once() {
    let (disk, live) = (whole_disk(9), Arc::new(()));
    let mut machine = machine(&disk, large_options(9, 1 << 20)).expect("opens");
    for number in 0..5 {
        let share = Box::new(Arc::clone(&live));
        let block = large_with(number, &content(number, 1 << 20), share);
        assert!(machine.log.append_large(block, 1000 + number, machine.now).is_ok());
        machine.turn_until_durable();
        machine.turn();
        assert_eq!(Arc::strong_count(&live), 1, "after event {number}");
    }
    assert_eq!(check_from(machine.view(), 0, |_| 1 << 20), 5);
    let _ = machine.log.close(&machine.doorbell, ticking(machine.now));
}
