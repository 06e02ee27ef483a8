//! Directories, files, mappings, and changes that tests make to them past the device.

use std::io;

use super::*;
use crate::device::Access;

#[test]
fn directory_keeps_to_its_trait() {
    let disk = healthy(1);
    let directory = disk.directory("d");
    let file = directory.create("a", 2 * PAGE).expect("creates");
    assert_eq!((directory.path().as_str(), format!("{file:?}").as_str()), ("sim:d", "sim:d/a"));
    assert_eq!(errno_of(directory.create("a", PAGE)), Some(libc::EEXIST));
    assert_eq!(errno_of(directory.open("b", Access::Read)), Some(libc::ENOENT));
    assert_eq!(errno_of(directory.rename("b", "c")), Some(libc::ENOENT));
    assert_eq!(errno_of(directory.remove("b")), Some(libc::ENOENT));
    directory.create("b", 0).expect("creates");
    assert_eq!(errno_of(directory.rename("a", "b")), Some(libc::EEXIST));
    directory.rename("a", "c").expect("renames");
    assert_eq!((disk.files("d"), format!("{file:?}").as_str()), (vec!["b".into(), "c".into()], "sim:d/c"));
    let other = directory.open("b", Access::Write).expect("opens");
    assert_eq!(directory.remove_own("c", &*other).expect_err("another file").kind(), io::ErrorKind::AlreadyExists);
    directory.remove_own("c", &*file).expect("removes");
    assert_eq!(file.length().expect("still open"), 2 * PAGE);
    assert_eq!(format!("{file:?}"), "sim:d, file 0");
    for name in ["", ".", "..", "a/b", "a\0"] {
        let error = directory.create(name, PAGE).expect_err("not a name");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
    }
}

#[test]
fn directories_of_one_disk_are_apart() {
    let disk = healthy(2);
    disk.directory("one").create("f", PAGE).expect("creates");
    assert!(disk.directory("other").list().expect("lists").is_empty());
    assert_eq!(disk.directory("one").list().expect("lists"), ["f"]);
}

#[test]
fn listing_has_no_order() {
    let directory = healthy(3).directory("d");
    let names = ["a", "b", "c", "d", "e"];
    names.iter().for_each(|name| drop(directory.create(name, 0).expect("creates")));
    let mut listed = directory.list().expect("lists");
    assert!((0..10).any(|_| directory.list().expect("lists") != listed));
    listed.sort_unstable();
    assert_eq!(listed, names);
}

#[test]
fn file_keeps_to_its_trait() {
    let disk = healthy(4);
    let file = disk.directory("d").create("f", 3 * PAGE).expect("creates");
    file.write_at(&[1; 2 * PAGE_BYTES], PAGE).expect("writes");
    let mut buffer = [9; 4 * PAGE_BYTES];
    assert_eq!(file.read_at(&mut buffer, 0).expect("reads"), 3 * PAGE_BYTES, "up to the end");
    assert!(buffer[..PAGE_BYTES].iter().all(|&byte| byte == 0));
    assert!(buffer[PAGE_BYTES..3 * PAGE_BYTES].iter().all(|&byte| byte == 1));
    assert_eq!(file.read_at(&mut buffer, 8 * PAGE).expect("reads"), 0);
    // Cut within a page, and made longer again: what was cut off is zeros.
    file.truncate(2 * PAGE - 96).expect("truncates");
    assert_eq!(file.read_at(&mut buffer, 0).expect("reads"), 2 * PAGE_BYTES - 96);
    file.truncate(3 * PAGE).expect("truncates");
    let bytes = disk.read_file("d", "f");
    assert!(bytes[PAGE_BYTES..2 * PAGE_BYTES - 96].iter().all(|&byte| byte == 1));
    assert!(bytes[2 * PAGE_BYTES - 96..].iter().all(|&byte| byte == 0));
    // A write after the end leaves a hole.
    file.write_at(&[2; PAGE_BYTES], 5 * PAGE).expect("writes");
    assert_eq!(file.length().expect("length"), 6 * PAGE);
    let refused =
        [file.write_at(&[0; 100], 0), file.write_at(&[0; PAGE_BYTES], 100), file.read_at(&mut [0; 100], 0).map(drop)];
    assert!(refused.into_iter().all(|result| result.is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput)));
    assert_eq!(errno_of(file.write_at(&[0; PAGE_BYTES], u64::MAX / PAGE * PAGE)), Some(libc::EFBIG));
    assert_eq!(file.descriptor(), None);
    assert!(file.distrust_cache().is_ok());
}

