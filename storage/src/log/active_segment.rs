//! The segment that blocks are written to: where the next one goes, and the footer that it will have.

use std::sync::Arc;

use super::Segment;
use crate::device::SegmentFile;
use crate::format::{BlockHeader, Footer, PAGE_BYTES, Sequence};

/// The segment that blocks are written to.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn SegmentFile>,
    /// File length, in bytes.
    length: u64,
    /// The totals that the footer would have now.
    totals: Footer,
}

impl ActiveSegment {
    pub(super) fn new(segment: Arc<Segment>, file: Arc<dyn SegmentFile>, header_crc: u32, length: u64) -> Self {
        let totals = Footer::of_empty(segment.epoch(), segment.base(), header_crc);
        Self { segment, file, length, totals }
    }

    /// Sequence after its last event.
    pub(super) fn end_sequence(&self) -> Sequence {
        self.totals.end_sequence
    }

    /// The footer that it would have now.
    pub(super) fn totals(&self) -> Footer {
        self.totals
    }

    /// Returns whether half of it is full, or the next block may not fit: a segment that a nearly full disk had room
    /// for holds little more than one.
    pub(super) fn is_running_out(&self, block_bytes_max: u64) -> bool {
        self.room() < block_bytes_max.max(self.length / 2)
    }

    /// Bytes left for blocks; the footer's page is kept free.
    pub(super) fn room(&self) -> u64 {
        self.length.saturating_sub(self.totals.data_end + PAGE_BYTES as u64)
    }

    /// Header checksum that the next block links to.
    pub(super) fn previous_crc(&self) -> u32 {
        self.totals.last_block_crc
    }

    /// Gives the block its place; returns the offset.
    pub(super) fn take(&mut self, block: &BlockHeader) -> u64 {
        let offset = self.totals.data_end;
        self.totals.add(block);
        offset
    }
}
