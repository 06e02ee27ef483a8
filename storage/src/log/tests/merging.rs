//! Small segments of short openings become one, and readers see no difference.

use std::sync::Arc;

use super::harness::*;
use crate::device::Doorbell;
use crate::device::sim::{Faults, SimDisk};
use crate::format::Sequence;
use crate::log::chore::ChoreKind;
use crate::log::{LogOptions, LogView, Position, Urgency, plan_shard_repair, recover};
use crate::read::{CLOSE_LOOK, FollowedShard, Gap, GapCause, LogReader, Step, open_shard};

const LONGEST: u64 = 100;

/// Segments that many small ones fit into.
fn roomy(seed: u64) -> LogOptions {
    LogOptions { segment_bytes: 1 << 20, ..options(seed) }
}

fn start(disk: &SimDisk, seed: u64) -> Option<Machine> {
    let log = recover(directory(disk), roomy(seed)).ok()?.start(Box::new(disk.device(4)));
    Some(Machine { disk: disk.clone(), log, now: 1, doorbell: Doorbell::new().expect("doorbell") })
}

fn segment_files(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.files(DIRECTORY);
    names.retain(|name| name.starts_with('0'));
    names.sort();
    names
}

/// A disk with the segments of so many openings, of an event each, that a crash ended before they were tidied. With the
/// position after each.
fn crashed_openings(seed: u64, count: u64) -> (SimDisk, Vec<Position>) {
    let mut disk = whole_disk(seed);
    let mut positions = Vec::new();
    for number in 0..count {
        let mut machine = start(&disk, seed + number).expect("opens");
        let (records, lengths) = run_of(number..number + 1, LONGEST);
        machine.log.append(&records, &lengths, machine.now);
        while machine.view().durable().get() <= number {
            machine.turn_untidied(Urgency::Awaited);
            machine.log.wait(&machine.doorbell, std::time::Duration::ZERO);
        }
        positions.push(machine.view().position(Sequence::new(number + 1)));
        disk.crash();
        disk = disk.reboot(Faults::default());
    }
    (disk, positions)
}

fn check_positions(view: &LogView, positions: &[Position]) {
    for position in positions {
        assert_eq!(view.resume(*position), Ok(position.next), "{position:?}");
        assert_eq!(view.position(position.next), *position);
    }
}

