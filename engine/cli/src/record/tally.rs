//! Oddities of the input: events that could not be recorded as they should be.

use std::fmt;

use serde::Serialize;

use crate::human;

/// Counts of it, and where each was met first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// Events over the limit, recorded in parts.
    kept_in_parts: Times,
    /// Lines that name no session, recorded in that of their file.
    kept_without_session: Times,
    /// Events and lines that were left out.
    skipped: Times,
    /// Lines that say nothing, where lines name sessions. They are left out.
    blank_lines: u64,
}

/// The oddities that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oddity {
    KeptInParts,
    KeptWithoutSession,
    Skipped,
}

/// The number of occurrences of an oddity, and the words about the first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "u64")]
struct Times {
    count: u64,
    first: String,
}

impl From<Times> for u64 {
    fn from(times: Times) -> Self {
        times.count
    }
}

impl Tally {
    /// Counts something. `place` says where it was and why: it is asked for the first time only.
    pub(super) fn count(&mut self, what: Oddity, place: impl FnOnce() -> String) {
        let times = match what {
            Oddity::KeptInParts => &mut self.kept_in_parts,
            Oddity::KeptWithoutSession => &mut self.kept_without_session,
            Oddity::Skipped => &mut self.skipped,
        };
        if times.count == 0 {
            times.first = place();
        }
        times.count += 1;
    }

    /// Counts a blank line.
    pub(super) fn blank_line(&mut self) {
        self.blank_lines += 1;
    }
}

/// A line for each that was met.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, times) in [
            ("too long, kept in parts", &self.kept_in_parts),
            ("without a session, kept in that of the file", &self.kept_without_session),
            ("skipped", &self.skipped),
        ] {
            if times.count > 0 {
                writeln!(f, "{}: {what}; the first at {}", human::some(times.count, "event"), times.first)?;
            }
        }
        match self.blank_lines {
            0 => Ok(()),
            lines => writeln!(f, "{}: left out", human::some(lines, "blank line")),
        }
    }
}
