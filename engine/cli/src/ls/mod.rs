//! `tapeline ls`: the sessions of a log.

mod args;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::io::{self, Write};

use serde::Serialize;
use tapeline_reader::{LogFiles, SessionOutcome, SessionState, SessionSummary};

pub(crate) use self::args::LsArgs;
use self::args::Sort;
use crate::empty;
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
    if let Some(why) = select(&mut sessions, &log, args)? {
        message::note(why);
    }
    sessions.sort_by(|first, second| compare(first, second, args.sort));
    if args.reverse {
        sessions.reverse();
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

/// Leaves out the sessions that are not asked for. Returns why none is left, if so.
fn select(sessions: &mut Vec<SessionSummary>, log: &LogFiles, args: &LsArgs) -> Result<Option<String>, Failure> {
    if sessions.is_empty() {
        return Ok(Some("the log has no sessions".to_owned()));
    }
    if let Some(wanted) = &args.source {
        let meeting: HashSet<_> = log.sessions_where(wanted.clone())?.iter().map(|summary| summary.session).collect();
        let why = |_: &[SessionSummary]| "a source that meets --where".to_owned();
        if let Some(why) = retain(sessions, |session| meeting.contains(&session.session), why) {
            return Ok(Some(why));
        }
    }
    let is_named = |session: &SessionSummary, prefix: &String| {
        session.name.as_ref().is_some_and(|name| name.starts_with(prefix))
            || session.session.to_string().starts_with(prefix)
    };
    let is_asked_for = |session: &SessionSummary| args.session.as_ref().is_none_or(|prefix| is_named(session, prefix));
    let is_in_time = |session: &SessionSummary| {
        args.since.is_none_or(|since| session.last_insertion_ts >= since.0)
            && args.until.is_none_or(|until| session.first_insertion_ts < until.0)
    };
    let prefix = args.session.as_deref().unwrap_or_default();
    let why = retain(sessions, is_asked_for, |_| format!("a name or an id that begins with {prefix:?}"));
    let why = why.or_else(|| retain(sessions, is_in_time, |all| out_of_time(args, all)));
    let has_enough = |session: &SessionSummary| session.events >= args.min_events;
    let why = why.or_else(|| retain(sessions, has_enough, |all| too_short(args, all)));
    let none = (args.limit == Some(0))
        .then(|| format!("--limit 0 lists none of {}", human::some(sessions.len() as u64, "session")));
    Ok(why.or(none))
}

/// Keeps the sessions of which this holds. Returns why none is left, if so: `what` of all that were there none has.
fn retain(
    sessions: &mut Vec<SessionSummary>,
    holds: impl Fn(&SessionSummary) -> bool,
    what: impl Fn(&[SessionSummary]) -> String,
) -> Option<String> {
    if sessions.iter().any(&holds) {
        sessions.retain(holds);
        return None;
    }
    let why = format!("none of {} has {}", human::some(sessions.len() as u64, "session"), what(sessions));
    sessions.clear();
    Some(why)
}

fn out_of_time(args: &LsArgs, sessions: &[SessionSummary]) -> String {
    let (since, until) = (args.since.map(|when| when.0), args.until.map(|when| when.0));
    format!("an event {}", empty::out_of_range(since, until, sessions))
}

fn too_short(args: &LsArgs, sessions: &[SessionSummary]) -> String {
    let most = sessions.iter().map(|session| session.events).max().unwrap_or(0);
    let (wanted, most) = (human::some(args.min_events, "event"), human::count(most));
    format!("{wanted} or more, as --min-events asks for: the longest has {most}")
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
