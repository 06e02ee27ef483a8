//! The summary of a recording, printed once all of it is durable.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use super::tally::Tally;
use crate::exit::Failure;
use crate::human;
use crate::message;
use crate::output;
use crate::stdout;

/// Counts of a recording.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Events, those that open sessions not among them.
    pub(super) events: u64,
    /// Bytes of their payloads.
    pub(super) bytes: u64,
    /// Sessions they belong to.
    pub(super) sessions: u64,
}

/// The outcome of a recording.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) counts: Counts,
    pub(super) tally: Tally,
    pub(super) taken: Duration,
    /// True if a signal ended it.
    pub(super) interrupted: bool,
}

/// The acknowledgement of a recording.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    events: u64,
    bytes: u64,
    sessions: u64,
    seconds: f64,
    events_per_second: f64,
    durability: String,
    log: String,
    interrupted: bool,
    #[serde(flatten)]
    tally: Tally,
}

impl Summary {
    /// The summary of a recording into `log`, all of which survives what `durability` names.
    pub(super) fn new(outcome: Outcome, durability: String, log: String) -> Self {
        let Outcome { counts: Counts { events, bytes, sessions }, tally, taken, interrupted } = outcome;
        let seconds = taken.as_secs_f64();
        let events_per_second = if seconds > 0.0 { (events as f64 / seconds).round() } else { 0.0 };
        Self { events, bytes, sessions, seconds, events_per_second, durability, log, interrupted, tally }
    }

    /// Prints it: as JSON to standard output, or as text to standard error. Oddities are reported there in any case.
    pub(super) fn print(&self, as_json: bool) -> Result<(), Failure> {
        self.tally.to_string().lines().for_each(message::plain);
        if as_json {
            let mut out = stdout::buffered();
            output::json(&mut out, self)?;
            return Ok(out.flush()?);
        }
        message::plain(format_args!(
            "{}recorded {}, {}, {} in {:.3} s ({}/s), {}",
            if self.interrupted { "interrupted; " } else { "" },
            human::some(self.events, "event"),
            human::some(self.bytes, "byte"),
            human::some(self.sessions, "session"),
            self.seconds,
            human::some(self.events_per_second as u64, "event"),
            self.durability,
        ));
        Ok(())
    }
}
