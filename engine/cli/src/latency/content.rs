//! The meaning of an event for someone who waits for tokens: whether it has any content, what it is, and of which
//! model.
//!
//! Servers send more than content: comments that keep a connection open, a chunk that says whose words follow, one
//! with the reason to finish, one with the usage, `[DONE]`. None of these is a token.

use serde_json::{Map, Value};
use tapeline_reader::{StoredEvent, sse};

use crate::choices::{self, Choices};
use crate::recorded::{Line, Recorded};
use crate::words::Piece;
use crate::{convention, failure, words};

/// The meaning of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    /// The choices to which it brings anything that a reader of the stream waits for.
    pub(super) content: Choices,
    /// The answer that it is a piece of, as far as it says.
    pub(super) piece: Piece,
    /// The thing that ends with it, if one does.
    pub(super) end: Option<End>,
    /// The name of the event in its protocol; `None`: it speaks none that is known.
    pub(super) what: Option<String>,
    /// The model that it names.
    pub(super) model: Option<String>,
}

/// The end of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Of an answer: what follows belongs to the next, but for the end of its stream.
    Answer,
    /// Of the stream of an answer: what follows belongs to the next.
    Stream,
}

/// The form that data may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DataForm {
    Json,
    JsonOrText,
}

impl Said {
    /// Understands an event. One that is neither a server-sent event nor JSON has content, whatever it is, unless it
    /// was recorded as one of them. Costs the parsing of its JSON.
    pub(super) fn of(event: &StoredEvent, recorded: Recorded) -> Self {
        match (recorded, Line::of(&event.raw)) {
            // A frame, a part of one that was too large to be one event, or one that was broken off.
            (Recorded::Frames, _) => Self::of_frames(sse::frames(&event.raw), DataForm::JsonOrText),
            (Recorded::Lines, Line::Blank) => Self::named("blank"),
            (Recorded::Lines, Line::Field(line)) => match sse::sole_frame(line) {
                Some(frame) => Self::of_frames([frame], DataForm::Json),
                None => Self::of_frames(sse::frames(line), DataForm::Json),
            },
            (Recorded::Lines, Line::Object(text) | Line::Other(text)) => {
                Self::of_data("", &String::from_utf8_lossy(text), DataForm::Json).unwrap_or_default()
            }
            (Recorded::Unknown | Recorded::Bytes, line) => match sse::frames_of_payload(&event.raw) {
                Some(frames) => Self::of_frames(frames, DataForm::JsonOrText),
                None if line.is_whole_event() => Self::of_frames(sse::sole_frame(&event.raw), DataForm::JsonOrText),
                None => Self::of_payload(&event.raw),
            },
        }
    }

    /// The choices that it speaks of: of an answer that does not number them, the one there is.
    pub(super) fn choices(&self) -> Choices {
        if self.piece.choices.is_empty() { Choices::FIRST } else { self.piece.choices }
    }

    /// Something without content.
    fn named(what: &str) -> Self {
        Self { what: Some(what.to_owned()), ..Self::default() }
    }

    /// A payload that is no frame.
    fn of_payload(payload: &[u8]) -> Self {
        let text = String::from_utf8_lossy(payload);
        let object = text.trim_start().starts_with('{').then(|| words::parse(&text)).flatten();
        object.map_or_else(|| Self { content: Choices::FIRST, ..Self::default() }, |value| Self::of_json(&value))
    }

