//! Writes in flight and their completions.

use std::collections::BTreeSet;

use tapeline_testing::seeds;

use super::*;
use crate::device::Access;

/// Collects the tokens that each look brought, and the contents of the disk in the end.
fn history(seed: u64) -> (Vec<Vec<u64>>, Vec<u8>) {
    let disk = SimDisk::new(seed, Faults { write_error: 1000, crash_at: Some(40), ..Faults::default() });
    let file = disk.directory("d").create("f", 64 * PAGE).expect("creates");
    let mut device = disk.device(8);
    let (mut looks, mut next, mut in_flight) = (Vec::new(), 0, 0);
    while disk.is_on() {
        if next < 64 && in_flight < 8 {
            submit(&mut device, &file, next);
            (next, in_flight) = (next + 1, in_flight + 1);
        }
        let mut done = Vec::new();
        device.complete(&mut done);
        in_flight -= done.len();
        looks.push(done.iter().map(|completion| completion.write.token).collect());
    }
    (looks, disk.read_file("d", "f"))
}

#[test]
fn same_seed_gives_the_same_history_and_seeds_differ() {
    for seed in seeds(20) {
        assert!(history(seed) == history(seed), "seed {seed}");
        assert!(history(seed) != history(seed + 100), "seed {seed}");
    }
}

#[test]
fn write_in_flight_cannot_be_read_and_a_confirmed_one_can() {
    let disk = healthy(1);
    let file = disk.directory("d").create("f", 4 * PAGE).expect("creates");
    let mut device = disk.device(4);
    submit(&mut device, &file, 1);
    let mut page = [9; PAGE_BYTES];
    assert_eq!(file.read_at(&mut page, PAGE).expect("reads"), PAGE_BYTES);
    assert_eq!(page, [0; PAGE_BYTES]);
    let done = drain(&mut device, 1);
    assert!(done[0].result.is_ok());
    file.read_at(&mut page, PAGE).expect("reads");
    assert_eq!(page, [1; PAGE_BYTES]);
}

#[test]
fn completions_come_in_any_order_and_in_any_number() {
    let (mut orders, mut counts) = (BTreeSet::new(), BTreeSet::new());
    for seed in seeds(100) {
        let disk = healthy(seed);
        let file = disk.directory("d").create("f", 4 * PAGE).expect("creates");
        let mut device = disk.device(4);
        (0..3).for_each(|token| submit(&mut device, &file, token));
        let (mut order, mut looks) = (Vec::new(), 0);
        while order.len() < 3 {
            let mut done = Vec::new();
            device.complete(&mut done);
            counts.insert(done.len());
            order.extend(done.iter().map(|completion| completion.write.token));
            looks += 1;
            assert!(looks <= 3 * 4, "seed {seed}: completes without a wait, after a few looks");
        }
        orders.insert(order);
    }
    assert_eq!(orders.len(), 6, "every order of three");
    assert_eq!(Vec::from_iter(counts), [0, 1, 2, 3]);
}

#[test]
fn devices_of_one_disk_complete_their_own_writes() {
    let disk = healthy(3);
    let file = disk.directory("d").create("f", 64 * PAGE).expect("creates");
    let (mut even, mut odd) = (disk.device(8), disk.device(8));
    for token in 0..16 {
        submit(if token % 2 == 0 { &mut even } else { &mut odd }, &file, token);
    }
    assert!(drain(&mut even, 8).iter().all(|completion| completion.write.token % 2 == 0));
    assert!(drain(&mut odd, 8).iter().all(|completion| completion.write.token % 2 == 1));
}

#[test]
fn memory_is_free_again_once_its_write_has_completed() {
    let disk = healthy(4);
    let file = disk.directory("d").create("f", PAGE).expect("creates");
    let mut device = disk.device(1);
    let memory = Arc::clone(filled(1, 1).memory());
    let write = Write { token: 0, file, memory: Arc::clone(&memory), length: PAGE_BYTES, offset: 0 };
    device.submit(write);
    assert!(Arc::strong_count(&memory) > 1);
    drop(drain(&mut device, 1));
    assert!(BlockWriter::reuse(memory).is_ok());
}

#[test]
#[should_panic(expected = "write 1 changed while it was in flight")]
fn block_that_changes_in_flight_is_found_out() {
    let disk = healthy(5);
    let file = disk.directory("d").create("f", PAGE).expect("creates");
    let mut device = disk.device(1);
    let mut writer = filled(1, 1);
    let memory = Arc::clone(writer.memory());
    device.submit(Write { token: 0, file, memory, length: PAGE_BYTES, offset: 0 });
    writer.fill_page(&[2; PAGE_BYTES]);
    drain(&mut device, 1);
}

#[test]
#[should_panic(expected = "more than 1 writes in flight")]
fn submission_beyond_the_depth_is_found_out() {
    let disk = healthy(6);
    let file = disk.directory("d").create("f", PAGE).expect("creates");
    let mut device = disk.device(1);
    (0..2).for_each(|token| submit(&mut device, &file, token));
}

#[test]
fn file_that_is_not_to_be_written_is_refused() {
    let disk = healthy(7);
    let directory = disk.directory("d");
    directory.create("f", PAGE).expect("creates");
    let read_only = directory.open("f", Access::Read).expect("opens");
    let of_another_machine = healthy(7).directory("d").create("f", PAGE).expect("creates");
    let mut device = disk.device(4);
    for file in [&read_only, &of_another_machine] {
        submit(&mut device, file, 0);
        let done = drain(&mut device, 1);
        assert_eq!(errno_of(done.into_iter().next().expect("one").result), Some(libc::EBADF));
    }
    assert_eq!(errno_of(read_only.write_at(&[1; PAGE_BYTES], 0)), Some(libc::EBADF));
    assert_eq!(errno_of(read_only.truncate(0)), Some(libc::EBADF));
    assert_eq!(disk.read_file("d", "f"), [0; PAGE_BYTES]);
}

#[test]
fn dropped_device_leaves_nothing_in_flight() {
    for seed in seeds(50) {
        let disk = healthy(seed);
        let file = disk.directory("d").create("f", 2 * PAGE).expect("creates");
        let mut device = disk.device(1);
        let memory = Arc::clone(filled(1, 1).memory());
        device.submit(Write { token: 0, file, memory: Arc::clone(&memory), length: PAGE_BYTES, offset: 0 });
        drop(device);
        assert_eq!(Arc::strong_count(&memory), 1, "seed {seed}");
        disk.crash();
        assert!(disk.read_file("d", "f")[..PAGE_BYTES] == [1; PAGE_BYTES], "seed {seed}");
    }
}
