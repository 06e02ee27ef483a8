//! The words of the protocols that answers are streamed in: what a frame's data says, or a payload that is JSON.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::choices::{self, Choices};
use crate::failure;

/// The meaning of the data.
#[derive(Debug, PartialEq)]
pub(crate) enum Words<'a> {
    /// A chunk of OpenAI's chat completions, as it is to be sent.
    Chunk { text: Cow<'a, str>, piece: Piece },
    /// The answer has failed: an object with the `error`, as it is to be sent.
    Error(Cow<'a, str>),
    /// The end of the stream.
    Done,
    /// Another object. One that is nested too deeply to be understood has no fields.
    Other(Map<String, Value>),
    /// Something else.
    Unknown,
}

/// The answer that a chunk is a piece of, and what it is a piece of there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Piece {
    /// The answer's id.
    pub(crate) id: Option<String>,
    /// The choices that it speaks of.
    pub(crate) choices: Choices,
    /// Those of them that end with it.
    pub(crate) finished: Choices,
}

impl Piece {
    /// The piece that an object is. One without choices belongs to an answer, and to none of its choices.
    pub(crate) fn of(object: &Value) -> Self {
        let id = object["id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
        let finished = Choices::of(object, choices::finishes);
        Self { id, choices: Choices::of(object, |_| true), finished }
    }
}

impl<'a> Words<'a> {
    /// Those of data in a frame of type `event`.
    pub(crate) fn of_frame(event: &str, data: &'a str) -> Self {
        match Self::of(data) {
            words if !failure::is_type(event) => words,
            Self::Error(text) => Self::Error(text),
            Self::Other(object) => Self::error(failure::as_error(&object)),
            Self::Chunk { .. } | Self::Done | Self::Unknown => Self::error(json!({ "message": data })),
        }
    }

    /// Those of a text that says itself what it is.
    pub(crate) fn of(text: &'a str) -> Self {
        let text = text.trim();
        if text == "[DONE]" {
            return Self::Done;
        }
        let text = strict(text);
        let object = match parse(&text) {
            Some(Value::Object(object)) => object,
            // Some servers put what they send in place of an answer into a list.
            Some(Value::Array(list)) => match list.iter().find_map(|value| failure::of(value.as_object()?)) {
                Some(error) => return Self::error(error),
                None => return Self::Unknown,
            },
            _ => return Self::Unknown,
        };
        match failure::of(&object) {
            Some(error) if is_chunk(&object) => Self::Error(failed_chunk(text, object, error)),
            // Clients find the error there.
            Some(error) if object.get("error") == Some(&error) => Self::Error(text),
            Some(error) => Self::error(error),
            None if is_chunk(&object) => Self::Chunk { text, piece: Piece::of(&Value::Object(object)) },
            None => Self::Other(object),
        }
    }

    /// Those of a text that is a chunk, of an answer that goes on or has failed; `None`: it is something else.
    pub(crate) fn of_chunk(text: &'a str) -> Option<Self> {
        let Some(Value::Object(object)) = parse(&strict(text.trim())) else { return None };
        is_chunk(&object).then(|| Self::of(text))
    }

    fn error(error: Value) -> Self {
        Self::Error(Cow::Owned(json!({ "error": error }).to_string()))
    }
}

/// A chunk without the reasons to finish that it gives: those of an answer that fails after all.
pub(crate) fn unfinished(text: &str) -> Cow<'_, str> {
    match parse(text) {
        Some(mut chunk) if !Piece::of(&chunk).finished.is_empty() => {
            take_reasons(&mut chunk);
            Cow::Owned(chunk.to_string())
        }
        _ => Cow::Borrowed(text),
    }
}

/// A chunk of an answer that has failed: the error stands where clients look for it, and no choice has come to its end.
fn failed_chunk(text: Cow<'_, str>, chunk: Map<String, Value>, error: Value) -> Cow<'_, str> {
    let mut failed = Value::Object(chunk);
    if failed["error"] == error && Piece::of(&failed).finished.is_empty() {
        return text;
    }
    // Only a reason to finish says it.
    let is_stated = error.get("choices").is_none();
    failed["error"] = if is_stated { error } else { json!({ "message": "the answer finished with an error" }) };
    take_reasons(&mut failed);
    Cow::Owned(failed.to_string())
}

fn take_reasons(chunk: &mut Value) {
    let choices = chunk.get_mut("choices").and_then(Value::as_array_mut);
    for choice in choices.into_iter().flatten().filter_map(Value::as_object_mut) {
        choice.insert("finish_reason".to_owned(), Value::Null);
        choice.remove("finishReason");
    }
}

/// The value of a text of JSON, as lenient readers understand it: half of a surrogate pair is a character that cannot
/// be shown; a number that is too large is none, nor are `NaN` and `Infinity`. An object that is nested too deeply to
/// be understood has no fields.
pub(crate) fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text)
        .ok()
        .or_else(|| serde_json::from_str(&lenient(text)?).ok())
        .or_else(|| is_object(text).then(|| Value::Object(Map::new())))
}

