//! `tapeline repair`: says what a damaged log needs, and does it with `--apply`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tapeline_reader::{RepairAction, RepairStep, plan_repair, repair_log};

use crate::exit::{Exit, Failure};
use crate::human;
use crate::output::{self, Style};
use crate::owner;
use crate::progress::Progress;
use crate::stdout;

/// Arguments of `tapeline repair`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --apply nothing is changed: the exit status is 0 where the log is sound and 5 where there is something to do.
What a crash leaves needs no repair; opening the log sees to it. Nothing is destroyed: what something else takes the place of
is kept as NAME.aside, and what no file holds any more is recorded as lost, so that readers get a gap for it.

Examples:
  tapeline repair log            what would be done
  tapeline repair log --apply    do it; needs the space of the damaged segments a second time")]
pub(crate) struct RepairArgs {
    /// Directory of the log, which no process has open for writing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Do what is to be done
    #[arg(long)]
    apply: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    /// A step of the repair.
    Step {
        shard: Option<u16>,
        action: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        lost: Option<Lost>,
        text: String,
    },
    /// The last line.
    Summary {
        steps: usize,
        /// Events, as far as they can be counted.
        lost: u64,
        /// Shards that may have lost more at their ends.
        uncounted: usize,
        applied: bool,
    },
}

/// Sequences that no file holds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Lost {
    first_sequence: u64,
    end_sequence: u64,
}

impl Lost {
    fn of(step: &RepairStep) -> Option<Self> {
        match &step.action {
            RepairAction::Lose { from, to } => Some(Self { first_sequence: from.get(), end_sequence: to.get() }),
            _ => None,
        }
    }

    fn events(self) -> u64 {
        self.end_sequence - self.first_sequence
    }
}

/// Plans a repair, or repairs.
pub(crate) fn run(args: &RepairArgs) -> Result<Exit, Failure> {
    if args.apply {
        owner::warn_of_another(&args.directory);
    }
    let progress = Progress::new(None);
    let step = |bytes| progress.add(bytes);
    let steps = if args.apply { repair_log(&args.directory, step) } else { plan_repair(&args.directory, step) };
    let steps = steps.map_err(|error| Failure::of_log(&args.directory, error.into()))?;
    drop(progress);
    let mut out = stdout::buffered();
    if args.json {
        print_json(&mut out, &steps, args.apply)?
    } else {
        print_text(&mut out, &steps, args.apply)?
    }
    out.flush()?;
    Ok(if args.apply || steps.is_empty() { Exit::Done } else { Exit::Corrupt })
}

fn lost_events(steps: &[RepairStep]) -> u64 {
    steps.iter().filter_map(Lost::of).map(Lost::events).sum()
}

/// Shards that may have lost events at their ends that cannot be counted.
fn uncounted_ends(steps: &[RepairStep]) -> usize {
    let shard = |step: &RepairStep| match &step.action {
        RepairAction::LoseEnd { .. } | RepairAction::ReplaceGaps { .. } => step.shard_id,
        RepairAction::MakeDirectory { shard_id } => Some(*shard_id),
        _ => None,
    };
    steps.iter().filter_map(shard).collect::<BTreeSet<_>>().len()
}

fn print_json(out: &mut impl Write, steps: &[RepairStep], applied: bool) -> io::Result<()> {
    for step in steps {
        let (action, text) = (step.action.name(), step.action.to_string());
        output::json(out, &Line::Step { shard: step.shard_id, action, lost: Lost::of(step), text })?;
    }
    let (lost, uncounted) = (lost_events(steps), uncounted_ends(steps));
    output::json(out, &Line::Summary { steps: steps.len(), lost, uncounted, applied })
}

fn print_text(out: &mut impl Write, steps: &[RepairStep], applied: bool) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    if steps.is_empty() {
        return writeln!(out, "{}: nothing to repair", style.good("sound"));
    }
    for RepairStep { shard_id: shard, action, .. } in steps {
        let action = output::printable(&action.to_string());
        match shard {
            Some(shard) => writeln!(out, "shard {shard}: {action}")?,
            None => writeln!(out, "log: {action}")?,
        }
    }
    let lost = lost_events(steps);
    let least = if uncounted_ends(steps) > 0 { "at least " } else { "" };
    let verdict = if applied { style.good("repaired") } else { style.bad("to be repaired with --apply") };
    let (steps, lost) = (human::some(steps.len() as u64, "step"), human::some(lost, "event"));
    writeln!(out, "{verdict}: {steps}, {least}{lost} lost")
}
