//! The disk fails while the power stays.

use std::collections::BTreeSet;
use std::io;

use tapeline_testing::seeds;

use super::*;
use crate::device::Access;
use crate::device::sim::Failure;

fn one_write(disk: &SimDisk, file: &Arc<dyn SegmentFile>, token: u64) -> io::Result<()> {
    let mut device = disk.device(1);
    submit(&mut device, file, token);
    drain(&mut device, 1).remove(0).result
}

#[test]
fn failed_write_has_written_any_of_its_sectors() {
    let mut written = BTreeSet::new();
    for seed in seeds(100) {
        let disk = SimDisk::new(seed, Faults { write_error: 10_000, ..Faults::default() });
        let file = disk.directory("d").create("f", 4 * PAGE).expect("only writes fail");
        assert_eq!(errno_of(one_write(&disk, &file, 1)), Some(libc::EIO));
        written.insert(page_of(&disk, "f", 1).iter().filter(|&&byte| byte == 1).count());
    }
    assert!(written.len() > 4 && written.contains(&0) && written.contains(&PAGE_BYTES), "{written:?}");
}

#[test]
fn chances_are_kept() {
    let disk = SimDisk::new(1, Faults { write_error: 1000, call_error: 2000, ..Faults::default() });
    let directory = disk.directory("d");
    let file = (0..100).find_map(|_| directory.create("f", 4 * PAGE).ok()).expect("creates at last");
    let failed_writes = (0..1000).filter(|_| one_write(&disk, &file, 1).is_err()).count();
    let failed_calls = (0..1000).filter(|_| file.length().is_err()).count();
    assert!((60..140).contains(&failed_writes) && (150..250).contains(&failed_calls), "{failed_writes} {failed_calls}");
}

#[test]
fn chosen_write_fails_with_its_error() {
    let disk = healthy(2);
    let file = disk.directory("d").create("f", 16 * PAGE).expect("creates");
    for (number, kind) in [(libc::ENOSPC, io::ErrorKind::StorageFull), (libc::EROFS, io::ErrorKind::ReadOnlyFilesystem)]
    {
        let before = disk.writes();
        let failing_write = Some(Failure { nth: before + 2, errno: number });
        disk.set_faults(Faults { failing_write, ..Faults::default() });
        let results: Vec<_> = (1..4).map(|token| one_write(&disk, &file, token)).collect();
        assert_eq!(disk.writes(), before + 3);
        assert!(results[0].is_ok() && results[2].is_ok());
        assert_eq!(results[1].as_ref().expect_err("chosen").kind(), kind);
        if number == libc::ENOSPC {
            assert_eq!(page_of(&disk, "f", 2), [0; PAGE_BYTES], "a full disk takes nothing");
        }
    }
}

#[test]
fn chosen_call_fails_with_its_error() {
    let disk = healthy(3);
    let directory = disk.directory("d");
    directory.create("f", PAGE).expect("creates");
    let failing_call = Some(Failure { nth: disk.calls() + 2, errno: libc::EIO });
    disk.set_faults(Faults { failing_call, ..Faults::default() });
    let file = directory.open("f", Access::Read).expect("not the chosen one");
    assert_eq!(errno_of(file.length()), Some(libc::EIO));
    assert_eq!(file.length().expect("not the chosen one"), PAGE);
}

#[test]
fn failed_call_may_have_worked_but_a_failed_creation_leaves_nothing() {
    let mut names = BTreeSet::new();
    for seed in seeds(50) {
        let disk = healthy(seed);
        let directory = disk.directory("d");
        directory.create("a", PAGE).expect("creates");
        disk.set_faults(Faults { call_error: 10_000, ..Faults::default() });
        assert_eq!(errno_of(directory.create("c", PAGE)), Some(libc::EIO));
        assert_eq!(errno_of(directory.rename("a", "b")), Some(libc::EIO));
        assert_eq!(errno_of(directory.list()), Some(libc::EIO));
        names.extend(disk.files("d"));
    }
    assert_eq!(Vec::from_iter(names), ["a", "b"]);
}

