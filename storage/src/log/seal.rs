//! The end of a segment: its index and its footer, or a denser copy in its place.
//!
//! A segment is sealed at once, by a footer alone. When there is time it gets its index: the footer is written again, behind
//! an index that is whole; in between recovery finds the end by walking the blocks. A dense copy is complete and durable under a name of its own before it takes the segment's name; readers that have
//! the old file open read on in it.

use std::io;
use std::sync::Arc;

use super::rewrite::SegmentWriter;
use super::{Segment, blocks};
use crate::device::{Directory, SegmentFile};
use crate::format::{Epoch, Footer, IndexBuilder, PAGE_BYTES, SegmentIndex, SessionFilter, block_bytes};

/// Name of a dense copy until it is complete.
pub(super) const REPACK_NAME: &str = "repack.tmp";

/// A segment is repacked if its blocks take this many times the bytes that they would take densely.
const PADDED_TIMES: u64 = 2;

/// Ends `segment` with `footer`, which knows of no index yet.
///
/// # Errors
/// The kernel's.
pub(super) fn seal(segment: &Segment, footer: Footer) -> io::Result<()> {
    let (footer, filter) = write_ending(&**segment.file(), segment.epoch(), footer, None)?;
    segment.seal(footer, filter);
    Ok(())
}

/// Gives a segment that is sealed without an index one, or puts a dense copy in its place. Returns what readers are to
/// have in its place from now on. Where there is no space for an index, or a block does not check, all stays as it is.
///
/// # Errors
/// The kernel's; recovery then has to seal the segment again.
pub(super) fn tidy(
    segment: &Arc<Segment>,
    directory: &dyn Directory,
    repack_saves_bytes: u64,
) -> io::Result<Option<Arc<Segment>>> {
    let Some(&footer) = segment.footer() else { return Ok(None) };
    if is_padded(&footer, repack_saves_bytes)
        && let Some(dense) = repack(segment, &footer, directory)
    {
        return Ok(Some(dense));
    }
    if footer.index.is_some() {
        return Ok(None);
    }
    let Some(index) = index_of(segment, footer.data_end) else { return Ok(None) };
    let written = match write_ending(&**segment.file(), segment.epoch(), footer, Some(&index)) {
        // The space for the footer was set aside with the blocks'.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            write_ending(&**segment.file(), segment.epoch(), footer, None)
        }
        written => written,
    };
    written.map(|(footer, filter)| Some(segment.sealed_again(footer, filter)))
}

/// The index of the blocks up to `end`, if they can be read and check.
pub(super) fn index_of(segment: &Segment, end: u64) -> Option<SegmentIndex> {
    let mut builder = IndexBuilder::new(segment.epoch());
    let built = blocks::for_each(segment, end, |offset, block| {
        builder.add(offset, block).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    built.ok().map(|()| builder.finish())
}

/// Writes index and footer behind the last block, where the file ends then.
///
/// # Errors
/// The kernel's.
pub(super) fn write_ending(
    file: &dyn SegmentFile,
    epoch: Epoch,
    totals: Footer,
    index: Option<&SegmentIndex>,
) -> io::Result<(Footer, SessionFilter)> {
    let encoded = index.and_then(|index| index.encode(epoch));
    let footer = Footer { index: encoded.as_ref().map(|(_, place)| *place), ..totals };
    let filter = match index.filter(|_| encoded.is_some()) {
        Some(index) => SessionFilter::of(&index.listed()),
        None => SessionFilter::all(),
    };
    file.truncate(footer.offset() + PAGE_BYTES as u64)?;
    if let Some((bytes, _)) = &encoded {
        file.write_at(bytes, totals.data_end)?;
    }
    file.write_at(&footer.encode(&filter), footer.offset())?;
    Ok((footer, filter))
}

/// Bytes that the segment's blocks would take if they were full.
fn dense_bytes(totals: &Footer) -> u64 {
    let records = totals.end_sequence.since(totals.base_sequence);
    block_bytes(records as usize, totals.records_bytes as usize) as u64
}

fn is_padded(totals: &Footer, repack_saves_bytes: u64) -> bool {
    let (taken, dense) = (totals.data_end - PAGE_BYTES as u64, dense_bytes(totals));
    totals.blocks > 1 && taken >= PADDED_TIMES * dense && taken - dense >= repack_saves_bytes
}

/// Puts a dense copy in the segment's place. `None` if that fails: the segment is as it was.
fn repack(segment: &Arc<Segment>, totals: &Footer, directory: &dyn Directory) -> Option<Arc<Segment>> {
    let outcome = copy_densely(segment, totals, directory)
        .and_then(|dense| directory.replace(REPACK_NAME, &Segment::file_name(segment.base())).map(|()| dense));
    if outcome.is_err() {
        // What is left of it is not in the way of anything but the next copy, and recovery removes it, too.
        let _ = directory.remove(REPACK_NAME);
    }
    outcome.ok()
}

fn copy_densely(segment: &Arc<Segment>, totals: &Footer, directory: &dyn Directory) -> io::Result<Arc<Segment>> {
    let length = PAGE_BYTES as u64 + dense_bytes(totals);
    let mut writer = SegmentWriter::create(directory, REPACK_NAME, *segment.header(), totals.end_sequence, length)?;
    blocks::for_each(segment, totals.data_end, |_, block| writer.append(block))?;
    let dense = writer.finish()?;
    match dense.end_sequence() == totals.end_sequence {
        true => Ok(dense),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "the copy holds other events than the segment")),
    }
}
