//! Lines: cut at each line feed, which stays with its line.

use tapeline::sse::Rest;

use super::split::{Cutter, End};

/// Cuts after each line feed.
#[derive(Debug, Default)]
pub(super) struct Lines {
    looked: usize,
}

impl Cutter for Lines {
    fn end(&mut self, bytes: &[u8], _rest: Rest) -> Option<End> {
        match memchr::memchr(b'\n', &bytes[self.looked..]) {
            Some(more) => {
                let bytes = self.looked + more + 1;
                self.looked = 0;
                Some(End { bytes, lines: 1 })
            }
            None => {
                self.looked = bytes.len();
                None
            }
        }
    }

    fn pass(&mut self, bytes: usize) {
        self.looked -= bytes;
    }
}
