//! The form of a payload in a line of JSON, from which its bytes come back exactly.

use serde::de::IgnoredAny;

/// The form of a payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    /// JSON on one line, and what follows it: line ends and spaces.
    Json { value: &'a str, end: &'a str },
    /// Other UTF-8.
    Text(&'a str),
    /// Neither.
    Bytes(&'a [u8]),
}

impl<'a> Form<'a> {
    /// The form of these bytes. One look at each byte for what is text, and a parse for what looks like JSON.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        match str::from_utf8(bytes) {
            Err(_) => Self::Bytes(bytes),
            Ok(text) => Self::of_text(text),
        }
    }

    fn of_text(text: &'a str) -> Self {
        let value = text.trim_end_matches([' ', '\t', '\r', '\n']);
        let may_be_json =
            matches!(value.as_bytes().first(), Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'));
        // Within a value, a line end would end the line.
        if may_be_json
            && memchr::memchr2(b'\n', b'\r', value.as_bytes()).is_none()
            && serde_json::from_str::<IgnoredAny>(value).is_ok()
        {
            return Self::Json { value, end: &text[value.len()..] };
        }
        Self::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stands_as_it_is_and_what_follows_it_apart() {
        for (payload, value, end) in [
            ("{\"a\": 1.50}", "{\"a\": 1.50}", ""),
            ("[1, 2]\n", "[1, 2]", "\n"),
            ("\"text\" \r\n\n", "\"text\"", " \r\n\n"),
            ("-0", "-0", ""),
            ("null\t", "null", "\t"),
        ] {
            assert_eq!(Form::of(payload.as_bytes()), Form::Json { value, end }, "{payload:?}");
        }
    }

    #[test]
    fn what_would_not_come_back_exactly_is_text() {
        for payload in ["", " {}", "{\"a\":\n1}", "{\"a\":1}{", "nul", "hello", "{\"a\":\r1}", "01"] {
            assert_eq!(Form::of(payload.as_bytes()), Form::Text(payload), "{payload:?}");
        }
        assert_eq!(Form::of(b"{\xff}"), Form::Bytes(b"{\xff}"));
    }
}
