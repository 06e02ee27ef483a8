//! The blocks of a segment that is not written any more, read in large steps from the device.

use std::io;
use std::ops::Range;

use crate::device::{AlignedBytes, SegmentFile};
use crate::format::{
    BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Epoch, Footer, LARGE_BLOCK_BYTES_MAX, PAGE_BYTES, Sequence,
};

/// Bytes read at a time.
const STEP_BYTES: usize = 4 * BLOCK_BYTES_MAX;

/// Hands each block that `totals` count with its offset to `each`, checked, in order.
///
/// # Errors
/// The kernel's; `InvalidData` with the offset for a block that does not check; `UnexpectedEof` where the file ends
/// before them; those of `each`.
pub(super) fn for_each(
    file: &dyn SegmentFile,
    totals: &Footer,
    each: impl FnMut(u64, &BlockView<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let part = Part { offsets: PAGE_BYTES as u64..totals.data_end, first: totals.base_sequence };
    for_each_in(file, totals.epoch, part, each)
}

/// A part of a file that holds whole blocks.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Its offsets.
    pub(super) offsets: Range<u64>,
    /// Sequence that the first block begins with.
    pub(super) first: Sequence,
}

/// As [`for_each`], of the blocks in a part of the file.
///
/// # Errors
/// As [`for_each`].
pub(super) fn for_each_in(
    file: &dyn SegmentFile,
    epoch: Epoch,
    part: Part,
    mut each: impl FnMut(u64, &BlockView<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let Part { offsets, first: mut sequence } = part;
    let mut buffer = AlignedBytes::zeroed(STEP_BYTES)?;
    let mut offset = offsets.start;
    while offset < offsets.end {
        let step = (offsets.end - offset).min(buffer.as_slice().len() as u64) as usize;
        let read = file.read_at(&mut buffer.as_mut_slice()[..step], offset)?;
        if read == 0 {
            let reason = format!("offset {offset}: the file ends before its last block");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        let first = whole_block(&buffer.as_slice()[..read]);
        if first > read as u64 && read == buffer.as_slice().len() {
            // A large block, of which the file may have all.
            buffer = AlignedBytes::zeroed(first.min(LARGE_BLOCK_BYTES_MAX as u64) as usize)?;
            continue;
        }
        let bytes = &buffer.as_slice()[..read];
        let mut at = 0;
        // A block that is cut off by the end of the step is read again with the next, where it comes first.
        while at < read && (at == 0 || offset + at as u64 + whole_block(&bytes[at..]) <= offset + read as u64) {
            let view = BlockView::check(&bytes[at..], epoch)
                .and_then(|view| in_order(&view, sequence).map(|()| view))
                .map_err(|error| invalid(offset + at as u64, &error))?;
            each(offset + at as u64, &view)?;
            sequence = view.header().end_sequence();
            at += view.header().block_bytes as usize;
        }
        offset += at as u64;
    }
    Ok(())
}

/// Bytes of the block that begins here; 0 for one whose header is cut off or does not check, which its own check finds.
fn whole_block(bytes: &[u8]) -> u64 {
    BlockHeader::decode(bytes)
        .map_or(if bytes.len() < PAGE_BYTES { u64::MAX >> 1 } else { 0 }, |header| u64::from(header.block_bytes))
}

fn in_order(view: &BlockView<'_>, expected: Sequence) -> Result<(), BlockError> {
    let found = view.header().first_sequence;
    if found == expected { Ok(()) } else { Err(BlockError::Sequence { expected, found }) }
}

fn invalid(offset: u64, error: &BlockError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("offset {offset}: {error}"))
}
