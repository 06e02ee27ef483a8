//! `tapeline ls`: the sessions of a log.

use std::io::{self, Write};

use serde::Serialize;
use tapeline::SessionSummary;

use crate::args::DirectoryArgs;
use crate::exit::{Exit, Failure, open_log};
use crate::output::{self, Align, Style, Table};

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
}

impl<'a> From<&'a SessionSummary> for Line<'a> {
    fn from(summary: &'a SessionSummary) -> Self {
        Self {
            session: summary.name.as_deref(),
            session_id: summary.session.to_string(),
            events: summary.events,
            bytes: summary.bytes,
            first: output::time(summary.first_timestamp),
            last: output::time(summary.last_timestamp),
            first_timestamp: summary.first_timestamp,
            last_timestamp: summary.last_timestamp,
        }
    }
}

/// Lists the sessions, the oldest first.
pub(crate) fn run(args: &DirectoryArgs) -> Result<Exit, Failure> {
    let sessions = open_log(&args.directory)?.sessions()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        sessions.iter().try_for_each(|session| output::json(&mut out, &Line::from(session)))?;
    } else {
        table(&sessions).print(&mut out, Style::of(&io::stdout()))?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn table(sessions: &[SessionSummary]) -> Table<5> {
    let mut table = Table::new([
        ("SESSION", Align::Left),
        ("EVENTS", Align::Right),
        ("BYTES", Align::Right),
        ("FIRST", Align::Left),
        ("LAST", Align::Left),
    ]);
    for session in sessions {
        table.row([
            output::session(session.name.as_deref(), session.session),
            session.events.to_string(),
            session.bytes.to_string(),
            output::time(session.first_timestamp),
            output::time(session.last_timestamp),
        ]);
    }
    table
}
