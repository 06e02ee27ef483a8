//! The end of the segment that is being written, as a follower knows it, and whether what stands there stays.

use std::io;
use std::sync::Arc;

use crate::device::AlignedBytes;
use crate::format::{BLOCK_BYTES_MAX, BlockHeader, BlockView, Footer, PAGE_BYTES, Sequence, crc32c};
use crate::log::{BlockPlace, FoundSegment, LogView, SPARE_NAME, Segment};

/// The place where the next block comes.
#[derive(Debug)]
pub(super) struct Tail {
    segment: Arc<Segment>,
    /// The totals that the footer would have.
    totals: Footer,
    /// True if its file had the spare's name at the last look.
    is_spare: bool,
    at_end: AtEnd,
}

/// The bytes in the place of the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    /// Nothing was ever written there.
    Blank,
    /// Bytes that are no block that follows, with this checksum: a block in parts, a torn one, a footer.
    Stray(u32),
    /// The file ends.
    Nothing,
}

impl Tail {
    /// The end of a segment as a scan has found it.
    pub(super) fn of(found: &FoundSegment) -> Self {
        Self::new(Arc::clone(&found.segment), found.totals, &found.name())
    }

    /// The end of a segment that was found under `name`; `totals` are those of its blocks so far.
    pub(super) fn new(segment: Arc<Segment>, totals: Footer, name: &str) -> Self {
        Self { segment, totals, is_spare: name == SPARE_NAME, at_end: AtEnd::Blank }
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn is_spare(&self) -> bool {
        self.is_spare
    }

    pub(super) fn set_named(&mut self) {
        self.is_spare = false;
    }

    /// Returns whether the bytes at the end can be those of a sealed segment.
    pub(super) fn may_be_sealed(&self) -> bool {
        self.at_end != AtEnd::Blank
    }

    /// The place of bytes that are no block, or of the file's end, and the checksum of what is there.
    pub(super) fn stray(&self) -> Option<Stray> {
        match self.at_end {
            AtEnd::Stray(crc) => Some((self.totals.end_sequence, crc)),
            // A file that is written is longer than its blocks.
            AtEnd::Nothing => Some((self.totals.end_sequence, 0)),
            AtEnd::Blank => None,
        }
    }

    /// Returns whether the blocks end as the footer says.
    pub(super) fn ends_as(&self, footer: &Footer) -> bool {
        (footer.end_sequence, footer.data_end) == (self.totals.end_sequence, self.totals.data_end)
    }

    /// Takes in the blocks that have landed, in windows that double from a page on. Returns whether there were any.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn advance(&mut self, view: &LogView) -> io::Result<bool> {
        let start = self.totals.data_end;
        let mut window_bytes = PAGE_BYTES;
        loop {
            let window = self.read(window_bytes)?;
            if self.take(&window) {
                view.set_appended(self.totals.end_sequence);
                view.set_durable(self.totals.end_sequence);
                window_bytes = (2 * window_bytes).min(BLOCK_BYTES_MAX);
                continue;
            }
            let needed = BlockHeader::decode(window.as_slice()).map_or(0, |header| header.block_bytes as usize);
            if needed <= window_bytes {
                self.at_end = AtEnd::of(window.as_slice());
                return Ok(self.totals.data_end > start);
            }
            window_bytes = needed;
        }
    }

    /// Takes in the whole blocks that a window begins with. Returns whether there was one.
    fn take(&mut self, window: &AlignedBytes) -> bool {
        let mut bytes = window.as_slice();
        let start = self.totals.data_end;
        while let Some(header) = self.next_block(bytes) {
            let offset = self.totals.data_end;
            self.totals.add(&header);
            self.segment.extend(BlockPlace::of(&header, offset), self.totals.data_end, self.totals.end_sequence);
            bytes = bytes.get(header.block_bytes as usize..).unwrap_or_default();
        }
        self.totals.data_end > start
    }

    /// The header of the block that `bytes` start with, if it is whole and follows.
    fn next_block(&self, bytes: &[u8]) -> Option<BlockHeader> {
        let view = BlockView::check(bytes, self.totals.epoch).ok()?;
        view.follows(self.totals.end_sequence, self.totals.last_block_crc).ok()?;
        Some(*view.header())
    }

    /// Reads up to so many bytes from the end on.
    fn read(&self, bytes: usize) -> io::Result<AlignedBytes> {
        let mut window = AlignedBytes::zeroed(bytes)?;
        let read = self.segment.file()?.read_at(window.as_mut_slice(), self.totals.data_end)?;
        window.truncate(read);
        Ok(window)
    }
}

impl AtEnd {
    fn of(window: &[u8]) -> Self {
        match &window[..window.len().min(PAGE_BYTES)] {
            [] => Self::Nothing,
            page if page.iter().all(|&byte| byte == 0) => Self::Blank,
            page => Self::Stray(crc32c(page)),
        }
    }
}

/// Bytes found at the end of a log: the sequence before them, and the checksum of their first page.
type Stray = (Sequence, u32);

/// Remembers what stood at the end of a log at the last close look, so that what stays there is examined, once.
#[derive(Debug, Default)]
pub(super) enum Suspicion {
    #[default]
    None,
    /// Seen once.
    Aroused(Stray),
    /// Seen twice, and examined.
    Examined(Stray),
}

impl Suspicion {
    /// Returns whether the bytes found now are the same as last time, and were not examined yet.
    pub(super) fn is_confirmed(&mut self, stray: Option<Stray>) -> bool {
        let (next, confirmed) = match (&self, stray) {
            (_, None) => (Self::None, false),
            (Self::Aroused(before), Some(now)) if *before == now => (Self::Examined(now), true),
            (Self::Examined(before), Some(now)) if *before == now => (Self::Examined(now), false),
            (_, Some(now)) => (Self::Aroused(now), false),
        };
        *self = next;
        confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_examined_once() {
        let stray = |sequence, crc| Some((Sequence::new(sequence), crc));
        let mut suspicion = Suspicion::default();
        let mut found = |stray| suspicion.is_confirmed(stray);
        assert!(!found(None) && !found(stray(1, 7)) && found(stray(1, 7)) && !found(stray(1, 7)));
        assert!(!found(stray(1, 8)) && !found(stray(2, 8)) && found(stray(2, 8)));
        assert!(!found(None) && !found(stray(2, 8)) && found(stray(2, 8)));
    }
}
