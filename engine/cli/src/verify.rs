//! `tapeline verify`: reads and checks every block of a log.

use std::io::{self, Write};

use serde::Serialize;
use tapeline_reader::{Damage, DamageCause, Verification};

use crate::args::DirectoryArgs;
use crate::exit::{Exit, Failure, exit_of_cause, open_log};
use crate::human;
use crate::output::{self, Style};
use crate::progress::Progress;
use crate::stdout;

/// A line of `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    /// A place that does not check.
    Damage { shard: u16, segment: &'a str, offset: u64, reason: &'a str },
    /// A place that could not be read, and may be intact.
    Unreadable { shard: u16, segment: &'a str, offset: u64, reason: &'a str },
    /// The file of names cannot be used.
    Names { reason: &'a str },
    /// The last line: what was checked.
    Summary { blocks: u64, events: u64, bytes: u64, damaged: usize, unreadable: usize },
}

/// Checks all blocks, and prints what does not check.
pub(crate) fn run(args: &DirectoryArgs) -> Result<Exit, Failure> {
    let log = open_log(&args.directory)?;
    let progress = Progress::new(Some(log.segments().iter().map(|segment| segment.bytes).sum()));
    let verification = log.verify(|bytes| progress.add(bytes));
    drop(progress);
    let mut out = stdout::buffered();
    if args.json {
        print_json(&mut out, &verification)?
    } else {
        print_text(&mut out, &verification)?
    }
    out.flush()?;
    Ok(causes(&verification).map(exit_of_cause).max().unwrap_or(Exit::Done))
}

fn print_json(out: &mut impl Write, verification: &Verification) -> io::Result<()> {
    for &Damage { shard_id: shard, ref segment, offset, ref reason, cause, .. } in &verification.damage {
        let line = match cause {
            DamageCause::Environment => Line::Unreadable { shard, segment, offset, reason },
            _ => Line::Damage { shard, segment, offset, reason },
        };
        output::json(out, &line)?;
    }
    if let Some(reason) = &verification.names_damage {
        output::json(out, &Line::Names { reason })?;
    }
    let &Verification { blocks, events, bytes, .. } = verification;
    let unreadable = causes(verification).filter(|&cause| cause == DamageCause::Environment).count();
    let damaged = causes(verification).count() - unreadable;
    output::json(out, &Line::Summary { blocks, events, bytes, damaged, unreadable })
}

/// The party at fault for each place that does not check or was not read, the file of names included.
fn causes(verification: &Verification) -> impl Iterator<Item = DamageCause> {
    verification.damage.iter().map(|damage| damage.cause).chain(verification.names_cause)
}

fn print_text(out: &mut impl Write, verification: &Verification) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    let word = |cause| style.bad(if cause == DamageCause::Environment { "unreadable:" } else { "damaged:" });
    for Damage { shard_id: shard, segment, offset, reason, cause, .. } in &verification.damage {
        let place = format!("shard {shard}, {segment}, offset {offset}: {reason}");
        writeln!(out, "{} {}", word(*cause), output::printable(&place))?;
    }
    if let (Some(reason), Some(cause)) = (&verification.names_damage, verification.names_cause) {
        writeln!(out, "{} {}", word(cause), output::printable(reason))?;
    }
    let damaged = causes(verification).filter(|&cause| cause != DamageCause::Environment).count();
    let verdict = match damaged {
        0 if verification.is_sound() => style.good("sound"),
        0 => style.bad("not damaged as far as it could be read"),
        1 => style.bad("damaged in 1 place"),
        _ => style.bad("damaged in several places"),
    };
    let Verification { blocks, events, bytes, .. } = *verification;
    let (blocks, events) = (human::some(blocks, "block"), human::some(events, "event"));
    writeln!(out, "{verdict}: {blocks}, {events}, {}", human::some(bytes, "byte"))
}
