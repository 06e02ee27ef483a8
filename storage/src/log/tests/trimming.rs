//! Trimmed events are gone for good and reported; all others are there.

use std::sync::Arc;

use super::harness::*;
use crate::device::sim::{Faults, Random, SimDisk};
use crate::format::Sequence;
use crate::log::chore::ChoreKind;
use crate::log::{LogView, Urgency};
use crate::read::{Gap, GapCause, LogReader, Step, open_shard};

const LONGEST: u64 = 2000;

fn segment_files(disk: &SimDisk) -> Vec<String> {
    disk.files(DIRECTORY).into_iter().filter(|name| name.starts_with('0')).collect()
}

/// The beginning of the log, and its end; all between is checked.
fn extent(view: &Arc<LogView>) -> (u64, u64) {
    let mut reader = LogReader::new(Arc::clone(view), Sequence::ZERO);
    let (mut start, mut next) = (0, 0);
    loop {
        match reader.step().expect("reads") {
            Step::End => return (start, next),
            Step::Gap(gap) => {
                assert_eq!((gap.from.get(), gap.cause, next), (0, GapCause::Trimmed, 0));
                (start, next) = (gap.to.get(), gap.to.get());
            }
            Step::Block(block) => {
                for record in block.records() {
                    assert_eq!(record.expect("record").payload(), payload(next, LONGEST), "event {next}");
                    next += 1;
                }
            }
        }
    }
}

#[test]
fn trimmed_segments_go_and_the_rest_stays() {
    let disk = whole_disk(1);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    machine.write(0..200, LONGEST);
    let segments = machine.view().segments();
    let cut = segments[3].base();
    let mut standing = LogReader::new(Arc::clone(machine.view()), Sequence::ZERO);
    assert!(matches!(standing.step(), Ok(Step::Block(_))));
    // Within the third segment: only those before it end there.
    machine.log.trim(segments[2].base().plus(1));
    assert_eq!(machine.view().trimmed(), segments[2].base());
    machine.log.trim(cut);
    machine.turn_until_durable();
    (0..20).for_each(|_| machine.turn());
    assert_eq!(machine.view().trimmed(), cut);
    assert_eq!(segment_files(&disk)[0], crate::log::Segment::file_name(cut));
    let next = standing.next_sequence();
    match standing.step().expect("no error") {
        Step::Gap(gap) => assert_eq!(gap, Gap { from: next, to: cut, cause: GapCause::Trimmed }),
        other => panic!("{other:?}"),
    }
    assert_eq!(extent(machine.view()), (cut.get(), 200));
    machine.close();
    let machine = Machine::start(&disk, 2).expect("opens again");
    assert_eq!((extent(machine.view()), machine.log.next_sequence().get()), ((cut.get(), 200), 200));
}

#[test]
fn log_that_is_trimmed_to_its_active_segment_goes_on() {
    let disk = whole_disk(2);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    machine.write(0..100, LONGEST);
    machine.close();
    let mut machine = Machine::start(&disk, 2).expect("opens");
    machine.log.trim(Sequence::new(u64::MAX));
    machine.turn_until_durable();
    machine.close();
    assert_eq!(segment_files(&disk), Vec::<String>::new());
    let (view, _) = open_shard(&directory(&disk), SHARD).expect("reads");
    assert_eq!((view.trimmed(), view.appended()), (Sequence::new(100), Sequence::new(100)));
    let mut machine = Machine::start(&disk, 3).expect("opens");
    assert_eq!(machine.log.next_sequence(), Sequence::new(100));
    machine.write(100..120, LONGEST);
    assert_eq!(extent(machine.view()), (100, 120));
}

#[test]
fn full_disk_is_no_obstacle() {
    let disk = whole_disk(3);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    machine.write(0..100, LONGEST);
    (0..20).for_each(|_| machine.turn());
    disk.set_capacity(0);
    let cut = machine.view().segments()[2].base();
    machine.log.trim(cut);
    (0..10).for_each(|_| machine.turn());
    assert!(machine.log.poison().is_none());
    assert_eq!(segment_files(&disk)[0], crate::log::Segment::file_name(cut));
}

/// A workload that trims now and then. What may be found after a crash: trimmed at least and at most, acknowledged,
/// appended.
fn work(disk: &SimDisk, seed: u64) -> Option<(u64, u64, u64, u64)> {
    let mut machine = Machine::start(disk, seed).ok()?;
    let mut random = Random::new(seed);
    let mut next = machine.log.next_sequence().get();
    let end = next + 60;
    let mut tidied = machine.view().trimmed().get();
    while disk.is_on() && machine.log.poison().is_none() && machine.view().durable().get() < end {
        next += machine.append(next..(next + random.below(5)).min(end), LONGEST);
        if random.chance(500) {
            let back = random.below(20);
            machine.log.trim(Sequence::new(machine.view().durable().get().saturating_sub(back)));
        }
        machine.turn_awaited_if(random.chance(3000) || next == end);
        if machine.log.is_tidy() && disk.is_on() {
            tidied = machine.view().trimmed().get();
        }
    }
    let reached = (tidied, machine.view().trimmed().get(), machine.view().durable().get(), next);
    if disk.is_on() && random.chance(5000) {
        machine.close();
    }
    Some(reached)
}

