//! Going back in a log, block by block.

use std::io;

use crate::format::Sequence;
use crate::log::{LogView, Segment};

impl LogView {
    /// Sequence of the first record of the block that holds the record before `end`: a reader gets from there to `end`
    /// in few steps. `None` if that record is gone.
    ///
    /// Costs a search; for a segment that was sealed before this process opened it about 1 us for each of its blocks at
    /// the first call.
    ///
    /// # Errors
    /// The kernel's, where block headers cannot be read.
    pub fn block_before(&self, end: Sequence) -> io::Result<Option<Sequence>> {
        while self.trimmed() < end {
            let last = Sequence::new(end.get() - 1);
            if let Some(block) = self.tail().block(last)
                && last < block.first_sequence().plus(block.visible().0 as u64)
            {
                return Ok(Some(block.first_sequence().max(self.trimmed())));
            }
            if let Some(segment) = self.segment_of(last).filter(|segment| last < segment.end_sequence()) {
                match first_before(&segment, last) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound && self.was_trimmed(&segment, last) => {
                        continue;
                    }
                    first => return Ok(Some(first?.max(self.trimmed()))),
                }
            }
            if self.hole_at(last).is_some() {
                let before = self.segment_of(last).map_or(self.trimmed(), |segment| segment.end_sequence());
                return Ok(Some(before.max(self.trimmed())));
            }
            if last >= self.appended() {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

/// Finds the first sequence of the block that holds `last`. Where headers cannot be read, what is left of the segment
/// is one piece.
fn first_before(segment: &Segment, last: Sequence) -> io::Result<Sequence> {
    match segment.place_of(last)?.filter(|place| last < place.end_sequence) {
        Some(place) => Ok(place.first_sequence),
        None => Ok(segment.known_end()?.min(last)),
    }
}
