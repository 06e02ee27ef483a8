//! `tapeline show`: one session: what it streamed, when, how fast, and where it stalled.

mod args;
mod profile;

use std::io::{self, Write};

use serde::Serialize;
use tapeline_reader::{LogFiles, StoredEvent};

pub(crate) use self::args::ShowArgs;
use self::profile::{Profile, Profiler};
use crate::exit::{Exit, Failure, open_to_read};
use crate::human;
use crate::output::{self, Align, Style, Table};
use crate::select::Selection;
use crate::stdout;

/// Most characters of a payload in the table of events.
const PAYLOAD_CHARS: usize = 60;

/// Rows of the table of events that are laid out together.
const TABLE_ROWS: usize = 1000;

/// An event as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line {
    r#type: &'static str,
    shard: u16,
    sequence: u64,
    timestamp: u64,
    offset_ns: u64,
    since_previous_ns: u64,
    kind: String,
    bytes: usize,
}

/// Shows the session.
pub(crate) fn run(args: &ShowArgs) -> Result<Exit, Failure> {
    let log = open_to_read(&args.directory)?;
    let asked = Selection { session: vec![args.session.clone()], ..Selection::default() };
    let selection = asked.found_in(&log)?.selection;
    let mut profiler = Profiler::new(args.stalls);
    let (mut exit, mut unread) = (Exit::Done, None);
    for event in log.replay_with(&selection.request())? {
        match event {
            Ok(event) => profiler.add(&event),
            Err(error) => {
                let failure = Failure::from(error);
                exit = exit.max(failure.exit);
                profiler.add_gap(failure.to_string());
                unread.get_or_insert(failure);
            }
        }
    }
    if let Some(session) = profiler.unnamed() {
        profiler.name(log.session_names().remove(&session));
    }
    let Some(profile) = profiler.finish() else {
        let message = format!("nothing of session {:?} can be read", args.session);
        return Err(match unread {
            Some(failure) => Failure::new(exit, format_args!("{message}: {failure}")),
            None => Failure::new(Exit::NotFound, message),
        });
    };
    let mut out = stdout::buffered();
    if args.json {
        output::json(&mut out, &profile)?;
    } else {
        profile.print(&mut out)?;
    }
    if args.events || args.limit.is_some() {
        Listing::new(args, &profile).print(&mut out, &log, &selection)?;
    }
    out.flush()?;
    Ok(exit)
}

impl Profile {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let style = Style::of(&io::stdout());
        let shards = self.shards.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let facts = [
            ("session", self.session.as_deref().map_or_else(|| "-".to_owned(), output::printable)),
            ("id", self.session_id.clone()),
            ("shards", shards),
            ("first", self.first.clone()),
            ("last", self.last.clone()),
            ("duration", human::duration(self.duration_ns)),
            ("events", human::count(self.events)),
            ("bytes", human::bytes(self.bytes)),
            ("rate", human::rate(self.events, self.duration_ns)),
        ];
        for (name, value) in facts {
            writeln!(out, "{} {value}", style.strong(&format!("{name:<9}")))?;
        }
        writeln!(out)?;
        self.kind_table().print(out, style)?;
        if !self.stalls.is_empty() {
            writeln!(out)?;
            self.stall_table().print(out, style)?;
        }
        if !self.gaps.is_empty() {
            writeln!(out)?;
        }
        let gaps = self.gaps.iter().map(|gap| output::printable(&gap.to_string()));
        gaps.into_iter().try_for_each(|gap| writeln!(out, "{} {gap}", style.bad("missing:")))
    }

    fn kind_table(&self) -> Table<5> {
        let mut table = Table::new([
            ("KIND", Align::Left),
            ("EVENTS", Align::Right),
            ("BYTES", Align::Right),
            ("FIRST", Align::Right),
            ("LAST", Align::Right),
        ]);
        for totals in &self.kinds {
            table.row([
                totals.kind.clone(),
                human::count(totals.events),
                human::bytes(totals.bytes),
                human::offset(totals.first_timestamp - self.first_timestamp),
                human::offset(totals.last_timestamp - self.first_timestamp),
            ]);
        }
        table
    }

    fn stall_table(&self) -> Table<4> {
        let mut table = Table::new([
            ("STALL", Align::Right),
            ("AT", Align::Right),
            ("TIME", Align::Left),
            ("BETWEEN", Align::Left),
        ]);
        for stall in &self.stalls {
            let (after, before) = (stall.after, stall.before);
            table.row([
                human::duration(stall.duration_ns),
                human::offset(stall.timestamp.saturating_sub(self.first_timestamp)),
                human::time(stall.timestamp),
                format!("{}-{} and {}-{}", after.shard, after.sequence, before.shard, before.sequence),
            ]);
        }
        table
    }
}

/// The events of the session, one after the other.
struct Listing {
    as_json: bool,
    left: usize,
    first_timestamp: u64,
    previous: u64,
    table: Table<6>,
    rows: usize,
}

impl Listing {
    fn new(args: &ShowArgs, profile: &Profile) -> Self {
        let first_timestamp = profile.first_timestamp;
        Self {
            as_json: args.json,
            left: args.limit.unwrap_or(usize::MAX),
            first_timestamp,
            previous: first_timestamp,
            table: Self::table(),
            rows: 0,
        }
    }

    fn table() -> Table<6> {
        Table::new([
            ("OFFSET", Align::Right),
            ("SINCE", Align::Right),
            ("EVENT", Align::Left),
            ("KIND", Align::Left),
            ("BYTES", Align::Right),
            ("PAYLOAD", Align::Left),
        ])
    }

    /// Events that cannot be read were reported with the profile.
    fn print(mut self, out: &mut impl Write, log: &LogFiles, selection: &Selection) -> Result<(), Failure> {
        if !self.as_json {
            writeln!(out)?;
        }
        for event in log.replay_with(&selection.request())?.flatten().take(self.left) {
            if self.as_json {
                let line = self.line(&event);
                output::json(out, &line)?;
            } else {
                self.row(&event);
                if self.rows == TABLE_ROWS {
                    self.flush(out)?;
                }
            }
            self.previous = event.insertion_ts;
        }
        Ok(self.flush(out)?)
    }

    fn line(&self, event: &StoredEvent) -> Line {
        Line {
            r#type: "event",
            shard: event.shard_id,
            sequence: event.sequence.get(),
            timestamp: event.insertion_ts,
            offset_ns: event.insertion_ts.saturating_sub(self.first_timestamp),
            since_previous_ns: event.insertion_ts.saturating_sub(self.previous),
            kind: output::kind(event.kind).into_owned(),
            bytes: event.raw.len(),
        }
    }

    fn row(&mut self, event: &StoredEvent) {
        let text = output::printable(&String::from_utf8_lossy(&event.raw));
        let mut payload: String = text.chars().take(PAYLOAD_CHARS).collect();
        if payload.len() < text.len() {
            payload.push('…');
        }
        self.table.row([
            human::offset(event.insertion_ts.saturating_sub(self.first_timestamp)),
            human::duration(event.insertion_ts.saturating_sub(self.previous)),
            format!("{}-{}", event.shard_id, event.sequence),
            output::kind(event.kind).into_owned(),
            event.raw.len().to_string(),
            payload,
        ]);
        self.rows += 1;
    }

    fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        let table = std::mem::replace(&mut self.table, Self::table());
        match std::mem::take(&mut self.rows) {
            0 => Ok(()),
            _ => table.print(out, Style::of(&io::stdout())),
        }
    }
}
