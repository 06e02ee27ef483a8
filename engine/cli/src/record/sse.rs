//! Server-sent events: cut after the blank line that ends each frame.
//!
//! A line ends with `\n`, `\r\n` or `\r`. Blank lines before a frame belong to it, so that each event has a line that
//! says something; blank lines at the very end are an event of their own, as is a frame that the stream breaks off.
//! A `\r` that is the last byte read is not yet known to be the whole line end: the frame it ends is cut when the next
//! byte, or the end of the stream, has come.

use super::split::{Cutter, End};

/// Cuts after each frame.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// No line ends before here, from `line_start` on.
    looked: usize,
    line_start: usize,
    /// Whether a line before this one says something.
    has_lines: bool,
    lines: u64,
}

impl Cutter for Frames {
    fn end(&mut self, bytes: &[u8], ended: bool) -> Option<End> {
        loop {
            let Some(more) = memchr::memchr2(b'\n', b'\r', &bytes[self.looked..]) else {
                self.looked = bytes.len();
                return None;
            };
            let line_end = self.looked + more;
            let next_line = match (bytes[line_end], bytes.get(line_end + 1)) {
                (b'\r', Some(b'\n')) => line_end + 2,
                (b'\r', None) if !ended => {
                    self.looked = line_end;
                    return None;
                }
                _ => line_end + 1,
            };
            let is_blank = line_end == self.line_start;
            self.lines += 1;
            if is_blank && self.has_lines {
                let lines = self.lines;
                *self = Self::default();
                return Some(End { bytes: next_line, lines });
            }
            self.has_lines |= !is_blank;
            self.line_start = next_line;
            self.looked = next_line;
        }
    }
}