#[test]
fn mapping_starts_at_a_page_and_stays_as_it_was() {
    let disk = healthy(5);
    let file = disk.directory("d").create("f", 2 * PAGE).expect("creates");
    file.write_at(&[1; PAGE_BYTES], PAGE).expect("writes");
    let map = file.map().expect("maps");
    assert!(map.bytes().as_ptr().addr().is_multiple_of(PAGE_BYTES));
    file.write_at(&[2; PAGE_BYTES], 0).expect("writes");
    assert!(map.bytes()[..PAGE_BYTES].iter().all(|&byte| byte == 0));
    assert!(map.bytes()[PAGE_BYTES..].iter().all(|&byte| byte == 1));
    assert_eq!(map.bytes().len(), 2 * PAGE_BYTES);
    assert!(map.populate(0..2 * PAGE_BYTES).is_ok());
    assert!(map.populate(0..2 * PAGE_BYTES + 1).is_err());
    file.truncate(0).expect("truncates");
    assert!(file.map().expect("maps").bytes().is_empty());
}

#[test]
fn tampering_takes_no_step_and_draws_no_number() {
    let run = |tamper: bool| {
        let disk = healthy(6);
        let directory = disk.directory("d");
        directory.create("f", 2 * PAGE).expect("creates");
        let steps = disk.steps();
        if tamper {
            disk.corrupt("d", "f", 5, |byte| byte ^ 1);
            disk.overwrite("d", "f", PAGE - 1, &[2, 3]);
            disk.copy_file("d", "f", "copy");
            disk.rename_file("d", "copy", "g");
            disk.put_file("e", "new", &[1, 2, 3]);
            disk.remove_file("d", "g");
            disk.set_unreadable("d", "f", PAGE);
            assert_eq!((disk.files("d"), disk.files("e")), (vec!["f".into()], vec!["new".into()]));
            assert!(disk.files("nowhere").is_empty());
        }
        assert_eq!((disk.steps(), disk.calls()), (steps, steps / 3));
        (0..8).for_each(|number| drop(directory.create(&number.to_string(), 0).expect("creates")));
        directory.list().expect("lists")
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn tampering_does_what_it_says_with_and_without_power() {
    let disk = healthy(7);
    let file = disk.directory("d").create("f", 2 * PAGE).expect("creates");
    disk.corrupt("d", "f", 5, |byte| byte ^ 0x10);
    let mut page = [0; PAGE_BYTES];
    file.read_at(&mut page, 0).expect("reads");
    assert_eq!(page[4..7], [0, 0x10, 0]);
    disk.crash();
    disk.overwrite("d", "f", PAGE - 1, &[2, 3]);
    disk.copy_file("d", "f", "copy");
    disk.corrupt("d", "f", 5, |_| 0);
    disk.put_file("d", "short", &[1, 2, 3]);
    disk.rename_file("d", "short", "f");
    let disk = disk.reboot(Faults::default());
    assert_eq!(disk.files("d"), ["copy", "f"]);
    assert_eq!(disk.read_file("d", "f"), [1, 2, 3]);
    let copy = disk.read_file("d", "copy");
    assert_eq!((copy[5], &copy[PAGE_BYTES - 1..=PAGE_BYTES], copy.len()), (0x10, &[2, 3][..], 2 * PAGE_BYTES));
}

#[test]
#[should_panic(expected = "there is no d/g")]
fn tampering_with_a_file_that_is_not_there_fails_the_test() {
    let disk = healthy(8);
    disk.directory("d");
    disk.overwrite("d", "g", 0, &[1]);
}
