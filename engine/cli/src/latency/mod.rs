//! `tapeline latency`: how long it took, from the timestamps that the log has stored.
//!
//! The measures are stated in the command's help and in docs/HISTOGRAMS.md; `track` is where they are made. One pass
//! over the events; what is kept of each session is a [`track::Track`]. All distributions have the buckets of
//! `tapeline-histogram`: 1 ns to 13 days, three significant digits.

mod args;
mod content;
mod groups;
mod measure;
mod meter;
mod print;
mod report;
mod track;
mod windows;

use std::io::{self, Write};

use tapeline_reader::LogFiles;

pub(crate) use self::args::LatencyArgs;
use self::meter::{Measured, Meter};
use crate::exit::{Exit, Failure, check_directory, check_outside, open_to_read};
use crate::human;
use crate::message;
use crate::output::Style;
use crate::progress::Progress;
use crate::select::{AsksFor, Met};
use crate::stdout;

/// Events after which the bar moves: it reads a clock each time.
const STEP: u64 = 4096;

/// Measures what the command line selects.
///
/// Events that are gone or cannot be read are reported on standard error and in the exit status; those after them are
/// measured.
pub(crate) fn run(args: &LatencyArgs) -> Result<Exit, Failure> {
    if let Some(out) = &args.out {
        check_directory(out)?;
        check_outside(&args.directory, out)?;
    }
    let log = open_to_read(&args.directory)?;
    let events = log.segments().iter().map(|segment| segment.end.get().saturating_sub(segment.base.get())).sum();
    let mut measuring = Measuring {
        meter: Meter::new(args.by, args.window),
        // How many events are selected is not known.
        progress: Progress::events((!args.selection.is_some()).then_some(events)),
        pending: 0,
        exit: Exit::Done,
    };
    // Times count from the events that open sessions, and they name models.
    let found = args.selection.replay(&log, AsksFor::Openings, |met| measuring.measure(met))?;
    let Measuring { meter, progress, exit, .. } = measuring;
    let exit = exit.max(found);
    let mut measured = meter.ended();
    drop(progress);
    name_groups(&log, &mut measured);
    if let Some(text) = report::others(&measured) {
        message::note(text);
    }
    if let Some(directory) = &args.out {
        let report = report::report(args, &log, &measured, exit);
        let written = report.write_to(directory).map_err(|error| Failure::file(directory, &error))?;
        if let Some(page) = written.last() {
            let files = human::some(written.len() as u64, "file");
            message::plain(format_args!("{files}; look at {}", page.display()));
        }
    }
    print(args, &measured)?;
    Ok(exit)
}

/// Names the sessions that no event of the selection names.
fn name_groups(log: &LogFiles, measured: &mut Measured) {
    if measured.groups.iter().all(|group| group.unnamed.is_none()) {
        return;
    }
    let mut names = log.session_names();
    for group in &mut measured.groups {
        if let Some(name) = group.unnamed.and_then(|session| names.remove(&session)) {
            group.label = name;
        }
    }
}

fn print(args: &LatencyArgs, measured: &Measured) -> io::Result<()> {
    let mut out = stdout::buffered();
    if args.json {
        print::json(&mut out, args.by, measured)?
    } else {
        print::text(&mut out, args.by, measured, Style::of(&io::stdout()))?
    }
    out.flush()
}

/// The pass over the log.
struct Measuring {
    meter: Meter,
    progress: Progress,
    /// Events that the bar does not show yet.
    pending: u64,
    /// The worst that was met.
    exit: Exit,
}

impl Measuring {
    fn measure(&mut self, met: Met) -> Result<(), Failure> {
        match met {
            Met::Opening(_, opening) => self.meter.opened_before(opening),
            Met::Event(Ok(event)) => {
                self.pending += 1;
                if self.pending == STEP {
                    self.progress.add(std::mem::take(&mut self.pending));
                }
                self.meter.event(&event)?;
            }
            Met::Event(Err(error)) => {
                let failure = Failure::from(error);
                self.exit = self.exit.max(failure.exit);
                message::error(failure);
            }
        }
        Ok(())
    }
}
