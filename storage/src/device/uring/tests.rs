use std::os::unix::fs::FileExt;
use std::sync::Arc;

use io_uring::IoUring;
use tapeline_testing::Scratch;

use super::*;
use crate::device::fs::{FsDirectory, WriteMode, lock_exclusive};
use crate::device::tests::{memory_with, pattern, uring, uring_with, write};
use crate::device::{BlockWriter, Directory, SegmentFile};
use crate::format::PAGE_BYTES;

fn directory(scratch: &Scratch) -> FsDirectory {
    FsDirectory::open(scratch.path(), WriteMode::BufferedSync).unwrap()
}

fn file(scratch: &Scratch) -> Arc<dyn SegmentFile> {
    directory(scratch).create("file", 64 * PAGE_BYTES as u64).unwrap()
}

fn finish(device: &mut UringDevice) -> Completion {
    let (bell, mut done) = (Doorbell::new().unwrap(), Vec::new());
    while done.is_empty() {
        device.wait(&bell, Duration::from_secs(3600));
        device.complete(&mut done);
    }
    assert_eq!(done.len(), 1);
    done.pop().unwrap()
}

#[test]
fn registered_memory_is_written_by_its_number() {
    let Some(mut device) = uring() else { return };
    let scratch = Scratch::new("device");
    let file = file(&scratch);
    let (known, foreign) = (write(1, &file, &pattern(1, 1), 0), write(2, &file, &pattern(2, 1), 4096));
    device.register(std::slice::from_ref(&known.memory));
    device.submit(known);
    let known = finish(&mut device);
    if let Some(refused) = device.notes().iter().find(|note| note.contains("could not be registered")) {
        println!("skipped: {refused}");
        return;
    }
    known.result.unwrap();
    assert_eq!(device.fixed_writes(), 1);
    device.submit(foreign);
    finish(&mut device).result.unwrap();
    assert_eq!(device.fixed_writes(), 1);

    // Memory keeps its number when it is taken back into use.
    let mut writer = BlockWriter::reuse(known.write.memory).unwrap();
    let length = writer.fill_page(&pattern(3, 1));
    let memory = Arc::clone(writer.memory());
    device.submit(Write { token: 3, file: Arc::clone(&file), memory, length, offset: 8192 });
    finish(&mut device).result.unwrap();
    assert_eq!(device.fixed_writes(), 2);
    let mut found = vec![0; 3 * PAGE_BYTES];
    file.read_at(&mut found, 0).unwrap();
    assert!(found == [pattern(1, 1), pattern(2, 1), pattern(3, 1)].concat());
}

#[test]
fn memory_that_is_not_written_is_not_touched_by_its_announcement() {
    let Some(mut device) = uring() else { return };
    let scratch = Scratch::new("device");
    let announced: Vec<_> = (0..4).map(|_| memory_with(&[])).collect();
    let is_touched = |memory: &BlockMemory| {
        // The last page of a block is no page that a short write needs.
        let page =
            memory.address() as u64 / PAGE_BYTES as u64 + BlockMemory::BLOCK_BYTES as u64 / PAGE_BYTES as u64 - 1;
        let mut entry = [0; size_of::<u64>()];
        let map = std::fs::File::open("/proc/self/pagemap").unwrap();
        map.read_exact_at(&mut entry, page * size_of::<u64>() as u64).unwrap();
        u64::from_le_bytes(entry) >> 63 == 1
    };
    device.register(&announced);
    if let Err(error) = IoUring::new(1).and_then(|ring| ring.submitter().register_buffers_sparse(1)) {
        println!("skipped: a table of memory without entries: {error}");
        return;
    }
    assert!(!announced.iter().any(|memory| is_touched(memory)));
    let length = PAGE_BYTES;
    let memory = Arc::clone(&announced[2]);
    device.submit(Write { token: 1, file: file(&scratch), memory, length, offset: 0 });
    finish(&mut device).result.unwrap();
    let touched: Vec<_> = announced.iter().map(|memory| is_touched(memory)).collect();
    let is_registered = device.fixed_writes() == 1;
    assert_eq!(touched, [false, false, is_registered, false]);
}

#[test]
fn fresh_memory_at_a_registered_address_has_no_number() {
    let Some(mut device) = uring() else { return };
    let scratch = Scratch::new("device");
    let file = file(&scratch);
    let registered: Vec<_> = (0..4).map(|_| memory_with(&[])).collect();
    device.register(&registered);
    drop(registered);
    for token in 0..8 {
        device.submit(write(token, &file, &pattern(token, 1), 0));
        finish(&mut device).result.unwrap();
        let mut found = vec![0; PAGE_BYTES];
        file.read_at(&mut found, 0).unwrap();
        assert!(found == pattern(token, 1), "write {token}");
    }
    assert_eq!(device.fixed_writes(), 0);
}

#[test]
fn memory_of_another_device_has_no_number() {
    let (Some(mut one), Some(mut two)) = (uring(), uring()) else { return };
    let scratch = Scratch::new("device");
    let file = file(&scratch);
    let write = write(1, &file, &pattern(1, 1), 0);
    one.register(std::slice::from_ref(&write.memory));
    two.submit(write);
    finish(&mut two).result.unwrap();
    assert_eq!(two.fixed_writes(), 0);
}