    /// Several frames in one event.
    fn of_frames<'a>(frames: impl IntoIterator<Item = sse::Frame<'a>>, form: DataForm) -> Self {
        let said = |frame: sse::Frame<'_>| Self::of_data(&frame.event(), &frame.data()?, form);
        let mut frames = frames.into_iter().peekable();
        // A part of a frame has no whole one.
        let none = if frames.peek().is_some() { Self::named("comment") } else { Self::default() };
        frames.filter_map(said).fold(none, Self::and)
    }

    /// The data of a server-sent event of this type, or of a line. `None` for a blank one.
    fn of_data(event: &str, data: &str, form: DataForm) -> Option<Self> {
        let event = Some(event).filter(|event| !event.is_empty());
        Some(match data.trim() {
            "" => return None,
            "[DONE]" => Self { end: Some(End::Stream), ..Self::named("[DONE]") },
            data => match words::parse(data) {
                _ if event.is_some_and(failure::is_type) => Self::named("error"),
                Some(value @ Value::Object(_)) => {
                    let said = Self::of_json(&value);
                    let content = if event.is_some_and(is_beside) { Choices::default() } else { said.content };
                    Self { content, what: said.what.or_else(|| Some(event.unwrap_or("data").to_owned())), ..said }
                }
                value => {
                    let has_content = value.map_or(form == DataForm::JsonOrText, |value| !value.is_null());
                    let has_content = has_content && !event.is_some_and(is_beside);
                    Self { content: all_if(has_content), ..Self::named(event.unwrap_or("data")) }
                }
            },
        })
    }

    fn of_json(value: &Value) -> Self {
        let content = content(value);
        let word = |name: &str| value[name].as_str().filter(|word| !word.is_empty()).map(str::to_owned);
        // A type says more of itself than an object, which is the same for all chunks.
        let object = || {
            word("object").map(|object| if content.is_empty() { format!("{object} without content") } else { object })
        };
        let models = [&value["model"], &value["message"]["model"], &value["response"]["model"], &value["modelVersion"]];
        Self {
            content,
            piece: if choices::list(value).is_some() { Piece::of(value) } else { Piece::default() },
            end: ends_answer(value).then_some(End::Answer),
            what: word("type").or_else(object),
            model: models
                .into_iter()
                .find_map(|model| model.as_str().filter(|model| !model.is_empty()).map(str::to_owned)),
        }
    }

    /// Of two in one event.
    fn and(self, other: Self) -> Self {
        let (first, second) = if self.content.is_empty() { (other, self) } else { (self, other) };
        let piece = Piece {
            id: first.piece.id.or(second.piece.id),
            choices: first.piece.choices.with(second.piece.choices),
            finished: first.piece.finished.with(second.piece.finished),
        };
        Self {
            content: first.content.with(second.content),
            piece,
            end: first.end.max(second.end),
            what: first.what,
            model: first.model.or(second.model),
        }
    }
}

/// True if an answer ends with an object: a message of Anthropic's, a response of OpenAI's, an answer of Ollama's. That
/// of a chat ends with `[DONE]`, which some servers send after a response, too.
fn ends_answer(value: &Value) -> bool {
    let ends = ["message_stop", "response.completed", "response.incomplete", "response.failed"];
    value["type"].as_str().is_some_and(|kind| ends.contains(&kind))
        || (value["done"] == true && value.as_object().is_some_and(is_ollama))
}

/// True if an object is an answer of Ollama's.
fn is_ollama(object: &Map<String, Value>) -> bool {
    let is = |name: &str, holds: fn(&Value) -> bool| object.get(name).is_some_and(holds);
    is("done", Value::is_boolean) && (is("message", Value::is_object) || is("response", Value::is_string))
}

/// The choice of an answer that has only one, where something holds.
fn all_if(holds: bool) -> Choices {
    if holds { Choices::FIRST } else { Choices::default() }
}

/// The choices to which a chunk of one of the protocols brings content. An object of none of them brings some.
fn content(value: &Value) -> Choices {
    if value.as_object().is_some_and(|object| failure::of(object).is_some()) {
        return Choices::default();
    }
    match choices::list(value) {
        Some(_) => Choices::of(value, is_filled_choice),
        None => all_if(value.as_object().is_some_and(has_content)),
    }
}

/// Types of what servers send beside an answer: signs of life, beginnings and ends, what it costs.
const BESIDE: [&str; 16] = [
    "ping",
    "pong",
    "keepalive",
    "heartbeat",
    "noop",
    "usage",
    "metadata",
    "start",
    "begin",
    "end",
    "stop",
    "finish",
    "finished",
    "complete",
    "completed",
    "done",
];

/// Fields that say something of an answer, and nothing in it.
const FACTS: [&str; 24] = [
    "id",
    "object",
    "created",
    "created_at",
    "model",
    "modelVersion",
    "provider",
    "responseId",
    "system_fingerprint",
    "service_tier",
    "choices",
    "candidates",
    "usage",
    "usageMetadata",
    "promptFeedback",
    "prompt_filter_results",
    "timings",
    "x_groq",
    "type",
    "event",
    "status",
    "time",
    "timestamp",
    "ts",
];

/// The value of a field that is not there.
static NOTHING: Value = Value::Null;

/// Returns whether a type of an event, or of an object, is of what stands beside an answer.
fn is_beside(kind: &str) -> bool {
    let kind: String = kind.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    BESIDE.contains(&&*kind)
}

/// True if a choice has content: one of OpenAI's chat completions and completions, or a candidate of Gemini's.
fn is_filled_choice(choice: &Value) -> bool {
    let parts = choice["content"]["parts"].as_array();
    is_filled(&choice["text"])
        || brings(&choice["delta"])
        || brings(&choice["message"])
        || parts.is_some_and(|parts| parts.iter().any(is_filled_part))
}

