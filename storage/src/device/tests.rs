//! Properties of every driver, and of every directory that segment files lie in.
//!
//! [`suite`] makes one test module out of a function that makes a [`Harness`]; a driver from elsewhere joins with
//! `crate::device::tests::suite!(name, make);`.

use std::any::Any;
use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tapeline_testing::{Random, Scratch, seed};

use super::blocking::BlockingDevice;
use super::fs::{FsDirectory, WriteMode, probe_direct};
use super::memory::MemoryDevice;
use super::sim::{Faults, SimDisk};
use super::uring::{UringDevice, UringOptions};
use super::{
    Access, BlockMemory, BlockWriter, Completion, Device, Directory, Doorbell, Mapping, SegmentFile, Write, probe,
};
use crate::format::{PAGE_BYTES, Sequence};

/// Longer than any test may take: a wait that ends only by this hangs the test.
const FOREVER: Duration = Duration::from_secs(3600);

const PAGE: u64 = PAGE_BYTES as u64;

/// A driver, and a directory whose files it can write.
pub(in crate::device) struct Harness {
    pub(in crate::device) device: Box<dyn Device>,
    pub(in crate::device) directory: Arc<dyn Directory>,
    /// True if bytes reach the files, and damage to a file is noticed.
    pub(in crate::device) keeps_bytes: bool,
    /// A value that must live as long as the directory.
    pub(in crate::device) scratch: Box<dyn Any>,
}

macro_rules! suite {
    ($driver:ident, $make:expr) => {
        mod $driver {
            $crate::device::tests::suite!(@properties $make;
                what_was_written_is_read_back
                every_write_completes_once_with_its_token
                depth_is_respected
                read_only_file_fails_the_write_alone
                file_without_descriptor_fails_the_write_alone
                many_files_are_kept_apart
                wait_ends_with_a_completion
                wait_ends_with_the_doorbell
                wait_ends_with_time
                drop_waits_for_writes_and_releases_memory
                registered_memory_is_written_like_any_other
                names_are_created_listed_renamed_removed
                names_are_never_replaced
                names_are_plain
                files_are_read_up_to_their_end
                files_are_written_and_read_in_unaligned_memory
                files_are_truncated
                files_are_mapped
            );
        }
    };
    (@properties $make:expr; $($property:ident)*) => {
        $(
            #[test]
            fn $property() {
                if let Some(harness) = $make() {
                    $crate::device::tests::$property(harness);
                }
            }
        )*
    };
}
pub(in crate::device) use suite;

suite!(uring_direct, super::uring_direct);
suite!(uring_tmpfs, super::uring_tmpfs);
suite!(blocking_direct, super::blocking_direct);
suite!(blocking_buffered, super::blocking_buffered);
suite!(blocking_tmpfs, super::blocking_tmpfs);
suite!(memory, super::memory_device);
suite!(sim, super::sim);

fn uring_direct() -> Option<Harness> {
    direct_scratch().and_then(|scratch| Harness::over(uring()?, scratch, WriteMode::Direct))
}

fn uring_tmpfs() -> Option<Harness> {
    Harness::over(uring()?, Scratch::in_memory("device")?, WriteMode::BufferedSync)
}

fn blocking_direct() -> Option<Harness> {
    direct_scratch()
        .and_then(|scratch| Harness::over(BlockingDevice::new(WriteMode::Direct), scratch, WriteMode::Direct))
}

fn blocking_buffered() -> Option<Harness> {
    Harness::over(BlockingDevice::new(WriteMode::Buffered), Scratch::new("device"), WriteMode::Buffered)
}

fn blocking_tmpfs() -> Option<Harness> {
    Harness::over(BlockingDevice::new(WriteMode::BufferedSync), Scratch::in_memory("device")?, WriteMode::BufferedSync)
}

fn memory_device() -> Option<Harness> {
    let harness = Harness::over(MemoryDevice::new(), Scratch::new("device"), WriteMode::Buffered)?;
    Some(Harness { keeps_bytes: false, ..harness })
}

fn sim() -> Option<Harness> {
    let disk = SimDisk::new(1, Faults::default());
    Some(Harness {
        device: Box::new(disk.device(6)),
        directory: disk.directory("shard-0000"),
        keeps_bytes: true,
        scratch: Box::new(()),
    })
}

/// A ring, where the machine allows one.
pub(in crate::device) fn uring() -> Option<UringDevice> {
    uring_with(UringOptions::default())
}

