//! Tidying: what is made of a sealed segment when there is time, an index or a denser copy in its place.
//!
//! A segment is sealed at once, by a footer alone. When there is time it gets its index: the footer is written again,
//! after an index that is whole; in between recovery finds the end by walking the blocks. A dense copy is complete and
//! durable under a name of its own before it takes the segment's name; readers that have the old file open read on in
//! it.

use std::io;
use std::sync::Arc;

use super::ending::{index_of, write_ending};
use super::names::REPACK_NAME;
use super::permit::Permit;
use super::rewrite::{NewSegment, SegmentWriter, dense_bytes};
use super::{Segment, blocks};
use crate::device::{Directory, SegmentFile};
use crate::format::{Footer, PAGE_BYTES};

/// A segment is repacked if its blocks take this many times the bytes that they would take densely.
const PADDED_TIMES: u64 = 2;

/// A sealed segment that is to get an index, or a dense copy in its place.
#[derive(Debug, Clone)]
pub(super) struct Tidying {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) segment: Arc<Segment>,
    pub(super) repack_saves_bytes: u64,
    pub(super) permit: Arc<Permit>,
}

/// The outcome of tidying a segment.
#[derive(Debug)]
pub(super) enum Tidied {
    /// It is as it was, and stays so.
    Left,
    /// This takes its place.
    Replaced(Arc<Segment>),
    /// It is as it was, because the log ends.
    Abandoned(Arc<Segment>),
}

impl Tidying {
    /// Gives a segment that is sealed without an index one, or puts a dense copy in its place. Where there is no space
    /// for an index, or a block does not check, all stays as it is.
    ///
    /// # Errors
    /// The kernel's; recovery then has to seal the segment again.
    pub(super) fn run(&self, goes_on: &mut dyn FnMut() -> bool) -> io::Result<Tidied> {
        let Self { segment, repack_saves_bytes, permit, .. } = self;
        let Some(&footer) = segment.footer() else { return Ok(Tidied::Left) };
        let file = match segment.file_to_write() {
            // It was trimmed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tidied::Left),
            opened => opened?,
        };
        let mut is_abandoned = false;
        let mut check = || {
            is_abandoned = is_abandoned || permit.is_withdrawn() || !goes_on();
            if is_abandoned { Err(io::Error::other("the log ends")) } else { Ok(()) }
        };
        if is_padded(&footer, *repack_saves_bytes)
            && let Some(dense) = repack(self, &*file, &mut check)
        {
            return Ok(Tidied::Replaced(dense));
        }
        if footer.index.is_some() {
            return Ok(Tidied::Left);
        }
        let index = index_of(&*file, &footer, &mut check);
        if is_abandoned {
            return Ok(Tidied::Abandoned(Arc::clone(segment)));
        }
        let Some(index) = index else { return Ok(Tidied::Left) };
        let written = match write_ending(&*file, segment.epoch(), footer, Some(&index)) {
            // The space for the footer was set aside with the blocks'.
            Err(error) => {
                let plain = write_ending(&*file, segment.epoch(), footer, None);
                if error.kind() == io::ErrorKind::StorageFull { plain } else { Err(error) }
            }
            written => written,
        };
        written.map(|(footer, filter)| Tidied::Replaced(segment.sealed_again(footer, filter)))
    }
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
    if footer.end_sequence == totals.end_sequence {
        Ok(segment.sealed_again(footer, filter))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the copy holds other events than the segment"))
    }
}
