//! Positions between the entries of a lane, and the rule of how an entry leads from one to the next.
//!
//! An entry is a record or a skip. A record of `units` takes `16 * units` bytes. A skip has no units and takes the rest
//! of its ring, so that the record after it lies in one piece.

use super::UNIT_BYTES;
use super::ring::Ring;

/// The beginning of an entry, or the end of the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EntryPosition {
    /// Entry index: the number of entries before it.
    pub(super) index: u64,
    /// Byte position: the bytes before it, skipped ones included.
    pub(super) bytes: u64,
}

impl EntryPosition {
    /// Moves over an entry of so many units in this ring. Returns the bytes of its record, which begin where it was; 0
    /// for a skip.
    #[inline]
    pub(super) fn pass(&mut self, units: u16, ring: &Ring) -> usize {
        let bytes = usize::from(units) * UNIT_BYTES;
        self.bytes += if bytes == 0 { ring.bytes_to_end(self.bytes) } else { bytes } as u64;
        self.index += 1;
        bytes
    }
}

/// Records that lie back to back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Extent {
    /// Adds the next record, of so many units, unless `limit` bytes have no room for it, or it is a skip. Returns
    /// whether it did.
    #[inline]
    pub(super) fn add(&mut self, units: u16, limit: usize) -> bool {
        let end = self.bytes + usize::from(units) * UNIT_BYTES;
        let fits = units != 0 && end <= limit;
        if fits {
            *self = Self { entries: self.entries + 1, bytes: end };
        }
        fits
    }
}