/// True if a part of Gemini's has content: its signature is none, nor is the mark of a thought.
fn is_filled_part(part: &Value) -> bool {
    let is_content = |(name, value): (&String, &Value)| name != "thoughtSignature" && is_filled(value);
    part.as_object().map_or_else(|| is_filled(part), |part| part.iter().any(is_content))
}

/// True if an object without choices brings content.
fn has_content(object: &Map<String, Value>) -> bool {
    // What users and tools say is no answer, and what is known of one is none of its words.
    if convention::is_of_another_speaker(object) || object.keys().all(|name| FACTS.contains(&name.as_str())) {
        return false;
    }
    let field = |name: &str| object.get(name).unwrap_or(&NOTHING);
    let kind = field("type").as_str();
    if let Some(kind) = kind {
        // OpenAI's responses and Anthropic's messages. Others say what they like.
        let is_known = kind.starts_with("response.")
            || ["message_", "content_block_", "ping"].into_iter().any(|known| kind.starts_with(known));
        if is_known {
            return kind.ends_with("delta") && kind != "message_delta" && brings_delta(field("delta"));
        }
    }
    if is_ollama(object) {
        let message = field("message");
        return [field("response"), &message["content"], &message["thinking"], &message["tool_calls"]]
            .into_iter()
            .any(is_filled);
    }
    // Lines of JSON that have a place for text.
    let texts = ["content", "text", "delta"].map(field);
    let there: Vec<_> = texts.into_iter().filter(|text| text.is_string()).collect();
    let is_beside = [kind, field("event").as_str()].into_iter().flatten().any(is_beside);
    there.iter().any(|text| is_filled(text)) || (there.is_empty() && !is_beside)
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
        !Said::of_json(&serde_json::from_str(json).expect("JSON")).content.is_empty()
    }

    #[test]
    fn content_differs_from_what_servers_send_beside_it() {
        for content in [
            r#"{"object":"chat.completion.chunk","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#,
            r#"{"object":"text_completion","choices":[{"text":"a"}]}"#,
            r#"{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"a"}}]}"#,
            r#"{"type":"response.output_text.delta","delta":"a"}"#,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#,
            r#"{"model":"llama","message":{"role":"assistant","content":"a"},"done":false}"#,
            r#"{"model":"llama","response":"a","done":false}"#,
            r#"{"content":"a"}"#,
            r#"{"n":1}"#,
            r#"{"type":"vote","n":1}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":""},{"functionCall":{"name":"f"}}]}}]}"#,
            r#"{"type":"done","text":"the last word"}"#,
            r#"{"role":"assistant","content":"a"}"#,
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
            r#"{"object":"chat.completion.chunk","choices":null,"usage":{"total_tokens":7}}"#,
            r#"{"object":"chat.completion.chunk","id":"x","usage":{"total_tokens":7}}"#,
            r#"{"object":"text_completion","choices":{},"model":"m"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":""}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"x"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"","thought":true},{}]}}]}"#,
            r#"{"usageMetadata":{"totalTokenCount":7},"modelVersion":"m"}"#,
            r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#,
            r#"{}"#,
            r#"{"type":"keepalive"}"#,
            r#"{"type":"keep-alive","n":1}"#,
            r#"{"type":"heartbeat","at":"now"}"#,
            r#"{"event":"PING","seq":3}"#,
            r#"{"type":"usage","tokens":7}"#,
            r#"{"type":"done","reason":"stop"}"#,
            r#"{"role":"user","content":"a question"}"#,
            r#"{"role":"tool","content":"a result"}"#,
        ] {
            assert!(!has_content(other), "{other}");
        }
    }

    #[test]
    fn signs_of_life_bring_nothing() {
        for stream in [
            "event: ping\ndata: {}\n\n",
            "event: ping\ndata: 1\n\n",
            "event: keep-alive\ndata: {\"n\":1}\n\n",
            "event: Heartbeat\ndata: now\n\n",
            "data: {}\n\n",
            "event: done\ndata: {\"reason\":\"stop\"}\n\n",
        ] {
            let said = Said::of_frames(sse::frames(stream.as_bytes()), DataForm::JsonOrText);
            assert!(said.content.is_empty(), "{stream:?}");
        }
        let said = Said::of_frames(sse::frames(b"event: token\ndata: a\n\n"), DataForm::JsonOrText);
        assert_eq!(said.content, Choices::FIRST);
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
