//! The promises of the simulation to the tests that rely on it.

mod faults;
mod files;
mod power;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use super::{Faults, Random, SimDevice, SimDisk};
use crate::device::{BlockWriter, Completion, Device, Doorbell, SegmentFile, Write};
use crate::format::PAGE_BYTES;

const PAGE: u64 = PAGE_BYTES as u64;

fn healthy(seed: u64) -> SimDisk {
    SimDisk::new(seed, Faults::default())
}

fn filled(fill: u8, pages: usize) -> BlockWriter {
    let mut writer = BlockWriter::new().expect("memory");
    writer.fill_page(&vec![fill; pages * PAGE_BYTES]);
    writer
}

/// A write of pages that hold the token, at the page of that number.
fn write_of(file: &Arc<dyn SegmentFile>, token: u64, pages: usize) -> Write {
    let memory = Arc::clone(filled(token as u8, pages).memory());
    Write { token, file: Arc::clone(file), memory, length: pages * PAGE_BYTES, offset: token * PAGE }
}

fn submit(device: &mut SimDevice, file: &Arc<dyn SegmentFile>, token: u64) {
    device.submit(write_of(file, token, 1));
}

/// Waits and looks until `count` writes have completed.
fn drain(device: &mut SimDevice, count: usize) -> Vec<Completion> {
    let doorbell = Doorbell::new().expect("doorbell");
    let mut done = Vec::new();
    while done.len() < count {
        let before = done.len();
        device.wait(&doorbell, Duration::from_secs(1000));
        device.complete(&mut done);
        assert!(done.len() > before, "a wait brings at least one completion");
    }
    done
}

fn errno_of<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn page_of(disk: &SimDisk, name: &str, page: usize) -> Vec<u8> {
    disk.read_file("d", name)[page * PAGE_BYTES..][..PAGE_BYTES].to_vec()
}

#[test]
fn random_numbers_stay_below_their_end_and_reach_all_of_it() {
    let mut random = Random::new(1);
    assert_eq!((random.below(0), random.below(1)), (0, 0));
    let mut seen = [0; 7];
    (0..7000).for_each(|_| seen[random.below(7) as usize] += 1);
    assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    let hits = (0..10_000).filter(|_| random.chance(2500)).count();
    assert!((2300..2700).contains(&hits), "{hits}");
    assert!((0..100).all(|_| random.chance(10_000) && !random.chance(0)));
    let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
    random.shuffle(&mut items);
    assert_ne!(items, [0, 1, 2, 3, 4, 5, 6, 7]);
    items.sort_unstable();
    assert_eq!(items, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn fault_that_is_off_leaves_the_stream_alone() {
    let (mut one, mut other) = (Random::new(2), Random::new(2));
    one.chance(0);
    assert_eq!(one.next_u64(), other.next_u64());
}
