//! A line that `tapeline export` wrote, read back.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use tapeline_reader::{Kind, SessionId, SessionOpening, kinds};

use crate::human;

/// The advice for lines of another origin.
const HINT: &str = "`tapeline record --format jsonl` takes any line";

/// The line as it stands. What else it says of the event (its id, the time in words) follows from these.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) shard: u16,
    pub(super) sequence: u64,
    pub(super) timestamp: u64,
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    /// The session's name.
    #[serde(borrow, rename = "session")]
    name: Option<Cow<'a, str>>,
    /// The payload of the event that opened the session, where that is no line.
    #[serde(borrow)]
    opened: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    payload_end: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload_text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload_base64: Option<Cow<'a, str>>,
}

/// A value that is there, which may be `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Line<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// The fault, in words.
    pub(super) fn parse(line: &'a str) -> Result<Self, String> {
        let line = line.trim_end_matches(['\n', '\r']);
        serde_json::from_str(line).map_err(|error| {
            if !line.trim_start().starts_with('{') {
                return format!("no JSON object, and so no line of `tapeline export`; {HINT}");
            }
            // The place in the input is named by the caller.
            let words = error.to_string();
            let what = words.rsplit_once(" at line ").map_or(&*words, |(what, _)| what);
            let place = format!("no line of `tapeline export`: {what} (at its column {})", error.column());
            match error.classify() {
                Category::Eof => format!("cut off after {}: {what}", human::some(line.len() as u64, "byte")),
                Category::Data => format!("{place}; {HINT}"),
                _ => place,
            }
        })
    }

    pub(super) fn session(&self) -> Result<SessionId, String> {
        let id = (self.session_id.len() == 32).then(|| u128::from_str_radix(&self.session_id, 16).ok()).flatten();
        id.map(SessionId).ok_or_else(|| format!("session_id {:?} is not 32 hexadecimal digits", self.session_id))
    }

    /// The opening of the session, as far as the line says.
    pub(super) fn opening(&self) -> SessionOpening {
        let stated = self.opened.map(|opened| SessionOpening::parse(opened.get().as_bytes()));
        let mut opening = stated.unwrap_or_default();
        opening.name = self.name.as_deref().map(str::to_owned);
        opening
    }

    pub(super) fn kind(&self) -> Result<Kind, String> {
        kinds::parse(&self.kind).ok_or_else(|| format!("kind {:?} is neither a name nor a number", self.kind))
    }

    /// The payload's bytes, exactly as they were.
    pub(super) fn payload(&self) -> Result<Cow<'_, [u8]>, String> {
        match (self.payload, &self.payload_text, &self.payload_base64) {
            (Some(json), None, None) => Ok(match &self.payload_end {
                None => Cow::Borrowed(json.get().as_bytes()),
                Some(end) => Cow::Owned([json.get().as_bytes(), end.as_bytes()].concat()),
            }),
            (None, Some(text), None) => Ok(Cow::Borrowed(text.as_bytes())),
            (None, None, Some(base64)) => {
                STANDARD.decode(base64.as_bytes()).map(Cow::Owned).map_err(|error| format!("payload_base64: {error}"))
            }
            _ => Err("one of payload, payload_text and payload_base64 is needed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(rest: &str) -> String {
        format!(
            "{{\"shard\":1,\"sequence\":2,\"timestamp\":3,\"session_id\":\"{}\",\"kind\":\"token\"{rest}}}",
            "0a".repeat(16)
        )
    }

    #[test]
    fn payloads_come_back_exactly() {
        for (rest, payload) in [
            (r#","payload":{"a": 1.50}"#, &b"{\"a\": 1.50}"[..]),
            (r#","payload":null,"payload_end":"\r\n""#, b"null\r\n"),
            (r#","payload_text":"a\n\u0000b""#, b"a\n\0b"),
            (r#","payload_base64":"/wo=""#, b"\xff\n"),
        ] {
            let line = line(rest);
            let line = Line::parse(&line).expect("a line");
            assert_eq!(line.payload().as_deref(), Ok(payload), "{rest}");
            assert_eq!((line.kind(), line.session()), (Ok(kinds::TOKEN), Ok(SessionId(u128::from_be_bytes([10; 16])))));
        }
    }

    #[test]
    fn lines_of_other_forms_are_refused_in_words() {
        for other in ["{\"text\":\"hello\"}\n", "text\n", "[1]", "1", "{\"shard\":\"x\"}"] {
            assert!(Line::parse(other).expect_err("no line").contains("`tapeline record --format jsonl`"), "{other}");
        }
        assert!(Line::parse("{\"text\":\"hello\"}").expect_err("no line").contains("shard"));
        let whole = line(r#","payload":{"a":"b"}"#);
        for length in 1..whole.len() {
            for end in ["", "\n", "\r\n"] {
                let error = Line::parse(&format!("{}{end}", &whole[..length])).expect_err("cut off");
                assert!(error.starts_with(&format!("cut off after {length} byte")), "{length}: {error}");
            }
        }
        assert!(Line::parse(&line("")).expect("a line").payload().is_err());
        assert!(Line::parse(&line(r#","payload":1,"payload_text":"1""#)).expect("a line").payload().is_err());
        assert!(Line::parse(&line(r#","payload_base64":"*""#)).expect("a line").payload().is_err());
    }
}
