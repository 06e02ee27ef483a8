//! Server-sent events, as the HTML standard parses them (section "Parsing an event stream").
//!
//! Two steps, each in one place. [`FrameEnds`] finds where a frame ends: at a blank line, whatever ends its lines.
//! [`Frame`] says what a client makes of it: its event type and its data, or nothing. [`Stream`] does the first step for
//! a stream that comes in pieces, [`frames`] both for bytes that are whole.
//!
//! A stream that breaks off within a frame has no such frame: clients drop it.

mod ends;
mod frame;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use self::ends::{End, FrameEnds};
pub(crate) use self::frame::Frame;
pub(crate) use self::stream::Stream;

/// The byte order mark, which clients pass over at the start of a stream.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The whole frames in `bytes`, which begin a stream or a frame of one.
///
/// Comments, frames of other fields and blank lines are frames without data.
pub(crate) fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    blocks(bytes).map(Frame::parse)
}

/// The same for a payload of which it is not known what it is: `None` where it does not look like whole frames.
///
/// Text that was never meant as frames may look like them. It ends with a blank line then, and each of its lines is a
/// comment or a field of the standard.
pub(crate) fn frames_of_payload(payload: &[u8]) -> Option<impl Iterator<Item = Frame<'_>>> {
    is_frames(payload).then(|| frames(payload))
}

/// Whether a payload looks like whole frames.
pub(crate) fn is_frames(payload: &[u8]) -> bool {
    let mut rest = payload.strip_prefix(BOM).unwrap_or(payload);
    let mut is_known = false;
    while let Some(end) = FrameEnds::default().end(rest, true) {
        let (block, more) = rest.split_at(end.bytes);
        if !frame::lines(block).all(frame::is_plain) {
            return false;
        }
        is_known |= frame::lines(block).any(|line| line.contains(&b':'));
        rest = more;
    }
    is_known && rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// The bytes of each whole frame.
fn blocks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes.strip_prefix(BOM).unwrap_or(bytes);
    std::iter::from_fn(move || {
        let end = FrameEnds::default().end(rest, true)?;
        let (block, more) = rest.split_at(end.bytes);
        rest = more;
        Some(block)
    })
}
