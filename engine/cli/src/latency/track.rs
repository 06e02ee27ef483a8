//! The facts remembered of a stream of events, a session's or those of one kind in it, to measure it in one pass.

#[cfg(test)]
mod tests;

use super::measure::{Measure, Sample};

/// A stream, as far as it has been read. 72 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track {
    /// Time of its first event.
    begun: u64,
    /// Time of its last.
    last: u64,
    /// The number of events.
    events: u64,
    tokens: u64,
    last_token: u64,
    answer: Answer,
}

/// The answer under way.
#[derive(Debug, Clone, Copy, Default)]
struct Answer {
    /// Time of its first event, if one has come.
    begun: Option<u64>,
    tokens: u64,
    first_token: u64,
}

impl Track {
    /// A stream that has begun at a time, with so many events that are of no concern here.
    pub(super) fn begun(time: u64, events: u64) -> Self {
        let answer = Answer { begun: (events > 0).then_some(time), ..Answer::default() };
        Self { begun: time, last: time, events, tokens: 0, last_token: 0, answer }
    }

    /// The time at which it began, and its number of events.
    pub(super) fn beginning(&self) -> (u64, u64) {
        (self.begun, self.events)
    }

    /// The number of tokens among them.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The tokens so far were none.
    pub(super) fn forget_tokens(&mut self) {
        self.tokens = 0;
        self.answer.tokens = 0;
    }

    /// An event that is no token.
    pub(super) fn event(&mut self, time: u64) {
        self.events += 1;
        self.last = time;
        self.answer.begun.get_or_insert(time);
    }

    /// A token. An answer that begins with one has no time to the first. Where a clock went back, the time is 0.
    pub(super) fn token(&mut self, time: u64) -> Option<Sample> {
        let begun = self.answer.begun;
        self.event(time);
        let measured = match (self.answer.tokens, begun) {
            (0, None) => None,
            (0, Some(begun)) => Some((Measure::TimeToFirstToken, time.saturating_sub(begun))),
            _ => Some((Measure::InterToken, time.saturating_sub(self.last_token))),
        };
        if self.answer.tokens == 0 {
            self.answer.first_token = time;
        }
        self.answer.tokens += 1;
        self.tokens += 1;
        self.last_token = time;
        measured.map(|(measure, value)| Sample { measure, value, time })
    }

    /// The answer has come to its end, and the next event begins another. The sample that is known then.
    pub(super) fn end_answer(&mut self) -> Option<Sample> {
        let per_token = self.per_token();
        self.answer = Answer::default();
        per_token.map(|value| Sample { measure: Measure::TimePerOutputToken, value, time: self.last })
    }

    /// The time per token of the answer; `None`: it has one at most.
    fn per_token(&self) -> Option<u64> {
        let Answer { tokens, first_token, .. } = self.answer;
        (tokens > 1).then(|| self.last_token.saturating_sub(first_token) / (tokens - 1))
    }

    /// The samples that are known when the stream has ended: of one with a single event no length, and no rate where
    /// no time passed.
    pub(super) fn ended(&self) -> impl Iterator<Item = Sample> {
        let Self { begun, last, events, tokens, last_token, .. } = *self;
        let length = (events > 1).then(|| last.saturating_sub(begun));
        let busy = last_token.saturating_sub(begun);
        let rate = (tokens > 0 && busy > 0).then(|| per_thousand_seconds(tokens, busy));
        let values = [
            (Measure::TimePerOutputToken, self.per_token()),
            (Measure::SessionLength, length),
            (Measure::SessionRate, rate),
        ];
        values.into_iter().filter_map(move |(measure, value)| Some(Sample { measure, value: value?, time: last }))
    }
}

/// The number in a thousand seconds, of so many in some nanoseconds, which are not 0.
pub(super) fn per_thousand_seconds(number: u64, nanos: u64) -> u64 {
    u64::try_from(u128::from(number) * 1_000_000_000_000 / u128::from(nanos)).unwrap_or(u64::MAX)
}