/// A ring, where the machine allows one. Rings count against the memlock limit, and for a moment after their end.
pub(in crate::device) fn uring_with(options: UringOptions) -> Option<UringDevice> {
    if let Err(error) = probe::io_uring_available() {
        println!("skipped: {error}");
        return None;
    }
    match UringDevice::new(options) {
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
            println!("skipped: ring: {error}");
            None
        }
        device => Some(device.unwrap()),
    }
}

/// A scratch directory, where it takes direct writes.
pub(in crate::device) fn direct_scratch() -> Option<Scratch> {
    let scratch = Scratch::new("device");
    if !probe_direct(scratch.path()).unwrap() {
        println!("skipped: no O_DIRECT in {}", scratch.path().display());
        return None;
    }
    Some(scratch)
}

impl Harness {
    fn over(device: impl Device + 'static, scratch: Scratch, mode: WriteMode) -> Option<Self> {
        let directory = Arc::new(FsDirectory::open(scratch.path(), mode).unwrap());
        Some(Self { device: Box::new(device), directory, keeps_bytes: true, scratch: Box::new(scratch) })
    }

    /// Waits until nothing is in flight.
    fn finish(&mut self, writes: usize) -> Vec<Completion> {
        let bell = Doorbell::new().unwrap();
        let mut done = Vec::new();
        while done.len() < writes {
            self.device.wait(&bell, FOREVER);
            self.device.complete(&mut done);
        }
        done
    }

    fn write_all(&mut self, write: Write) {
        self.device.submit(write);
        self.finish(1).pop().unwrap().result.unwrap();
    }
}

/// Bytes that differ for each seed and page.
pub(in crate::device) fn pattern(seed: u64, pages: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = pages * PAGE_BYTES / size_of::<u64>();
    (0..words).flat_map(|_| random.next_u64().to_le_bytes()).collect()
}

/// Memory of a block that holds these pages.
pub(in crate::device) fn memory_with(bytes: &[u8]) -> Arc<BlockMemory> {
    let mut writer = BlockWriter::new().expect("memory");
    writer.fill_page(bytes);
    Arc::clone(writer.memory())
}

/// A write of these bytes.
pub(in crate::device) fn write(token: u64, file: &Arc<dyn SegmentFile>, bytes: &[u8], offset: u64) -> Write {
    Write { token, file: Arc::clone(file), memory: memory_with(bytes), length: bytes.len(), offset }
}

fn read(file: &dyn SegmentFile, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, offset).unwrap();
    bytes.truncate(read);
    bytes
}

pub(in crate::device) fn what_was_written_is_read_back(mut harness: Harness) {
    let file = harness.directory.create("file", 4 << 20).unwrap();
    let block = BlockMemory::BLOCK_BYTES / PAGE_BYTES;
    for (token, (page, pages)) in [(0, 1), (1, block), (500, 3), (1024 - block as u64, block)].into_iter().enumerate() {
        let bytes = pattern(token as u64, pages);
        harness.write_all(write(token as u64, &file, &bytes, page * PAGE));
        if harness.keeps_bytes {
            assert!(read(&*file, page * PAGE, bytes.len()) == bytes, "write {token}");
        }
    }
    // A block as the log makes it.
    let mut writer = BlockWriter::new().expect("memory");
    writer.start(Sequence::new(7));
    writer.append(&[7; 160], &[5, 5]);
    writer.header_mut().fill(9);
    let length = writer.close();
    let memory = Arc::clone(writer.memory());
    let expected = memory.closed_bytes(length).to_vec();
    harness.write_all(Write { token: 9, file: Arc::clone(&file), memory, length, offset: 0 });
    if harness.keeps_bytes {
        assert_eq!(read(&*file, 0, length), expected);
    }
}

pub(in crate::device) fn every_write_completes_once_with_its_token(mut harness: Harness) {
    const PAGES: u64 = 64;
    let mut random = Random::new(seed());
    let file = harness.directory.create("file", PAGES * PAGE).unwrap();
    let (mut in_flight, mut tokens, mut done) = (0, HashSet::new(), Vec::new());
    let bell = Doorbell::new().unwrap();
    for token in 0..PAGES {
        harness.device.submit(write(token * 1000, &file, &pattern(token, 1), token * PAGE));
        in_flight += 1;
        while in_flight == harness.device.depth() || (in_flight > 0 && random.below(3) == 0) {
            harness.device.wait(&bell, Duration::from_millis(random.below(2)));
            harness.device.complete(&mut done);
            in_flight -= done.len();
            for completion in done.drain(..) {
                completion.result.unwrap();
                assert!(tokens.insert(completion.write.token), "token {} came twice", completion.write.token);
                assert_eq!(completion.write.offset * 1000, completion.write.token * PAGE);
            }
        }
    }
    tokens.extend(harness.finish(in_flight).iter().map(|completion| completion.write.token));
    assert_eq!(tokens, (0..PAGES).map(|token| token * 1000).collect::<HashSet<_>>());
    harness.device.complete(&mut done);
    assert!(done.is_empty(), "nothing is left");
    if harness.keeps_bytes {
        for page in 0..PAGES {
            assert!(read(&*file, page * PAGE, PAGE_BYTES) == pattern(page, 1), "page {page}");
        }
    }
}

