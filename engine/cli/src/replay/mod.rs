//! `tapeline replay`: the events of a log or of a session, in order, at any pace.

mod args;

use std::io::{self, Write};

use tapeline::{ConsumerResult, Pacer, StoredEvent};

pub(crate) use self::args::ReplayArgs;
use crate::exit::{Exit, Failure, open_log};
use crate::form::Printer;
use crate::output::Style;

/// Bytes collected before they are written, at the pace `max`.
const OUTPUT_BYTES: usize = 256 << 10;

/// Prints what the command line asks for.
///
/// What is gone or cannot be read is told on standard error and in the exit status; the replay goes on behind it.
pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let log = open_log(&args.directory)?;
    let mut playing = Playing {
        printer: Printer::new(args.format),
        pacer: Pacer::new(args.speed),
        out: io::BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock()),
        exit: Exit::Done,
    };
    args.selection.replay(&log, |event| playing.play(event))?;
    playing.out.flush()?;
    Ok(playing.exit)
}

/// A replay on its way to standard output.
struct Playing<'a> {
    printer: Printer,
    pacer: Pacer,
    out: io::BufWriter<io::StdoutLock<'a>>,
    /// The worst that was met.
    exit: Exit,
}

impl Playing<'_> {
    /// Plays an event, or says what is missing: the message stands where the hole is, should both streams go to one place.
    fn play(&mut self, event: ConsumerResult<StoredEvent>) -> Result<(), Failure> {
        match event {
            Ok(event) => self.print(&event)?,
            Err(error) => {
                let failure = Failure::from(error);
                self.exit = self.exit.max(failure.exit);
                self.out.flush()?;
                eprintln!("{} {failure}", Style::of(&io::stderr()).bad("tapeline:"));
            }
        }
        Ok(())
    }

    fn print(&mut self, event: &StoredEvent) -> io::Result<()> {
        if let Some(wait) = self.pacer.wait(event.insertion_ts) {
            self.out.flush()?;
            std::thread::sleep(wait);
        }
        self.pacer.played(event.insertion_ts);
        self.printer.print(&mut self.out, event)
    }
}
