//! A model of an inference engine with continuous batching: in every step each running sequence gets one token, and all
//! tokens of a step are emitted together.
//!
//! A request waits for a place among the running sequences, then for the steps its prompt takes, then streams. Each
//! request is a session: its open event, the request, its tokens, its end.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use tapeline::{Kind, Session, kinds};

use super::request::{Request, Requests};
use crate::harness::Outcome;

/// Time of one step.
pub(super) const STEP: Duration = Duration::from_millis(25);

/// Sequences that run at once.
const RUNNING_MAX: usize = 256;

/// Prompt tokens that one step takes in for each sequence.
const PREFILL_TOKENS: u32 = 512;

/// What tokens are made of.
const WORDS: [&str; 32] = [
    "the", "model", "streams", "a", "token", "at", "each", "step", "and", "every", "answer", "is", "kept", "in",
    "order", "so", "that", "what", "was", "said", "can", "be", "heard", "again", "from", "its", "first", "word", "to",
    "the", "last", "one",
];

/// Takes the events.
pub(super) trait Sink {
    /// Begins a session.
    fn open(&mut self, name: &str) -> Outcome<Session>;

    /// Takes an event.
    fn emit(&mut self, session: Session, kind: Kind, payload: &[u8]) -> Outcome<()>;
}

/// A running sequence.
#[derive(Debug)]
struct Sequence {
    session: Session,
    /// Steps until the first token.
    prefill_steps: u32,
    tokens: u32,
    generated_tokens: u32,
    /// Where in the list of words the answer begins.
    first_word: usize,
}

/// The engine and the requests that come to it.
#[derive(Debug)]
pub(super) struct Engine {
    requests: Requests,
    upcoming: Request,
    waiting: VecDeque<Request>,
    running: Vec<Sequence>,
    steps: u32,
    sessions: u64,
    payload: Vec<u8>,
}

impl Engine {
    /// An idle engine.
    pub(super) fn new(mut requests: Requests) -> Self {
        let upcoming = requests.next();
        Self {
            requests,
            upcoming,
            waiting: VecDeque::new(),
            running: Vec::with_capacity(RUNNING_MAX),
            steps: 0,
            sessions: 0,
            payload: Vec::with_capacity(256),
        }
    }

    /// The engine's time at the next step.
    pub(super) fn now(&self) -> Duration {
        STEP * self.steps
    }

    /// Sessions that have begun.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions
    }

    /// One step: new requests begin, every running sequence gets a token, those that are done end.
    pub(super) fn step(&mut self, sink: &mut impl Sink) -> Outcome<()> {
        self.arrive();
        self.admit(sink)?;
        let payload = &mut self.payload;
        for sequence in &mut self.running {
            sequence.step(payload, sink)?;
        }
        self.running.retain(|sequence| sequence.tokens < sequence.generated_tokens);
        self.steps = self.steps.saturating_add(1);
        Ok(())
    }

    fn arrive(&mut self) {
        while self.upcoming.arrival <= self.now() {
            self.waiting.push_back(self.upcoming);
            self.upcoming = self.requests.next();
        }
    }

    fn admit(&mut self, sink: &mut impl Sink) -> Outcome<()> {
        while self.running.len() < RUNNING_MAX
            && let Some(request) = self.waiting.pop_front()
        {
            let session = sink.open(&format!("request-{:07}", self.sessions))?;
            self.payload.clear();
            write!(
                self.payload,
                r#"{{"type":"request","context_tokens":{},"max_tokens":{}}}"#,
                request.context_tokens, request.generated_tokens
            )?;
            sink.emit(session, kinds::AGENT_MESSAGE, &self.payload)?;
            self.running.push(Sequence {
                session,
                prefill_steps: request.context_tokens.div_ceil(PREFILL_TOKENS),
                tokens: 0,
                generated_tokens: request.generated_tokens,
                first_word: self.sessions as usize,
            });
            self.sessions += 1;
        }
        Ok(())
    }
}

impl Sequence {
    fn step(&mut self, payload: &mut Vec<u8>, sink: &mut impl Sink) -> Outcome<()> {
        if self.prefill_steps > 0 {
            self.prefill_steps -= 1;
            return Ok(());
        }
        let word = WORDS[(self.first_word + self.tokens as usize) % WORDS.len()];
        let space = if self.tokens == 0 { "" } else { " " };
        payload.clear();
        write!(payload, r#"{{"token":"{space}{word}","index":{}}}"#, self.tokens)?;
        sink.emit(self.session, kinds::TOKEN, payload)?;
        self.tokens += 1;
        if self.tokens == self.generated_tokens {
            payload.clear();
            write!(payload, r#"{{"type":"session.close","reason":"stop","tokens":{}}}"#, self.tokens)?;
            sink.emit(self.session, kinds::SESSION, payload)?;
        }
        Ok(())
    }
}
