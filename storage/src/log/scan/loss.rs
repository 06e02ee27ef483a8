//! Events that a segment without a footer may have lost after its intact blocks.

use std::sync::Arc;

use super::super::error::OpenError;
use super::walk::{WalkEnd, acknowledged_in};
use crate::device::SegmentFile;
use crate::format::{BlockError, Footer, Gaps, PAGE_BYTES, SegmentHeader, Sequence};

/// The entries of the file of the gaps about a shard's segments.
pub(super) struct Known<'a> {
    /// Every event below was in a sealed segment.
    pub(super) sealed: Sequence,
    pub(super) gaps: &'a Gaps,
}

impl Known<'_> {
    /// Returns whether events that were in a sealed segment are missing from `end` on, where the next segment, if there
    /// is one, begins at `next_base`.
    fn misses(&self, end: Sequence, next_base: Option<Sequence>) -> bool {
        let to = next_base.map_or(self.sealed, |next| next.min(self.sealed));
        end < to && !self.gaps.is_lost(end, to)
    }
}

/// The findings of a walk over the blocks of a segment without a footer.
pub(super) struct Walked<'a> {
    pub(super) path: &'a str,
    pub(super) file: &'a Arc<dyn SegmentFile>,
    pub(super) header: &'a SegmentHeader,
    pub(super) length: u64,
    pub(super) totals: Footer,
    pub(super) end: &'a WalkEnd,
}

/// An error if what follows the intact blocks of a segment without a footer is what no crash leaves, or was
/// acknowledged. `next_base`: where the next segment begins, if there is one.
pub(super) fn refuse_loss(
    walked: &Walked<'_>,
    next_base: Option<Sequence>,
    known: &Known<'_>,
) -> Result<(), OpenError> {
    let Walked { path, file, header, length, totals, end } = walked;
    let (source, is_whole) = match end {
        WalkEnd::Ending => return Ok(()),
        WalkEnd::File => (&BlockError::Short { needed: PAGE_BYTES, found: 0 }, false),
        WalkEnd::Damage { source, is_whole, .. } => (source, *is_whole),
    };
    let (path, sequence) = ((*path).to_owned(), totals.end_sequence);
    // What is missing of one that was sealed is known, and its file may have any length while it gets its index.
    let was_sealed = known.sealed > header.base_sequence;
    if !was_sealed && *length < header.length {
        return Err(OpenError::CutShort { path, length: *length, stated: header.length, sequence });
    }
    let is_acknowledged = || {
        acknowledged_in(file, totals.data_end..*length, header.epoch, sequence)
            .map_err(OpenError::io("read", path.clone()))
    };
    if known.misses(sequence, next_base) || (is_whole && !was_sealed) || is_acknowledged()? {
        Err(OpenError::Corrupt { path, offset: totals.data_end, sequence, source: source.clone() })
    } else {
        Ok(())
    }
}
