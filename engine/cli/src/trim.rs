//! `tapeline trim`: removes the oldest segments of a log that no process has open.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tapeline_reader::{
    ConsumerError, KeptSegment, RetentionPolicy, TrimPlan, TrimmedSegment, trim_log, trim_log_without_names,
};

use crate::exit::{Exit, Failure, open_log};
use crate::human;
use crate::message;
use crate::output::{self, Align, Style, Table};
use crate::owner;
use crate::size::{parse_segments, parse_size};
use crate::stdout;
use crate::when::parse_duration;

/// Arguments of `tapeline trim`.
#[derive(Debug, Args)]
#[command(after_help = "\
Only whole sealed segments go, the oldest of the whole log first, as soon as one of the limits says so. Readers that were in
them get a gap. A log that a bus has open is trimmed by that bus: by its retention setting, or by EventBus::trim.

Examples:
  tapeline trim log --max-age 7d --dry-run           what would go, and why
  tapeline trim log --max-bytes 100G --keep-cursors  but nothing that a named cursor has not passed")]
pub(crate) struct TrimArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    limits: Limits,
    /// Keep what a named cursor has not passed
    #[arg(long)]
    keep_cursors: bool,
    /// Trim also where a full disk has no room for the names of sessions that go on: they are lost then
    #[arg(long)]
    lose_names: bool,
    /// Say what would go, and leave it
    #[arg(long)]
    dry_run: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// The limits on what is kept.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Limits {
    /// Segments whose last event is older go: 12h, 7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_duration)]
    max_age: Option<Duration>,
    /// Segments go until the log has at most so many bytes: 512M, 100G
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = parse_size)]
    max_bytes: Option<u64>,
    /// Segments go until the log has at most so many
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_segments)]
    max_segments: Option<usize>,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    /// A segment that goes.
    Removed(Segment<'a>),
    /// A segment that stays for a cursor.
    Kept {
        cursor: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor_fault: Option<&'a str>,
        segment: Segment<'a>,
    },
    /// The last line.
    Summary { removed: usize, bytes: u64, segments_left: usize, bytes_left: u64, dry_run: bool },
}

#[derive(Debug, Serialize)]
struct Segment<'a> {
    shard: u16,
    file: &'a str,
    first_sequence: u64,
    end_sequence: u64,
    bytes: u64,
    first: String,
    last: String,
    reason: String,
}

impl<'a> From<&'a TrimmedSegment> for Segment<'a> {
    fn from(segment: &'a TrimmedSegment) -> Self {
        Self {
            shard: segment.shard_id,
            file: &segment.file,
            first_sequence: segment.base.get(),
            end_sequence: segment.end.get(),
            bytes: segment.bytes,
            first: output::time(segment.first_insertion_ts),
            last: output::time(segment.last_insertion_ts),
            reason: segment.reason.to_string(),
        }
    }
}

/// Trims, or says what would go.
pub(crate) fn run(args: &TrimArgs) -> Result<Exit, Failure> {
    let policy = RetentionPolicy {
        max_age: args.limits.max_age,
        max_bytes: args.limits.max_bytes,
        max_segments: args.limits.max_segments,
        keep_for_cursors: args.keep_cursors,
    };
    // Tells a log that is missing from one that cannot be trimmed.
    let log = open_log(&args.directory)?;
    if !args.dry_run {
        owner::warn_of_another(&args.directory);
    }
    let trim = if args.lose_names { trim_log_without_names } else { trim_log };
    let plan = if args.dry_run { log.plan_trim(&policy)? } else { trim(&args.directory, &policy).map_err(refused)? };
    if let Some(why) = &plan.names_lost {
        let text = "the names of sessions that were opened in what went are lost";
        message::error(format_args!("{text}: {why}"));
    }
    let mut out = stdout::buffered();
    if args.json {
        print_json(&mut out, &plan, args.dry_run)?
    } else {
        print_text(&mut out, &plan, args.dry_run)?
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// The failure of a trim.
fn refused(error: ConsumerError) -> Failure {
    match error {
        ConsumerError::NamesLost { .. } => {
            Failure::failed(format_args!("{error}; free some room and repeat this, or add --lose-names"))
        }
        error => error.into(),
    }
}

fn print_json(out: &mut impl Write, plan: &TrimPlan, dry_run: bool) -> io::Result<()> {
    plan.removed.iter().try_for_each(|segment| output::json(out, &Line::Removed(segment.into())))?;
    for KeptSegment { segment, cursor, cursor_fault, .. } in &plan.kept {
        let cursor_fault = cursor_fault.as_deref();
        output::json(out, &Line::Kept { cursor, cursor_fault, segment: segment.into() })?;
    }
    let (removed, bytes) = (plan.removed.len(), removed_bytes(plan));
    let TrimPlan { segments_left, bytes_left, .. } = *plan;
    output::json(out, &Line::Summary { removed, bytes, segments_left, bytes_left, dry_run })
}

fn print_text(out: &mut impl Write, plan: &TrimPlan, dry_run: bool) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    if !(plan.removed.is_empty() && plan.kept.is_empty()) {
        table(plan).print(out, style)?;
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    let segments = |segments: usize| human::some(segments as u64, "segment");
    let bytes = |bytes: u64| human::some(bytes, "byte");
    let (removed, left) = (segments(plan.removed.len()), segments(plan.segments_left));
    writeln!(out, "{verb} {removed}, {}; {left}, {} left", bytes(removed_bytes(plan)), bytes(plan.bytes_left))
}

fn removed_bytes(plan: &TrimPlan) -> u64 {
    plan.removed.iter().map(|segment| segment.bytes).sum()
}

fn table(plan: &TrimPlan) -> Table<6> {
    let mut table = Table::new([
        ("SHARD", Align::Right),
        ("SEGMENT", Align::Left),
        ("EVENTS", Align::Right),
        ("BYTES", Align::Right),
        ("LAST", Align::Left),
        ("WHY", Align::Left),
    ]);
    let mut row = |segment: &TrimmedSegment, why: String| {
        table.row([
            segment.shard_id.to_string(),
            segment.file.clone(),
            human::range(segment.base.get()..segment.end.get()),
            segment.bytes.to_string(),
            output::time(segment.last_insertion_ts),
            why,
        ]);
    };
    plan.removed.iter().for_each(|segment| row(segment, segment.reason.to_string()));
    for KeptSegment { segment, cursor, cursor_fault, .. } in &plan.kept {
        row(
            segment,
            match cursor_fault {
                Some(fault) => format!("stays for cursor {cursor}, which cannot be read: {fault}"),
                None => format!("stays for cursor {cursor}"),
            },
        );
    }
    table
}
