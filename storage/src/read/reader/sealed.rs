//! Blocks of a sealed segment, read in its mapping.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::{LogReader, NextBlock};
use crate::device::{AlignedBytes, SegmentFile, is_of_environment, is_of_medium};
use crate::format::{BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Epoch, PAGE_BYTES};
use crate::log::{SealedMap, Segment};
use crate::read::{Block, ReadError};

/// Bytes of a mapping that are populated at a time: two largest blocks.
const POPULATE_BYTES: usize = 2 * BLOCK_BYTES_MAX;

/// A block of a sealed segment.
#[derive(Debug)]
pub(super) struct MappedBlock {
    pub(super) segment: Arc<Segment>,
    pub(super) map: Arc<SealedMap>,
    /// Of the block that holds `next`.
    pub(super) offset: u64,
    /// The part of the mapping that is populated.
    pub(super) populated: Range<usize>,
}

/// Populates the block at `offset` of a mapping of which a part is populated already. Returns the part that is then.
fn populate(map: &SealedMap, offset: u64, mut populated: Range<usize>) -> io::Result<Range<usize>> {
    let (at, end) = (offset as usize, map.data_end() as usize);
    // The window holds the largest block of ordinary events, so the header is read once it is in.
    if !populated.contains(&at) || populated.end < end.min(at + BLOCK_BYTES_MAX) {
        populated = at..end.min(at + POPULATE_BYTES);
        map.mapping().populate(populated.clone())?;
    }
    if let Ok(header) = BlockHeader::decode(&map.mapping().bytes()[at..populated.end]) {
        // A large block.
        let block_end = end.min(at + header.block_bytes as usize);
        if block_end > populated.end {
            map.mapping().populate(populated.end..block_end)?;
            populated.end = block_end;
        }
    }
    Ok(populated)
}

impl LogReader {
    /// `None` at the end of the segment.
    pub(super) fn sealed_step(&mut self, mapped: MappedBlock) -> Result<Option<Block>, ReadError> {
        let MappedBlock { segment, map, offset, populated } = mapped;
        if offset >= map.data_end() {
            // Sequences that its footer counts and its blocks do not hold.
            let is_missing = segment.base() <= self.next && self.next < segment.end_sequence();
            let missing = BlockError::Sequence { expected: self.next, found: segment.end_sequence() };
            return if is_missing { Err(self.corrupt(&segment, offset, missing)) } else { Ok(None) };
        }
        let populated = populate(&map, offset, populated).map_err(|source| self.io(&segment, offset, source))?;
        let at = offset as usize;
        let bytes = &map.mapping().bytes()[at..populated.end];
        let checked = if map.is_checked(offset) {
            BlockView::of_checked(bytes, map.epoch())
        } else {
            BlockView::check(bytes, map.epoch())
        };
        let (block, block_bytes) = match checked {
            Ok(view) => {
                map.set_checked(offset);
                let skip = self.skip_in(view.header(), &segment, offset)?;
                (Block::mapped(Arc::clone(&map), at, &view, skip), view.header().block_bytes)
            }
            Err(damage) => self.read_again(&segment, offset, damage)?,
        };
        let offset = offset + u64::from(block_bytes);
        self.move_to(block.end_sequence(), NextBlock::Sealed(MappedBlock { segment, map, offset, populated }));
        Ok(Some(block))
    }

    /// Reads a block that does not check in the mapping from the device: pages of the cache can be older than what was
    /// written past it. `damage` where that does not check either.
    fn read_again(&self, segment: &Segment, offset: u64, damage: BlockError) -> Result<(Block, u32), ReadError> {
        let read = segment.sealed_file().and_then(|opened| read_block(&*opened.file, opened.footer.epoch, offset));
        match read {
            Ok((bytes, Ok(header))) => Ok((self.block_read(segment, offset, bytes, &header)?, header.block_bytes)),
            // The block may be intact: without a descriptor, or memory, that is not known.
            Err(error) if is_of_environment(&error) && !is_of_medium(&error) => Err(self.io(segment, offset, error)),
            _ => Err(self.corrupt(segment, offset, damage)),
        }
    }

    fn block_read(
        &self,
        segment: &Segment,
        offset: u64,
        bytes: AlignedBytes,
        header: &BlockHeader,
    ) -> Result<Block, ReadError> {
        let skip = self.skip_in(header, segment, offset)?;
        Ok(Block::read(Arc::new(bytes), header, skip))
    }
}

/// Reads the block at `offset` of a file, past the page cache where there is a way, and checks it.
fn read_block(
    file: &dyn SegmentFile,
    epoch: Epoch,
    offset: u64,
) -> io::Result<(AlignedBytes, Result<BlockHeader, BlockError>)> {
    let mut bytes = AlignedBytes::zeroed(PAGE_BYTES)?;
    file.read_at(bytes.as_mut_slice(), offset)?;
    let length = match BlockHeader::decode(bytes.as_slice()) {
        Ok(header) => header.block_bytes as usize,
        Err(error) => return Ok((bytes, Err(error.into()))),
    };
    if length > PAGE_BYTES {
        bytes = AlignedBytes::zeroed(length)?;
        file.read_at(bytes.as_mut_slice(), offset)?;
    }
    let header = BlockView::check(bytes.as_slice(), epoch).map(|view| *view.header());
    Ok((bytes, header))
}
