//! A survey finds every block that is intact, and every place that is not, whatever the device refuses to give.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::harness::*;
use crate::device::sim::Random;
use crate::device::{Mapping, SegmentFile};
use crate::format::{BlockHeader, PAGE_BYTES};
use crate::log::{LogOptions, Segment, Stretch, Surveyor};
use crate::read::open_shard;

/// A file some of whose pages cannot be read.
#[derive(Debug)]
struct BadPages {
    file: Arc<dyn SegmentFile>,
    pages: BTreeSet<u64>,
}

impl SegmentFile for BadPages {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let pages = offset / PAGE_BYTES as u64..(offset + buffer.len() as u64).div_ceil(PAGE_BYTES as u64);
        match self.pages.range(pages).next() {
            Some(_) => Err(io::Error::from_raw_os_error(libc::EIO)),
            None => self.file.read_at(buffer, offset),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }

    fn distrust_cache(&self) -> io::Result<()> {
        self.file.distrust_cache()
    }

    fn map(&self) -> io::Result<Box<dyn Mapping>> {
        self.file.map()
    }

    fn descriptor(&self) -> Option<RawFd> {
        self.file.descriptor()
    }
}

/// A segment of many reads, most blocks of which lie across two of them.
fn segment() -> Arc<Segment> {
    let disk = whole_disk(9);
    let options = LogOptions { segment_bytes: 24 << 20, block_bytes: 1 << 20, ..options(9) };
    let mut machine = Machine::without_repacking(&disk, options);
    let mut random = Random::new(9);
    let mut next = 0;
    while next < 1200 {
        let events = 1 + random.below(60);
        machine.write(next..next + events, 30_000);
        next += events;
    }
    machine.close();
    let (view, _) = open_shard(&directory(&disk), LOG, 0).expect("opens");
    assert_eq!(view.segments().len(), 1);
    view.segments().remove(0)
}

/// Blocks as they are written: their pages and how many events they hold.
fn blocks(segment: &Segment) -> Vec<(std::ops::Range<u64>, u64)> {
    let (mut blocks, mut offset) = (Vec::new(), PAGE_BYTES as u64);
    while offset < segment.data_end() {
        let mut page = vec![0; PAGE_BYTES];
        segment.file().read_at(&mut page, offset).expect("reads");
        let header = BlockHeader::decode(&page).expect("block");
        let end = offset + u64::from(header.block_bytes);
        blocks.push((offset / PAGE_BYTES as u64..end / PAGE_BYTES as u64, u64::from(header.count)));
        offset = end;
    }
    blocks
}

#[test]
fn every_intact_block_is_found_between_pages_that_cannot_be_read() {
    let sound = segment();
    let blocks = blocks(&sound);
    assert!(blocks.len() > 20 && sound.data_end() > 10 << 20, "{} blocks", blocks.len());
    let (mut random, mut surveyor) = (Random::new(1), Surveyor::default());
    for bad in 0..40_u64 {
        let last = sound.data_end() / PAGE_BYTES as u64;
        let pages: BTreeSet<_> = (0..bad / 4).map(|_| 1 + random.below(last - 1)).collect();
        let file = Arc::new(BadPages { file: Arc::clone(sound.file()), pages: pages.clone() });
        let segment = Segment::new(*sound.header(), file, sound.data_end(), sound.end_sequence(), Vec::new());
        let mut progress = 0;
        let found = surveyor.segment(&segment, &mut |bytes| progress += bytes).expect("surveys");
        let is_bad = |block: &std::ops::Range<u64>| pages.range(block.clone()).next().is_some();
        let intact: Vec<_> = blocks.iter().filter(|(block, _)| !is_bad(block)).collect();
        assert_eq!(found.blocks, intact.len() as u64, "{pages:?}");
        assert_eq!(found.events, intact.iter().map(|(_, events)| events).sum::<u64>(), "{pages:?}");
        // Every run of damaged blocks is one place, or one that is told by the end of the segment.
        let runs = blocks.iter().enumerate().filter(|(at, (block, _))| {
            is_bad(block) && at.checked_sub(1).is_none_or(|before| !is_bad(&blocks[before].0))
        });
        let starts: Vec<_> = runs.map(|(_, (block, _))| block.start * PAGE_BYTES as u64).collect();
        assert_eq!(found.damage.iter().map(|place| place.offset).collect::<Vec<_>>(), starts, "{pages:?}");
        let held: u64 = found.stretches.iter().map(|Stretch { from, to, .. }| to - from).sum();
        assert_eq!(held, intact.iter().map(|(block, _)| (block.end - block.start) * PAGE_BYTES as u64).sum::<u64>());
        assert_eq!(progress, sound.data_end() - PAGE_BYTES as u64);
        assert!(found.damage.iter().all(|place| place.reason.contains("os error 5")), "{:?}", found.damage);
    }
}