/// Returns whether a text is an object of JSON, however deeply nested.
fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// True if an object is a chunk. Some servers leave out its type, or leave it empty.
fn is_chunk(object: &Map<String, Value>) -> bool {
    let has_delta = |choice: &Value| choice.get("delta").is_some();
    match object.get("object").map(Value::as_str) {
        Some(Some("chat.completion.chunk")) => true,
        None | Some(Some("")) => {
            object.get("choices").and_then(Value::as_array).is_some_and(|choices| choices.iter().all(has_delta))
        }
        _ => false,
    }
}

/// The text as JSON has it: `NaN` and `Infinity`, which some programs write for numbers, become `null`.
fn strict(text: &str) -> Cow<'_, str> {
    if !text.starts_with('{') || !(text.contains("NaN") || text.contains("Infinity")) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(replaced(text, |place| if place.is_string { None } else { no_number(place) }))
}

/// The text with what only lenient readers take in a form that all take. `None`: there is nothing of that.
fn lenient(text: &str) -> Option<String> {
    let mut has_any = false;
    let replaced = replaced(text, |place| {
        let odd =
            if place.is_string { lone_surrogate(place) } else { no_number(place).or_else(|| large_number(place)) };
        has_any |= odd.is_some();
        odd
    });
    has_any.then_some(replaced)
}

/// A place in a text of JSON.
struct Place<'a> {
    /// The text before it, as it has been written.
    before: &'a str,
    rest: &'a str,
    is_string: bool,
}

