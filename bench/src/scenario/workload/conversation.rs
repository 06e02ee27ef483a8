//! A session under way: which request it is at, and what it says next.
//!
//! Its events: `session` (open: name, model); for each request `tool_call` (the result of a tool, if it brings one),
//! `agent_message` (the request), a `token` for every token of the answer, `tool_call` (the call, if the answer ends
//! with one), `agent_message` (the response: why it ended, usage); `session` (close). Tokens of thinking are tokens as
//! well: they are `reasoning_content` where text is `content`, and arguments of a tool are in `tool_calls`, as
//! inference servers stream them.

use std::time::Duration;
use std::vec;

use tapeline::kinds;

use super::engine::Sink;
use super::payload::{self, Chunks};
use super::plan::{Plan, Request};
use crate::harness::Outcome;

/// A session that is open.
#[derive(Debug)]
pub(super) struct Conversation<S> {
    session: S,
    number: u64,
    /// The request that is asked or answered.
    request: Option<Request>,
    upcoming: vec::IntoIter<Request>,
    chunks: Chunks,
    /// The time at which the answer's first token is due.
    ready_at: Duration,
    /// Tokens of the answer so far, and of the answers before.
    tokens: u32,
    tokens_before: u64,
    /// Requests so far.
    requests: u32,
}

impl<S: Copy> Conversation<S> {
    /// Opens session `number` of the load.
    pub(super) fn open<K: Sink<Session = S>>(plan: Plan, number: u64, sink: &mut K) -> Outcome<Self> {
        let session = sink.session(&plan.name);
        sink.emit(session, kinds::SESSION, |out| payload::opened(out, &plan))?;
        Ok(Self {
            session,
            number,
            request: None,
            upcoming: plan.requests.into_iter(),
            chunks: Chunks::default(),
            ready_at: Duration::ZERO,
            tokens: 0,
            tokens_before: 0,
            requests: 0,
        })
    }

    /// The pause before the next request. `None` after the last.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.upcoming.as_slice().first().map(|request| request.pause)
    }

    /// Asks the next request.
    pub(super) fn ask<K: Sink<Session = S>>(&mut self, sink: &mut K) -> Outcome<()> {
        let Some(request) = self.upcoming.next() else { return Ok(()) };
        let (session, number) = (self.number, self.requests);
        if request.has_tool_result {
            sink.emit(self.session, kinds::TOOL_CALL, |out| payload::tool_result(out, session, number))?;
        }
        self.requests += 1;
        self.tokens = 0;
        self.chunks.begin(self.number, self.requests, &request.model);
        let number = self.requests;
        sink.emit(self.session, kinds::AGENT_MESSAGE, |out| payload::request(out, number, &request))?;
        self.request = Some(request);
        Ok(())
    }

    /// The engine has a place for the request.
    pub(super) fn admitted(&mut self, now: Duration) {
        let wait = self.request.as_ref().map_or(Duration::ZERO, |request| request.first_token);
        self.ready_at = now.saturating_add(wait);
    }

    /// A step of the engine: a token, if the first is due. Returns whether the answer is over.
    pub(super) fn step<K: Sink<Session = S>>(&mut self, now: Duration, sink: &mut K) -> Outcome<bool> {
        let Some(request) = &self.request else { return Ok(true) };
        if now < self.ready_at {
            return Ok(false);
        }
        let (token, tokens) = (self.tokens, request.generated_tokens);
        if token < tokens {
            let (part, chunks) = (request.answer.part(token, tokens), &self.chunks);
            let finish = if token + 1 == tokens { request.finish } else { None };
            sink.emit(self.session, kinds::TOKEN, |out| chunks.write(out, part, token, finish))?;
            self.tokens += 1;
        }
        if self.tokens < tokens {
            return Ok(false);
        }
        let (session, number) = (self.number, self.requests);
        if request.answer.has_tool_use {
            sink.emit(self.session, kinds::TOOL_CALL, |out| payload::tool_call(out, session, number))?;
        }
        sink.emit(self.session, kinds::AGENT_MESSAGE, |out| payload::response(out, number, request))?;
        self.tokens_before += u64::from(tokens);
        Ok(true)
    }

    /// Closes the session.
    pub(super) fn close<K: Sink<Session = S>>(self, sink: &mut K) -> Outcome<()> {
        let (requests, tokens) = (self.requests, self.tokens_before);
        sink.emit(self.session, kinds::SESSION, |out| payload::closed(out, requests, tokens))
    }
}
