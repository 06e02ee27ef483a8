//! The power goes.

use std::collections::BTreeSet;

use tapeline_testing::seeds;

use super::*;
use crate::device::Access;

const SECTOR_BYTES: usize = 512;

/// Counts the bytes that have arrived of a write of `pages` that a crash struck: those in front without a hole, and
/// all.
fn arrived(seed: u64, pages: usize) -> (usize, usize) {
    let disk = healthy(seed);
    let file = disk.directory("d").create("f", 64 * PAGE).expect("creates");
    let mut device = disk.device(4);
    device.submit(write_of(&file, 1, pages));
    disk.crash();
    let disk = disk.reboot(Faults::default());
    let bytes = disk.read_file("d", "f");
    assert_eq!(bytes.len(), 64 * PAGE_BYTES);
    assert!(bytes[..PAGE_BYTES].iter().chain(&bytes[(1 + pages) * PAGE_BYTES..]).all(|&byte| byte == 0));
    let bytes = &bytes[PAGE_BYTES..(1 + pages) * PAGE_BYTES];
    for sector in bytes.chunks(SECTOR_BYTES) {
        assert!(sector.iter().all(|&byte| byte == sector[0]), "seed {seed}: a sector is written wholly or not at all");
    }
    let front = bytes.iter().take_while(|&&byte| byte == 1).count();
    (front, bytes.iter().filter(|&&byte| byte == 1).count())
}

#[test]
fn write_in_flight_arrives_wholly_partly_or_not() {
    for pages in [1, 20] {
        let [mut none, mut whole, mut front_only, mut back_only, mut mixed] = [0; 5];
        for seed in seeds(300) {
            match arrived(seed, pages) {
                (_, 0) => none += 1,
                (_, all) if all == pages * PAGE_BYTES => whole += 1,
                (front, all) if front == all => front_only += 1,
                (0, _) => back_only += 1,
                _ => mixed += 1,
            }
        }
        let kinds = [none, whole, front_only, back_only, mixed];
        assert!(kinds.iter().all(|&count| count > 10), "{pages} pages: {kinds:?}");
    }
}

#[test]
fn confirmed_write_survives() {
    for seed in seeds(100) {
        let disk = healthy(seed);
        let file = disk.directory("d").create("f", 8 * PAGE).expect("creates");
        let mut device = disk.device(4);
        (0..4).for_each(|token| submit(&mut device, &file, token));
        let mut done = Vec::new();
        (0..3).for_each(|_| device.complete(&mut done));
        disk.crash();
        let disk = disk.reboot(Faults::default());
        for completion in done {
            let token = completion.write.token;
            assert_eq!(page_of(&disk, "f", token as usize), [token as u8; PAGE_BYTES], "seed {seed}");
        }
    }
}

#[test]
fn boot_without_power_is_dead_and_the_next_one_lives() {
    let disk = healthy(1);
    let directory = disk.directory("d");
    let file = directory.create("f", 4 * PAGE).expect("creates");
    let map = file.map().expect("maps");
    let mut device = disk.device(4);
    submit(&mut device, &file, 1);
    disk.crash();
    let next = disk.reboot(Faults::default());
    assert!(!disk.is_on() && next.is_on());
    disk.crash();
    assert!(next.is_on(), "the power of another boot");
    let image = next.read_file("d", "f");
    let refusals = [
        directory.list().map(drop),
        directory.create("g", PAGE).map(drop),
        directory.open("f", Access::Write).map(drop),
        directory.rename("f", "g"),
        directory.remove("f"),
        disk.directory("d").list().map(drop),
        file.length().map(drop),
        file.read_at(&mut [0; PAGE_BYTES], 0).map(drop),
        file.write_at(&[7; PAGE_BYTES], 0),
        file.truncate(0),
        file.distrust_cache(),
        file.map().map(drop),
        map.populate(0..PAGE_BYTES),
    ];
    for refusal in refusals {
        assert_eq!(refusal.expect_err("dead").to_string(), "simulated machine is off");
    }
    // Writes vanish, also those that come after the crash, and none of them reaches the next boot.
    submit(&mut device, &file, 2);
    let (mut done, doorbell) = (Vec::new(), Doorbell::new().expect("doorbell"));
    let mut next_device = next.device(4);
    for _ in 0..10 {
        device.wait(&doorbell, Duration::ZERO);
        device.complete(&mut done);
        next_device.wait(&doorbell, Duration::ZERO);
        next_device.complete(&mut done);
    }
    assert!(done.is_empty());
    assert!(next.read_file("d", "f") == image);
    submit(&mut next_device, &next.directory("d").open("f", Access::Write).expect("opens"), 3);
    assert_eq!(drain(&mut next_device, 1)[0].write.token, 3);
}

