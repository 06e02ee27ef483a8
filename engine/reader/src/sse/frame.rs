//! The meaning of a frame for a client.

use std::borrow::Cow;

/// A frame as a client understands it: an event's type and its data, or nothing.
///
/// ```
/// use tapeline_reader::sse::Frame;
///
/// let frame = Frame::parse(b"event: error\ndata: too\ndata: long\n\n");
/// assert_eq!((&*frame.event(), frame.data().as_deref()), ("error", Some("too\nlong")));
/// assert!(Frame::parse(b": keep-alive\n\n").data().is_none());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    event: &'a [u8],
    data: Option<Cow<'a, [u8]>>,
}

impl<'a> Frame<'a> {
    /// Understands the bytes of one frame. Comments, `id`, `retry` and unknown fields make no event. Copies the data
    /// where it stands on several lines.
    pub fn parse(block: &'a [u8]) -> Self {
        let mut frame = Self::default();
        lines(block).for_each(|line| frame.add(line));
        frame
    }

    /// The event's type; empty: `message`. Bytes that are no UTF-8 are replaced, as the standard decodes them.
    pub fn event(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.event)
    }

    /// The data lines, joined by line feeds and decoded likewise; `None` where there is none: clients get no event
    /// then.
    pub fn data(&self) -> Option<Cow<'_, str>> {
        self.data.as_deref().map(String::from_utf8_lossy)
    }

    /// The data as bytes.
    pub fn into_data(self) -> Option<Cow<'a, [u8]>> {
        self.data
    }

    pub(super) fn has_data(&self) -> bool {
        self.data.is_some()
    }

    pub(super) fn add(&mut self, line: &'a [u8]) {
        match field(line) {
            (b"event", value) => self.event = value,
            (b"data", value) => match &mut self.data {
                Some(data) => {
                    let data = data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(Cow::Borrowed(value)),
            },
            _ => {}
        }
    }
}

/// Name and value of a line. A comment has an empty name; one space after the colon belongs to neither.
pub(super) fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

/// Returns whether a line is blank, a comment, or a field that the standard names.
pub(super) fn is_plain(line: &[u8]) -> bool {
    line.is_empty() || matches!(field(line).0, b"" | b"data" | b"event" | b"id" | b"retry")
}

/// The lines of a frame, without their ends: `\n`, `\r\n` or `\r`. Bytes after the last line end are a line.
pub(super) fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        let ending = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = rest.get(end + ending..).unwrap_or_default();
        Some(line)
    })
}
