//! A model of an inference engine with continuous batching: in every step each running answer gets one token, and all
//! tokens of a step are emitted together. Steps are gamma-distributed.
//!
//! A session pauses before each of its requests. A request waits for a place among the running answers, then for its
//! first token, then streams. Time is the engine's own: nothing here waits for it to pass. Memory is bounded: while
//! [`LIVE_MAX`] sessions are open, those that would begin do so later.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tapeline::event::Kind;

use super::conversation::Conversation;
use super::plan::{Plan, STEP};
use super::random::Random;
use super::source::Source;
use crate::harness::Outcome;

/// Shape of the steps' gamma distribution: their standard deviation is a quarter of their mean.
pub(super) const STEP_SHAPE: f64 = 16.0;

/// Answers that run at once.
pub(super) const RUNNING_MAX: usize = 256;

/// Sessions that are open at once.
pub(super) const LIVE_MAX: usize = 1024;

/// Takes the events.
pub(super) trait Sink {
    /// A session as the sink knows it.
    type Session: Copy;

    /// The session of a name.
    fn session(&mut self, name: &str) -> Self::Session;

    /// Takes an event, whose payload `write` leaves in an empty buffer.
    fn emit(&mut self, session: Self::Session, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> Outcome<()>;
}

/// The engine, and the sessions that use it.
#[derive(Debug)]
pub(super) struct Engine<S> {
    source: Source,
    /// The session that begins next, and how many may come after it.
    upcoming: Option<Plan>,
    left: u64,
    /// Sessions that pause, by the time when they go on and a number that makes it unique.
    pausing: BTreeMap<(Duration, u64), Conversation<S>>,
    paused: u64,
    /// Requests without a place.
    waiting: VecDeque<Conversation<S>>,
    running: Vec<Conversation<S>>,
    now: Duration,
    random: Random,
    opened: u64,
}

impl<S: Copy> Engine<S> {
    /// An idle engine, and at most `sessions` that come to it.
    pub(super) fn new(source: Source, seed: u64, sessions: u64) -> Outcome<Self> {
        let mut engine = Self {
            source,
            upcoming: None,
            left: sessions,
            pausing: BTreeMap::new(),
            paused: 0,
            waiting: VecDeque::new(),
            running: Vec::with_capacity(RUNNING_MAX),
            now: Duration::ZERO,
            random: Random::new(seed),
            opened: 0,
        };
        engine.fetch()?;
        Ok(engine)
    }

    /// The engine's time at the next step.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Sessions that have begun.
    pub(super) fn sessions(&self) -> u64 {
        self.opened
    }

    /// Sessions that are open.
    pub(super) fn live(&self) -> usize {
        self.pausing.len() + self.waiting.len() + self.running.len()
    }

    /// Returns whether all sessions have ended, and none will come.
    pub(super) fn is_over(&self) -> bool {
        self.live() == 0 && self.upcoming.is_none()
    }

    /// One step: sessions begin and go on, running answers get a token each, those that are done end.
    pub(super) fn step<K: Sink<Session = S>>(&mut self, sink: &mut K) -> Outcome<()> {
        self.arrive(sink)?;
        self.go_on(sink)?;
        self.admit();
        self.stream(sink)?;
        self.advance();
        Ok(())
    }

    fn fetch(&mut self) -> Outcome<()> {
        self.upcoming = match self.left {
            0 => None,
            _ => Some(self.source.next()?),
        };
        self.left = self.left.saturating_sub(1);
        Ok(())
    }

    fn arrive<K: Sink<Session = S>>(&mut self, sink: &mut K) -> Outcome<()> {
        while self.live() < LIVE_MAX
            && let Some(plan) = self.upcoming.take_if(|plan| plan.arrival <= self.now)
        {
            let conversation = Conversation::open(plan, self.opened, sink)?;
            self.opened += 1;
            self.pause_or_close(conversation, sink)?;
            self.fetch()?;
        }
        Ok(())
    }

    fn go_on<K: Sink<Session = S>>(&mut self, sink: &mut K) -> Outcome<()> {
        while let Some(first) = self.pausing.first_entry()
            && first.key().0 <= self.now
        {
            let mut conversation = first.remove();
            conversation.ask(sink)?;
            self.waiting.push_back(conversation);
        }
        Ok(())
    }

    fn admit(&mut self) {
        while self.running.len() < RUNNING_MAX
            && let Some(mut conversation) = self.waiting.pop_front()
        {
            conversation.admitted(self.now);
            self.running.push(conversation);
        }
    }

    fn stream<K: Sink<Session = S>>(&mut self, sink: &mut K) -> Outcome<()> {
        let mut at = 0;
        while let Some(conversation) = self.running.get_mut(at) {
            if conversation.step(self.now, sink)? {
                let conversation = self.running.swap_remove(at);
                self.pause_or_close(conversation, sink)?;
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    fn pause_or_close<K: Sink<Session = S>>(&mut self, conversation: Conversation<S>, sink: &mut K) -> Outcome<()> {
        let Some(pause) = conversation.pause() else { return conversation.close(sink) };
        self.paused += 1;
        self.pausing.insert((self.now.saturating_add(pause), self.paused), conversation);
        Ok(())
    }

    /// To the next step; an engine without work sleeps until there is some.
    fn advance(&mut self) {
        let step = self.now.saturating_add(STEP.mul_f64(self.random.gamma(STEP_SHAPE)));
        let is_idle = self.running.is_empty() && self.waiting.is_empty();
        let goes_on = self.pausing.first_key_value().map(|(&(time, _), _)| time);
        let begins = self.upcoming.as_ref().map(|plan| plan.arrival);
        self.now = match goes_on.into_iter().chain(begins).min() {
            Some(next) if is_idle => step.max(next),
            _ => step,
        };
    }
}
