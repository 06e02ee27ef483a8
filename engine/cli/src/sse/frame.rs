//! What a client makes of a frame.

use std::borrow::Cow;

/// A frame as it is understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The event's type; empty: `message`.
    pub(crate) event: Cow<'a, str>,
    /// The data lines, joined by line feeds. Without any, clients get no event.
    pub(crate) data: Option<Cow<'a, str>>,
}

impl<'a> Frame<'a> {
    /// Understands the bytes of one frame. Comments, `id`, `retry` and unknown fields make no event; bytes that are no
    /// UTF-8 are replaced, as the standard decodes them.
    pub(crate) fn parse(block: &'a [u8]) -> Self {
        let mut frame = Self::default();
        for line in lines(block) {
            match field(line) {
                (b"event", value) => frame.event = String::from_utf8_lossy(value),
                (b"data", value) => frame.add_data(String::from_utf8_lossy(value)),
                _ => {}
            }
        }
        frame
    }

    fn add_data(&mut self, line: Cow<'a, str>) {
        match &mut self.data {
            Some(data) => {
                let data = data.to_mut();
                data.push('\n');
                data.push_str(&line);
            }
            None => self.data = Some(line),
        }
    }
}

/// Name and value of a line. A comment has an empty name; one space after the colon belongs to neither.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

/// Whether a line is blank, a comment, or a field that the standard names.
pub(super) fn is_plain(line: &[u8]) -> bool {
    line.is_empty() || matches!(field(line).0, b"" | b"data" | b"event" | b"id" | b"retry")
}

/// The lines of a frame, without their ends. Bytes after the last line end are a line.
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
