//! The end of a segment: its index and its footer, or a denser copy in its place.
//!
//! A segment is sealed at once, by a footer alone. When there is time it gets its index: the footer is written again,
//! behind an index that is whole; in between recovery finds the end by walking the blocks. A dense copy is complete and
//! durable under a name of its own before it takes the segment's name; readers that have the old file open read on in
//! it.

use std::io;
use std::sync::Arc;

use super::chore::{Outcome, Tidying};
use super::rewrite::{NewSegment, SegmentWriter};
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
    let (footer, filter) = write_ending(&*segment.file_to_write()?, segment.epoch(), footer, None)?;
    segment.seal(footer, filter);
    Ok(())
}

/// Gives a segment that is sealed without an index one, or puts a dense copy in its place. Where there is no space for
/// an index, or a block does not check, all stays as it is.
///
/// # Errors
/// The kernel's; recovery then has to seal the segment again.
pub(super) fn tidy(tidying: &Tidying, goes_on: &mut dyn FnMut() -> bool) -> io::Result<Outcome> {
    let Tidying { segment, repack_saves_bytes, permit, .. } = tidying;
    let Some(&footer) = segment.footer() else { return Ok(Outcome::Tidied(None)) };
    let file = match segment.file_to_write() {
        // It was trimmed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Tidied(None)),
        opened => opened?,
    };
    let mut is_abandoned = false;
    let mut check = || {
        is_abandoned = is_abandoned || permit.is_withdrawn() || !goes_on();
        if is_abandoned { Err(io::Error::other("the log ends")) } else { Ok(()) }
    };
    if is_padded(&footer, *repack_saves_bytes)
        && let Some(dense) = repack(tidying, &*file, &mut check)
    {
        return Ok(Outcome::Tidied(Some(dense)));
    }
    if footer.index.is_some() {
        return Ok(Outcome::Tidied(None));
    }
    let index = index_of(&*file, &footer, &mut check);
    if is_abandoned {
        return Ok(Outcome::Abandoned(Arc::clone(segment)));
    }
    let Some(index) = index else { return Ok(Outcome::Tidied(None)) };
    let written = match write_ending(&*file, segment.epoch(), footer, Some(&index)) {
        // The space for the footer was set aside with the blocks'.
        Err(error) => {
            let plain = write_ending(&*file, segment.epoch(), footer, None);
            if error.kind() == io::ErrorKind::StorageFull { plain } else { Err(error) }
        }
        written => written,
    };
    written.map(|(footer, filter)| Outcome::Tidied(Some(segment.sealed_again(footer, filter))))
}

/// The index of the blocks that `totals` tell of, if they can be read and check, and as long as `check` has nothing
/// against it.
pub(super) fn index_of(
    file: &dyn SegmentFile,
    totals: &Footer,
    mut check: impl FnMut() -> io::Result<()>,
) -> Option<SegmentIndex> {
    let mut builder = IndexBuilder::new(totals.epoch);
    let built = blocks::for_each(file, totals, |offset, block| {
        check()?;
        builder.add(offset, block).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    built.ok().map(|()| builder.finish())
}

/// Writes the footer after the last block, or an index and the footer, where the file ends then.
///
/// Without an index the footer is written before the file gets its length: a crash between leaves a file of its full
/// length, so that a shorter one without a footer has been cut short. An index comes to segments alone whose end is
/// known from elsewhere: from the file of the gaps, or because they have no name yet.
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
    let filter = index.filter(|_| encoded.is_some()).map_or_else(SessionFilter::all, SegmentIndex::filter);
    let length = footer.offset() + PAGE_BYTES as u64;
    match &encoded {
        Some((bytes, _)) => {
            file.truncate(length)?;
            file.write_at(bytes, totals.data_end)?;
            file.write_at(&footer.encode(&filter), footer.offset())?;
        }
        None => {
            file.write_at(&footer.encode(&filter), footer.offset())?;
            file.truncate(length)?;
        }
    }
    Ok((footer, filter))
}

/// Bytes that the segment's blocks would take if they were full.
pub(super) fn dense_bytes(totals: &Footer) -> u64 {
    let records = totals.end_sequence.since(totals.base_sequence);
    block_bytes(records as usize, totals.records_bytes as usize) as u64
}

fn is_padded(totals: &Footer, repack_saves_bytes: u64) -> bool {
    let (taken, dense) = (totals.data_end - PAGE_BYTES as u64, dense_bytes(totals));
    totals.blocks > 1 && taken >= PADDED_TIMES * dense && taken - dense >= repack_saves_bytes
}

/// Puts a dense copy in the segment's place. `None` if that fails, or the segment is being removed: it is as it was.
fn repack(
    tidying: &Tidying,
    file: &dyn SegmentFile,
    check: &mut dyn FnMut() -> io::Result<()>,
) -> Option<Arc<Segment>> {
    let Tidying { directory, segment, permit, .. } = tidying;
    let name = Segment::file_name(segment.base());
    let copied = copy_densely(segment, file, &**directory, check);
    let replaced = match &copied {
        Ok(_) => permit.replace(segment.base(), || directory.replace(REPACK_NAME, &name)),
        Err(_) => Ok(false),
    };
    if matches!(replaced, Ok(true)) {
        return copied.ok();
    }
    // What is left of it is not in the way of anything but the next copy, and recovery removes it, too.
    let removed = directory.remove(REPACK_NAME);
    // A whole copy that has lost this name has taken the segment's, though the call says otherwise.
    let has_replaced = replaced.is_err() && removed.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    copied.ok().filter(|_| has_replaced)
}

fn copy_densely(
    segment: &Arc<Segment>,
    file: &dyn SegmentFile,
    directory: &dyn Directory,
    check: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<Arc<Segment>> {
    let totals = segment.footer().ok_or(io::ErrorKind::InvalidInput)?;
    let length = PAGE_BYTES as u64 + dense_bytes(totals);
    if directory.space()?.available() < length {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let (header, later_runs) = (*segment.header(), segment.later_runs().to_vec());
    let new = NewSegment { header, later_runs, durable: totals.end_sequence, length };
    let mut writer = SegmentWriter::create(directory, REPACK_NAME, new)?;
    blocks::for_each(file, totals, |_, block| check().and_then(|()| writer.append(block)))?;
    let (footer, filter) = writer.finish()?;
    match footer.end_sequence == totals.end_sequence {
        true => Ok(segment.sealed_again(footer, filter)),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "the copy holds other events than the segment")),
    }
}
