//! `tapeline cursor`: the named cursors of a log.

mod args;

use std::io::{self, Write};

use serde::Serialize;
use tapeline_reader::{ConsumerError, LogFiles, NamedCursor, Start};

pub(crate) use self::args::CursorArgs;
use self::args::{CursorCommand, ListArgs, RemoveArgs, SetArgs};
use crate::exit::{Exit, Failure, exit_of_cause, open_log, open_to_read, report_damage};
use crate::human;
use crate::output::{self, Align, Style, Table};
use crate::owner;
use crate::stdout;
use crate::when::When;

/// Digits of the shortest text of a cursor: version, flags, log id and checksum.
const CURSOR_DIGITS: usize = 44;

/// A cursor as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    lag_events: u64,
    lag_bytes: u64,
    lag_ns: u64,
    cursor: &'a str,
    /// The fault of a cursor that cannot be used.
    fault: Option<&'a str>,
}

/// Does what is asked for.
pub(crate) fn run(args: &CursorArgs) -> Result<Exit, Failure> {
    match &args.command {
        CursorCommand::Ls(args) => list(args),
        CursorCommand::Set(args) => set(args),
        CursorCommand::Rm(args) => remove(args),
    }
}

fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let log = open_to_read(&args.directory)?;
    let cursors = log.cursors()?;
    let mut out = stdout::buffered();
    if args.json {
        for NamedCursor { name, cursor, lag_events, lag_bytes, lag, fault, .. } in &cursors {
            let lag_ns = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
            let (lag_events, lag_bytes, fault) = (*lag_events, *lag_bytes, fault.as_deref());
            let line = Line { name, lag_events, lag_bytes, lag_ns, cursor, fault };
            output::json(&mut out, &line)?;
        }
    } else {
        table(&cursors).print(&mut out, Style::of(&io::stdout()))?;
    }
    out.flush()?;
    // A cursor of another log is intact, and listed with its reason.
    let faults = cursors.iter().filter_map(|cursor| cursor.fault_cause.map(exit_of_cause));
    Ok(faults.max().unwrap_or(Exit::Done).max(report_damage(&log)))
}

fn table(cursors: &[NamedCursor]) -> Table<5> {
    let mut table = Table::new([
        ("CURSOR", Align::Left),
        ("EVENTS BEHIND", Align::Right),
        ("BYTES", Align::Right),
        ("FOR", Align::Right),
        ("", Align::Left),
    ]);
    for cursor in cursors {
        let lag = if cursor.lag.is_zero() { "-".to_owned() } else { human::ago(cursor.lag) };
        let cells = match &cursor.fault {
            None => [human::count(cursor.lag_events), human::bytes(cursor.lag_bytes), lag, String::new()],
            Some(fault) => ["-".to_owned(), "-".to_owned(), "-".to_owned(), output::printable(fault)],
        };
        let [events, bytes, lag, fault] = cells;
        table.row([cursor.name.clone(), events, bytes, lag, fault]);
    }
    table
}

fn set(args: &SetArgs) -> Result<Exit, Failure> {
    owner::warn_of_another(&args.directory);
    let log = open_log(&args.directory)?;
    let cursor = start(&log, &args.start)?;
    log.save_cursor(&args.name, &cursor).map_err(refused)?;
    Ok(Exit::Done)
}

fn remove(args: &RemoveArgs) -> Result<Exit, Failure> {
    if open_log(&args.directory)?.remove_cursor(&args.name).map_err(refused)? {
        Ok(Exit::Done)
    } else {
        Err(Failure::new(Exit::NotFound, format_args!("no cursor {:?}; `tapeline cursor ls` lists them", args.name)))
    }
}

/// The cursor for the start that an operator names.
fn start(log: &LogFiles, text: &str) -> Result<String, Failure> {
    let start = match text {
        "earliest" => Start::Earliest,
        "latest" => Start::Latest,
        // No time is written so.
        text if text.len() >= CURSOR_DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            return Ok(text.to_owned());
        }
        text => {
            let when: When = text.parse().map_err(|error| {
                Failure::new(Exit::Usage, format_args!("neither earliest, latest nor a cursor: {error}"))
            })?;
            Start::Time(when.0)
        }
    };
    Ok(log.cursor_at(&start)?)
}

/// A name or cursor that cannot be used is the command line's fault.
fn refused(error: ConsumerError) -> Failure {
    match error {
        ConsumerError::CursorName(_) | ConsumerError::InvalidCursor { .. } => Failure::new(Exit::Usage, error),
        error => error.into(),
    }
}
