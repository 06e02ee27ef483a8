//! Nothing acknowledged is lost, nothing is invented, nothing changes its order, wherever the power fails.

use std::sync::Arc;

use tapeline_testing::seeds;

use super::harness::{Machine, SHARD, check_all, directory, open, options, whole_disk};
use crate::device::sim::{Faults, Random, SimDisk};
use crate::format::Sequence;
use crate::log::{plan_shard_repair, recover};
use crate::read::open_shard;

const LONGEST: u64 = 3000;

/// A seeded workload until the power fails or `events` are durable; returns how many were acknowledged and appended.
fn work(disk: &SimDisk, seed: u64, events: u64) -> Option<(u64, u64)> {
    let mut machine = Machine::start(disk, seed).ok()?;
    let mut random = Random::new(seed);
    let start = machine.log.next_sequence().get();
    let mut next = start;
    while disk.is_on() && machine.log.poison().is_none() && machine.view().durable().get() < start + events {
        let end = (next + random.below(5)).min(start + events);
        next += machine.append(next..end, LONGEST);
        machine.turn_awaited_if(random.chance(3000) || next == start + events);
        if random.chance(2000) {
            machine.log.wait(&machine.doorbell, std::time::Duration::ZERO);
        }
    }
    let reached = (machine.view().durable().get(), next);
    if disk.is_on() && random.chance(5000) {
        machine.close();
    }
    Some(reached)
}

/// Crashes a workload at one step, recovers, compares; then crashes the recovery at each of its steps.
fn crash_at(seed: u64, step: u64) {
    let disk = SimDisk::new(seed, Faults { crash_at: Some(step), ..Faults::default() });
    let (acknowledged, appended) = work(&disk, seed, 40).unwrap_or((0, 0));
    let disk = disk.reboot(Faults::default());
    let (seen, _) = open_shard(&directory(&disk), SHARD).expect("reads what a crash left");
    let found = check_all(&seen, LONGEST);
    assert!(
        (acknowledged..=appended).contains(&found),
        "seed {seed} step {step}: {acknowledged} <= {found} <= {appended}"
    );
    let plan = plan_shard_repair(&*directory(&disk), SHARD, &mut |_| {}).expect("plans");
    assert_eq!(plan, [], "seed {seed} step {step}: what a crash leaves needs no repair");
    // Recovery that is interrupted, over and over, loses nothing either.
    let mut disk = disk;
    for step in 1.. {
        disk = disk.reboot(Faults { crash_at: Some(disk.steps() + step), ..Faults::default() });
        let recovered = recover(directory(&disk), options(seed + step));
        if disk.is_on() {
            disk.set_faults(Faults::default());
            assert_eq!(check_all(recovered.expect("recovers").view(), LONGEST), found, "seed {seed}");
            break;
        }
    }
}

#[test]
fn every_step_of_a_workload_is_a_safe_crash_point() {
    for seed in seeds(3) {
        let disk = whole_disk(seed);
        work(&disk, seed, 40).expect("opens");
        let steps = disk.steps();
        println!("seed {seed}: {steps} steps");
        (1..=steps).for_each(|step| crash_at(seed, step));
    }
}

#[test]
fn log_goes_on_through_many_crashes() {
    let mut lived = 0;
    for seed in seeds(40) {
        let mut random = Random::new(seed);
        let mut disk = whole_disk(seed);
        let (mut acknowledged, mut appended) = (0, 0);
        for boot in 0..8 {
            let faults = Faults { crash_at: Some(disk.steps() + 1 + random.below(120)), ..Faults::default() };
            disk = disk.reboot(faults);
            if let Some((durable, next)) = work(&disk, seed + boot * 1000, 60) {
                (acknowledged, appended) = (acknowledged.max(durable), appended.max(next));
            }
            disk = disk.reboot(Faults::default());
            let found = check_all(open(&disk, seed + boot).expect("recovers").view(), LONGEST);
            assert!((acknowledged..=appended).contains(&found), "seed {seed} boot {boot}");
            // What was found is now the log: it can neither shrink nor be overtaken.
            (acknowledged, appended) = (found, found);
            lived = lived.max(found);
        }
    }
    assert!(lived > 100, "some log grows over its crashes: {lived}");
}

#[test]
fn clean_stop_leaves_sealed_segments_only() {
    let disk = whole_disk(4);
    let mut machine = Machine::start(&disk, 4).expect("opens");
    machine.write(0..100, LONGEST);
    machine.close();
    let (view, last) = open_shard(&directory(&disk), SHARD).expect("reads");
    assert!(view.segments().len() > 3);
    assert!(view.segments().iter().all(|segment| segment.footer().is_some()));
    assert_eq!((check_all(&view, LONGEST), last), (100, 1099));
    assert!(!disk.files(super::harness::DIRECTORY).contains(&"spare.seg".to_owned()));
}

#[test]
fn sequences_go_on_after_a_restart() {
    let disk = whole_disk(5);
    for (boot, range) in [0..10, 10..11, 11..60].into_iter().enumerate() {
        let mut machine = Machine::start(&disk, boot as u64).expect("opens");
        assert_eq!(machine.log.next_sequence(), Sequence::new(range.start));
        machine.write(range, LONGEST);
        machine.close();
    }
    // Opening and closing without an event leaves nothing behind.
    let files = disk.files(super::harness::DIRECTORY);
    Machine::start(&disk, 9).expect("opens").close();
    assert_eq!(disk.files(super::harness::DIRECTORY), files);
    assert_eq!(check_all(open(&disk, 10).expect("opens").view(), LONGEST), 60);
}

#[test]
fn reader_beside_a_writer_sees_a_growing_prefix() {
    let disk = whole_disk(6);
    let mut machine = Machine::start(&disk, 6).expect("opens");
    let mut random = Random::new(6);
    let (mut next, mut before) = (0, 0);
    while next < 200 {
        next += machine.append(next..next + 1 + random.below(4), LONGEST);
        machine.turn_awaited_if(random.chance(5000));
        let (view, _) = open_shard(&directory(&disk), SHARD).expect("reads beside the writer");
        let found = check_all(&view, LONGEST);
        assert!(found >= before.max(machine.view().durable().get()) && found <= next, "{before} {found} {next}");
        before = found;
        // The writer's own process reads what is not on disk, too.
        assert_eq!(check_all(machine.view(), LONGEST), machine.view().appended().get());
    }
}

#[test]
fn memory_log_keeps_what_its_budget_holds_and_says_what_is_gone() {
    use crate::read::{Gap, GapCause, LogReader, Step};
    let mut log = crate::log::Log::in_memory(&options(1));
    let longest = 20_000;
    for number in 0..200u64 {
        let (records, lengths) = super::harness::run_of(number..number + 1, longest);
        assert_eq!(log.append(&records, &lengths, 1).0, 1);
        log.publish(|_| {});
        assert_eq!(log.view().durable(), Sequence::new(number + 1));
    }
    let trimmed = log.view().trimmed();
    assert!(trimmed > Sequence::ZERO && trimmed < Sequence::new(200));
    let mut reader = LogReader::new(Arc::clone(log.view()), Sequence::ZERO);
    match reader.step().expect("reads") {
        Step::Gap(gap) => assert_eq!(gap, Gap { from: Sequence::ZERO, to: trimmed, cause: GapCause::Trimmed }),
        other => panic!("{other:?}"),
    }
    let mut number = trimmed.get();
    while let Step::Block(block) = reader.step().expect("reads") {
        for record in block.records() {
            assert_eq!(record.expect("record").payload(), super::harness::payload(number, longest));
            number += 1;
        }
    }
    assert_eq!(number, 200);
}