/// Replaces what `odd` finds at each place: so many bytes by another text.
fn replaced(text: &str, mut odd: impl FnMut(&Place<'_>) -> Option<(usize, &'static str)>) -> String {
    let (mut out, mut rest, mut is_string) = (String::with_capacity(text.len()), text, false);
    while let Some(next) = rest.chars().next() {
        if let Some((bytes, replacement)) = odd(&Place { before: &out, rest, is_string }) {
            out.push_str(replacement);
            rest = &rest[bytes..];
            continue;
        }
        let escaped = if is_string && next == '\\' { rest[1..].chars().next() } else { None };
        let taken = next.len_utf8() + escaped.map_or(0, char::len_utf8);
        is_string ^= next == '"';
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// An escape that is one half of a surrogate pair, without the other.
fn lone_surrogate(place: &Place<'_>) -> Option<(usize, &'static str)> {
    let half = surrogate(place.rest)?;
    let is_first = half < 0xdc00;
    let is_second = |text: &str| surrogate(text).is_some_and(|half| half >= 0xdc00);
    let follows_first = || {
        let start = place.before.len().checked_sub(ESCAPE_BYTES)?;
        surrogate(place.before.get(start..)?).filter(|half| *half < 0xdc00)
    };
    let is_pair = if is_first { is_second(&place.rest[ESCAPE_BYTES..]) } else { follows_first().is_some() };
    (!is_pair).then_some((ESCAPE_BYTES, "\\ufffd"))
}

/// Bytes of an escape such as `\ud83d`.
const ESCAPE_BYTES: usize = 6;

/// The half of a surrogate pair that a text begins with, escaped.
fn surrogate(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok().filter(|half| (0xd800..0xe000).contains(half))
}

/// A word for what is no number, as Python writes it.
fn no_number(place: &Place<'_>) -> Option<(usize, &'static str)> {
    let words = ["NaN", "-Infinity", "Infinity"];
    words.into_iter().find(|word| place.rest.starts_with(word)).map(|word| (word.len(), "null"))
}

/// A number beyond those that a double has.
fn large_number(place: &Place<'_>) -> Option<(usize, &'static str)> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.');
    if place.before.ends_with(is_part) || !place.rest.starts_with(|char: char| char == '-' || char.is_ascii_digit()) {
        return None;
    }
    let number = &place.rest[..place.rest.find(|char| !is_part(char)).unwrap_or(place.rest.len())];
    number.parse::<f64>().is_ok_and(f64::is_infinite).then_some((number.len(), "null"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_pass_as_they_stand() {
        for text in [
            r#"{"object":"chat.completion.chunk","choices":[{"delta":{"content": "a"},"finish_reason":null}]}"#,
            r#"{"object":"","choices":[],"prompt_filter_results":[]}"#,
            r#"{"choices":[{"delta":{}}]}"#,
        ] {
            assert!(matches!(Words::of(text), Words::Chunk { text: sent, .. } if sent == text), "{text}");
        }
        let last = r#"{"object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"length"}]}"#;
        let piece = Piece { id: None, choices: Choices::FIRST, finished: Choices::FIRST };
        assert_eq!(Words::of(last), Words::Chunk { text: last.into(), piece });
        assert_eq!(Words::of(" [DONE]\n"), Words::Done);
    }

    #[test]
    fn numbers_that_json_lacks_become_null() {
        let text = r#"{"choices":[{"delta":{"content":"NaN \" Infinity\\"},"logprobs":[NaN,-Infinity,Infinity]}]}"#;
        let expected = r#"{"choices":[{"delta":{"content":"NaN \" Infinity\\"},"logprobs":[null,null,null]}]}"#;
        assert!(matches!(Words::of(text), Words::Chunk { text: sent, .. } if sent == expected));
    }

    #[test]
    fn chunks_that_only_lenient_readers_take_pass_as_they_stand() {
        for odd in
            [r#""\ud83d""#, r#""\ude00\ud83d""#, "1e999", "-1E+400", "[0.001e999]", "123456789012345678901234567890"]
        {
            let text = format!("{{\"choices\":[{{\"delta\":{{\"content\":\"1e999\"}}}}],\"odd\":{odd}}}");
            assert!(matches!(Words::of(&text), Words::Chunk { text: sent, .. } if sent == text));
        }
        assert_eq!(
            parse(r#"["\ud83d\ude00","a\ude00\ud83d",0.001e310,1e309]"#),
            Some(json!(["😀", "a\u{fffd}\u{fffd}", 1e307, null]))
        );
        assert_eq!(parse(r#"["\ud83d\ude0"#), None);
        assert_eq!(parse(r#"{"a":[NaN,-Infinity],"b":"NaN"}"#), Some(json!({"a": [null, null], "b": "NaN"})));
    }

    #[test]
    fn an_object_is_one_however_deep() {
        let deep = format!("{{\"text\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Words::of(&deep), Words::Other(Map::new()));
        assert_eq!(Words::of(&deep[..200]), Words::Unknown);
    }

    #[test]
    fn failures_are_errors_whatever_their_form() {
        let error =
            |event, data, expected: &str| assert_eq!(Words::of_frame(event, data), Words::Error(expected.into()));
        error("", r#"{"error":{"message":"m"}}"#, r#"{"error":{"message":"m"}}"#);
        error("", r#"{"error":"m"}"#, r#"{"error":"m"}"#);
        error("error", r#"{"type":"error","error":{"type":"t"}}"#, r#"{"type":"error","error":{"type":"t"}}"#);
        error("error", r#"{"message":"m"}"#, r#"{"error":{"message":"m"}}"#);
        error("error", "out of memory", r#"{"error":{"message":"out of memory"}}"#);
        error("error", r#"{"choices":[{"delta":{}}]}"#, r#"{"error":{"message":"{\"choices\":[{\"delta\":{}}]}"}}"#);
        error("error", "[DONE]", r#"{"error":{"message":"[DONE]"}}"#);
        error("Error", r#"{"message":"m"}"#, r#"{"error":{"message":"m"}}"#);
        error("", r#"{"object":"error","message":"m"}"#, r#"{"error":{"message":"m","object":"error"}}"#);
        error("", r#"{"detail":"m"}"#, r#"{"error":{"detail":"m","message":"m"}}"#);
        error("", r#"{"errors":[{"message":"m"}]}"#, r#"{"error":[{"message":"m"}]}"#);
        error("", r#"[{"error":{"code":503}}]"#, r#"{"error":{"code":503}}"#);
        error("", r#"{"type":"response.failed","response":{"error":{"code":"c"}}}"#, r#"{"error":{"code":"c"}}"#);
        let chunk = r#"{"object":"chat.completion.chunk","error":{"code":502},"choices":[]}"#;
        error("", chunk, chunk);
        // Clients look for the error at the top level, and an answer that has failed has no reason to finish.
        error(
            "",
            r#"{"choices":[{"delta":{},"error":{"code":1},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"delta":{},"error":{"code":1},"finish_reason":null}],"error":{"code":1}}"#,
        );
        error(
            "",
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"error"}],"error":null}"#,
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"error":{"message":"the answer finished with an error"}}"#,
        );
        error(
            "",
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}],"error":"m"}"#,
            r#"{"choices":[{"delta":{},"finish_reason":null}],"error":"m"}"#,
        );
        assert!(matches!(Words::of(r#"{"error":null,"choices":[{"delta":{}}]}"#), Words::Chunk { .. }));
    }

    #[test]
    fn other_protocols_are_other() {
        for text in [
            r#"{"object":"text_completion","choices":[{"text":"a"}]}"#,
            r#"{"type":"content_block_delta","delta":{"text":"a"}}"#,
            r#"{"type":"response.output_text.delta","delta":"a"}"#,
            r#"{"response":{"error":null}}"#,
        ] {
            assert!(matches!(Words::of_frame("x", text), Words::Other(_)), "{text}");
        }
        for text in ["", "hello", "[1]", "{", "\"a\"", "{\"a\":NaNa}"] {
            assert_eq!(Words::of(text), Words::Unknown, "{text}");
        }
    }
}
