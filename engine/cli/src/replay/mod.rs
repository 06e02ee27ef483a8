//! `tapeline replay`: the events of a log or of a session, in order, at any pace.

mod args;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use tapeline_reader::{Pacer, PacingError, Speed, StoredEvent, kinds};

pub(crate) use self::args::ReplayArgs;
use crate::exit::{Exit, Failure, open_to_read};
use crate::form::{OutputFormat, Printer};
use crate::human;
use crate::message;
use crate::names::Names;
use crate::select::Met;
use crate::signal::{Interrupt, Wake, die_of_closed_pipe};
use crate::stdout;

/// Events printed between two looks for a signal, where nothing is waited for.
const LOOK_EVENTS: u64 = 10_000;

/// A wait this long or longer is ended by a signal; shorter ones are slept through, which is more exact.
const LONG: Duration = Duration::from_millis(5);

/// Prints what the command line asks for.
///
/// Events that are gone or cannot be read are reported on standard error and in the exit status; the replay goes on
/// after them.
pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let log = open_to_read(&args.directory)?;
    let interrupt = Interrupt::catch().map_err(|error| Failure::failed(format_args!("signals: {error}")))?;
    let pacer = Pacer::new(args.speed);
    let mut printer = Printer::new(args.format, &args.directory);
    let names = Names::of(&args.directory, &args.selection.session, &mut printer);
    let mut playing = Playing {
        format: args.format,
        printer,
        names,
        pacer: args.limit_idle.map_or(pacer, |longest| Pacer::new(args.speed).limit_idle(longest)),
        out: stdout::buffered(),
        interrupt,
        printed: 0,
        exit: Exit::Done,
    };
    let outcome = args.selection.replay(&log, args.format.asks_for(), |met| playing.play(met));
    playing.printer.finish(&mut playing.out)?;
    playing.out.flush()?;
    playing.printer.report_nothing(&args.selection);
    if args.speed != Speed::Max {
        report_error(playing.pacer.error());
    }
    match outcome {
        Err(failure) if failure.exit == Exit::Interrupted => Ok(Exit::Interrupted),
        outcome => outcome.map(|exit| playing.exit.max(exit)),
    }
}

/// Says how well the pace was kept.
fn report_error(error: PacingError) {
    let PacingError { events, p50, p99, max, .. } = error;
    let words = |time: Duration| human::duration(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let text = format!(
        "{}, each within {} of its time (p50), {} (p99), {} (max)",
        human::some(events, "event"),
        words(p50),
        words(p99),
        words(max)
    );
    message::labelled(&message::style().strong("paced"), text);
}

/// A replay on its way to standard output.
struct Playing {
    format: OutputFormat,
    printer: Printer,
    names: Names,
    pacer: Pacer,
    out: stdout::Buffered,
    interrupt: Interrupt,
    printed: u64,
    /// The worst that was met.
    exit: Exit,
}

impl Playing {
    /// Plays an event, or says what is missing: the message stands where the hole is, should both streams go to one
    /// place.
    fn play(&mut self, met: Met) -> Result<(), Failure> {
        match met {
            Met::Opening(session, opening) => self.printer.open(session, opening),
            Met::Event(Ok(event)) => self.print(&event)?,
            Met::Event(Err(error)) => {
                let failure = Failure::from(error);
                self.exit = self.exit.max(failure.exit);
                self.out.flush()?;
                message::error(failure);
            }
        }
        Ok(())
    }

    fn print(&mut self, event: &StoredEvent) -> Result<(), Failure> {
        self.printed += 1;
        if self.printed.is_multiple_of(LOOK_EVENTS) {
            self.look(Duration::ZERO)?;
        }
        let mut is_flushed = false;
        while let Some(wait) = self.pacer.wait(event.insertion_ts) {
            if !std::mem::replace(&mut is_flushed, true) {
                self.out.flush()?;
            } else if wait < LONG {
                std::thread::sleep(wait);
            } else {
                self.look(wait - LONG / 2)?;
            }
        }
        self.pacer.played(event.insertion_ts);
        if self.format.has_names() && event.kind != kinds::SESSION {
            self.names.find(event.session, &mut self.printer);
        }
        Ok(self.printer.print(&mut self.out, event)?)
    }

    /// Waits so long, or until a signal says to end.
    fn look(&mut self, wait: Duration) -> Result<(), Failure> {
        match self.interrupt.wait_for(io::stdout().as_fd(), wait)? {
            Wake::Interrupted(_) => Err(Failure::new(Exit::Interrupted, "interrupted")),
            Wake::Closed => die_of_closed_pipe(),
            Wake::Readable | Wake::TimedOut => Ok(()),
        }
    }
}
