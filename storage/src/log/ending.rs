//! The ending of a sealed segment's file, after its last block: an index, if there is one, and the footer.

use std::io;
use std::sync::Arc;

use super::blocks;
use crate::device::SegmentFile;
use crate::format::{
    Epoch, Footer, IndexBuilder, PAGE_BYTES, SegmentHeader, SegmentIndex, SessionFilter, is_index_header,
};

const PAGE: u64 = PAGE_BYTES as u64;

/// Parts of a page that a device writes whole.
const SECTOR_BYTES: usize = 512;

/// The footer, if the file ends with one that belongs to it.
pub(crate) fn read_footer(
    file: &Arc<dyn SegmentFile>,
    header: &SegmentHeader,
    length: u64,
) -> io::Result<Option<(Footer, SessionFilter)>> {
    let Some(page) = read_last_page(file, length)? else { return Ok(None) };
    let footer = Footer::decode(&page).ok().filter(|footer| {
        footer.epoch == header.epoch && footer.base_sequence == header.base_sequence && footer.offset() + PAGE == length
    });
    Ok(footer.map(|footer| (footer, Footer::filter_of(&page))))
}

/// The page of a file of this length that may be a footer.
pub(super) fn read_last_page(file: &Arc<dyn SegmentFile>, length: u64) -> io::Result<Option<Vec<u8>>> {
    if length < 2 * PAGE || !length.is_multiple_of(PAGE) {
        return Ok(None);
    }
    let mut page = vec![0; PAGE_BYTES];
    file.read_settled(&mut page, length - PAGE)?;
    Ok(Some(page))
}

/// Returns whether `bytes`, which follow the blocks that `totals` count, show that sealing had come this far: an index,
/// or a footer without one.
pub(super) fn is_ending(bytes: &[u8], totals: &Footer) -> bool {
    let footer = bytes.get(..PAGE_BYTES).map(Footer::decode);
    is_index_header(bytes, totals.epoch) || matches!(footer, Some(Ok(footer)) if footer == *totals)
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

/// The index of the blocks that `totals` count, if they can be read and check, and as long as `check` has nothing
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

/// Returns whether the file ends with a footer page that is damaged: it is not the one of the blocks that `totals`
/// count, and no part of it that a crash had left blank either.
///
/// # Errors
/// The kernel's.
pub(super) fn is_damaged_footer(
    file: &Arc<dyn SegmentFile>,
    header: &SegmentHeader,
    totals: &Footer,
) -> io::Result<bool> {
    let length = file.length()?;
    let is_blank = |page: &[u8]| page.iter().all(|&byte| byte == 0);
    let Some(page) = read_last_page(file, length)?.filter(|page| !is_blank(page)) else { return Ok(false) };
    let Some(expected) = expected_footer(&**file, totals, length)? else { return Ok(false) };
    let sectors = page.chunks(SECTOR_BYTES).zip(expected.chunks(SECTOR_BYTES));
    let is_torn = sectors.into_iter().all(|(found, expected)| found == expected || is_blank(found));
    // A process that seals the segment may have written it meanwhile.
    Ok(!is_torn && read_footer(file, header, length)?.is_none())
}

/// The footer page that a file of this length has, whose blocks `totals` count.
fn expected_footer(file: &dyn SegmentFile, totals: &Footer, length: u64) -> io::Result<Option<[u8; PAGE_BYTES]>> {
    if totals.data_end + PAGE == length {
        return Ok(Some(totals.encode(&SessionFilter::all())));
    }
    let mut page = vec![0; PAGE_BYTES];
    let read = file.read_at(&mut page, totals.data_end)?;
    if totals.data_end + PAGE > length || !is_index_header(&page[..read], totals.epoch) {
        return Ok(None);
    }
    let Some(index) = index_of(file, totals, || Ok(())) else { return Ok(None) };
    let footer = Footer { index: index.encode(totals.epoch).map(|(_, place)| place), ..*totals };
    // An index of another build may be longer; a page in its place is no part of a footer.
    Ok(Some(footer.encode(&index.filter())))
}
