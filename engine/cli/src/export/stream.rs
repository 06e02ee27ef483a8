//! The stream of one session, made of its events.

use serde_json::{Value, json};
use tapeline_reader::sse::{self, Frame, Stream as Frames};
use tapeline_reader::{SessionOpening, StoredEvent, kinds};

use super::calls::Calls;
use super::words::Words;
use crate::openings;

/// An account of a stream, or of several, beside its bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    /// Frames and JSON payloads that are no chunks, and were left out.
    pub(super) left_out: u64,
    /// Streams in which the answer failed.
    pub(super) failed: u64,
    /// Streams without `[DONE]` or an error at their end.
    pub(super) broken_off: u64,
}

/// A stream of chunks that grows with the events of its session.
#[derive(Debug)]
pub(super) struct Stream {
    session: String,
    model: String,
    /// Bytes that have not been written.
    pub(super) bytes: Vec<u8>,
    /// The frames, if the session was recorded as server-sent events.
    frames: Option<Frames>,
    /// The beginning of a character that a token breaks off.
    character: Vec<u8>,
    calls: Calls,
    /// Time of the last event, in seconds.
    created: u64,
    end: End,
    left_out: u64,
}

/// The end of the stream, as far as it is known.
#[derive(Debug, Default, Clone, Copy)]
struct End {
    /// Something was sent.
    has_begun: bool,
    /// Chunks were made of events.
    is_made: bool,
    /// Frames were passed on: only these say how the stream ends.
    is_recorded: bool,
    /// A chunk gave a reason to finish.
    finishes: bool,
    /// `[DONE]` came, and no chunk after it.
    is_done: bool,
    has_failed: bool,
}

impl Stream {
    pub(super) fn new(session: String) -> Self {
        Self {
            session,
            model: "unknown".to_owned(),
            bytes: Vec::new(),
            frames: None,
            character: Vec::new(),
            calls: Calls::default(),
            created: 0,
            end: End::default(),
            left_out: 0,
        }
    }

    /// Takes the next event of the session.
    pub(super) fn take(&mut self, event: &StoredEvent) {
        self.created = event.insertion_ts / 1_000_000_000;
        match event.kind {
            kinds::SESSION => self.open(&SessionOpening::parse(&event.raw)),
            kinds::UNSPECIFIED if self.frames.is_some() => self.take_recorded(&event.raw),
            kinds::TOKEN | kinds::UNSPECIFIED | kinds::TOOL_CALL if self.take_frames(&event.raw) => {}
            kinds::TOKEN | kinds::UNSPECIFIED => self.take_text(&event.raw),
            kinds::TOOL_CALL => {
                let text = String::from_utf8_lossy(&event.raw);
                self.calls.add(&text, || format!("call_{}", event.sequence));
            }
            _ => {}
        }
    }

    /// The session is opened: as a stream of frames, or as something else.
    pub(super) fn open(&mut self, opening: &SessionOpening) {
        if let Some(model) = &opening.model {
            self.model.clone_from(model);
        }
        if opening.name.is_some() {
            self.frames = openings::is_stream(opening).then(Frames::default);
        }
    }

    fn take_recorded(&mut self, bytes: &[u8]) {
        let Some(mut frames) = self.frames.take() else { return };
        let Ok(()) = frames.push(bytes, |block| {
            self.take_frame(&Frame::parse(block));
            Ok::<(), std::convert::Infallible>(())
        });
        self.frames = Some(frames);
    }

    /// Takes a payload that looks like frames, or says itself what it is. Whether it is one.
    fn take_frames(&mut self, payload: &[u8]) -> bool {
        if let Some(frames) = sse::frames_of_payload(payload) {
            frames.for_each(|frame| self.take_frame(&frame));
            return true;
        }
        match str::from_utf8(payload).map(Words::of) {
            Ok(words @ (Words::Chunk { .. } | Words::Error(_) | Words::Done)) => {
                self.pass(words);
                true
            }
            _ => false,
        }
    }

    fn take_frame(&mut self, frame: &Frame<'_>) {
        if let Some(data) = frame.data() {
            self.end.is_recorded = true;
            self.pass(Words::of_frame(&frame.event(), &data));
        }
    }

