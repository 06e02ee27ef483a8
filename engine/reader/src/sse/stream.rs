//! A stream that comes in pieces.

use super::frame::{field, lines};
use super::{BOM, FrameEnds, Rest};

/// Bytes of a frame that are kept while the rest of it has not come. A longer frame is left out.
const WAITING_MAX: usize = 64 << 20;

/// The frames of a stream whose bytes come in pieces, cut wherever. It keeps only the bytes of an unfinished frame.
///
/// ```
/// use tapeline_reader::sse::{Frame, Stream};
///
/// let (mut stream, mut tokens) = (Stream::default(), Vec::new());
/// for piece in ["data: He", "l\n\ndata: lo\n", "\n"] {
///     stream.push(piece.as_bytes(), |frame| {
///         tokens.extend(Frame::parse(frame).data().map(|data| data.into_owned()));
///         Ok::<_, std::convert::Infallible>(())
///     })?;
/// }
/// assert_eq!(tokens, ["Hel", "lo"]);
/// # Ok::<_, std::convert::Infallible>(())
/// ```
#[derive(Debug, Default)]
pub struct Stream {
    ends: FrameEnds,
    /// The beginning of a frame.
    bytes: Vec<u8>,
    has_begun: bool,
    /// The beginning of the frame was too long to be kept.
    is_dropping: bool,
}

impl Stream {
    /// Takes the next bytes of the stream, and hands out each frame that is whole now. The byte order mark at the
    /// stream's beginning is left out.
    ///
    /// # Errors
    /// Those of `each`, which ends it.
    pub fn push<E>(&mut self, bytes: &[u8], each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut waiting = std::mem::take(&mut self.bytes);
        if waiting.is_empty() {
            let used = self.cut(bytes, each)?;
            waiting.extend_from_slice(&bytes[used..]);
        } else {
            waiting.extend_from_slice(bytes);
            let used = self.cut(&waiting, each)?;
            waiting.drain(..used);
        }
        if waiting.len() > WAITING_MAX {
            self.ends.pass(waiting.len());
            self.is_dropping = true;
        } else if !waiting.is_empty() {
            self.bytes = waiting;
        }
        Ok(())
    }

    /// True if no frame has begun that is not whole: blank lines begin none.
    pub fn is_empty(&self) -> bool {
        !self.is_dropping && self.bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// Ends the stream. Clients drop a frame that is not whole, except that a line `retry` in it has its effect as soon
    /// as it is there: the last such line that is, as a frame without data. Empty where there is none.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = self.break_off();
        *self = Self::default();
        rest
    }

    /// Breaks off the frame that is not whole: the next bytes begin another frame of the same stream. Returns what
    /// [`Stream::finish`] does.
    pub fn break_off(&mut self) -> Vec<u8> {
        let Self { bytes, has_begun, .. } = std::mem::take(self);
        self.has_begun = has_begun;
        let whole = memchr::memrchr2(b'\n', b'\r', &bytes).map_or(0, |end| end + 1);
        let is_time = |line: &&[u8]| {
            let (name, value) = field(line);
            name == b"retry" && !value.is_empty() && value.iter().all(u8::is_ascii_digit)
        };
        let last = lines(&bytes[..whole]).filter(is_time).last();
        last.map_or_else(Vec::new, |line| [line, b"\n\n"].concat())
    }

    /// Hands out the whole frames of `bytes`, and returns how many bytes they and the mark have.
    fn cut<E>(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<usize, E> {
        let mut used = 0;
        if !self.has_begun {
            // No frame is shorter than the mark.
            if bytes.len() < BOM.len() {
                return Ok(0);
            }
            self.has_begun = true;
            used = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
        }
        while let Some(end) = self.ends.end(&bytes[used..], Rest::Absent) {
            let frame = &bytes[used..used + end.bytes];
            used += end.bytes;
            if !std::mem::take(&mut self.is_dropping) {
                each(frame)?;
            }
        }
        Ok(used)
    }
}