pub(in crate::device) fn depth_is_respected(mut harness: Harness) {
    let depth = harness.device.depth();
    assert!(depth >= 1);
    let file = harness.directory.create("file", depth as u64 * PAGE).unwrap();
    for _ in 0..3 {
        for token in 0..depth as u64 {
            harness.device.submit(write(token, &file, &pattern(token, 1), token * PAGE));
        }
        let done = harness.finish(depth);
        assert!(done.iter().all(|completion| completion.result.is_ok()));
        assert_eq!(done.len(), depth);
    }
}

pub(in crate::device) fn read_only_file_fails_the_write_alone(harness: Harness) {
    let good = harness.directory.create("file", PAGE).unwrap();
    let bad = harness.directory.open("file", Access::Read).unwrap();
    bad_file_fails_the_write_alone(harness, &good, &bad);
}

pub(in crate::device) fn file_without_descriptor_fails_the_write_alone(harness: Harness) {
    let good = harness.directory.create("file", PAGE).unwrap();
    bad_file_fails_the_write_alone(harness, &good, &(Arc::new(ClosedFile) as Arc<dyn SegmentFile>));
}

fn bad_file_fails_the_write_alone(mut harness: Harness, good: &Arc<dyn SegmentFile>, bad: &Arc<dyn SegmentFile>) {
    harness.device.submit(write(1, bad, &pattern(1, 1), 0));
    let mut done = harness.finish(1);
    if harness.keeps_bytes {
        assert!(done.pop().unwrap().result.is_err());
    }
    harness.write_all(write(2, good, &pattern(2, 1), 0));
    if harness.keeps_bytes {
        assert_eq!(read(&**good, 0, PAGE_BYTES), pattern(2, 1));
    }
}

pub(in crate::device) fn many_files_are_kept_apart(mut harness: Harness) {
    const FILES: u64 = 24;
    let mut kept = Vec::new();
    for number in 0..FILES {
        let file = harness.directory.create(&number.to_string(), 2 * PAGE).unwrap();
        harness.write_all(write(number, &file, &pattern(number, 1), 0));
        // Some are closed, so that their descriptors come back as other files; some are written to again later.
        if number % 3 == 0 {
            kept.push((number, file));
        }
    }
    for (number, file) in &kept {
        harness.write_all(write(*number, file, &pattern(number + FILES, 1), PAGE));
    }
    for number in (0..FILES).filter(|_| harness.keeps_bytes) {
        let file = harness.directory.open(&number.to_string(), Access::Read).unwrap();
        assert!(read(&*file, 0, PAGE_BYTES) == pattern(number, 1), "file {number}");
        if number % 3 == 0 {
            assert!(read(&*file, PAGE, PAGE_BYTES) == pattern(number + FILES, 1), "file {number}, later");
        }
    }
}

pub(in crate::device) fn wait_ends_with_a_completion(mut harness: Harness) {
    let file = harness.directory.create("file", PAGE).unwrap();
    for token in 0..10 {
        harness.write_all(write(token, &file, &pattern(token, 1), 0));
    }
}

pub(in crate::device) fn wait_ends_with_the_doorbell(mut harness: Harness) {
    let bell = Arc::new(Doorbell::new().unwrap());
    bell.ring();
    harness.device.wait(&bell, FOREVER);
    bell.answer();
    for _ in 0..10 {
        let ringer = thread::spawn({
            let bell = Arc::clone(&bell);
            move || bell.ring()
        });
        while !bell.is_rung() {
            harness.device.wait(&bell, FOREVER);
        }
        ringer.join().unwrap();
        bell.answer();
        assert!(!bell.is_rung());
    }
}

