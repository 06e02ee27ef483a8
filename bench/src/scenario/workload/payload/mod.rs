//! The payloads of a session's events: JSON, built anew in a buffer that is kept.
//!
//! A token is a chunk as OpenAI's interface streams it (`chat.completion.chunk`), of 150 to 250 bytes. All of a chunk
//! but its word is made once for each answer, so that a token costs a copy and no formatting.

#[cfg(test)]
mod tests;

use std::io::Write;

use serde_json::{Value, json};

use super::plan::{Part, Plan, Request};

/// The words of tokens. Nothing in them has to be escaped in JSON.
const WORDS: [&str; 32] = [
    "the", "model", "streams", "a", "token", "at", "each", "step", "and", "every", "answer", "is", "kept", "in",
    "order", "so", "that", "what", "was", "said", "can", "be", "heard", "again", "from", "its", "first", "word", "to",
    "the", "last", "one",
];

/// Tools that are called. The text is modelled, and so are they.
const TOOLS: [&str; 4] = ["read_file", "run_tests", "search", "edit_file"];

/// The chunks of one answer.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// From the start of a chunk to where its delta begins.
    head: Vec<u8>,
    /// From where a delta that calls a tool begins to its word.
    tool_head: Vec<u8>,
    first_word: usize,
}

impl Chunks {
    /// Begins answer `number` of session `session`.
    pub(super) fn begin(&mut self, session: u64, number: u32, model: &str) {
        let model = Value::from(model);
        self.head.clear();
        self.tool_head.clear();
        self.first_word = session as usize;
        // Writing to a vector cannot fail.
        let _ = write!(
            self.head,
            r#"{{"id":"chatcmpl-{session:08x}-{number:04}","object":"chat.completion.chunk","model":{model},"choices":[{{"index":0,"delta":{{"#
        );
        let _ = write!(
            self.tool_head,
            r#""tool_calls":[{{"index":0,"id":"{}","function":{{"arguments":""#,
            call_id(session, number)
        );
    }

    /// Writes chunk `token` of a part. `finish` is why the answer ends with it, if it does.
    pub(super) fn write(&self, out: &mut Vec<u8>, part: Part, token: u32, finish: Option<&str>) {
        let (head, end): (&[u8], &[u8]) = match part {
            Part::Thinking => (br#""reasoning_content":""#, br#""}"#),
            Part::Text => (br#""content":""#, br#""}"#),
            Part::ToolUse => (&self.tool_head, br#""}}]}"#),
        };
        let word = WORDS[(self.first_word + token as usize) % WORDS.len()];
        let space = if token == 0 { "" } else { " " };
        out.clear();
        for piece in [&self.head, head, space.as_bytes(), word.as_bytes(), end, br#","finish_reason":"#] {
            out.extend_from_slice(piece);
        }
        match finish {
            None => out.extend_from_slice(b"null"),
            Some(reason) => [b"\"", reason.as_bytes(), b"\""].iter().for_each(|piece| out.extend_from_slice(piece)),
        }
        out.extend_from_slice(b"}]}");
    }
}

/// A session opens.
pub(super) fn opened(out: &mut Vec<u8>, plan: &Plan) {
    set(out, &json!({ "type": "session.open", "name": plan.name, "model": &*plan.model }));
}

/// A request, or what a tool gave back and is asked about.
pub(super) fn request(out: &mut Vec<u8>, number: u32, request: &Request) {
    set(
        out,
        &json!({
            "type": "request", "number": number, "model": &*request.model, "prompt_tokens": request.context_tokens,
            "input": if request.has_tool_result { "tool_result" } else { "text" },
        }),
    );
}

/// The call of a tool, whole, as answer `number` ends with it.
pub(super) fn tool_call(out: &mut Vec<u8>, session: u64, number: u32) {
    let (id, tool) = (call_id(session, number), tool(number));
    let path = format!("src/part-{:02}.rs", session % 100);
    set(out, &json!({ "type": "tool_call", "id": id, "name": tool, "arguments": { "path": path } }));
}

/// The result of the tool that answer `number` called.
pub(super) fn tool_result(out: &mut Vec<u8>, session: u64, number: u32) {
    let (id, tool) = (call_id(session, number), tool(number));
    set(out, &json!({ "type": "tool_result", "id": id, "name": tool, "content": "done, with nothing to say" }));
}

/// An answer has ended.
pub(super) fn response(out: &mut Vec<u8>, number: u32, request: &Request) {
    set(
        out,
        &json!({
            "type": "response", "number": number, "model": &*request.model, "finish_reason": request.finish,
            "usage": { "prompt_tokens": request.context_tokens, "completion_tokens": request.generated_tokens },
        }),
    );
}

/// A session has ended.
pub(super) fn closed(out: &mut Vec<u8>, requests: u32, tokens: u64) {
    set(out, &json!({ "type": "session.close", "requests": requests, "tokens": tokens }));
}

fn set(out: &mut Vec<u8>, value: &Value) {
    out.clear();
    // Writing to a vector cannot fail.
    let _ = write!(out, "{value}");
}

fn call_id(session: u64, number: u32) -> String {
    format!("call_{session:08x}{number:04}")
}

fn tool(number: u32) -> &'static str {
    TOOLS[number as usize % TOOLS.len()]
}