#[test]
fn every_step_of_a_trimming_workload_is_a_safe_crash_point() {
    let mut trimmed = 0;
    // These seeds trim.
    for seed in [1, 2, 3] {
        let disk = whole_disk(seed);
        work(&disk, seed).expect("opens");
        for step in 1..=disk.steps() {
            let disk = SimDisk::new(seed, Faults { crash_at: Some(step), ..Faults::default() });
            let (tidied, asked, acknowledged, appended) = work(&disk, seed).unwrap_or_default();
            let disk = disk.reboot(Faults::default());
            let (view, _) =
                open_shard(&directory(&disk), SHARD).unwrap_or_else(|error| panic!("seed {seed} step {step}: {error}"));
            let (start, end) = extent(&view);
            assert!((tidied..=asked).contains(&start), "seed {seed} step {step}: {tidied} <= {start} <= {asked}");
            assert!((acknowledged..=appended).contains(&end.max(start)), "seed {seed} step {step}: {end}");
            let machine = Machine::start(&disk, seed + 10).expect("recovers");
            assert_eq!(extent(machine.view()), (start, end), "seed {seed} step {step}");
            trimmed = trimmed.max(start);
        }
    }
    assert!(trimmed > 20, "some log is trimmed: {trimmed}");
}

/// A machine whose first segments are padded, full and sealed.
fn padded_machine(disk: &SimDisk) -> Machine {
    let mut machine = Machine::start(disk, 1).expect("opens");
    machine.append(0..1, 200);
    machine
}

#[test]
fn segment_trimmed_before_its_sealing_is_reported_stays_away() {
    let disk = whole_disk(5);
    let mut machine = padded_machine(&disk);
    let mut number = 1;
    // The chore that seals the first segment is done, and its outcome is on its way.
    let sealed = loop {
        machine.now += 1_000_000;
        machine.log.publish(|_| {});
        machine.log.turn(machine.now, Urgency::Awaited);
        if let Some(chore) = machine.log.next_chore(machine.now) {
            let seals = chore.label().kind == ChoreKind::Seal;
            let done = chore.run();
            if seals {
                break done;
            }
            machine.log.chore_done(done, machine.now);
        }
        machine.log.wait(&machine.doorbell, std::time::Duration::ZERO);
        number += machine.append(number..number + 1, 200);
    };
    let cut = machine.view().segments()[1].base();
    machine.log.trim(cut);
    machine.log.chore_done(sealed, machine.now);
    (0..20).for_each(|_| machine.turn());
    assert!(machine.log.is_tidy());
    assert_eq!(segment_files(&disk)[0], crate::log::Segment::file_name(cut));
}

#[test]
fn dense_copy_of_a_segment_that_is_trimmed_meanwhile_is_dropped() {
    let disk = whole_disk(6);
    let mut machine = padded_machine(&disk);
    let mut number = 1;
    while machine.view().segments().len() < 2 || machine.view().segments()[0].footer().is_none() {
        machine.turn_untidied(Urgency::Awaited);
        machine.log.wait(&machine.doorbell, std::time::Duration::ZERO);
        number += machine.append(number..number + 1, 200);
    }
    let copying = machine.log.next_tidying(u64::MAX).expect("a copy is wanted");
    let cut = machine.view().segments()[1].base();
    machine.log.trim(cut);
    while let Some(chore) = machine.log.next_chore(machine.now) {
        machine.log.chore_done(chore.run(), machine.now);
    }
    machine.log.chore_done(copying.run(), machine.now);
    assert_eq!(segment_files(&disk)[0], crate::log::Segment::file_name(cut));
    assert!(!disk.files(DIRECTORY).contains(&"repack.tmp".to_owned()));
    machine.turn_until_durable();
    assert!(machine.log.poison().is_none());
}

#[test]
fn chores_that_the_log_waits_for_come_between_trims() {
    let disk = whole_disk(7);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    machine.write(0..200, LONGEST);
    (0..20).for_each(|_| machine.turn());
    let cut = machine.view().segments()[4].base();
    let before = segment_files(&disk).len();
    machine.log.trim(cut);
    let first = machine.log.next_chore(machine.now).expect("trims");
    machine.log.chore_done(first.run(), machine.now);
    assert_eq!(segment_files(&disk).len(), before - 1, "one file for each chore");
}
