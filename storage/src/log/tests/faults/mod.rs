//! Disks that fail while the machine goes on.

mod every_call;
mod passing;

use std::sync::Arc;

use tapeline_testing::seeds;

use super::harness::{DIRECTORY, Machine, check_all, directory, open, options, whole_disk};
use crate::device::Doorbell;
use crate::device::sim::{Failure, Faults, SimDisk};
use crate::format::Sequence;
use crate::log::{LogOptions, OpenError, recover};
use crate::read::{LogReader, ReadError, Step};

#[test]
fn failed_write_is_final_and_says_so() {
    for seed in seeds(40) {
        let disk = whole_disk(seed);
        let mut machine = Machine::start(&disk, seed).expect("opens");
        machine.write(0..20, 2000);
        let failing = disk.reboot(Faults::default());
        let mut machine = Machine::start(&failing, seed + 1).expect("opens");
        failing.set_faults(Faults { write_error: 10_000, ..Faults::default() });
        let durable = machine.view().durable();
        machine.append(20..30, 2000);
        for _ in 0..200 {
            machine.turn_awaited();
        }
        let poison = machine.log.poison().expect("poisoned").clone();
        assert_eq!((poison.errno, poison.durable, poison.operation), (Some(libc::EIO), durable, "write"));
        // The disk works again; the log does not.
        failing.set_faults(Faults::default());
        assert_eq!(machine.append(30..31, 2000), 0, "takes nothing more");
        for _ in 0..50 {
            machine.turn_awaited();
        }
        assert_eq!(machine.view().durable(), durable);
        let doorbell = Doorbell::new().expect("doorbell");
        assert_eq!(machine.log.close(&doorbell, || 1).expect_err("poisoned").to_string(), poison.to_string());
        // A new opener finds what was acknowledged.
        let disk = failing.reboot(Faults::default());
        assert!(check_all(open(&disk, seed).expect("recovers").view(), 2000) >= 20);
    }
}

#[test]
fn failed_preparation_poisons_as_well() {
    let disk = whole_disk(3);
    let mut machine = Machine::start(&disk, 3).expect("opens");
    disk.set_faults(Faults { call_error: 10_000, ..Faults::default() });
    let mut next = 0;
    for _ in 0..300 {
        next += machine.append(next..next + 4, 3000);
        machine.turn_awaited();
    }
    let poison = machine.log.poison().expect("poisoned");
    assert_eq!(poison.operation, "prepare segment");
    assert!(poison.place.ends_with("spare.seg"), "{}", poison.place);
}

#[test]
fn full_disk_is_waited_for_and_nothing_is_lost() {
    let disk = whole_disk(8);
    disk.set_capacity(3 * 16 * 4096);
    let mut machine = Machine::start(&disk, 8).expect("opens");
    let mut next = 0;
    // Until the log takes nothing more.
    let mut idle = 0;
    while idle < 500 {
        let taken = machine.append(next..next + 4, 3000);
        next += taken;
        machine.turn_awaited();
        idle = if taken == 0 { idle + 1 } else { 0 };
        assert!(next < 100_000);
    }
    assert!(machine.view().is_full());
    assert!(machine.log.poison().is_none());
    let durable = machine.view().durable().get();
    assert!(durable < next);
    disk.set_capacity(u64::MAX);
    machine.write(next..next + 50, 3000);
    assert!(!machine.view().is_full());
    assert_eq!(machine.view().durable().get(), next + 50);
    assert_eq!(check_all(machine.view(), 3000), next + 50);
    machine.close();
    assert_eq!(check_all(open(&disk, 9).expect("opens").view(), 3000), next + 50);
}

#[test]
fn log_on_a_full_disk_opens_and_writes_when_there_is_space() {
    let disk = whole_disk(8);
    disk.set_capacity(4096);
    let mut machine = Machine::start(&disk, 1).expect("opens");
    machine.append(0..1, 100);
    (0..300).for_each(|_| machine.turn_awaited());
    assert!(machine.view().is_full() && machine.log.poison().is_none());
    assert_eq!(disk.files(DIRECTORY), Vec::<String>::new());
    disk.set_capacity(u64::MAX);
    machine.turn_until_durable();
    assert!(!machine.view().is_full());
    assert_eq!(check_all(machine.view(), 100), 1);
}

#[test]
fn lost_write_is_found_out_and_not_taken_for_the_end() {
    let mut found_out = 0;
    for seed in seeds(40) {
        let disk = whole_disk(seed);
        let mut machine = Machine::start(&disk, seed).expect("opens");
        machine.write(0..5, 2000);
        disk.set_faults(Faults { lost_write: 10_000, ..Faults::default() });
        machine.write(5..6, 2000);
        disk.set_faults(Faults::default());
        for number in 6..9 {
            machine.write(number..number + 1, 2000);
        }
        disk.crash();
        let disk = disk.reboot(Faults::default());
        // Event 5 was acknowledged, later blocks prove it, and it is not there.
        match open(&disk, seed).expect_err("damage to acknowledged data") {
            OpenError::Corrupt { sequence, path, .. } => {
                assert_eq!(sequence, Sequence::new(5), "seed {seed}");
                assert!(path.starts_with("sim:"));
                found_out += 1;
            }
            other => panic!("seed {seed}: {other}"),
        }
    }
    assert_eq!(found_out, 40);
}

