//! The stream of one session, made of its events: one answer after the other, each up to its `[DONE]`.

use std::convert::Infallible;

use serde_json::{Map, Value, json};
use tapeline_reader::sse::{self, Frame};
use tapeline_reader::{SessionChange, SessionOpening, SessionOutcome, StoredEvent, kinds};

use super::calls::Calls;
use crate::choices::Choices;
use crate::joined::{Item, Joined};
use crate::past::Past;
use crate::recorded::{Frames, Line, Recorded};
use crate::words::{Piece, Words};

/// An account of a stream, or of several, beside its bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    /// Frames and payloads that are no chunks, and were left out.
    pub(super) left_out: u64,
    /// Frames and lines of which a part is not there.
    pub(super) incomplete: u64,
    /// Answers that failed.
    pub(super) failed: u64,
    /// Answers without `[DONE]` or an error at their end.
    pub(super) broken_off: u64,
}

/// A stream of chunks that grows with the events of its session.
#[derive(Debug)]
pub(super) struct Stream {
    session: String,
    model: String,
    /// Bytes that have not been written.
    pub(super) bytes: Vec<u8>,
    input: Input,
    /// Time of the last event, in seconds.
    created: u64,
    /// The answer under way.
    answer: Answer,
    /// An answer has ended.
    has_ended: bool,
    account: Account,
}

/// The events as they come.
#[derive(Debug, Default)]
struct Input {
    recorded: Recorded,
    /// The session, where it was recorded as frames or lines.
    joined: Joined,
    /// The frames in bytes that were cut wherever, as far as they are not whole yet.
    frames: Frames,
    /// True if bytes that were cut wherever are a stream of frames; `None`: none has come.
    is_stream: Option<bool>,
}

/// One answer, as far as it is known.
#[derive(Debug, Default)]
struct Answer {
    /// The beginning of a character that a token breaks off.
    character: Vec<u8>,
    calls: Calls,
    /// The id of its last chunk that has one.
    id: Option<String>,
    /// Something was sent.
    has_begun: bool,
    /// Chunks were made of events.
    is_made: bool,
    /// Frames were passed on: only these say how it ends.
    is_recorded: bool,
    choices: ChoicesOfChunks,
    /// The last event was not understood, or says that the rest is missing.
    is_unsure: bool,
    has_failed: bool,
}

/// The choices of an answer's chunks, and those that a chunk gave a reason to finish.
#[derive(Debug, Default)]
struct ChoicesOfChunks {
    all: Choices,
    finished: Choices,
}

impl ChoicesOfChunks {
    /// Returns whether the answer is whole: it is not where one choice breaks off.
    fn are_finished(&self) -> bool {
        !self.finished.is_empty() && self.finished.has_all(self.all)
    }
}

/// The way in which an answer is known to have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// `[DONE]` said so.
    Told,
    /// Another begins, or nothing follows.
    Untold,
}

impl Stream {
    pub(super) fn new(session: String) -> Self {
        Self {
            session,
            model: "unknown".to_owned(),
            bytes: Vec::new(),
            input: Input::default(),
            created: 0,
            answer: Answer::default(),
            has_ended: false,
            account: Account::default(),
        }
    }

    /// Takes the next event of the session.
    pub(super) fn take(&mut self, event: &StoredEvent, past: &mut Past) {
        self.created = event.insertion_ts / 1_000_000_000;
        if !matches!(event.kind, kinds::UNSPECIFIED | kinds::PART) {
            self.end_awaited();
        }
        match event.kind {
            kinds::SESSION => {
                self.take_change(&event.raw);
                self.input.joined.opened_at(event);
            }
            kinds::UNSPECIFIED | kinds::PART => self.take_recorded(event, past),
            kinds::TOKEN | kinds::TOOL_CALL if self.take_frames(&event.raw) => {}
            kinds::TOKEN => self.take_token(&event.raw),
            kinds::TOOL_CALL => {
                let text = String::from_utf8_lossy(&event.raw);
                self.answer.calls.add(&text, || format!("call_{}", event.sequence));
            }
            _ => {}
        }
    }

    /// The session is opened: as a stream of frames, or as something else.
    pub(super) fn open(&mut self, opening: &SessionOpening) {
        if opening.name.is_some() {
            self.end_awaited();
            let recorded = Recorded::of(opening);
            // Each recording of frames is a stream of its own.
            if self.answer.is_recorded || recorded == Recorded::Frames {
                self.end_answer(Ended::Untold);
            }
            self.input = Input { recorded, joined: Joined::new(recorded), ..Input::default() };
        }
        if let Some(model) = &opening.metadata.model {
            self.model.clone_from(model);
        }
    }

