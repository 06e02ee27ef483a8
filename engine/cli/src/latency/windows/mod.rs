//! The whole by windows of time, aligned to the Unix epoch.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::measure::{Part, Sample};
use crate::exit::{Exit, Failure};

/// Most windows where their length is not given: they become longer instead.
const COUNT: u64 = 120;

/// Most windows where it is.
const COUNT_MAX: u64 = 100_000;

/// The shortest windows: a millisecond.
const SHORTEST: u64 = 1_000_000;

/// Windows of one length, of which those are kept that something happened in.
#[derive(Debug)]
pub(super) struct Windows {
    length: u64,
    /// The next factor of the length; 0 where the length is given.
    factor: u64,
    /// The windows of the first and of the last event, by their numbers since the epoch.
    span: Option<(u64, u64)>,
    parts: BTreeMap<u64, Part>,
}

impl Windows {
    /// Windows of a length in nanoseconds, or of one that leaves 120 at most: 1, 2, 10, 20, 100, ... ms.
    pub(super) fn new(length: Option<u64>) -> Self {
        let factor = if length.is_some() { 0 } else { 2 };
        Self { length: length.unwrap_or(SHORTEST), factor, span: None, parts: BTreeMap::new() }
    }

    /// Makes room for an event of this time.
    ///
    /// # Errors
    /// [`Exit::Usage`] where the length is given and there would be more than 100,000 windows.
    pub(super) fn see(&mut self, time: u64) -> Result<(), Failure> {
        let number = time / self.length;
        let (first, last) = match self.span {
            Some((first, last)) if (first..=last).contains(&number) => return Ok(()),
            Some((first, last)) => (first.min(number), last.max(number)),
            None => (number, number),
        };
        self.span = Some((first, last));
        if self.factor == 0 && last - first >= COUNT_MAX {
            let message = format_args!("--window: more than {COUNT_MAX} windows; longer ones, or --since, make fewer");
            return Err(Failure::new(Exit::Usage, message));
        }
        while self.factor > 0 && self.span.is_some_and(|(first, last)| last - first >= COUNT) {
            self.widen();
        }
        Ok(())
    }

    fn widen(&mut self) {
        let factor = self.factor;
        self.length *= factor;
        self.factor = if factor == 2 { 5 } else { 2 };
        self.span = self.span.map(|(first, last)| (first / factor, last / factor));
        for (number, part) in std::mem::take(&mut self.parts) {
            self.parts.entry(number / factor).or_default().add(&part);
        }
    }

    /// Counts tokens. Their time has been seen.
    pub(super) fn tokens(&mut self, time: u64, tokens: u64) {
        self.part(time).tokens += tokens;
    }

    /// Records a value. Its time has been seen.
    pub(super) fn record(&mut self, sample: Sample) {
        self.part(sample.time).record(sample);
    }

    fn part(&mut self, time: u64) -> &mut Part {
        self.parts.entry(time / self.length).or_default()
    }

    /// Forgets what was recorded, not what was seen.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
    }

    /// Length of a window in nanoseconds.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// From the first window to the last, those included in which nothing happened: where each begins, and its part.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Option<&Part>)> {
        let numbers = self.span.map(|(first, last)| first..=last);
        let numbers = numbers.into_iter().flat_map(RangeInclusive::into_iter);
        numbers.map(|number| (number * self.length, self.parts.get(&number)))
    }
}
