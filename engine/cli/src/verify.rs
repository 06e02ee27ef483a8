//! `tapeline verify`: reads and checks every block of a log.

use std::io::{self, Write};

use serde::Serialize;
use tapeline_reader::{Damage, Verification};

use crate::args::DirectoryArgs;
use crate::exit::{Exit, Failure, open_log};
use crate::human;
use crate::output::{self, Style};
use crate::progress::Progress;

/// A line of `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    /// A place that does not check.
    Damage { shard: u16, segment: &'a str, offset: u64, reason: &'a str },
    /// The file of names cannot be used.
    Names { reason: &'a str },
    /// The last line: what was checked.
    Summary { blocks: u64, events: u64, bytes: u64, damaged: usize },
}

/// Checks all blocks, and prints what does not check.
pub(crate) fn run(args: &DirectoryArgs) -> Result<Exit, Failure> {
    let log = open_log(&args.directory)?;
    let progress = Progress::new(Some(log.segments().iter().map(|segment| segment.bytes).sum()));
    let verification = log.verify(|bytes| progress.add(bytes));
    drop(progress);
    let mut out = io::stdout().lock();
    if args.json {
        print_json(&mut out, &verification)?
    } else {
        print_text(&mut out, &verification)?
    }
    out.flush()?;
    Ok(if verification.is_sound() { Exit::Done } else { Exit::Corrupt })
}

fn print_json(out: &mut impl Write, verification: &Verification) -> io::Result<()> {
    for Damage { shard_id: shard, segment, offset, reason, .. } in &verification.damage {
        output::json(out, &Line::Damage { shard: *shard, segment, offset: *offset, reason })?;
    }
    if let Some(reason) = &verification.names_damage {
        output::json(out, &Line::Names { reason })?;
    }
    let &Verification { blocks, events, bytes, .. } = verification;
    output::json(out, &Line::Summary { blocks, events, bytes, damaged: damaged(verification) })
}

/// Places that do not check, the file of names included.
fn damaged(verification: &Verification) -> usize {
    verification.damage.len() + usize::from(verification.names_damage.is_some())
}

fn print_text(out: &mut impl Write, verification: &Verification) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    for Damage { shard_id: shard, segment, offset, reason, .. } in &verification.damage {
        writeln!(out, "{} shard {shard}, {segment}, offset {offset}: {reason}", style.bad("damaged:"))?;
    }
    if let Some(reason) = &verification.names_damage {
        writeln!(out, "{} {reason}", style.bad("damaged:"))?;
    }
    let verdict = match damaged(verification) {
        0 => style.good("sound"),
        1 => style.bad("damaged in 1 place"),
        _ => style.bad("damaged in several places"),
    };
    let Verification { blocks, events, bytes, .. } = *verification;
    let (blocks, events) = (human::some(blocks, "block"), human::some(events, "event"));
    writeln!(out, "{verdict}: {blocks}, {events}, {}", human::some(bytes, "byte"))
}