    fn take_change(&mut self, payload: &[u8]) {
        self.open(&SessionOpening::parse(payload));
        let Some(SessionChange::Closed { outcome: Some(outcome) }) = SessionChange::parse(payload) else { return };
        let is_open = self.answer.has_begun || !self.has_ended;
        match outcome {
            SessionOutcome::Failed | SessionOutcome::TimedOut if is_open && !self.answer.has_failed => {
                let message = format!("the session was closed as {outcome}");
                self.pass(Words::Error(json!({ "error": { "message": message } }).to_string().into()));
            }
            SessionOutcome::Finished => {}
            _ => self.answer.is_unsure = true,
        }
    }

    /// Takes an event of no kind, as all are that `record` writes.
    fn take_recorded(&mut self, event: &StoredEvent, past: &mut Past) {
        let payload = &event.raw;
        match self.input.recorded {
            Recorded::Frames | Recorded::Lines => self.take_items(|joined, each| joined.take(event, past, each)),
            Recorded::Bytes => self.take_bytes(payload),
            // Of what, is not known.
            Recorded::Unknown if event.kind == kinds::PART => self.note_incomplete(1),
            Recorded::Unknown => {
                if !self.take_frames(payload) {
                    self.take_token(payload);
                }
            }
        }
    }

    /// Takes the frames and lines that are whole once `take` has added what has come.
    fn take_items(
        &mut self,
        take: impl FnOnce(&mut Joined, &mut dyn FnMut(Item<'_>) -> Result<(), Infallible>) -> Result<(), Infallible>,
    ) {
        let mut joined = std::mem::take(&mut self.input.joined);
        let Ok(()) = take(&mut joined, &mut |item| {
            match item {
                Item::Frame(block) => self.take_frame(&Frame::parse(block)),
                Item::Line(_, line) => self.take_line(line),
            }
            Ok(())
        });
        let incomplete = joined.take_left_out();
        self.input.joined = joined;
        self.note_incomplete(incomplete);
    }

    fn note_incomplete(&mut self, count: u64) {
        self.account.incomplete += count;
        self.answer.is_unsure |= count > 0;
    }

    /// Takes the next bytes of a stream of frames.
    fn take_stream(&mut self, bytes: &[u8]) {
        let mut frames = std::mem::take(&mut self.input.frames);
        let Ok(()) = frames.push(bytes, |block| {
            self.take_frame(&Frame::parse(block));
            Ok::<_, Infallible>(())
        });
        self.input.frames = frames;
    }

    /// Takes a line that belongs to no frame: what is not JSON is no word of the model's.
    fn take_line(&mut self, payload: &[u8]) {
        if let Line::Object(text) | Line::Other(text) = Line::of(payload) {
            match Words::of(&String::from_utf8_lossy(text)) {
                Words::Other(object) => self.take_object(&object),
                words => self.pass(words),
            }
        }
    }

    /// Takes bytes that were cut wherever: a stream of frames, or text.
    fn take_bytes(&mut self, bytes: &[u8]) {
        let is_stream = *self.input.is_stream.get_or_insert_with(|| {
            let first =
                bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')).find(|line| Line::of(line) != Line::Blank);
            matches!(first.map(Line::of), Some(Line::Field(_)))
        });
        let is_text = || !bytes.contains(&0) && !matches!(bytes.trim_ascii_start(), [b'{' | b'[', ..]);
        match (is_stream, is_text()) {
            (true, _) => self.take_stream(bytes),
            (false, true) => self.take_text(bytes),
            (false, false) => self.pass(Words::Unknown),
        }
    }

    /// Takes a payload that looks like frames, or says itself what it is. Whether it is one.
    fn take_frames(&mut self, payload: &[u8]) -> bool {
        if let Some(frames) = sse::frames_of_payload(payload) {
            frames.for_each(|frame| self.take_frame(&frame));
            return true;
        }
        if let (true, Some(frame)) = (Line::of(payload).is_whole_event(), sse::sole_frame(payload)) {
            self.take_frame(&frame);
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
            self.answer.is_recorded = true;
            self.pass(Words::of_frame(&frame.event(), &data));
        }
    }

    /// Passes on what speaks the protocol; anything else is left out.
    fn pass(&mut self, words: Words<'_>) {
        match words {
            Words::Chunk { text, piece: Piece { id, choices, finished } } => {
                // An answer that has come to its end is followed by the next.
                let has_other_id = id.is_some() && self.answer.id.is_some() && self.answer.id != id;
                if has_other_id && !self.answer.choices.finished.is_empty() {
                    self.end_answer(Ended::Untold);
                }
                self.answer.id = id.or(self.answer.id.take());
                self.answer.choices.all = self.answer.choices.all.with(choices);
                self.answer.choices.finished = self.answer.choices.finished.with(finished);
                self.send(&text);
            }
            Words::Error(text) => {
                self.answer.has_failed = true;
                self.send_rest();
                self.send(&text);
            }
            Words::Done => self.end_answer(Ended::Told),
            Words::Other(_) => self.account.left_out += 1,
            Words::Unknown => {
                self.account.left_out += 1;
                self.answer.is_unsure = true;
            }
        }
    }

    /// Makes a chunk of a token: of JSON, or of text.
    fn take_token(&mut self, payload: &[u8]) {
        match str::from_utf8(payload).map(Words::of) {
            Ok(Words::Other(object)) => self.take_object(&object),
            _ => self.take_text(payload),
        }
    }

    /// Makes a chunk of an object's `content`, `text` or `delta`.
    fn take_object(&mut self, object: &Map<String, Value>) {
        // Objects that name their type speak another protocol.
        let is_foreign = object.contains_key("object")
            || object.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("response."));
        let content = ["content", "text", "delta"].into_iter().find_map(|name| object.get(name)?.as_str());
        match content.filter(|_| !is_foreign) {
            Some(content) => {
                self.answer.is_unsure = false;
                self.make(&json!({ "content": content }));
            }
            None => self.account.left_out += 1,
        }
    }

    fn take_text(&mut self, payload: &[u8]) {
        let mut bytes = std::mem::take(&mut self.answer.character);
        bytes.extend_from_slice(payload);
        let whole = whole_characters(&bytes);
        self.answer.character = bytes[whole..].to_vec();
        if whole > 0 || bytes.is_empty() {
            self.make(&json!({ "content": String::from_utf8_lossy(&bytes[..whole]) }));
        }
    }

    /// Sends a chunk of this delta; the first says whose words these are.
    fn make(&mut self, delta: &Value) {
        self.send_calls();
        self.send_made(delta);
    }

    /// Sends what has waited for more of it to come.
    fn send_rest(&mut self) {
        if !self.answer.character.is_empty() {
            let rest = std::mem::take(&mut self.answer.character);
            self.make(&json!({ "content": String::from_utf8_lossy(&rest) }));
        }
        self.send_calls();
    }

    fn send_calls(&mut self) {
        for call in self.answer.calls.take() {
            self.send_made(&json!({ "tool_calls": [call] }));
        }
    }

    fn send_made(&mut self, delta: &Value) {
        if !std::mem::replace(&mut self.answer.is_made, true) {
            self.send_delta(&json!({ "role": "assistant", "content": "" }), None);
        }
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
        self.answer.has_begun = true;
        self.bytes.extend_from_slice(b"data: ");
        // A chunk may have been sent on several lines.
        self.bytes.extend(data.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        self.bytes.extend_from_slice(b"\n\n");
    }

    /// Ends the answer under way, if there is one. Made of events, it ends with a reason to finish and `[DONE]`; frames
    /// say themselves how they end; an answer that failed is given neither.
    fn end_answer(&mut self, ended: Ended) {
        let is_told = ended == Ended::Told;
        self.send_rest();
        // One answer ends once. A stream that has none may still say that it is over.
        if !self.answer.has_begun && (self.has_ended || !is_told) {
            return;
        }
        let Answer { has_begun, is_made, is_recorded, is_unsure, has_failed, .. } = self.answer;
        let finishes = self.answer.choices.are_finished();
        let is_over = !is_recorded && !has_failed && !is_unsure;
        if is_made && !finishes && (is_over || (is_told && !is_recorded && !has_failed)) {
            self.send_delta(&json!({}), Some(if self.answer.calls.any() { "tool_calls" } else { "stop" }));
        }
        let is_whole = is_told || (is_over && (is_made || finishes));
        if is_whole {
            self.send("[DONE]");
        }
        self.account.failed += u64::from(has_failed);
        self.account.broken_off += u64::from(has_begun && !is_whole && !has_failed);
        self.answer = Answer::default();
        self.has_ended = true;
    }

    /// Takes the event of which the blank line does not come.
    fn end_awaited(&mut self) {
        self.take_items(|joined, each| joined.end(each));
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self) -> Account {
        self.end_awaited();
        self.end_answer(Ended::Untold);
        self.account
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
