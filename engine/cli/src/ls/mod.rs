//! `tapeline ls`: the sessions of a log.

mod args;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::io::{self, Write};

use serde::Serialize;
use tapeline_reader::{SessionOutcome, SessionState, SessionSummary};

pub(crate) use self::args::LsArgs;
use self::args::Sort;
use crate::exit::{Exit, Failure, open_to_read};
use crate::human;
use crate::message;
use crate::output::{self, Align, Style, Table};
use crate::stdout;

/// A session as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    session: Option<&'a str>,
    session_id: String,
    events: u64,
    bytes: u64,
    first: String,
    last: String,
    first_timestamp: u64,
    last_timestamp: u64,
    duration_ns: u64,
    events_per_second: Option<f64>,
    /// `open` or `closed`.
    state: &'static str,
    /// The outcome, where the event that closed it says so.
    outcome: Option<SessionOutcome>,
}

impl<'a> From<&'a SessionSummary> for Line<'a> {
    fn from(summary: &'a SessionSummary) -> Self {
        Self {
            session: summary.name.as_deref(),
            session_id: summary.session.to_string(),
            events: summary.events,
            bytes: summary.bytes,
            first: output::time(summary.first_insertion_ts),
            last: output::time(summary.last_insertion_ts),
            first_timestamp: summary.first_insertion_ts,
            last_timestamp: summary.last_insertion_ts,
            duration_ns: length(summary),
            events_per_second: human::per_second(summary.events, length(summary)),
            state: if matches!(summary.state, SessionState::Closed { .. }) { "closed" } else { "open" },
            outcome: outcome(summary),
        }
    }
}

/// Lists the sessions that are asked for.
pub(crate) fn run(args: &LsArgs) -> Result<Exit, Failure> {
    let log = open_to_read(&args.directory)?;
    let mut sessions = log.sessions()?;
    let there = sessions.len();
    if let Some(wanted) = &args.source {
        let meeting: HashSet<_> = log.sessions_where(wanted.clone())?.iter().map(|summary| summary.session).collect();
        sessions.retain(|summary| meeting.contains(&summary.session));
    }
    sessions.retain(|session| is_wanted(session, args));
    sessions.sort_by(|first, second| compare(first, second, args.sort));
    if args.reverse {
        sessions.reverse();
    }
    if sessions.is_empty() {
        report_none(there);
    }
    sessions.truncate(args.limit.unwrap_or(usize::MAX));
    let mut out = stdout::buffered();
    if args.json {
        sessions.iter().try_for_each(|session| output::json(&mut out, &Line::from(session)))?;
    } else {
        table(&sessions).print(&mut out, Style::of(&io::stdout()))?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Says why nothing is listed.
fn report_none(there: usize) {
    let why = match there {
        0 => "the log has no sessions".to_owned(),
        there => format!("none of {} is selected", human::some(there as u64, "session")),
    };
    message::note(why);
}

fn is_wanted(session: &SessionSummary, args: &LsArgs) -> bool {
    let is_named = |prefix: &String| {
        session.name.as_ref().is_some_and(|name| name.starts_with(prefix))
            || session.session.to_string().starts_with(prefix)
    };
    args.session.as_ref().is_none_or(is_named)
        && args.since.is_none_or(|since| session.last_insertion_ts >= since.0)
        && args.until.is_none_or(|until| session.first_insertion_ts < until.0)
        && session.events >= args.min_events
}

/// Ties go to the session that began first.
fn compare(first: &SessionSummary, second: &SessionSummary, sort: Sort) -> Ordering {
    let by = match sort {
        Sort::First => Ordering::Equal,
        Sort::Last => first.last_insertion_ts.cmp(&second.last_insertion_ts),
        Sort::Events => first.events.cmp(&second.events),
        Sort::Bytes => first.bytes.cmp(&second.bytes),
        Sort::Name => first.name.cmp(&second.name),
    };
    by.then_with(|| (first.first_insertion_ts, first.session).cmp(&(second.first_insertion_ts, second.session)))
}

fn outcome(session: &SessionSummary) -> Option<SessionOutcome> {
    if let SessionState::Closed { outcome } = session.state { outcome } else { None }
}

/// The word of the table for its end.
fn ending(session: &SessionSummary) -> &'static str {
    match (session.state, outcome(session)) {
        (_, Some(outcome)) => outcome.as_str(),
        (SessionState::Closed { .. }, None) => "closed",
        _ => "-",
    }
}

/// Nanoseconds from the first event to the last.
fn length(session: &SessionSummary) -> u64 {
    session.last_insertion_ts.saturating_sub(session.first_insertion_ts)
}

fn table(sessions: &[SessionSummary]) -> Table<7> {
    let mut table = Table::new([
        ("SESSION", Align::Left),
        ("EVENTS", Align::Right),
        ("BYTES", Align::Right),
        ("FIRST", Align::Left),
        ("DURATION", Align::Right),
        ("RATE", Align::Right),
        ("END", Align::Left),
    ]);
    for session in sessions {
        table.row([
            output::session(session.name.as_deref(), session.session),
            human::count(session.events),
            human::bytes(session.bytes),
            human::time(session.first_insertion_ts),
            human::duration(length(session)),
            human::rate(session.events, length(session)),
            ending(session).to_owned(),
        ]);
    }
    table
}
