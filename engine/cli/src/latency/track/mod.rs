//! The facts remembered of a stream of events, a session's or those of one kind in it, to measure it in one pass.

#[cfg(test)]
mod tests;

use super::measure::{Measure, Sample};

/// A stream, as far as it has been read. 112 bytes, and 32 for each choice beside the first.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, Default)]
struct Answer {
    /// The number of answers before it.
    number: u64,
    /// Time of its first event, if one has come.
    begun: Option<u64>,
    /// Most answers have one choice.
    first: Choice,
    others: Vec<(u8, Choice)>,
}

/// One of the texts that a model gives as an answer: each is a stream of its own.
#[derive(Debug, Clone, Copy, Default)]
struct Choice {
    tokens: u64,
    first_token: u64,
    last_token: u64,
}

impl Choice {
    /// The time per token; `None`: it has one at most.
    fn per_token(&self) -> Option<u64> {
        (self.tokens > 1).then(|| self.last_token.saturating_sub(self.first_token) / (self.tokens - 1))
    }

    /// A token of it. The time since the one before, or since the answer began.
    fn token(&mut self, time: u64, begun: Option<u64>) -> Option<(Measure, u64)> {
        let measured = match (self.tokens, begun) {
            (0, None) => None,
            (0, Some(begun)) => Some((Measure::TimeToFirstToken, time.saturating_sub(begun))),
            _ => Some((Measure::InterToken, time.saturating_sub(self.last_token))),
        };
        if self.tokens == 0 {
            self.first_token = time;
        }
        self.tokens += 1;
        self.last_token = time;
        measured
    }
}

impl Answer {
    fn choice(&mut self, index: u8) -> &mut Choice {
        if index == 0 {
            return &mut self.first;
        }
        let at = self.others.iter().position(|(known, _)| *known == index).unwrap_or_else(|| {
            self.others.push((index, Choice::default()));
            self.others.len() - 1
        });
        &mut self.others[at].1
    }

    /// The time per token of each choice.
    fn per_token(&self) -> impl Iterator<Item = u64> {
        [&self.first].into_iter().chain(self.others.iter().map(|(_, choice)| choice)).filter_map(Choice::per_token)
    }
}

impl Track {
    /// A stream that begins at a time.
    pub(super) fn begun(time: u64) -> Self {
        Self { begun: time, last: time, events: 0, tokens: 0, last_token: 0, answer: Answer::default() }
    }

    /// A stream of some of the events of another, before its first.
    pub(super) fn within(whole: &Self) -> Self {
        let answer = Answer { number: whole.answer.number, begun: whole.answer.begun, ..Answer::default() };
        Self { events: whole.events, answer, ..Self::begun(whole.begun) }
    }

    /// The number of tokens among them.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The tokens so far were none.
    pub(super) fn forget_tokens(&mut self) {
        self.tokens = 0;
        (self.answer.first, self.answer.others) = Default::default();
    }

    /// An event, which brings no token.
    pub(super) fn event(&mut self, time: u64) {
        self.events += 1;
        self.last = time;
        self.answer.begun.get_or_insert(time);
    }

    /// An event that brings a token to each of these choices. An answer that begins with one has no time to the first.
    /// Where a clock went back, the time is 0.
    pub(super) fn token(&mut self, time: u64, choices: impl IntoIterator<Item = u8>) -> impl Iterator<Item = Sample> {
        let begun = self.answer.begun;
        self.event(time);
        choices.into_iter().filter_map(move |index| {
            self.tokens += 1;
            self.last_token = time;
            let (measure, value) = self.answer.choice(index).token(time, begun)?;
            Some(Sample { measure, value, time })
        })
    }

    /// The answer has come to its end, and the next event begins another. The samples that are known then.
    pub(super) fn end_answer(&mut self) -> impl Iterator<Item = Sample> + use<> {
        let next = Answer { number: self.answer.number + 1, ..Answer::default() };
        let (ended, time) = (std::mem::replace(&mut self.answer, next), self.last);
        let values: Vec<_> = ended.per_token().collect();
        values.into_iter().map(move |value| Sample { measure: Measure::TimePerOutputToken, value, time })
    }

    /// The answers that have come to their end in the stream that this is a part of have done so here.
    pub(super) fn follow(&mut self, whole: &Self) -> impl Iterator<Item = Sample> + use<> {
        let is_another = self.answer.number != whole.answer.number;
        let samples = is_another.then(|| self.end_answer());
        if is_another {
            (self.answer.number, self.answer.begun) = (whole.answer.number, whole.answer.begun);
        }
        samples.into_iter().flatten()
    }

    /// The samples that are known when the stream has ended: of one with a single event no length, and no rate where
    /// no time passed.
    pub(super) fn ended(&self) -> impl Iterator<Item = Sample> {
        let Self { begun, last, events, tokens, last_token, .. } = *self;
        let length = (events > 1).then(|| last.saturating_sub(begun));
        let busy = last_token.saturating_sub(begun);
        let rate = (tokens > 0 && busy > 0).then(|| per_thousand_seconds(tokens, busy));
        let values = [(Measure::SessionLength, length), (Measure::SessionRate, rate)];
        let per_token = self.answer.per_token().map(|value| (Measure::TimePerOutputToken, Some(value)));
        let sample = move |(measure, value): (_, Option<u64>)| Some(Sample { measure, value: value?, time: last });
        per_token.chain(values).filter_map(sample)
    }
}

/// The number in a thousand seconds, of so many in some nanoseconds, which are not 0.
pub(super) fn per_thousand_seconds(number: u64, nanos: u64) -> u64 {
    u64::try_from(u128::from(number) * 1_000_000_000_000 / u128::from(nanos)).unwrap_or(u64::MAX)
}