#[test]
fn lost_write_is_confirmed_and_not_there() {
    let disk = healthy(4);
    let file = disk.directory("d").create("f", 16 * PAGE).expect("creates");
    disk.set_faults(Faults { lost_write_nth: Some(2), ..Faults::default() });
    (1..4).for_each(|token| one_write(&disk, &file, token).expect("confirmed"));
    assert_eq!(page_of(&disk, "f", 1), [1; PAGE_BYTES]);
    assert_eq!(page_of(&disk, "f", 2), [0; PAGE_BYTES]);
    assert_eq!(page_of(&disk, "f", 3), [3; PAGE_BYTES]);
    disk.set_faults(Faults { lost_write: 10_000, ..Faults::default() });
    one_write(&disk, &file, 5).expect("confirmed");
    assert_eq!(page_of(&disk, "f", 5), [0; PAGE_BYTES]);
}

#[test]
fn full_disk_refuses_and_leaves_nothing() {
    let disk = healthy(5);
    disk.set_capacity(10 * PAGE);
    let directory = disk.directory("d");
    let file = directory.create("f", 8 * PAGE).expect("fits");
    let error = directory.create("g", 3 * PAGE).expect_err("full");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.files("d"), ["f"]);
    // Allocated pages are written without more space, others with.
    one_write(&disk, &file, 20).expect("fits");
    file.write_at(&[1; PAGE_BYTES], 21 * PAGE).expect("fits");
    file.write_at(&[2; PAGE_BYTES], 21 * PAGE).expect("was allocated by the write before");
    let length = file.length().expect("length");
    assert_eq!(errno_of(one_write(&disk, &file, 22)), Some(libc::ENOSPC));
    assert_eq!(errno_of(file.write_at(&[1; PAGE_BYTES], 23 * PAGE)), Some(libc::ENOSPC));
    assert_eq!(file.length().expect("length"), length);
    one_write(&disk, &file, 6).expect("allocated at creation, on a disk that is full");
    // What is cut off or removed is free again, and a higher limit helps.
    file.truncate(PAGE).expect("truncates");
    directory.create("g", 9 * PAGE).expect("fits now");
    directory.remove("g").expect("removes");
    directory.create("h", 9 * PAGE).expect("fits again");
    assert_eq!(errno_of(directory.create("i", PAGE)), Some(libc::ENOSPC));
    disk.set_capacity(u64::MAX);
    directory.create("i", 1 << 40).expect("takes no memory");
}

#[test]
fn full_disk_is_still_full_after_a_reboot() {
    let disk = healthy(6);
    disk.set_capacity(PAGE);
    let disk = disk.reboot(Faults::default());
    assert_eq!(errno_of(disk.directory("d").create("f", 2 * PAGE)), Some(libc::ENOSPC));
}

#[test]
fn unreadable_page_fails_where_it_is_touched() {
    let disk = healthy(7);
    let file = disk.directory("d").create("f", 8 * PAGE).expect("creates");
    disk.set_unreadable("d", "f", 3 * PAGE + 17);
    let disk = disk.reboot(Faults::default());
    let file_now = disk.directory("d").open("f", Access::Write).expect("opens");
    let mut buffer = [0; 2 * PAGE_BYTES];
    assert!(file.read_at(&mut buffer, 0).is_err(), "of the boot before");
    assert_eq!(file_now.read_at(&mut buffer, PAGE).expect("readable"), buffer.len());
    assert_eq!(errno_of(file_now.read_at(&mut buffer, 2 * PAGE)), Some(libc::EIO));
    assert_eq!(errno_of(file_now.read_at(&mut buffer, 3 * PAGE)), Some(libc::EIO));
    assert_eq!(file_now.read_at(&mut buffer, 4 * PAGE).expect("readable"), buffer.len());
    let map = file_now.map().expect("maps");
    assert!(map.populate(0..3 * PAGE_BYTES).is_ok() && map.populate(4 * PAGE_BYTES..8 * PAGE_BYTES).is_ok());
    assert_eq!(errno_of(map.populate(3 * PAGE_BYTES + 1..3 * PAGE_BYTES + 2)), Some(libc::EIO));
    file_now.truncate(3 * PAGE).expect("truncates");
    file_now.truncate(8 * PAGE).expect("truncates");
    assert!(file_now.read_at(&mut buffer, 3 * PAGE).is_ok(), "other pages than before");
}
