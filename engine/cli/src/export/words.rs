//! The words of OpenAI's protocol in a frame's data, or in a payload that is JSON.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// The meaning of the data.
#[derive(Debug, PartialEq)]
pub(super) enum Words<'a> {
    /// A chunk, as it is to be sent. Whether it gives a reason to finish.
    Chunk { text: Cow<'a, str>, finishes: bool },
    /// The answer has failed: an object with the `error`, as it is to be sent.
    Error(Cow<'a, str>),
    /// The end of the stream.
    Done,
    /// Another object.
    Other(Map<String, Value>),
    /// Something else.
    Unknown,
}

impl<'a> Words<'a> {
    /// Those of data in a frame of type `event`.
    pub(super) fn of_frame(event: &str, data: &'a str) -> Self {
        match Self::of(data) {
            Self::Other(object) if event == "error" => Self::error(Value::Object(object)),
            Self::Unknown if event == "error" => Self::error(json!({ "message": data })),
            words => words,
        }
    }

    /// Those of a text that says itself what it is.
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.trim();
        if text == "[DONE]" {
            return Self::Done;
        }
        let text = strict(text);
        let Ok(Value::Object(object)) = serde_json::from_str(&text) else { return Self::Unknown };
        let is_error = object.get("error").is_some_and(|error| !error.is_null());
        match object.get("object").and_then(Value::as_str) {
            _ if is_chunk(&object) && is_error => Self::Error(text),
            _ if is_chunk(&object) => Self::Chunk { text, finishes: finishes(&object) },
            _ if is_error => Self::Error(text),
            Some("error") => Self::error(Value::Object(object)),
            // The end of a failed stream of Responses.
            _ => match object.get("response").and_then(|response| response.get("error")) {
                Some(error) if !error.is_null() => Self::error(error.clone()),
                _ => Self::Other(object),
            },
        }
    }

    fn error(error: Value) -> Self {
        Self::Error(Cow::Owned(json!({ "error": error }).to_string()))
    }
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

fn finishes(object: &Map<String, Value>) -> bool {
    let choices = object.get("choices").and_then(Value::as_array);
    let mut reasons = choices.into_iter().flatten().filter_map(|choice| choice.get("finish_reason"));
    reasons.any(|reason| !reason.is_null())
}

/// The text as JSON has it: `NaN` and `Infinity`, which some programs write for numbers, become `null`.
fn strict(text: &str) -> Cow<'_, str> {
    if !text.starts_with('{') || !(text.contains("NaN") || text.contains("Infinity")) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest, mut is_string) = (String::with_capacity(text.len()), text, false);
    while let Some(next) = rest.chars().next() {
        let number = ["NaN", "-Infinity", "Infinity"].into_iter().find(|number| !is_string && rest.starts_with(number));
        let taken = match (number, next) {
            (Some(number), _) => {
                out.push_str("null");
                rest = &rest[number.len()..];
                continue;
            }
            (None, '\\') if is_string => next.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, _) => next.len_utf8(),
        };
        is_string ^= next == '"';
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Cow::Owned(out)
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
            assert_eq!(Words::of(text), Words::Chunk { text: text.into(), finishes: false }, "{text}");
        }
        let last = r#"{"object":"chat.completion.chunk","choices":[{"delta":{},"finish_reason":"length"}]}"#;
        assert_eq!(Words::of(last), Words::Chunk { text: last.into(), finishes: true });
        assert_eq!(Words::of(" [DONE]\n"), Words::Done);
    }

    #[test]
    fn numbers_that_json_lacks_become_null() {
        let text = r#"{"choices":[{"delta":{"content":"NaN \" Infinity\\"},"logprobs":[NaN,-Infinity,Infinity]}]}"#;
        let expected = r#"{"choices":[{"delta":{"content":"NaN \" Infinity\\"},"logprobs":[null,null,null]}]}"#;
        assert_eq!(Words::of(text), Words::Chunk { text: expected.into(), finishes: false });
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
        error("", r#"{"object":"error","message":"m"}"#, r#"{"error":{"message":"m","object":"error"}}"#);
        error("", r#"{"type":"response.failed","response":{"error":{"code":"c"}}}"#, r#"{"error":{"code":"c"}}"#);
        let chunk = r#"{"object":"chat.completion.chunk","error":{"code":502},"choices":[]}"#;
        error("", chunk, chunk);
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
