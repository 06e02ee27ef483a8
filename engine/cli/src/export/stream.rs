//! The stream of one session, made of its events: one answer after the other, each up to its `[DONE]`.

use std::convert::Infallible;

use serde_json::{Map, Value, json};
use tapeline_reader::sse::{self, Frame};
use tapeline_reader::{SessionChange, SessionOpening, SessionOutcome, StoredEvent, kinds};

use super::account::Account;
use super::answer::{Answer, Ended, Ending};
use super::args::TokenForm;
use super::knowledge::SessionEnd;
use super::lack::Lack;
use crate::convention;
use crate::cut_off;
use crate::joined::{Item, Joined};
use crate::past::Past;
use crate::recorded::{Frames, Line, Recorded};
use crate::words::{self, Piece, Words};

/// Most chunks that wait for the end of their answer.
const WAITING_CHUNKS: usize = 64;

/// A stream of chunks that grows with the events of its session.
#[derive(Debug)]
pub(super) struct Stream {
    session: String,
    model: String,
    /// Bytes that have not been written.
    pub(super) bytes: Vec<u8>,
    input: Input,
    /// The lack of each answer.
    of_all: Option<Lack>,
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
    tokens: TokenForm,
    recorded: Recorded,
    /// The session, where it was recorded as frames or lines.
    joined: Joined,
    /// The frames in bytes that were cut wherever, as far as they are not whole yet.
    frames: Frames,
    /// True if bytes that were cut wherever are a stream of frames; `None`: none has come.
    is_stream: Option<bool>,
}

impl Stream {
    /// A stream without events, each answer of which has this lack.
    pub(super) fn new(session: String, tokens: TokenForm, of_all: Option<Lack>) -> Self {
        Self {
            session,
            model: "unknown".to_owned(),
            bytes: Vec::new(),
            input: Input { tokens, ..Input::default() },
            of_all,
            created: 0,
            answer: Answer::default(),
            has_ended: false,
            account: Account::default(),
        }
    }

    /// The same, the first answer of which has this lack.
    pub(super) fn beginning_with(mut self, lack: Option<Lack>) -> Self {
        self.answer.ending.lack = lack;
        self
    }

    /// The answer under way lacks something, as does the next if there is none.
    pub(super) fn lack(&mut self, lack: Lack) {
        self.answer.ending.lack = self.answer.ending.lack.or(Some(lack));
    }

    /// Returns whether anything was sent.
    pub(super) fn has_written(&self) -> bool {
        self.has_ended || self.answer.has_begun
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
            kinds::TOKEN | kinds::TOOL_CALL if self.take_protocol(&event.raw) => {}
            kinds::TOKEN => self.take_token(&event.raw),
            kinds::TOOL_CALL => {
                let text = String::from_utf8_lossy(&event.raw);
                self.answer.ending.is_closed = false;
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
            let (tokens, joined) = (self.input.tokens, Joined::new(recorded));
            self.input = Input { recorded, tokens, joined, ..Input::default() };
        }
        if let Some(model) = &opening.metadata.model {
            self.model.clone_from(model);
        }
    }