    /// Passes on what speaks the protocol; anything else is left out.
    fn pass(&mut self, words: Words<'_>) {
        match words {
            Words::Chunk { text, finishes } => {
                self.end.is_done = false;
                self.end.finishes |= finishes;
                self.send(&text);
            }
            Words::Error(text) => {
                self.end.has_failed = true;
                self.send_calls();
                self.send(&text);
            }
            // All that there are are written as one, at the end.
            Words::Done => self.end.is_done = true,
            Words::Other(_) | Words::Unknown => self.left_out += 1,
        }
    }

    /// Makes a chunk of a token: text, or a JSON object's `content`, `text` or `delta`.
    fn take_text(&mut self, payload: &[u8]) {
        if let Ok(Words::Other(object)) = str::from_utf8(payload).map(Words::of) {
            // Objects that name their type speak another protocol.
            let is_foreign = object.contains_key("object")
                || object.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("response."));
            let content = ["content", "text", "delta"].into_iter().find_map(|name| object.get(name)?.as_str());
            match content.filter(|_| !is_foreign) {
                Some(content) => self.make(&json!({ "content": content })),
                None => self.left_out += 1,
            }
            return;
        }
        let mut bytes = std::mem::take(&mut self.character);
        bytes.extend_from_slice(payload);
        let whole = whole_characters(&bytes);
        self.character = bytes[whole..].to_vec();
        if whole > 0 || bytes.is_empty() {
            self.make(&json!({ "content": String::from_utf8_lossy(&bytes[..whole]) }));
        }
    }

    /// Sends a chunk of this delta; the first says whose words these are.
    fn make(&mut self, delta: &Value) {
        self.send_calls();
        self.send_made(delta);
    }

    fn send_calls(&mut self) {
        for call in self.calls.take() {
            self.send_made(&json!({ "tool_calls": [call] }));
        }
    }

    fn send_made(&mut self, delta: &Value) {
        if !std::mem::replace(&mut self.end.is_made, true) {
            self.send_delta(&json!({ "role": "assistant", "content": "" }), None);
        }
        self.end.is_done = false;
        self.send_delta(delta, None);
    }

    fn send_delta(&mut self, delta: &Value, finish_reason: Option<&str>) {
        let chunk = json!({
            "id": format!("chatcmpl-{}", self.session),
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        });
        self.send(&chunk.to_string());
    }

    fn send(&mut self, data: &str) {
        self.end.has_begun = true;
        self.bytes.extend_from_slice(b"data: ");
        // A chunk may have been sent on several lines.
        self.bytes.extend(data.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        self.bytes.extend_from_slice(b"\n\n");
    }

    /// Ends the stream. Made of events, it ends with a reason to finish and `[DONE]`; frames say themselves how they
    /// end; a stream in which the answer failed is given neither.
    pub(super) fn finish(&mut self) -> Account {
        if !self.character.is_empty() {
            let rest = std::mem::take(&mut self.character);
            self.make(&json!({ "content": String::from_utf8_lossy(&rest) }));
        }
        self.send_calls();
        let End { has_begun, is_made, is_recorded, finishes, is_done, has_failed } = self.end;
        if is_made && !is_recorded && !has_failed && !finishes {
            self.send_delta(&json!({}), Some(if self.calls.any() { "tool_calls" } else { "stop" }));
        }
        let is_whole = is_done || (!is_recorded && !has_failed && (is_made || finishes));
        if is_whole {
            self.send("[DONE]");
        }
        Account {
            left_out: self.left_out,
            failed: u64::from(has_failed),
            broken_off: u64::from(has_begun && !is_whole && !has_failed),
        }
    }
}

/// Bytes up to the character that is broken off at the end, if one is.
fn whole_characters(bytes: &[u8]) -> usize {
    (1..=3.min(bytes.len()))
        .map(|back| bytes.len() - back)
        .find(|&at| bytes[at] & 0xc0 != 0x80)
        .filter(|&at| str::from_utf8(&bytes[at..]).is_err_and(|error| error.error_len().is_none()))
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_tokens_break_off_are_whole() {
        for (bytes, whole) in [
            (&b""[..], 0),
            (b"a", 1),
            (b"a\xc3", 1),
            (b"\xc3\xa9\xe6", 2),
            (b"\xe6\x98", 0),
            (b"\xf0\x9f\x98", 0),
            (b"a\xff", 2),
            (b"\x80\x80", 2),
            ("é".as_bytes(), 2),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }
}
