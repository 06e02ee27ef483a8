//! `tapeline stats`: what a log holds, by shard, by kind, and over time.

mod args;
mod bars;
mod shards;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use tapeline_reader::{ConsumerError, KindSummary, LogFiles, kinds};

pub(crate) use self::args::StatsArgs;
use self::args::Unit;
use self::shards::ShardTotals;
use crate::exit::{Exit, Failure, open_to_read};
use crate::human;
use crate::output::{self, Align, Style, Table};
use crate::stdout;

/// The log as `--json` prints it.
#[derive(Debug, Serialize)]
struct Totals {
    r#type: &'static str,
    log: String,
    created: String,
    shards: usize,
    sessions: usize,
    events: u64,
    /// Of payloads.
    bytes: u64,
    segments: usize,
    sealed: usize,
    segment_bytes: u64,
    bytes_per_event: Option<f64>,
    first_timestamp: Option<u64>,
    last_timestamp: Option<u64>,
}

/// A kind as `--json` prints it.
#[derive(Debug, Serialize)]
struct Kind {
    r#type: &'static str,
    kind: String,
    events: u64,
    bytes: u64,
}

/// A stretch of time as `--json` prints it.
#[derive(Debug, Serialize)]
struct Bar {
    r#type: &'static str,
    start: String,
    start_timestamp: u64,
    width_ns: u64,
    events: u64,
}

/// All that is said of a log.
#[derive(Debug)]
struct Stats {
    totals: Totals,
    shards: Vec<ShardTotals>,
    kinds: Vec<KindSummary>,
    width: u64,
    activity: BTreeMap<u64, u64>,
}

/// Shows what there is.
pub(crate) fn run(args: &StatsArgs) -> Result<Exit, Failure> {
    let stats = Stats::of(&open_to_read(&args.directory)?, args.by)?;
    let mut out = stdout::buffered();
    if args.json {
        stats.print_json(&mut out)?;
    } else {
        stats.print(&mut out, Style::of(&io::stdout()))?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

impl Stats {
    /// # Errors
    /// The first shard or block that cannot be read.
    fn of(log: &LogFiles, by: Option<Unit>) -> Result<Self, ConsumerError> {
        let (kinds, sessions, range) = (log.kinds()?, log.sessions()?.len(), log.time_range()?);
        let shards = ShardTotals::of(log);
        let width = match (by, &range) {
            (Some(unit), _) => unit.nanoseconds(),
            (None, Some(range)) => bars::width(range),
            (None, None) => Unit::Second.nanoseconds(),
        };
        let counted = kinds.iter().filter(|total| is_counted(total));
        let (events, bytes) =
            counted.fold((0, 0), |(events, bytes), total| (events + total.events, bytes + total.bytes));
        let segment_bytes = shards.iter().map(|shard| shard.bytes).sum();
        let totals = Totals {
            r#type: "log",
            log: log.log_id().to_string(),
            created: output::time(log.created()),
            shards: shards.len(),
            sessions,
            events,
            bytes,
            segments: shards.iter().map(|shard| shard.segments).sum(),
            sealed: shards.iter().map(|shard| shard.sealed).sum(),
            segment_bytes,
            bytes_per_event: (events > 0).then(|| segment_bytes as f64 / events as f64),
            first_timestamp: range.as_ref().map(|range| *range.start()),
            last_timestamp: range.as_ref().map(|range| *range.end()),
        };
        Ok(Self { totals, shards, kinds, width, activity: log.activity(Duration::from_nanos(width))? })
    }

    fn print_json(&self, out: &mut impl Write) -> io::Result<()> {
        output::json(out, &self.totals)?;
        self.shards.iter().try_for_each(|shard| output::json(out, shard))?;
        for total in &self.kinds {
            let kind = kind_name(total);
            output::json(out, &Kind { r#type: "kind", kind, events: total.events, bytes: total.bytes })?;
        }
        for (&start, &events) in &self.activity {
            let bar = Bar {
                r#type: "time",
                start: output::time(start),
                start_timestamp: start,
                width_ns: self.width,
                events,
            };
            output::json(out, &bar)?;
        }
        Ok(())
    }

    fn print(&self, out: &mut impl Write, style: Style) -> io::Result<()> {
        let totals = &self.totals;
        let segments =
            format!("{} ({} sealed), {}", totals.segments, totals.sealed, human::bytes(totals.segment_bytes));
        let each = totals.bytes_per_event.map_or_else(|| "-".to_owned(), |bytes| human::bytes(bytes.round() as u64));
        let time = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), output::time);
        let facts = [
            ("log", totals.log.clone()),
            ("created", totals.created.clone()),
            ("first", time(totals.first_timestamp)),
            ("last", time(totals.last_timestamp)),
            ("sessions", human::count(totals.sessions as u64)),
            ("events", human::count(totals.events)),
            ("payloads", human::bytes(totals.bytes)),
            ("segments", segments),
            ("an event", format!("{each} of segments")),
        ];
        for (name, value) in facts {
            writeln!(out, "{} {value}", style.strong(&format!("{name:<9}")))?;
        }
        writeln!(out)?;
        self.shard_table().print(out, style)?;
        writeln!(out)?;
        self.kind_table().print(out, style)?;
        writeln!(out, "\n{}", style.strong(&format!("EVENTS IN {}", human::duration(self.width))))?;
        bars::print(out, &self.activity, self.width)
    }

    fn shard_table(&self) -> Table<6> {
        let mut table = Table::new([
            ("SHARD", Align::Right),
            ("EVENTS", Align::Right),
            ("SEQUENCES", Align::Left),
            ("SEGMENTS", Align::Right),
            ("BYTES", Align::Right),
            ("PADDING", Align::Right),
        ]);
        for shard in &self.shards {
            table.row([
                shard.shard.to_string(),
                human::count(shard.events),
                human::range(shard.first_sequence..shard.end_sequence),
                format!("{} ({} sealed)", shard.segments, shard.sealed),
                human::bytes(shard.bytes),
                shard.padding(),
            ]);
        }
        table
    }

    fn kind_table(&self) -> Table<4> {
        let mut table = Table::new([
            ("KIND", Align::Left),
            ("EVENTS", Align::Right),
            ("BYTES", Align::Right),
            ("EACH", Align::Right),
        ]);
        for total in &self.kinds {
            let each = total.bytes.checked_div(total.events).unwrap_or(0);
            table.row([kind_name(total), human::count(total.events), human::bytes(total.bytes), human::bytes(each)]);
        }
        table
    }
}

/// Events are what was ingested: neither what opens sessions nor notes of the bus.
fn is_counted(total: &KindSummary) -> bool {
    total.kind != kinds::SESSION && !is_note(total)
}

fn is_note(total: &KindSummary) -> bool {
    kinds::RESERVED.contains(&total.kind.0)
}

fn kind_name(total: &KindSummary) -> String {
    match total.kind {
        kinds::CURSOR => "cursor of a batch".to_owned(),
        _ if is_note(total) => "note of the bus".to_owned(),
        kind => output::kind(kind).into_owned(),
    }
}