/// Every kind of step: 3 for each of four changes, 2 for looks, 2 for a write.
fn workload(seed: u64, crash_at: Option<u64>) -> (SimDisk, usize) {
    let disk = SimDisk::new(seed, Faults { crash_at, ..Faults::default() });
    let directory = disk.directory("d");
    let mut told = 0;
    let mut tell = |succeeded: bool| told += usize::from(succeeded);
    let file = directory.create("a", 8 * PAGE);
    tell(file.is_ok());
    if let Ok(file) = file {
        tell(file.write_at(&[1; 2 * PAGE_BYTES], 0).is_ok());
        tell(directory.list().is_ok());
        tell(directory.rename("a", "b").is_ok());
        let mut device = disk.device(1);
        submit(&mut device, &file, 4);
        let mut done = Vec::new();
        device.wait(&Doorbell::new().expect("doorbell"), Duration::ZERO);
        device.complete(&mut done);
        tell(!done.is_empty());
        tell(file.length().is_ok());
        tell(file.truncate(5 * PAGE).is_ok());
    }
    (disk, told)
}

#[test]
fn every_step_can_be_the_last() {
    let (disk, told) = workload(0, None);
    assert_eq!((disk.steps(), told), (16, 7));
    let mut told_before = 0;
    for step in 1..=16 {
        let (disk, told) = workload(0, Some(step));
        assert!(!disk.is_on());
        assert_eq!(disk.steps(), step);
        assert!((told_before..7).contains(&told), "step {step}: {told}");
        told_before = told;
        let next = disk.reboot(Faults::default());
        assert_eq!((next.steps(), next.is_on()), (step, true), "steps are counted on");
    }
    assert!(workload(0, Some(17)).0.is_on());
}

/// The states that a crash at `step` leaves, over many seeds: file names with their lengths, and the number of bytes
/// that are not zero.
fn outcomes(step: u64) -> BTreeSet<(String, u64, usize)> {
    let outcome = |seed| {
        let (disk, _) = workload(seed, Some(step));
        let [name] = disk.files("d").try_into().ok()?;
        let bytes = disk.read_file("d", &name);
        Some((name, bytes.len() as u64 / PAGE, bytes.iter().filter(|&&byte| byte != 0).count()))
    };
    (0..100).map(|seed| outcome(seed).unwrap_or_default()).collect()
}

fn the(name: &str, pages: u64, written_pages: usize) -> (String, u64, usize) {
    (name.to_owned(), pages, written_pages * PAGE_BYTES)
}

#[test]
fn crash_before_within_and_after_a_creation() {
    assert_eq!(outcomes(1), [<_>::default()].into());
    let within = outcomes(2);
    assert!(within.contains(&<_>::default()) && within.contains(&the("a", 0, 0)) && within.contains(&the("a", 8, 0)));
    assert!(within.iter().any(|(_, pages, _)| (1..8).contains(pages)), "{within:?}");
    assert_eq!(outcomes(3), [the("a", 8, 0)].into());
}

#[test]
fn crash_before_within_and_after_a_blocking_write() {
    assert_eq!(outcomes(4), [the("a", 8, 0)].into());
    let within = outcomes(5);
    assert!(within.contains(&the("a", 8, 0)) && within.contains(&the("a", 8, 2)), "{within:?}");
    assert!(within.len() > 6, "{within:?}");
    assert_eq!(outcomes(6), [the("a", 8, 2)].into());
}

#[test]
fn crash_before_within_and_after_a_renaming() {
    assert_eq!(outcomes(8), [the("a", 8, 2)].into());
    assert_eq!(outcomes(9), [the("a", 8, 2), the("b", 8, 2)].into());
    assert_eq!(outcomes(10), [the("b", 8, 2)].into());
}

#[test]
fn crash_at_a_submission_and_at_a_completion() {
    for step in [11, 12] {
        let outcomes = outcomes(step);
        assert!(outcomes.contains(&the("b", 8, 2)) && outcomes.contains(&the("b", 8, 3)), "step {step}: {outcomes:?}");
        assert!(outcomes.len() > 4, "step {step}: {outcomes:?}");
    }
    assert_eq!(outcomes(13), [the("b", 8, 3)].into());
}

#[test]
fn crash_before_within_and_after_a_truncation() {
    assert_eq!(outcomes(14), [the("b", 8, 3)].into());
    assert_eq!(outcomes(15), [the("b", 8, 3), the("b", 5, 3)].into());
    assert_eq!(outcomes(16), [the("b", 5, 3)].into());
}

#[test]
fn crash_within_a_removal_leaves_the_file_or_not() {
    let mut left = BTreeSet::new();
    for seed in seeds(50) {
        let disk = healthy(seed);
        let directory = disk.directory("d");
        directory.create("f", PAGE).expect("creates");
        disk.set_faults(Faults { crash_at: Some(disk.steps() + 2), ..Faults::default() });
        assert!(directory.remove("f").is_err());
        left.insert(disk.files("d").len());
    }
    assert_eq!(Vec::from_iter(left), [0, 1]);
}
