//! The convention by which an object of JSON is a piece of an answer: it has its text in `content`, `text` or `delta`,
//! and no field says that this is something else than what the model answers.
//!
//! | field | the object is no piece of an answer if |
//! |---|---|
//! | `role`, `author`, `sender`, `speaker`, `from` | it names another than the model (`MODELS`) |
//! | `type`, `kind`, `event`, `event_type`, `object` | it is none of `TEXT_TYPES` |
//! | `channel`, `stream` | it is one of `SIDE_CHANNELS` |
//! | `thought`, `thinking`, `reasoning` | it is `true` |
//! | a field of `MARKS` | it is there |

use serde_json::{Map, Value};

use crate::failure::says_something;

/// The places of the text.
const TEXTS: [&str; 3] = ["content", "text", "delta"];

/// Fields that say who speaks.
const SPEAKERS: [&str; 5] = ["role", "author", "sender", "speaker", "from"];

/// The names that models have there.
const MODELS: [&str; 4] = ["assistant", "model", "ai", "bot"];

/// Fields that say what an object is.
const TYPES: [&str; 5] = ["type", "kind", "event", "event_type", "object"];

/// Types of what the model answers.
const TEXT_TYPES: [&str; 6] = ["token", "text", "content", "delta", "text_delta", "text-delta"];

/// Names of channels and streams beside the answer.
const SIDE_CHANNELS: [&str; 4] = ["analysis", "commentary", "stderr", "stdout"];

/// Fields of what tools and programs write.
const MARKS: [&str; 10] = [
    "tool",
    "tool_name",
    "tool_call_id",
    "tool_use_id",
    "toolCallId",
    "function",
    "level",
    "levelname",
    "severity",
    "logger",
];

/// The text of an object that is a piece of an answer.
pub(crate) fn text(object: &Map<String, Value>) -> Option<&str> {
    let text = || TEXTS.iter().find_map(|name| object.get(*name)?.as_str());
    if is_something_else(object) { None } else { text() }
}

/// Returns whether an object says that it is of another speaker than the model: of the user, of a tool, of a program.
pub(crate) fn is_of_another_speaker(object: &Map<String, Value>) -> bool {
    let is_another = |value: &Value| match value {
        Value::Null => false,
        Value::Object(author) => !author.get("role").is_some_and(|role| is_one_of(role, &MODELS)),
        name => !is_one_of(name, &MODELS),
    };
    SPEAKERS.iter().any(|name| object.get(*name).is_some_and(is_another))
}

fn is_something_else(object: &Map<String, Value>) -> bool {
    let is = |name: &str, holds: &dyn Fn(&Value) -> bool| object.get(name).is_some_and(holds);
    is_of_another_speaker(object)
        || TYPES.iter().any(|name| is(name, &|value| !value.is_null() && !is_one_of(value, &TEXT_TYPES)))
        || ["channel", "stream"].iter().any(|name| is(name, &|value| is_one_of(value, &SIDE_CHANNELS)))
        || ["thought", "thinking", "reasoning"].iter().any(|name| object.get(*name) == Some(&Value::Bool(true)))
        || MARKS.iter().any(|name| is(name, &says_something))
}

fn is_one_of(value: &Value, names: &[&str]) -> bool {
    value.as_str().is_some_and(|value| names.iter().any(|name| name.eq_ignore_ascii_case(value.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_model_answers_is_a_piece_of_an_answer() {
        let text = |json: &str| {
            let Ok(Value::Object(object)) = serde_json::from_str(json) else { panic!("no object: {json}") };
            text(&object).map(str::to_owned)
        };
        for piece in [
            r#"{"text":"a"}"#,
            r#"{"s":"chat-1","n":1,"content":"a"}"#,
            r#"{"delta":"a","type":"text-delta"}"#,
            r#"{"type":"Token","text":"a"}"#,
            r#"{"role":"assistant","content":"a","level":null,"type":null}"#,
            r#"{"author":{"role":"assistant"},"content":"a"}"#,
            r#"{"channel":"final","text":"a","thought":false}"#,
            r#"{"user":"u-7","channel":"C42","content":"a"}"#,
        ] {
            assert_eq!(text(piece).as_deref(), Some("a"), "{piece}");
        }
        for other in [
            r#"{"n":1}"#,
            r#"{"delta":{"text":"a"}}"#,
            r#"{"role":"user","content":"a"}"#,
            r#"{"role":"tool","content":"a"}"#,
            r#"{"role":"System","content":"a"}"#,
            r#"{"role":"developer","content":"a"}"#,
            r#"{"author":{"name":"me"},"text":"a"}"#,
            r#"{"from":"human","text":"a"}"#,
            r#"{"type":"log","text":"a"}"#,
            r#"{"type":"reasoning-delta","delta":"a"}"#,
            r#"{"type":"user_message","text":"a"}"#,
            r#"{"kind":"tool_result","text":"a"}"#,
            r#"{"type":7,"text":"a"}"#,
            r#"{"object":"thread.message","content":"a"}"#,
            r#"{"level":"info","text":"a"}"#,
            r#"{"tool":"search","content":"a"}"#,
            r#"{"tool_call_id":"c1","content":"a"}"#,
            r#"{"thought":true,"text":"a"}"#,
            r#"{"channel":"analysis","text":"a"}"#,
            r#"{"stream":"stderr","text":"a"}"#,
        ] {
            assert_eq!(text(other), None, "{other}");
        }
    }
}