    fn take_change(&mut self, payload: &[u8]) {
        if cut_off::is_note(payload) {
            return self.end_answer(Ended::Unknown);
        }
        self.open(&SessionOpening::parse(payload));
        let Some(SessionChange::Closed { outcome: Some(outcome) }) = SessionChange::parse(payload) else { return };
        let is_open = self.answer.has_begun || !self.has_ended;
        match outcome {
            SessionOutcome::Failed | SessionOutcome::TimedOut if is_open && !self.answer.ending.has_failed => {
                let message = format!("the session was closed as {outcome}");
                self.pass(Words::Error(json!({ "error": { "message": message } }).to_string().into()));
            }
            SessionOutcome::Finished => {
                self.send_rest();
                self.answer.ending.is_closed = true;
            }
            _ => self.answer.ending.is_unsure = true,
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
                    self.take_text_or_object(payload);
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
        self.account.torn += count;
        self.answer.ending.is_unsure |= count > 0;
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

    /// Takes an event of kind token or tool_call that speaks a protocol. Returns whether it does: anything else is what
    /// the model wrote, even `[DONE]`, or an object that looks like an error.
    fn take_protocol(&mut self, payload: &[u8]) -> bool {
        match self.input.tokens {
            TokenForm::Text => false,
            TokenForm::Json => self.take_frames(payload),
            TokenForm::Auto => {
                let is_text = |frame: &Frame<'_>| {
                    frame.data().is_some_and(|data| Words::of_frame(&frame.event(), &data) == Words::Unknown)
                };
                if let Some(frames) = sse::frames_of_payload(payload) {
                    let frames: Vec<_> = frames.collect();
                    let speaks = !frames.iter().any(is_text);
                    frames.iter().filter(|_| speaks).for_each(|frame| self.take_frame(frame));
                    return speaks;
                }
                if let (true, Some(frame)) = (Line::of(payload).is_whole_event(), sse::sole_frame(payload)) {
                    self.take_frame(&frame);
                    return true;
                }
                let chunk = str::from_utf8(payload).ok().and_then(Words::of_chunk);
                chunk.map(|chunk| self.pass(chunk)).is_some()
            }
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
            Words::Chunk { text, piece } => self.pass_chunk(&text, piece),
            Words::Error(text) => self.fail(&text),
            Words::Done => self.end_answer(Ended::Told),
            Words::Other(_) => self.account.left_out += 1,
            Words::Unknown => {
                self.account.left_out += 1;
                self.answer.ending.is_unsure = true;
            }
        }
    }

    fn pass_chunk(&mut self, text: &str, piece: Piece) {
        let Piece { id, choices, finished } = piece;
        // An answer that has come to its end is followed by the next.
        let has_other_id = id.is_some() && self.answer.id.is_some() && self.answer.id != id;
        if has_other_id && !self.answer.choices.finished.is_empty() {
            self.end_answer(Ended::Untold);
        }
        self.answer.id = id.or(self.answer.id.take());
        self.answer.choices.all = self.answer.choices.all.with(choices);
        self.answer.choices.finished = self.answer.choices.finished.with(finished);
        let may_wait = self.answer.ending.waiting.len() < WAITING_CHUNKS;
        if self.answer.ending.has_failed {
            self.send(&words::unfinished(text));
        } else if may_wait && (!finished.is_empty() || !self.answer.ending.waiting.is_empty()) {
            self.answer.has_begun = true;
            self.answer.ending.waiting.push(text.to_owned());
        } else {
            self.send(text);
        }
    }

    /// The answer has failed: it has this error, and no reason to finish.
    fn fail(&mut self, error: &str) {
        self.answer.ending.has_failed = true;
        for chunk in &mut self.answer.ending.waiting {
            *chunk = words::unfinished(chunk).into_owned();
        }
        self.send_rest();
        self.send(error);
    }

    /// Makes a chunk of a token: of JSON, or of text.
    fn take_token(&mut self, payload: &[u8]) {
        match self.input.tokens {
            TokenForm::Text => self.take_text(payload),
            TokenForm::Json => self.take_text_or_object(payload),
            TokenForm::Auto => {
                let object = str::from_utf8(payload).ok().filter(|text| text.starts_with('{')).and_then(words::parse);
                match object.as_ref().and_then(Value::as_object).and_then(convention::text) {
                    Some(text) => self.make(&json!({ "content": text })),
                    None => self.take_text(payload),
                }
            }
        }
    }

    fn take_text_or_object(&mut self, payload: &[u8]) {
        match str::from_utf8(payload).map(Words::of) {
            Ok(Words::Other(object)) => self.take_object(&object),
            _ => self.take_text(payload),
        }
    }

    /// Makes a chunk of an object that is a piece of an answer.
    fn take_object(&mut self, object: &Map<String, Value>) {
        match convention::text(object) {
            Some(content) => {
                self.answer.ending.is_unsure = false;
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
        self.answer.ending.is_closed = false;
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
        self.send_waiting();
        self.write(data);
    }

    fn send_waiting(&mut self) {
        std::mem::take(&mut self.answer.ending.waiting).iter().for_each(|chunk| self.write(chunk));
    }

    fn write(&mut self, data: &str) {
        self.bytes.extend_from_slice(b"data: ");
        // A chunk may have been sent on several lines.
        self.bytes.extend(data.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        self.bytes.extend_from_slice(b"\n\n");
    }

    /// Ends the answer under way, if there is one. Made of events, it ends with a reason to finish and `[DONE]`; frames
    /// say themselves how they end; an answer that failed, or is not known to be whole, is given neither.
    fn end_answer(&mut self, ended: Ended) {
        let is_told = ended == Ended::Told;
        self.send_rest();
        // One answer ends once. A stream that has none may still say that it is over.
        if !self.answer.has_begun && (self.has_ended || !is_told) {
            return;
        }
        let lack = self.lack_at(ended);
        if let Some(lack) = lack {
            let message = format!("the answer is not known to be whole: {}", lack.words());
            let error = json!({ "error": { "type": "incomplete_answer", "message": message } });
            self.account.count(lack);
            self.fail(&error.to_string());
        }
        let Answer { has_begun, is_made, is_recorded, ending: Ending { has_failed, .. }, .. } = self.answer;
        let finishes = self.answer.choices.are_finished();
        let is_over = self.answer.is_over();
        if is_made && !finishes && (is_over || (is_told && !is_recorded && !has_failed)) {
            self.send_delta(&json!({}), Some(if self.answer.calls.any() { "tool_calls" } else { "stop" }));
        }
        let is_whole = is_told || (is_over && (is_made || finishes));
        if is_whole {
            self.send("[DONE]");
        } else {
            self.send_waiting();
        }
        self.account.failed += u64::from(has_failed && lack.is_none());
        self.account.broken_off += u64::from(has_begun && !is_whole && !has_failed);
        self.answer = Answer::default();
        self.has_ended = true;
    }

    /// The lack of the answer under way, which ends in this way; `None`: it is whole, or says itself that it is not.
    fn lack_at(&self, ended: Ended) -> Option<Lack> {
        let Answer { has_begun, is_made, ending: Ending { is_closed, lack, has_failed, .. }, .. } = self.answer;
        let wants_end = is_made && self.answer.is_over() && !self.answer.choices.are_finished();
        let has_no_end = wants_end && ended == Ended::Unknown && !is_closed;
        let lack = lack.or(self.of_all).or(has_no_end.then_some(Lack::End));
        lack.filter(|_| has_begun && !has_failed)
    }

    /// Takes the event of which the blank line does not come.
    fn end_awaited(&mut self) {
        self.take_items(|joined, each| joined.end(each));
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self, end: SessionEnd) -> Account {
        self.end_awaited();
        if end.has_all {
            self.answer.ending.lack = self.answer.ending.lack.filter(|lack| *lack != Lack::Middle);
        }
        self.answer.ending.lack = self.answer.ending.lack.or(end.lack);
        self.end_answer(if end.is_orderly { Ended::Untold } else { Ended::Unknown });
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
