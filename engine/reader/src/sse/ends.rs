//! The end of a frame.

/// The end of a frame within a stream.
///
/// ```
/// use tapeline_reader::sse::{FrameEnd, FrameEnds, Rest};
///
/// let end = FrameEnds::default().end(b"data: 1\n\n", Rest::Awaited);
/// assert_eq!(end, Some(FrameEnd { bytes: 9, lines: 2 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEnd {
    /// Bytes of the frame.
    pub bytes: usize,
    /// Line ends among them; 0 where the format has no lines.
    pub lines: u64,
}

/// The bytes that may follow those that are there.
///
/// ```
/// use tapeline_reader::sse::{FrameEnds, Rest};
///
/// // A line feed may follow, and belong to the frame.
/// assert!(FrameEnds::default().end(b"data: 1\n\r", Rest::Awaited).is_none());
/// assert!(FrameEnds::default().end(b"data: 1\n\r", Rest::Absent).is_some());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// More bytes may come.
    Awaited,
    /// No byte is waited for.
    Absent,
}

/// The start of a line that began before the bytes that are there.
const WITHIN_LINE: usize = usize::MAX;

/// Finds the blank line that ends each frame, in bytes that come a few at a time.
///
/// A line ends with `\n`, `\r\n` or `\r`. Blank lines before a frame belong to it, so that each frame has a line that
/// says something. A `\r` that is the last byte there is waits for the next, which may belong to it, with two
/// exceptions: nothing is waited for where the bytes are said to have ended; and a frame whose last line ends with a
/// `\r` alone ends with the next `\r`, so that a stream of such lines is cut as it comes. A `\n` that follows after all
/// belongs to what comes next, and counts as no line.
///
/// ```
/// use tapeline_reader::sse::{FrameEnds, Rest};
///
/// let (mut ends, bytes) = (FrameEnds::default(), b"data: 1\n\ndata: 2");
/// let first = ends.end(bytes, Rest::Awaited).expect("a whole frame");
/// assert_eq!((first.bytes, first.lines), (9, 2));
/// ```
#[derive(Debug, Default)]
pub struct FrameEnds {
    /// No line ends before here, from `line_start` on.
    looked: usize,
    line_start: usize,
    /// True if a line before this one is not blank.
    has_lines: bool,
    lines: u64,
    /// The last line end was a `\r`, to which a `\n` may belong.
    is_after_return: bool,
}

impl FrameEnds {
    /// Looks for the end of the frame that starts at `bytes[0]`. Called again with the same bytes and more where there
    /// was none: it goes on where it stopped.
    pub fn end(&mut self, bytes: &[u8], rest: Rest) -> Option<FrameEnd> {
        loop {
            if self.is_after_return {
                self.looked += usize::from(*bytes.get(self.looked)? == b'\n');
                self.line_start = self.looked;
                self.is_after_return = false;
            }
            let Some(more) = memchr::memchr2(b'\n', b'\r', &bytes[self.looked..]) else {
                self.looked = bytes.len();
                return None;
            };
            let line_end = self.looked + more;
            let is_blank = line_end == self.line_start;
            let is_last = is_blank && self.has_lines;
            self.looked = line_end;
            // The blank line ends as the line before it did.
            let ends_as_before = is_last && bytes[..=line_end].ends_with(b"\r\r");
            let next_line = line_end + if ends_as_before { 1 } else { ending(&bytes[line_end..], rest)? };
            self.is_after_return = bytes[next_line - 1] == b'\r';
            self.lines += 1;
            if is_last {
                let lines = self.lines;
                *self = Self { is_after_return: self.is_after_return, ..Self::default() };
                return Some(FrameEnd { bytes: next_line, lines });
            }
            self.has_lines |= !is_blank;
            self.line_start = next_line;
            self.looked = next_line;
        }
    }

    /// The first `bytes` of those it has looked at are taken away: the frame's rest starts at `bytes[0]` from now on.
    pub fn pass(&mut self, bytes: usize) {
        self.looked -= bytes;
        self.line_start = self.line_start.checked_sub(bytes).unwrap_or(WITHIN_LINE);
    }
}

/// The bytes of the line end that `bytes` begin with; `None` where more bytes have to come first.
fn ending(bytes: &[u8], rest: Rest) -> Option<usize> {
    match bytes {
        [b'\r', b'\n', ..] => Some(2),
        [b'\r'] if rest == Rest::Awaited => None,
        _ => Some(1),
    }
}
