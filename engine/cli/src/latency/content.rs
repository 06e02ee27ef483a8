//! The meaning of an event for someone who waits for tokens: whether it has any content, what it is, and of which
//! model.
//!
//! Servers send more than content: comments that keep a connection open, a chunk that says whose words follow, one
//! with the reason to finish, one with the usage, `[DONE]`. None of these is a token.

use serde_json::Value;
use tapeline_reader::{StoredEvent, sse};

/// The meaning of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// True if there is anything in it that a reader of the stream waits for.
    pub(super) has_content: bool,
    /// The name of the event in its protocol; `None`: it speaks none that is known.
    pub(super) what: Option<String>,
    /// The model that it names.
    pub(super) model: Option<String>,
}

impl Said {
    /// Understands an event. One that is neither a server-sent event nor JSON has content, whatever it is; in a
    /// stream of server-sent events, part of one that was too large to be one event has none. Costs the parsing of
    /// its JSON.
    pub(super) fn of(event: &StoredEvent, is_stream: bool) -> Self {
        if let Some(frames) = sse::frames_of_payload(&event.raw) {
            let none = Self { has_content: false, what: Some("comment".to_owned()), model: None };
            return frames.filter_map(|frame| Self::of_data(&frame.event(), &frame.data()?)).fold(none, Self::and);
        }
        let value = event.raw.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(&event.raw).ok());
        match value.flatten() {
            Some(value) => Self::of_json(&value),
            None => Self { has_content: !is_stream, what: None, model: None },
        }
    }

    /// The data of a server-sent event of this type. `None` for a blank one.
    fn of_data(event: &str, data: &str) -> Option<Self> {
        let named = |what: &str| if event.is_empty() { what.to_owned() } else { event.to_owned() };
        match data.trim() {
            "" => None,
            "[DONE]" => Some(Self { has_content: false, what: Some("[DONE]".to_owned()), model: None }),
            data => Some(match serde_json::from_str::<Value>(data) {
                Ok(value @ Value::Object(_)) => {
                    let said = Self::of_json(&value);
                    Self { what: Some(said.what.unwrap_or_else(|| named("data"))), ..said }
                }
                _ => Self { has_content: true, what: Some(named("data")), model: None },
            }),
        }
    }

    fn of_json(value: &Value) -> Self {
        let has_content = has_content(value);
        let word = |name: &str| value[name].as_str().filter(|word| !word.is_empty()).map(str::to_owned);
        // A type says more of itself than an object, which is the same for all chunks.
        let object =
            || word("object").map(|object| if has_content { object } else { format!("{object} without content") });
        let models = [&value["model"], &value["message"]["model"], &value["response"]["model"], &value["modelVersion"]];
        Self {
            has_content,
            what: word("type").or_else(object),
            model: models
                .into_iter()
                .find_map(|model| model.as_str().filter(|model| !model.is_empty()).map(str::to_owned)),
        }
    }

    /// Of two in one event.
    fn and(self, other: Self) -> Self {
        let (first, second) = if self.has_content { (self, other) } else { (other, self) };
        Self { model: first.model.or(second.model), ..first }
    }
}

/// True if a chunk of one of the protocols brings content. An object of none of them does.
fn has_content(value: &Value) -> bool {
    if !value["error"].is_null() {
        return false;
    }
    if let Some(choices) = value["choices"].as_array() {
        // OpenAI's chat completions and completions.
        return choices.iter().any(|choice| is_filled(&choice["text"]) || brings(&choice["delta"]));
    }
    if let Some(candidates) = value["candidates"].as_array() {
        // Gemini.
        let parts = candidates.iter().filter_map(|candidate| candidate["content"]["parts"].as_array()).flatten();
        return parts.into_iter().any(is_filled);
    }
    if let Some(kind) = value["type"].as_str() {
        // OpenAI's responses and Anthropic's messages. Others say what they like.
        let is_known = kind.starts_with("response.")
            || ["message_", "content_block_", "ping"].into_iter().any(|known| kind.starts_with(known));
        if is_known {
            return kind.ends_with("delta") && kind != "message_delta" && brings_delta(&value["delta"]);
        }
    }
    if value["done"].is_boolean() && (value["message"].is_object() || value["response"].is_string()) {
        // Ollama.
        let message = &value["message"];
        return [&value["response"], &message["content"], &message["thinking"], &message["tool_calls"]]
            .into_iter()
            .any(is_filled);
    }
    // Lines of JSON that have a place for text.
    let texts = ["content", "text", "delta"].map(|name| &value[name]);
    let there: Vec<_> = texts.into_iter().filter(|text| text.is_string()).collect();
    there.is_empty() || there.into_iter().any(is_filled)
}

/// True if the delta of a chat has more than whose words these are.
fn brings(delta: &Value) -> bool {
    let said = ["content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio"];
    said.into_iter().any(|name| is_filled(&delta[name]))
}

/// True if a delta that is a text, or an object with one, has any; a signature is none.
fn brings_delta(delta: &Value) -> bool {
    let said = ["text", "thinking", "partial_json", "citation"];
    delta.as_str().is_some_and(|text| !text.is_empty()) || said.into_iter().any(|name| is_filled(&delta[name]))
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_content(json: &str) -> bool {
        Said::of_json(&serde_json::from_str(json).expect("JSON")).has_content
    }

    #[test]
    fn content_differs_from_what_servers_send_beside_it() {
        for content in [
            r#"{"object":"chat.completion.chunk","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#,
            r#"{"object":"text_completion","choices":[{"text":"a"}]}"#,
            r#"{"type":"response.output_text.delta","delta":"a"}"#,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#,
            r#"{"model":"llama","message":{"role":"assistant","content":"a"},"done":false}"#,
            r#"{"model":"llama","response":"a","done":false}"#,
            r#"{"content":"a"}"#,
            r#"{"n":1}"#,
            r#"{"type":"vote","n":1}"#,
        ] {
            assert!(has_content(content), "{content}");
        }
        for other in [
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"completion_tokens":10}}"#,
            r#"{"choices":[{"text":"","finish_reason":"stop"}]}"#,
            r#"{"type":"response.created","response":{"model":"m"}}"#,
            r#"{"type":"response.output_text.done","text":"all of it"}"#,
            r#"{"type":"message_start","message":{"model":"m"}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"x"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
            r#"{"type":"ping"}"#,
            r#"{"candidates":[{"finishReason":"STOP"}]}"#,
            r#"{"model":"llama","message":{"content":""},"done":true}"#,
            r#"{"error":{"message":"overloaded"}}"#,
            r#"{"content":""}"#,
        ] {
            assert!(!has_content(other), "{other}");
        }
    }

    #[test]
    fn models_are_named_in_several_places() {
        for json in [
            r#"{"model":"m"}"#,
            r#"{"type":"message_start","message":{"model":"m"}}"#,
            r#"{"type":"response.created","response":{"model":"m"}}"#,
            r#"{"modelVersion":"m","candidates":[]}"#,
        ] {
            assert_eq!(Said::of_json(&serde_json::from_str(json).expect("JSON")).model.as_deref(), Some("m"), "{json}");
        }
    }
}