pub(in crate::device) fn wait_ends_with_time(mut harness: Harness) {
    let bell = Doorbell::new().unwrap();
    harness.device.wait(&bell, Duration::ZERO);
    harness.device.wait(&bell, Duration::from_micros(100));
    harness.device.wait(&bell, Duration::from_millis(1));
    assert!(!bell.is_rung());
}

pub(in crate::device) fn drop_waits_for_writes_and_releases_memory(harness: Harness) {
    let Harness { mut device, directory, keeps_bytes, scratch } = harness;
    let depth = device.depth() as u64;
    let file = directory.create("file", depth * PAGE).unwrap();
    let writes: Vec<_> = (0..depth).map(|token| write(token, &file, &pattern(token, 1), token * PAGE)).collect();
    let memory: Vec<_> = writes.iter().map(|write| Arc::clone(&write.memory)).collect();
    for write in writes {
        device.submit(write);
    }
    drop(device);
    assert_eq!(Arc::strong_count(&file), 1);
    for (token, memory) in memory.into_iter().enumerate() {
        assert!(BlockWriter::reuse(memory).is_ok());
        if keeps_bytes {
            assert!(read(&*file, token as u64 * PAGE, PAGE_BYTES) == pattern(token as u64, 1), "write {token}");
        }
    }
    drop(scratch);
}

pub(in crate::device) fn registered_memory_is_written_like_any_other(mut harness: Harness) {
    let file = harness.directory.create("file", 8 * PAGE).unwrap();
    let writes: Vec<_> = (0..8).map(|token| write(token, &file, &pattern(token, 1), token * PAGE)).collect();
    let memory: Vec<_> = writes.iter().step_by(2).map(|write| Arc::clone(&write.memory)).collect();
    harness.device.register(&memory);
    drop(memory);
    for write in writes {
        harness.device.submit(write);
        let Completion { write, result } = harness.finish(1).pop().unwrap();
        result.unwrap();
        if harness.keeps_bytes {
            assert!(read(&*file, write.offset, PAGE_BYTES) == pattern(write.token, 1), "write {}", write.token);
        }
        assert!(BlockWriter::reuse(write.memory).is_ok(), "the device holds no registered memory");
    }
}

fn sorted(directory: &dyn Directory) -> Vec<String> {
    let mut names = directory.list().unwrap();
    names.sort();
    names
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("an error").kind()
}

pub(in crate::device) fn names_are_created_listed_renamed_removed(harness: Harness) {
    let directory = &*harness.directory;
    assert!(directory.list().unwrap().is_empty());
    let names: Vec<_> = (0..300).map(|number| format!("{number:020}.segment")).collect();
    for name in &names {
        assert_eq!(directory.create(name, 0).unwrap().length().unwrap(), 0);
    }
    assert_eq!(sorted(directory), names);
    directory.rename(&names[0], "other").unwrap();
    assert_eq!(kind(directory.open(&names[0], Access::Read)), io::ErrorKind::NotFound);
    directory.open("other", Access::Write).unwrap();
    for name in &names[1..] {
        directory.remove(name).unwrap();
    }
    assert_eq!(sorted(directory), ["other"]);
    assert_eq!(kind(directory.remove(&names[1])), io::ErrorKind::NotFound);
    assert_eq!(kind(directory.rename(&names[1], &names[2])), io::ErrorKind::NotFound);
}

