//! A payload that is a server-sent event counts as its data.

use std::borrow::Cow;

use serde::de::IgnoredAny;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Whether payload terms of a filter can look into a payload: it is JSON, or one server-sent event whose data is.
pub fn is_filterable(payload: &[u8]) -> bool {
    let json = data_of(payload).unwrap_or(Cow::Borrowed(payload));
    str::from_utf8(&json).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The data of the one server-sent event that a payload is, its lines joined by line feeds; `None` where it is anything
/// else. No JSON begins as such an event does: that costs a look at its first byte.
pub(super) fn data_of(payload: &[u8]) -> Option<Cow<'_, [u8]>> {
    let text = payload.strip_prefix(BOM).unwrap_or(payload);
    let text = &text[text.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?..];
    if !matches!(text[0], b':' | b'd' | b'e' | b'i' | b'r') {
        return None;
    }
    let (mut data, mut is_over) = (None, false);
    for line in lines(text) {
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        match field {
            // A second event.
            b"data" if is_over => return None,
            b"data" => data = Some(joined(data, value.strip_prefix(b" ").unwrap_or(value))),
            b"" | b"event" | b"id" | b"retry" => is_over |= line.is_empty() && data.is_some(),
            _ => return None,
        }
    }
    data
}

fn joined<'a>(data: Option<Cow<'a, [u8]>>, line: &'a [u8]) -> Cow<'a, [u8]> {
    match data {
        None => Cow::Borrowed(line),
        Some(data) => Cow::Owned([&*data, b"\n", line].concat()),
    }
}

/// Lines without their ends: `\n`, `\r\n` or `\r`.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_sent_events_are_their_data() {
        for (payload, data) in [
            ("data: {\"a\":1}\n\n", "{\"a\":1}"),
            ("\u{feff}: ping\r\nevent: x\r\nid: 7\r\ndata:{\"a\":1}\r\n\r\n", "{\"a\":1}"),
            ("\n\ndata: {\rdata: \"a\":1}\r\r", "{\n\"a\":1}"),
            ("data\n\n", ""),
            ("data: cut", "cut"),
        ] {
            assert_eq!(data_of(payload.as_bytes()).as_deref(), Some(data.as_bytes()), "{payload:?}");
        }
        for payload in
            ["", "\n", ": ping\n\n", "data: 1\n\ndata: 2\n\n", "{\"data\": 1}", "data: 1\nnot a field\n\n", "dat"]
        {
            assert_eq!(data_of(payload.as_bytes()), None, "{payload:?}");
        }
        assert!(is_filterable(b"{}") && is_filterable(b"data: {}\n\n"));
        assert!(!is_filterable(b"data: [DONE]\n\n") && !is_filterable(b"text") && !is_filterable(b"\xff"));
    }
}