#[test]
fn unreadable_page_is_an_error_with_its_place() {
    let disk = whole_disk(2);
    let mut machine = Machine::start(&disk, 2).expect("opens");
    machine.write(0..30, 2000);
    machine.close();
    let segment = "00000000000000000000.seg";
    disk.set_unreadable(DIRECTORY, segment, 4096);
    let recovered = open(&disk, 3).expect("opens: sealed segments are not read");
    let mut reader = LogReader::new(Arc::clone(recovered.view()), Sequence::ZERO);
    for _ in 0..2 {
        match reader.step().map(|step| matches!(step, Step::Block(_))) {
            Err(ReadError::Io { segment: named, source, .. }) => {
                assert_eq!((named.as_str(), source.raw_os_error()), (segment, Some(libc::EIO)));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_drives_from_one_seed_end_alike() {
    let run = |seed| {
        let disk = SimDisk::new(seed, Faults { crash_at: Some(60), ..Faults::default() });
        if let Ok(mut machine) = Machine::start(&disk, seed) {
            for _ in 0..100 {
                machine.append(0..3, 500);
                machine.turn_awaited();
            }
        }
        disk.files(DIRECTORY).iter().map(|name| disk.read_file(DIRECTORY, name)).collect::<Vec<_>>()
    };
    assert!(run(77) == run(77));
}

#[test]
fn small_volume_holds_several_segments_and_all_its_space_is_used() {
    let disk = whole_disk(21);
    // Smaller than a segment, and it leaves a 32nd of it to others.
    let (capacity, margin) = (40 * 4096, 40 * 4096 / 32);
    disk.set_capacity(capacity);
    let options = LogOptions { segment_bytes: 1 << 30, block_bytes: 2 * 4096, ..options(21) };
    let log = recover(directory(&disk), options).expect("opens").start(Box::new(disk.device(4)));
    let mut machine = Machine { disk: disk.clone(), log, now: 1, doorbell: Doorbell::new().expect("doorbell") };
    let mut next = 0;
    for _ in 0..400 {
        next += machine.append(next..next + 1, 100);
        machine.turn_awaited();
        machine.log.wait(&machine.doorbell, std::time::Duration::ZERO);
        let free = directory(&disk).space().expect("looks").free;
        assert!(free >= margin, "{free} bytes left");
    }
    assert!(machine.view().is_full() && machine.log.poison().is_none());
    let segments = machine.view().segments();
    assert!(segments.len() >= 4, "{} segments", segments.len());
    let written: u64 = segments.iter().map(|segment| segment.file_bytes()).sum();
    assert!(written >= capacity / 2, "{written} bytes written");
    // What retention gives back is used again.
    machine.log.trim(segments[2].base());
    let durable = machine.view().durable();
    (0..300).for_each(|_| machine.turn_awaited());
    assert!(machine.view().durable() > durable);
}

#[test]
fn block_that_does_not_fit_a_short_segment_gets_the_next_one() {
    let disk = whole_disk(23);
    // Room for segments of the least length alone: header, a block, footer.
    disk.set_capacity(44 * 4096);
    let options = LogOptions { segment_bytes: 1 << 30, block_bytes: 10 * 4096, ..options(23) };
    let log = recover(directory(&disk), options).expect("opens").start(Box::new(disk.device(4)));
    let mut machine = Machine { disk: disk.clone(), log, now: 1, doorbell: Doorbell::new().expect("doorbell") };
    // A block of a page, then one that is too long for what it leaves, though it leaves more than half.
    let small = machine.append(0..1, 1000);
    machine.turn_until_durable();
    let segments = machine.view().segments().len();
    let large = machine.append(small..small + 75, 1000);
    (0..200).for_each(|_| machine.turn_awaited());
    assert!(machine.log.is_idle(), "the block waits for a segment that was never asked for");
    assert!(machine.view().segments().len() > segments);
    assert_eq!(check_all(machine.view(), 1000), small + large);
}

#[test]
fn quota_below_the_visible_space_is_found_by_smaller_segments() {
    let disk = whole_disk(22);
    let mut machine = Machine::start(&disk, 22).expect("opens");
    // The first attempt is refused, whatever the volume says.
    let next_call = disk.calls() + 2;
    disk.set_faults(Faults {
        failing_call: Some(Failure { nth: next_call, errno: libc::ENOSPC }),
        ..Faults::default()
    });
    machine.write(0..5, 100);
    assert!(machine.log.poison().is_none());
    assert_eq!(check_all(machine.view(), 100), 5);
}
