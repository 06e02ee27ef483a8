//! The facts remembered of a stream of events, a session's or those of one kind in it, to measure it in one pass.

#[cfg(test)]
mod tests;

use super::measure::{Measure, Sample};

/// A stream, as far as it has been read. 48 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track {
    /// Time of its first event.
    begun: u64,
    /// Time of its last.
    last: u64,
    /// The number of events.
    events: u64,
    tokens: u64,
    first_token: u64,
    last_token: u64,
}

impl Track {
    /// A stream that has begun at a time, with so many events that are of no concern here.
    pub(super) fn begun(time: u64, events: u64) -> Self {
        Self { begun: time, last: time, events, tokens: 0, first_token: 0, last_token: 0 }
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
    }

    /// An event that is no token.
    pub(super) fn event(&mut self, time: u64) {
        self.events += 1;
        self.last = time;
    }

    /// A token. A stream that begins with one has no time to the first. Where a clock went back, the time is 0.
    pub(super) fn token(&mut self, time: u64) -> Option<Sample> {
        let begins = self.events == 0;
        self.event(time);
        let measured = match self.tokens {
            0 if begins => None,
            0 => Some((Measure::TimeToFirstToken, time.saturating_sub(self.begun))),
            _ => Some((Measure::InterToken, time.saturating_sub(self.last_token))),
        };
        if self.tokens == 0 {
            self.first_token = time;
        }
        self.tokens += 1;
        self.last_token = time;
        measured.map(|(measure, value)| Sample { measure, value, time })
    }

    /// The samples that are known when the stream has ended: of one with a single token no time per token, of one with
    /// a single event no length, and no rate where no time passed.
    pub(super) fn ended(&self) -> impl Iterator<Item = Sample> {
        let Self { begun, last, events, tokens, first_token, last_token } = *self;
        let per_token = (tokens > 1).then(|| last_token.saturating_sub(first_token) / (tokens - 1));
        let length = (events > 1).then(|| last.saturating_sub(begun));
        let busy = last_token.saturating_sub(begun);
        let rate = (tokens > 0 && busy > 0).then(|| per_thousand_seconds(tokens, busy));
        let values =
            [(Measure::TimePerOutputToken, per_token), (Measure::SessionLength, length), (Measure::SessionRate, rate)];
        values.into_iter().filter_map(move |(measure, value)| Some(Sample { measure, value: value?, time: last }))
    }
}

/// The number in a thousand seconds, of so many in some nanoseconds, which are not 0.
pub(super) fn per_thousand_seconds(number: u64, nanos: u64) -> u64 {
    u64::try_from(u128::from(number) * 1_000_000_000_000 / u128::from(nanos)).unwrap_or(u64::MAX)
}