#[test]
fn many_short_openings_leave_few_segments_and_every_position_good() {
    const OPENINGS: u64 = 3_000;
    let disk = whole_disk(1);
    let mut positions = Vec::new();
    for number in 0..OPENINGS {
        let mut machine = start(&disk, number).expect("opens");
        machine.write(number..number + 1, LONGEST);
        positions.push(machine.view().position(Sequence::new(number + 1)));
        machine.close();
    }
    let files = segment_files(&disk);
    assert!(files.len() <= 40, "{} segments", files.len());
    let (view, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    assert_eq!(check_all(&view, LONGEST), OPENINGS);
    check_positions(&view, &positions);
    let machine = start(&disk, OPENINGS).expect("opens");
    check_positions(machine.view(), &positions);
    machine.close();
    assert_eq!(segment_files(&disk), files, "an opening that writes nothing changes nothing");
}

#[test]
fn position_in_what_a_crash_took_is_known_in_a_merged_segment() {
    let disk = whole_disk(2);
    let mut first = start(&disk, 1).expect("opens");
    first.write(0..3, LONGEST);
    first.append(3..5, LONGEST);
    first.log.publish(|_| {});
    let lost = first.view().position(Sequence::new(5));
    disk.crash();
    let disk = disk.reboot(Faults::default());
    for number in 3..30 {
        let mut machine = start(&disk, number).expect("opens");
        machine.write(number..number + 1, LONGEST);
        machine.close();
    }
    assert!(segment_files(&disk).len() < 15);
    let (view, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    assert_eq!((view.resume(lost), check_all(&view, LONGEST)), (Ok(Sequence::new(3)), 30));
}

/// Opens the log, writes an event and closes it: what was there before is merged. Whether it came to its end.
fn merge(disk: &SimDisk, number: u64) -> bool {
    let Some(mut machine) = start(disk, 1000 + number) else { return false };
    machine.append(number..number + 1, LONGEST);
    while machine.disk.is_on() && !machine.log.is_idle() {
        machine.turn_awaited();
        machine.log.wait(&machine.doorbell, std::time::Duration::ZERO);
    }
    if machine.disk.is_on() {
        machine.close();
    }
    disk.is_on()
}

#[test]
fn every_step_of_a_merge_is_a_safe_crash_point() {
    const BEFORE: u64 = 12;
    let (disk, _) = crashed_openings(7, BEFORE);
    let start_step = disk.steps();
    assert!(merge(&disk, BEFORE));
    assert!(segment_files(&disk).len() < 5, "{:?}", segment_files(&disk));
    for step in start_step + 1..=disk.steps() {
        let (disk, positions) = crashed_openings(7, BEFORE);
        disk.set_faults(Faults { crash_at: Some(step), ..Faults::default() });
        let is_done = merge(&disk, BEFORE);
        let disk = disk.reboot(Faults::default());
        let plan = plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("looks");
        assert_eq!(plan, [], "step {step}: there is nothing to repair");
        let (view, _) = open_shard(&directory(&disk), SHARD).unwrap_or_else(|error| panic!("step {step}: {error}"));
        let found = check_all(&view, LONGEST);
        assert!((BEFORE..=BEFORE + 1).contains(&found) && (!is_done || found > BEFORE), "step {step}: {found}");
        check_positions(&view, &positions);
        let machine = start(&disk, 5000).expect("recovers");
        assert_eq!(check_all(machine.view(), LONGEST), found, "step {step}");
        check_positions(machine.view(), &positions);
        machine.close();
        assert!(merge(&disk, found));
        let (view, _) = open_shard(&directory(&disk), SHARD).expect("reads");
        assert_eq!(check_all(&view, LONGEST), found + 1, "step {step}");
        check_positions(&view, &positions);
        assert!(segment_files(&disk).len() < 8, "step {step}: {:?}", segment_files(&disk));
        assert!(!disk.files(DIRECTORY).contains(&"repack.tmp".to_owned()));
    }
}

#[test]
fn readers_of_segments_that_are_merged_under_them_read_on() {
    let (disk, _) = crashed_openings(9, 12);
    drop(start(&disk, 100).expect("opens").log);
    let disk = disk.reboot(Faults::default());
    // One of another process that stands in the first segment, and one that has read nothing.
    let (view, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    let mut standing = LogReader::new(Arc::clone(&view), Sequence::ZERO);
    assert!(matches!(standing.step(), Ok(Step::Block(_))));
    let (fresh, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    let before = segment_files(&disk).len();
    assert!(merge(&disk, 12));
    assert!(segment_files(&disk).len() < before);
    let mut next = standing.next_sequence();
    while let Step::Block(block) = standing.step().expect("reads on") {
        assert_eq!(block.first_sequence(), next);
        next = block.end_sequence();
    }
    assert!(next >= Sequence::new(12), "{next}");
    assert!(check_all(&fresh, LONGEST) >= 12);
}

#[test]
fn follower_beside_openings_that_merge_sees_every_event_once() {
    let disk = whole_disk(10);
    let mut followed = FollowedShard::open(directory(&disk), SHARD).expect("follows");
    let mut position = Position::default();
    let mut seen = 0;
    for number in 0..60 {
        let mut machine = start(&disk, number).expect("opens");
        machine.write(number..number + 1, LONGEST);
        machine.close();
        // Looks seldom, so that it falls behind merges.
        if number % 5 != 0 {
            continue;
        }
        for _ in 0..CLOSE_LOOK {
            followed.look().expect("looks");
        }
        let from = followed.view().resume(position).expect("goes on");
        assert_eq!(from.get(), seen, "after opening {number}");
        let mut reader = LogReader::new(Arc::clone(followed.view()), from);
        while let Step::Block(block) = reader.step().expect("reads") {
            assert_eq!(block.first_sequence().get(), seen);
            seen = block.end_sequence().get();
        }
        assert_eq!(seen, number + 1);
        position = followed.view().position(reader.next_sequence());
    }
    assert!(segment_files(&disk).len() < 30);
}

#[test]
fn merged_segment_whose_first_part_is_trimmed_meanwhile_is_dropped() {
    let (disk, _) = crashed_openings(11, 10);
    let mut machine = start(&disk, 100).expect("opens");
    // The segment that recovery sealed is tidied first.
    let cut = machine.view().segments()[1].base();
    machine.log.want_merging();
    let merging = loop {
        let chore = machine.log.next_tidying(u64::MAX).expect("merges");
        if chore.label().kind == ChoreKind::Merge {
            break chore;
        }
        machine.log.chore_done(chore.run(), machine.now);
    };
    machine.log.trim(cut);
    while let Some(chore) = machine.log.next_chore(machine.now) {
        machine.log.chore_done(chore.run(), machine.now);
    }
    let done = merging.run();
    machine.log.chore_done(done, machine.now);
    assert_eq!(segment_files(&disk)[0], crate::log::Segment::file_name(cut));
    let mut reader = LogReader::new(Arc::clone(machine.view()), Sequence::ZERO);
    let gap = Gap { from: Sequence::ZERO, to: cut, cause: GapCause::Trimmed };
    assert!(matches!(reader.step(), Ok(Step::Gap(found)) if found == gap));
    while let Step::Block(_) = reader.step().expect("reads") {}
    assert_eq!(reader.next_sequence(), Sequence::new(10));
    machine.close();
}
