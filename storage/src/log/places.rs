//! Places: where the blocks of a segment start, in bounded memory.

use std::io;

use crate::format::{BlockHeader, Sequence};

/// The start of a block in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlace {
    /// Sequence of its first record.
    pub first_sequence: Sequence,
    /// Sequence after its last record.
    pub end_sequence: Sequence,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Smallest timestamp in it.
    pub first_timestamp: u64,
    /// Largest timestamp in it.
    pub last_timestamp: u64,
}

impl BlockPlace {
    /// The place of the block with this header.
    pub(crate) fn of(header: &BlockHeader, offset: u64) -> Self {
        Self {
            first_sequence: header.first_sequence,
            end_sequence: header.end_sequence(),
            offset,
            first_timestamp: header.first_timestamp,
            last_timestamp: header.last_timestamp,
        }
    }
}

/// Most places that are kept of a segment, 640 KiB. Of more blocks than that every second is kept, of twice as many
/// every fourth, and so on.
pub(super) const PLACES_MAX: usize = 16_384;

/// The places of a segment's blocks, ascending. A place that is not kept is found by walking from the one before it.
#[derive(Debug, Default)]
pub(crate) struct Places {
    kept: Vec<BlockPlace>,
    /// One block in `1 << thinned` is kept.
    thinned: u32,
    /// Blocks so far.
    blocks: u64,
    last: Option<BlockPlace>,
}

/// The blocks around a sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Around {
    /// The last block that starts at the sequence or before.
    pub(crate) at: Option<BlockPlace>,
    /// The block that follows it.
    pub(crate) after: Option<BlockPlace>,
}

impl Places {
    /// A block follows the others.
    pub(crate) fn push(&mut self, place: BlockPlace) {
        if self.kept.len() == PLACES_MAX {
            self.thinned += 1;
            let mut at = 0;
            self.kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
        }
        if self.blocks.trailing_zeros() >= self.thinned || self.blocks == 0 {
            self.kept.push(place);
        }
        self.blocks += 1;
        self.last = Some(place);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// The last block.
    pub(crate) fn last(&self) -> Option<BlockPlace> {
        self.last
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.kept.capacity() * size_of::<BlockPlace>()
    }

    /// The kept places around `sequence`.
    pub(crate) fn near(&self, sequence: Sequence) -> Near {
        let after = self.kept.partition_point(|place| place.first_sequence <= sequence);
        let mut around = Around {
            at: after.checked_sub(1).and_then(|at| self.kept.get(at)).copied(),
            after: self.kept.get(after).copied(),
        };
        let last = self.last.filter(|last| last.first_sequence <= sequence);
        around.at = last.or(around.at);
        Near { around, is_exact: self.thinned == 0 || last.is_some() }
    }
}

/// The kept places around a sequence, between which there may be others.
#[derive(Debug)]
pub(crate) struct Near {
    around: Around,
    is_exact: bool,
}

impl Near {
    /// The kept place at the sequence or before it.
    pub(crate) fn before(&self) -> Option<BlockPlace> {
        self.around.at
    }

    /// The blocks around `sequence`. `next` is asked for the block after one; `None` ends the walk: it cannot be found.
    ///
    /// # Errors
    /// Those of `next`.
    pub(crate) fn walk(
        self,
        sequence: Sequence,
        mut next: impl FnMut(&BlockPlace) -> io::Result<Option<BlockPlace>>,
    ) -> io::Result<Around> {
        let Around { at, after } = self.around;
        let Some(mut at) = at.filter(|_| !self.is_exact) else { return Ok(self.around) };
        while let Some(place) = next(&at)?.filter(|place| place.first_sequence > at.first_sequence) {
            if place.first_sequence > sequence {
                return Ok(Around { at: Some(at), after: Some(place) });
            }
            at = place;
        }
        Ok(Around { at: Some(at), after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(block: u64) -> BlockPlace {
        BlockPlace {
            first_sequence: Sequence::new(10 * block),
            end_sequence: Sequence::new(10 * block + 10),
            offset: 4096 * (block + 1),
            first_timestamp: 0,
            last_timestamp: 0,
        }
    }

    #[test]
    fn every_block_is_found_in_bounded_memory() {
        for blocks in [1, 2, PLACES_MAX as u64, PLACES_MAX as u64 + 1, 9 * PLACES_MAX as u64 + 5] {
            let mut places = Places::default();
            (0..blocks).for_each(|block| places.push(place(block)));
            assert!(places.kept.len() <= PLACES_MAX && places.bytes() <= 2 * PLACES_MAX * size_of::<BlockPlace>());
            let mut steps = 0;
            for block in (0..blocks).step_by(97).chain([blocks - 1]) {
                let around = places.near(Sequence::new(10 * block + 3)).walk(Sequence::new(10 * block + 3), |before| {
                    steps += 1;
                    Ok((before.offset < 4096 * blocks).then(|| place(before.offset / 4096)))
                });
                let Around { at, after } = around.expect("no errors");
                assert_eq!(at, Some(place(block)));
                assert_eq!(after, (block + 1 < blocks).then(|| place(block + 1)));
            }
            assert!(steps <= (blocks / 97 + 2) * (1 << places.thinned), "{steps} steps for {blocks} blocks");
            assert_eq!(places.last(), Some(place(blocks - 1)));
        }
    }

    #[test]
    fn blocks_that_do_not_ascend_end_the_walk() {
        let mut places = Places::default();
        (0..2 * PLACES_MAX as u64).for_each(|block| places.push(place(block)));
        let around =
            places.near(Sequence::new(15)).walk(Sequence::new(15), |before| Ok(Some(*before))).expect("no errors");
        assert_eq!(around.at, Some(place(0)));
    }
}
