//! The progress of a relay: on a terminal a line that changes, elsewhere a line now and then, and JSON if asked for.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use serde::Serialize;
use tapeline::adapter::{RelayHandle, RelayHealth, RelayStats};

use super::RelayArgs;
use crate::exit::Failure;
use crate::human;
use crate::message;
use crate::output;
use crate::progress::StatusLine;
use crate::signal::{Interrupt, Wake, die_of_closed_pipe};
use crate::stdout;

/// Sleep between two looks at the relay.
const LOOK: Duration = Duration::from_millis(50);

/// The time between two lines of progress: of JSON, or on a terminal; and elsewhere.
const PERIOD: Duration = Duration::from_secs(1);
const QUIET_PERIOD: Duration = Duration::from_secs(30);

/// The numbers as `--json` prints them.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    running: bool,
    events: u64,
    bytes: u64,
    lag_events: u64,
    lag_ns: u64,
    events_per_second: f64,
    retries: u64,
    dead_letters: u64,
    redriven: u64,
    missed: u64,
    /// The last error, while the server does not confirm.
    error: Option<&'a str>,
}

/// A relay that is watched.
pub(super) struct Watch<'a> {
    args: &'a RelayArgs,
    relay: &'a RelayHandle,
    line: StatusLine,
    /// The time of the first signal's patience; `None` once it has come.
    grace: Option<Duration>,
    error: Option<String>,
    reported: Instant,
    /// The numbers of the last line.
    last: (u64, u64),
}

impl<'a> Watch<'a> {
    pub(super) fn new(args: &'a RelayArgs, relay: &'a RelayHandle) -> Self {
        let (line, grace) = (StatusLine::new(), Some(args.grace));
        Self { args, relay, line, grace, error: None, reported: Instant::now(), last: (0, 0) }
    }

    /// Watches it to its end. The first signal drains it, a second one ends it at once.
    pub(super) fn run(mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        loop {
            let stats = self.relay.stats();
            self.note_health(&stats);
            if !stats.is_running {
                return self.report(&stats);
            }
            let period = if self.args.json || self.line.is_shown() { PERIOD } else { QUIET_PERIOD };
            if self.reported.elapsed() >= period {
                self.report(&stats)?;
            }
            match self.wait(interrupt)? {
                Wake::Interrupted(_) => self.drain(),
                Wake::Closed => die_of_closed_pipe(),
                Wake::Readable | Wake::TimedOut => {}
            }
        }
    }

    /// Waits for a signal; also for the reader of the JSON to go.
    fn wait(&self, interrupt: &Interrupt) -> io::Result<Wake> {
        if self.args.json { interrupt.wait_for(io::stdout().as_fd(), LOOK) } else { interrupt.sleep(LOOK) }
    }

    fn drain(&mut self) {
        let grace = self.grace.take();
        if let Some(grace) = grace {
            let words = format!("waiting {} at most for the server to confirm the rest", human::ago(grace));
            self.line.above(|| message::note(words));
        }
        self.relay.drain(grace.unwrap_or_default());
    }

    /// Reports an error when it begins, and when it is over.
    fn note_health(&mut self, stats: &RelayStats) {
        let error = error_of(&stats.health);
        if error == self.error.as_deref() {
            return;
        }
        self.line.above(|| message::note(error.unwrap_or("it goes on")));
        self.error = error.map(str::to_owned);
    }

    fn report(&mut self, stats: &RelayStats) -> Result<(), Failure> {
        self.reported = Instant::now();
        if self.args.json {
            return print(stats);
        }
        let words = words(stats);
        self.line.set(&words);
        let numbers = (stats.delivered.events, stats.lag.events);
        if !stats.is_running {
            self.line.above(|| message::note(words));
        } else if !self.line.is_shown() && numbers != self.last {
            message::note(words);
        }
        self.last = numbers;
        Ok(())
    }
}

fn error_of(health: &RelayHealth) -> Option<&str> {
    match health {
        RelayHealth::Retrying { reason } | RelayHealth::Unhealthy { reason } => Some(reason),
        _ => None,
    }
}

fn words(stats: &RelayStats) -> String {
    let mut words = format!("{} confirmed", human::some(stats.delivered.events, "event"));
    if stats.is_running {
        words += &format!(", {:.0}/s", stats.delivered.events_per_second);
    }
    words += &format!(", {} behind", human::count(stats.lag.events));
    if !stats.lag.time.is_zero() {
        words += &format!(" for {}", human::ago(stats.lag.time));
    }
    if stats.dead_letters.waiting > 0 {
        words += &format!(", {} refused", human::count(stats.dead_letters.waiting));
    }
    if stats.missed.events > 0 {
        words += &format!(", {} no longer in the log", human::count(stats.missed.events));
    }
    words
}

fn print(stats: &RelayStats) -> Result<(), Failure> {
    let line = Line {
        name: &stats.name,
        running: stats.is_running,
        events: stats.delivered.events,
        bytes: stats.delivered.bytes,
        lag_events: stats.lag.events,
        lag_ns: u64::try_from(stats.lag.time.as_nanos()).unwrap_or(u64::MAX),
        events_per_second: stats.delivered.events_per_second,
        retries: stats.delivered.retries,
        dead_letters: stats.dead_letters.waiting,
        redriven: stats.dead_letters.redriven,
        missed: stats.missed.events,
        error: error_of(&stats.health),
    };
    let mut out = stdout::buffered();
    output::json(&mut out, &line)?;
    out.flush()?;
    Ok(())
}
