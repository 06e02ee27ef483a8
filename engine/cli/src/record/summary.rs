//! What was recorded: said once it is durable.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::exit::Failure;
use crate::human;
use crate::output;

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
}

impl Summary {
    /// What is said of `counts`, all of which survive what `durability` names, `taken` after the start.
    pub(super) fn new(counts: Counts, taken: Duration, durability: String, log: String, interrupted: bool) -> Self {
        let seconds = taken.as_secs_f64();
        let events_per_second = if seconds > 0.0 { (counts.events as f64 / seconds).round() } else { 0.0 };
        let Counts { events, bytes, sessions } = counts;
        Self { events, bytes, sessions, seconds, events_per_second, durability, log, interrupted }
    }

    /// Prints it: as JSON to standard output, or as text to standard error.
    pub(super) fn print(&self, as_json: bool) -> Result<(), Failure> {
        if as_json {
            let mut out = io::stdout().lock();
            output::json(&mut out, self)?;
            return Ok(out.flush()?);
        }
        eprintln!(
            "{}recorded {}, {}, {} in {:.3} s ({} events/s), {}",
            if self.interrupted { "interrupted; " } else { "" },
            human::some(self.events, "event"),
            human::some(self.bytes, "byte"),
            human::some(self.sessions, "session"),
            self.seconds,
            human::count(self.events_per_second as u64),
            self.durability,
        );
        Ok(())
    }
}
