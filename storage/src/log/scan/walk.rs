//! A walk over the blocks of a segment that is not sealed.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::super::ending::is_ending;
use super::super::places::{BlockPlace, Places};
use crate::device::{SegmentFile, zeroed};
use crate::format::{BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Epoch, Footer, PAGE_BYTES, Sequence};

const PAGE: u64 = PAGE_BYTES as u64;

/// Bytes read at a time: a window always holds the whole of the block at its start.
const WINDOW_BYTES: usize = 4 * BLOCK_BYTES_MAX;

/// The cause that stopped a walk.
pub(super) enum WalkEnd {
    /// The file ends.
    File,
    /// The blocks end: the segment was being sealed, or got its index.
    Ending,
    Damage {
        source: BlockError,
        /// Nothing was ever written there.
        is_blank: bool,
        /// A block that does not belong there, and is whole.
        is_whole: bool,
        /// Large events from there on, as far as headers of blocks follow each other.
        large_events: u64,
    },
}

/// Returns whether `bytes`, which do not continue the blocks that `totals` count, begin with a whole block that no
/// crash leaves there: one of the segment's, or the first one under another epoch than the header's.
pub(in super::super) fn is_misplaced(bytes: &[u8], totals: &Footer) -> bool {
    let Ok(header) = BlockHeader::decode(bytes) else { return false };
    let is_first = totals.blocks == 0 && header.first_sequence == totals.base_sequence;
    (header.epoch == totals.epoch || is_first) && BlockView::check(bytes, header.epoch).is_ok()
}

/// Walks the blocks of an unsealed segment.
pub(super) struct Walk<'a> {
    pub(super) file: &'a Arc<dyn SegmentFile>,
    pub(super) length: u64,
    /// The totals that the footer of the blocks so far would have.
    pub(super) totals: Footer,
    pub(super) places: Places,
}

impl Walk<'_> {
    /// Goes as far as blocks check and follow each other. Returns what stopped it.
    pub(super) fn run(&mut self) -> io::Result<WalkEnd> {
        let mut window = Window::of(self.file, PAGE, self.length)?;
        loop {
            let offset = self.totals.data_end;
            if offset >= self.length {
                return Ok(WalkEnd::File);
            }
            if !window.holds(offset, BLOCK_BYTES_MAX) {
                window = Window::of(self.file, offset, self.length)?;
            }
            let bytes_needed =
                BlockHeader::decode(window.bytes(offset)).map_or(0, |header| header.block_bytes as usize);
            if !window.holds(offset, bytes_needed) {
                window = Window::with(self.file, offset, self.length, bytes_needed)?;
            }
            let bytes = window.bytes(offset);
            let checked = BlockView::check(bytes, self.totals.epoch).and_then(|view| {
                view.follows(self.totals.end_sequence, self.totals.last_block_crc).map(|()| *view.header())
            });
            match checked {
                Ok(header) => {
                    self.places.push(BlockPlace::of(&header, offset));
                    self.totals.add(&header);
                }
                Err(_) if is_ending(bytes, &self.totals) => return Ok(WalkEnd::Ending),
                Err(source) => {
                    let is_blank = bytes.iter().take(PAGE_BYTES).all(|&byte| byte == 0);
                    let is_whole = is_misplaced(bytes, &self.totals);
                    let large_events = self.large_events_after()?;
                    return Ok(WalkEnd::Damage { source, is_blank, is_whole, large_events });
                }
            }
        }
    }

    /// Large events whose blocks' headers follow the blocks so far.
    fn large_events_after(&self) -> io::Result<u64> {
        let (mut offset, mut next, mut large) = (self.totals.data_end, self.totals.end_sequence, 0);
        while offset < self.length {
            let window = Window::with(self.file, offset, self.length, PAGE_BYTES)?;
            match BlockHeader::decode(window.bytes(offset)) {
                Ok(header) if (header.epoch, header.first_sequence) == (self.totals.epoch, next) => {
                    large += u64::from(header.block_bytes as usize > BLOCK_BYTES_MAX);
                    offset += u64::from(header.block_bytes);
                    next = next.plus(u64::from(header.count));
                }
                _ => break,
            }
        }
        Ok(large)
    }
}

/// Returns whether any block of this epoch in a part of the file states that the durable watermark had passed
/// `sequence`. A process that closes the log may have cut the file to less than that meanwhile.
pub(super) fn acknowledged_in(
    file: &Arc<dyn SegmentFile>,
    offsets: Range<u64>,
    epoch: Epoch,
    sequence: Sequence,
) -> io::Result<bool> {
    let mut at = offsets.start;
    while at < offsets.end {
        let window = Window::of(file, at, offsets.end)?;
        if window.bytes.is_empty() {
            break;
        }
        let pages = window.bytes(at).chunks(PAGE_BYTES);
        at += pages.len() as u64 * PAGE;
        for page in pages {
            match BlockHeader::decode(page) {
                Ok(block) if block.epoch == epoch && block.durable_sequence > sequence => return Ok(true),
                _ => {}
            }
        }
    }
    Ok(false)
}

/// A stretch of a file in memory.
struct Window {
    start: u64,
    bytes: Vec<u8>,
    is_last: bool,
}

impl Window {
    fn of(file: &Arc<dyn SegmentFile>, start: u64, length: u64) -> io::Result<Self> {
        Self::with(file, start, length, WINDOW_BYTES)
    }

    /// Of so many bytes, or what the file has.
    fn with(file: &Arc<dyn SegmentFile>, start: u64, length: u64, wanted: usize) -> io::Result<Self> {
        let left = length.saturating_sub(start).next_multiple_of(PAGE);
        let mut bytes = zeroed((wanted as u64).min(left) as usize)?;
        let read = file.read_at(&mut bytes, start)?;
        bytes.truncate(read);
        Ok(Self { start, bytes, is_last: left <= wanted as u64 })
    }

    fn holds(&self, offset: u64, bytes: usize) -> bool {
        self.is_last || offset + bytes as u64 <= self.start + self.bytes.len() as u64
    }

    /// From `offset` on.
    fn bytes(&self, offset: u64) -> &[u8] {
        self.bytes.get((offset - self.start) as usize..).unwrap_or_default()
    }
}

/// Returns whether a block of a spare whose header does not check states that others of it were acknowledged.
pub(in super::super) fn is_acknowledged_spare(file: &Arc<dyn SegmentFile>, length: u64) -> io::Result<bool> {
    let window = Window::of(file, PAGE, length)?;
    match BlockHeader::decode(window.bytes(PAGE)) {
        Ok(block) => acknowledged_in(file, PAGE..length, block.epoch, block.first_sequence),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::sim::{Faults, SimDisk};

    #[test]
    fn search_ends_where_the_file_was_cut_meanwhile() {
        let directory = SimDisk::new(1, Faults::default()).directory("log");
        let file = directory.create("a.seg", 4 * PAGE).expect("created");
        // Page by page, the length that it had would take for ever.
        assert!(!acknowledged_in(&file, PAGE..1 << 60, Epoch::new(1), Sequence::ZERO).expect("read"));
    }
}
