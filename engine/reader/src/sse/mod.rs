//! Server-sent events, as the HTML standard parses them (section "Parsing an event stream").
//!
//! Servers stream tokens as frames: lines of `name: value` up to a blank line. Two steps, each in one place, understand
//! them. [`FrameEnds`] finds where a frame ends, whatever ends its lines. [`Frame`] is what a client makes of it: a
//! type and data, or nothing. [`Stream`] does the first step for a stream that comes in pieces, as events of a session
//! do; [`frames`] does both for bytes that are whole; [`sole_frame`] is for a payload that may be one event.
//!
//! A stream that breaks off within a frame has no such frame: clients drop it.
//!
//! ```
//! # extern crate tapeline_reader as tapeline;
//! use tapeline::sse;
//!
//! let stream = b": keep-alive\n\ndata: {\"n\":1}\n\nevent: error\ndata: {\ndata: }\n\ndata: cut";
//! let data: Vec<_> = sse::frames(stream).filter_map(|frame| Some(frame.data()?.into_owned())).collect();
//! assert_eq!(data, ["{\"n\":1}", "{\n}"]);
//! ```

mod ends;
mod frame;
mod stream;
#[cfg(test)]
mod tests;

pub use self::ends::{FrameEnd, FrameEnds, Rest};
pub use self::frame::Frame;
pub use self::stream::Stream;

/// The byte order mark, which clients pass over at the start of a stream.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The whole frames in `bytes`, which begin a stream or a frame of one.
///
/// Comments, frames of other fields and blank lines are frames without data.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    blocks(bytes).map(Frame::parse)
}

/// The same for a payload of which it is not known what it is: `None` where it does not look like whole frames, as
/// [`is_frames`] says.
pub fn frames_of_payload(payload: &[u8]) -> Option<impl Iterator<Item = Frame<'_>>> {
    is_frames(payload).then(|| frames(payload))
}

/// Returns whether a payload looks like whole frames: it ends with a blank line, and each of its lines is a comment or
/// a field of the standard. Text that was never meant as frames may look like them.
pub fn is_frames(payload: &[u8]) -> bool {
    let mut rest = payload.strip_prefix(BOM).unwrap_or(payload);
    let mut is_known = false;
    while let Some(end) = FrameEnds::default().end(rest, Rest::Absent) {
        let (block, more) = rest.split_at(end.bytes);
        if !frame::lines(block).all(frame::is_plain) {
            return false;
        }
        is_known |= frame::lines(block).any(|line| line.contains(&b':'));
        rest = more;
    }
    is_known && rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// The frame of a payload that is one event, whole or broken off: each of its lines is a comment or a field of the
/// standard, and no data follows the blank line that ends it. `None` where it is anything else.
///
/// No JSON begins as such a payload does: to tell them apart costs a look at the first byte.
pub fn sole_frame(payload: &[u8]) -> Option<Frame<'_>> {
    let text = payload.strip_prefix(BOM).unwrap_or(payload);
    let text = &text[text.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?..];
    if !matches!(text[0], b':' | b'd' | b'e' | b'i' | b'r') {
        return None;
    }
    let (mut frame, mut is_over) = (Frame::default(), false);
    for line in frame::lines(text) {
        if !frame::is_plain(line) || (is_over && frame::field(line).0 == b"data") {
            return None;
        }
        is_over |= line.is_empty() && frame.has_data();
        if !is_over {
            frame.add(line);
        }
    }
    Some(frame)
}

/// The bytes of each whole frame.
fn blocks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes.strip_prefix(BOM).unwrap_or(bytes);
    std::iter::from_fn(move || {
        let end = FrameEnds::default().end(rest, Rest::Absent)?;
        let (block, more) = rest.split_at(end.bytes);
        rest = more;
        Some(block)
    })
}
