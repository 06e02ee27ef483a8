//! Server-sent events: cut after the blank line that ends each frame.
//!
//! Blank lines at the very end are an event of their own, as is a frame that the stream breaks off.

use tapeline::sse::{FrameEnd, FrameEnds, Rest};

use super::split::{Cutter, End};

impl Cutter for FrameEnds {
    fn end(&mut self, bytes: &[u8], rest: Rest) -> Option<End> {
        Self::end(self, bytes, rest).map(|FrameEnd { bytes, lines }| End { bytes, lines })
    }

    fn pass(&mut self, bytes: usize) {
        Self::pass(self, bytes);
    }
}
