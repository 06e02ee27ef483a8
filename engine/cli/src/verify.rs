//! `tapeline verify`: reads and checks every block of a log.

use std::io::{self, Write};

use serde::Serialize;
use tapeline::{Damage, Verification};

use crate::args::DirectoryArgs;
use crate::exit::{Exit, Failure, open_log};
use crate::names;
use crate::output::{self, Style};
use crate::progress::Progress;

/// A line of `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    /// A place that does not check.
    Damage { shard: u16, segment: &'a str, offset: u64, reason: &'a str },
    /// The last line: what was checked.
    Summary { blocks: u64, events: u64, bytes: u64, damaged: usize },
}

/// Checks all blocks, and prints what does not check.
pub(crate) fn run(args: &DirectoryArgs) -> Result<Exit, Failure> {
    let log = open_log(&args.directory)?;
    let progress = Progress::new(Some(log.segments().iter().map(|segment| segment.bytes).sum()));
    let verification = log.verify(|bytes| progress.add(bytes));
    drop(progress);
    names::tell_damage(&log);
    let mut out = io::stdout().lock();
    if args.json {
        print_json(&mut out, &verification)?
    } else {
        print_text(&mut out, &verification)?
    }
    out.flush()?;
    Ok(if verification.damage.is_empty() { Exit::Done } else { Exit::Corrupt })
}

fn print_json(out: &mut impl Write, verification: &Verification) -> io::Result<()> {
    for Damage { shard, segment, offset, reason, .. } in &verification.damage {
        output::json(out, &Line::Damage { shard: *shard, segment, offset: *offset, reason })?;
    }
    let &Verification { blocks, events, bytes, .. } = verification;
    output::json(out, &Line::Summary { blocks, events, bytes, damaged: verification.damage.len() })
}

fn print_text(out: &mut impl Write, verification: &Verification) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    for Damage { shard, segment, offset, reason, .. } in &verification.damage {
        writeln!(out, "{} shard {shard}, {segment}, offset {offset}: {reason}", style.bad("damaged:"))?;
    }
    let verdict = match verification.damage.len() {
        0 => style.good("sound"),
        1 => style.bad("damaged in 1 place"),
        _ => style.bad("damaged in several places"),
    };
    let Verification { blocks, events, bytes, .. } = verification;
    writeln!(out, "{verdict}: {blocks} blocks, {events} events, {bytes} bytes")
}