#[test]
fn refused_registration_is_noted_and_lived_with() {
    let Some(mut device) = uring() else { return };
    let scratch = Scratch::new("device");
    let file = file(&scratch);
    let write = write(1, &file, &pattern(1, 1), 0);
    // More than any kernel takes.
    device.register(&vec![Arc::clone(&write.memory); 20_000]);
    assert!(device.notes().iter().any(|note| note.starts_with("memory could not be registered: ")));
    device.submit(write);
    finish(&mut device).result.unwrap();
    assert_eq!(device.fixed_writes(), 0);
}

#[test]
fn removed_files_are_let_go_when_others_come() {
    let Some(mut device) = uring() else { return };
    let scratch = Scratch::new("device");
    let directory = directory(&scratch);
    let mut held = Vec::new();
    for number in 0..10 {
        let file = directory.create(&number.to_string(), PAGE_BYTES as u64).unwrap();
        device.submit(write(number, &file, &pattern(number, 1), 0));
        finish(&mut device).result.unwrap();
        held.push(Arc::downgrade(&file));
    }
    assert!(held.iter().filter(|file| file.strong_count() > 0).count() <= 1);
}

#[test]
fn failed_ring_ends_all_writes_and_never_frees_their_memory() {
    let Some(mut device) = uring() else { return };
    let scratch = Scratch::new("device");
    let file = file(&scratch);
    for token in 0..3 {
        device.submit(write(token, &file, &pattern(token, 1), 0));
    }
    let failed = device.ring.check(Err(io::Error::from_raw_os_error(libc::EBADFD)));
    device.end_all_if_failed(failed);
    device.submit(write(3, &file, &pattern(3, 1), 0));
    let mut done = Vec::new();
    device.wait(&Doorbell::new().unwrap(), Duration::from_secs(3600));
    device.complete(&mut done);
    assert_eq!(done.len(), 4);
    for Completion { write, result } in done {
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADFD));
        // The last was never handed to the kernel.
        assert_eq!(BlockWriter::reuse(write.memory).is_ok(), write.token == 3);
    }
}

#[test]
fn depth_out_of_range_is_refused() {
    for depth in [0, UringOptions::DEPTH_MAX + 1] {
        let error = UringDevice::new(UringOptions { depth }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn every_depth_works() {
    let scratch = Scratch::new("device");
    let file = file(&scratch);
    for depth in [1, 2, 7, 64] {
        let Some(mut device) = uring_with(UringOptions { depth }) else { return };
        for token in 0..u64::from(depth) {
            device.submit(write(token, &file, &pattern(token, 1), token % 64 * 4096));
        }
        for _ in 0..depth {
            let (bell, mut done) = (Doorbell::new().unwrap(), Vec::new());
            device.wait(&bell, Duration::from_micros(10));
            device.complete(&mut done);
        }
    }
}

#[test]
fn every_setup_works() {
    if uring().is_none() {
        return;
    }
    let scratch = Scratch::new("device");
    let file = file(&scratch);
    for (name, set_up) in ring::SETUPS {
        let (mut builder, options) = (IoUring::builder(), UringOptions::default());
        set_up(&mut builder);
        let ring = match Ring::make(|| Ok((builder.build(UringDevice::entries(options))?, name))) {
            Ok(ring) => ring,
            Err(error) => {
                println!("skipped: {name}: {error}");
                continue;
            }
        };
        let mut device = UringDevice::over(ring, options);
        for token in 0..20 {
            device.submit(write(token, &file, &pattern(token, 1), token * 4096));
            finish(&mut device).result.unwrap();
        }
        let bell = Doorbell::new().unwrap();
        device.wait(&bell, Duration::from_micros(100));
        bell.ring();
        device.wait(&bell, Duration::from_secs(3600));
        assert!(device.notes().iter().any(|note| note.contains(name)));
    }
}

#[test]
fn completions_are_found_without_waiting() {
    let Some(mut device) = uring() else { return };
    let scratch = Scratch::new("device");
    device.submit(write(1, &file(&scratch), &pattern(1, 1), 0));
    let mut done = Vec::new();
    while done.is_empty() {
        device.complete(&mut done);
        std::thread::yield_now();
    }
}

#[test]
fn deeper_than_the_depth_stops_at_once() {
    let Some(mut device) = uring() else { return };
    let scratch = Scratch::new("device");
    let file = file(&scratch);
    let submit = std::panic::AssertUnwindSafe(|| {
        for token in 0..=device.depth() as u64 {
            device.submit(write(token, &file, &pattern(token, 1), 0));
        }
    });
    assert!(std::panic::catch_unwind(submit).is_err());
}

#[test]
fn another_doorbell_is_heard_too() {
    let Some(mut device) = uring() else { return };
    for _ in 0..5 {
        let bell = Arc::new(Doorbell::new().unwrap());
        let ringer = std::thread::spawn({
            let bell = Arc::clone(&bell);
            move || bell.ring()
        });
        while !bell.is_rung() {
            device.wait(&bell, Duration::from_millis(1));
        }
        ringer.join().unwrap();
    }
}

#[test]
fn lock_is_held_until_the_ring_ends() {
    let Some(mut device) = uring() else { return };
    let scratch = Scratch::new("device");
    let lock = || lock_exclusive(scratch.path(), "lock", Duration::ZERO);
    let held = lock().unwrap();
    if let Err(error) = device.hold(&held) {
        return println!("skipped: {error}");
    }
    drop(held);
    assert_eq!(lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(device);
    // A process that another test forks holds a copy until it executes its program.
    lock_exclusive(scratch.path(), "lock", Duration::from_secs(3600)).unwrap();
}
