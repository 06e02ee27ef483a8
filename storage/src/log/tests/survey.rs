//! A survey finds every block that is intact, and every place that is not, whatever the device refuses to give.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::harness::*;
use crate::device::sim::{Random, SimDisk};
use crate::format::{BlockHeader, PAGE_BYTES};
use crate::log::{LogOptions, LogView, Segment, Stretch, Surveyor};
use crate::read::open_shard;

/// A segment of many reads, most blocks of which lie across two of them.
fn segment(disk: &SimDisk) -> (Arc<LogView>, Arc<Segment>) {
    let options = LogOptions { segment_bytes: 24 << 20, block_bytes: 1 << 20, ..options(9) };
    let mut machine = Machine::without_repacking(disk, options);
    let mut random = Random::new(9);
    let mut next = 0;
    while next < 1200 {
        let events = 1 + random.below(60);
        machine.write(next..next + events, 30_000);
        next += events;
    }
    machine.close();
    let (view, _) = open_shard(&directory(disk), SHARD).expect("opens");
    assert_eq!(view.segments().len(), 1);
    let segment = view.segments().remove(0);
    (view, segment)
}

/// Blocks as they are written: their pages and how many events they hold.
fn blocks(segment: &Segment) -> Vec<(std::ops::Range<u64>, u64)> {
    let (mut blocks, mut offset) = (Vec::new(), PAGE_BYTES as u64);
    let file = segment.file().expect("opens");
    while offset < segment.data_end() {
        let mut page = vec![0; PAGE_BYTES];
        file.read_at(&mut page, offset).expect("reads");
        let header = BlockHeader::decode(&page).expect("block");
        let end = offset + u64::from(header.block_bytes);
        blocks.push((offset / PAGE_BYTES as u64..end / PAGE_BYTES as u64, u64::from(header.count)));
        offset = end;
    }
    blocks
}

#[test]
fn every_intact_block_is_found_between_pages_that_cannot_be_read() {
    let disk = whole_disk(9);
    let (view, segment) = segment(&disk);
    let (name, blocks) = (Segment::file_name(segment.base()), blocks(&segment));
    assert!(blocks.len() > 20 && segment.data_end() > 10 << 20, "{} blocks", blocks.len());
    let (mut random, mut surveyor, mut pages) = (Random::new(1), Surveyor::default(), BTreeSet::new());
    for bad in 0..14 {
        if bad > 0 {
            let page = 1 + random.below(segment.data_end() / PAGE_BYTES as u64 - 1);
            disk.set_unreadable(DIRECTORY, &name, page * PAGE_BYTES as u64);
            pages.insert(page);
        }
        let mut progress = 0;
        let found = surveyor.segment(&view, &segment, &mut |bytes| progress += bytes).expect("surveys");
        let is_bad = |block: &std::ops::Range<u64>| pages.range(block.clone()).next().is_some();
        let intact: Vec<_> = blocks.iter().filter(|(block, _)| !is_bad(block)).collect();
        assert_eq!(found.blocks, intact.len() as u64, "{pages:?}");
        assert_eq!(found.events, intact.iter().map(|(_, events)| events).sum::<u64>(), "{pages:?}");
        // Every run of damaged blocks is one place, or one that the end of the segment reports.
        let runs = blocks.iter().enumerate().filter(|(at, (block, _))| {
            is_bad(block) && at.checked_sub(1).is_none_or(|before| !is_bad(&blocks[before].0))
        });
        let starts: Vec<_> = runs.map(|(_, (block, _))| block.start * PAGE_BYTES as u64).collect();
        assert_eq!(found.damage.iter().map(|place| place.offset).collect::<Vec<_>>(), starts, "{pages:?}");
        let held: u64 = found.stretches.iter().map(|Stretch { from, to, .. }| to - from).sum();
        assert_eq!(held, intact.iter().map(|(block, _)| (block.end - block.start) * PAGE_BYTES as u64).sum::<u64>());
        assert_eq!(progress, segment.data_end() - PAGE_BYTES as u64);
        assert!(found.damage.iter().all(|place| place.reason.contains("os error 5")), "{:?}", found.damage);
    }
}
