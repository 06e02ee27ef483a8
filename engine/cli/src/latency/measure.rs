//! The measures, and the distributions of their values.

use tapeline_histogram::{Counts, Unit};

/// A measure that single events or sessions give values of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    TimeToFirstToken,
    InterToken,
    TimePerOutputToken,
    SessionLength,
    SessionRate,
}

impl Measure {
    /// All of them, in the order in which they are shown.
    pub(super) const ALL: [Self; 5] =
        [Self::TimeToFirstToken, Self::InterToken, Self::TimePerOutputToken, Self::SessionLength, Self::SessionRate];

    /// The name, in files as well.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TimeToFirstToken => "time-to-first-token",
            Self::InterToken => "inter-token",
            Self::TimePerOutputToken => "time-per-output-token",
            Self::SessionLength => "session-length",
            Self::SessionRate => "session-rate",
        }
    }

    /// The title on the page.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::TimeToFirstToken => "Time to first token",
            Self::InterToken => "Inter-token latency",
            Self::TimePerOutputToken => "Time per output token",
            Self::SessionLength => "Session length",
            Self::SessionRate => "Tokens a second of a session",
        }
    }

    pub(super) fn unit(self) -> Unit {
        match self {
            Self::SessionRate => Unit::PerThousandSeconds,
            _ => Unit::Nanoseconds,
        }
    }
}

/// A value of a measure, and when it was complete: nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) measure: Measure,
    pub(super) value: u64,
    pub(super) time: u64,
}

/// A part of the whole: a group, or a window of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// Events that counted as tokens.
    pub(super) tokens: u64,
    counts: [Counts; Measure::ALL.len()],
}

impl Part {
    pub(super) fn record(&mut self, sample: Sample) {
        self.counts[sample.measure as usize].record(sample.value);
    }

    pub(super) fn of(&self, measure: Measure) -> &Counts {
        &self.counts[measure as usize]
    }

    /// Adds another part.
    pub(super) fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.counts.iter_mut().zip(&other.counts).for_each(|(counts, others)| counts.add(others));
    }
}