pub(in crate::device) fn names_are_never_replaced(harness: Harness) {
    let directory = &*harness.directory;
    directory.create("a", PAGE).unwrap();
    directory.create("b", 2 * PAGE).unwrap();
    assert_eq!(kind(directory.create("a", 3 * PAGE)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(directory.rename("a", "b")), io::ErrorKind::AlreadyExists);
    assert_eq!(directory.open("a", Access::Read).unwrap().length().unwrap(), PAGE);
    assert_eq!(directory.open("b", Access::Read).unwrap().length().unwrap(), 2 * PAGE);
}

pub(in crate::device) fn names_are_plain(harness: Harness) {
    let directory = &*harness.directory;
    for name in ["", ".", "..", "../file", "a/b", "nul\0"] {
        assert!(directory.create(name, 0).is_err(), "{name:?}");
        assert!(directory.open(name, Access::Read).is_err(), "{name:?}");
        assert!(directory.rename(name, "b").is_err(), "{name:?}");
        assert!(directory.remove(name).is_err(), "{name:?}");
    }
}

pub(in crate::device) fn files_are_read_up_to_their_end(harness: Harness) {
    let file = harness.directory.create("file", 5 * PAGE).unwrap();
    assert_eq!(file.length().unwrap(), 5 * PAGE);
    assert_eq!(read(&*file, 0, 5 * PAGE_BYTES), vec![0; 5 * PAGE_BYTES], "created as zeros");
    assert_eq!(read(&*file, 3 * PAGE, 4 * PAGE_BYTES).len(), 2 * PAGE_BYTES);
    assert_eq!(read(&*file, 5 * PAGE, PAGE_BYTES), []);
    assert_eq!(read(&*file, 50 * PAGE, PAGE_BYTES), []);
    let settled = |file: &dyn SegmentFile, offset| {
        let mut buffer = vec![1; PAGE_BYTES];
        let read = file.read_settled(&mut buffer, offset).unwrap();
        buffer[..read].to_vec()
    };
    let reader = harness.directory.open("file", Access::Read).unwrap();
    // Also what is not there may be expected.
    for expected in [0..PAGE, 4 * PAGE..5 * PAGE, 4 * PAGE..90 * PAGE, 70 * PAGE..71 * PAGE, 0..0] {
        reader.expect_settled(expected);
        assert_eq!((settled(&*reader, 4 * PAGE), settled(&*reader, 5 * PAGE)), (vec![0; PAGE_BYTES], vec![]));
    }
}

pub(in crate::device) fn files_are_written_and_read_in_unaligned_memory(harness: Harness) {
    let pages = 2 * BlockMemory::BLOCK_BYTES / PAGE_BYTES + 3;
    let file = harness.directory.create("file", (pages as u64 + 1) * PAGE).unwrap();
    let bytes = pattern(5, pages);
    for shift in [0, 1, 512, PAGE_BYTES - 1] {
        let mut memory = vec![0; bytes.len() + shift + PAGE_BYTES];
        let start = memory.as_ptr().addr().next_multiple_of(PAGE_BYTES) - memory.as_ptr().addr() + shift;
        memory.resize(start + bytes.len(), 0);
        memory[start..].copy_from_slice(&bytes);
        file.write_at(&memory[start..], PAGE).unwrap();
        memory[start..].fill(0);
        assert_eq!(file.read_at(&mut memory[start..], PAGE).unwrap(), bytes.len());
        assert!(memory[start..] == bytes, "shifted by {shift}");
        file.write_at(&vec![0; bytes.len()], PAGE).unwrap();
    }
    file.distrust_cache().unwrap();
    assert!(file.write_at(&[0; 100], 0).is_err(), "not whole pages");
    assert!(file.write_at(&[0; PAGE_BYTES], 100).is_err(), "not at a page");
}

pub(in crate::device) fn files_are_truncated(harness: Harness) {
    let file = harness.directory.create("file", 4 * PAGE).unwrap();
    file.write_at(&pattern(3, 4), 0).unwrap();
    file.truncate(PAGE).unwrap();
    assert_eq!(file.length().unwrap(), PAGE);
    file.truncate(2 * PAGE).unwrap();
    assert_eq!(read(&*file, 0, 4 * PAGE_BYTES), [pattern(3, 1), vec![0; PAGE_BYTES]].concat());
}

pub(in crate::device) fn files_are_mapped(harness: Harness) {
    let file = harness.directory.create("file", 16 * PAGE).unwrap();
    let bytes = pattern(4, 16);
    file.write_at(&bytes, 0).unwrap();
    file.distrust_cache().unwrap();
    let map = harness.directory.open("file", Access::Read).unwrap().map().unwrap();
    drop(file);
    assert_eq!(map.bytes().len(), bytes.len());
    for range in [0..PAGE_BYTES, 5000..30_000, 0..bytes.len(), 7..7] {
        map.populate(range.clone()).unwrap();
        assert!(map.bytes()[range.clone()] == bytes[range.clone()], "{range:?}");
    }
    for range in [0..bytes.len() + 1, Range { start: 2, end: 1 }] {
        assert!(map.populate(range.clone()).is_err(), "{range:?}");
    }
}

/// A file that is no more.
#[derive(Debug)]
struct ClosedFile;

impl SegmentFile for ClosedFile {
    fn length(&self) -> io::Result<u64> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn distrust_cache(&self) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn map(&self) -> io::Result<Box<dyn Mapping>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn descriptor(&self) -> Option<RawFd> {
        None
    }
}

#[test]
fn probes_answer() {
    match probe::io_uring_available() {
        Ok(()) => {}
        Err(error) => assert!(error.to_string().starts_with("io_uring: "), "{error}"),
    }
    assert!(probe::memlock_limit() > 0);
}
