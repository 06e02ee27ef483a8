//! Bytes without events in them: cut wherever 64 KiB, or what is there, ends.

use tapeline::sse::Rest;

use super::split::{Cutter, End};

/// Cuts what has been read into chunks.
#[derive(Debug, Default)]
pub(super) struct Chunks;

impl Chunks {
    /// Longest chunk.
    pub(super) const BYTES: usize = 64 << 10;
}

impl Cutter for Chunks {
    fn end(&mut self, bytes: &[u8], _rest: Rest) -> Option<End> {
        match bytes.len() {
            0 => None,
            there => Some(End { bytes: there.min(Self::BYTES), lines: 0 }),
        }
    }

    fn pass(&mut self, _bytes: usize) {}
}
