//! `tapeline tail`: what is in a log from a place on, then what comes, while another process writes it.

mod args;
mod from;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use tapeline::{ConsumerResult, Filter, FollowStart, LogFollower, StoredEvent, kinds};

pub(crate) use self::args::TailArgs;
use crate::exit::{Exit, Failure};
use crate::form::Printer;
use crate::names::Names;
use crate::output::Style;
use crate::signal::{Interrupt, Wake, die_of_closed_pipe};

/// How long it sleeps between two looks at the files: what is durable is printed so much later at most, and some
/// milliseconds.
const LOOK: Duration = Duration::from_millis(10);

/// Bytes collected before they are written, while there is more to read.
const OUTPUT_BYTES: usize = 256 << 10;

/// Prints what is there, then what comes, until it is told to end.
///
/// What is gone or cannot be read is told on standard error and in the exit status; the tail goes on behind it.
pub(crate) fn run(args: &TailArgs) -> Result<Exit, Failure> {
    let mut follower = open(args)?;
    let interrupt = Interrupt::catch().map_err(|error| Failure::failed(format_args!("signals: {error}")))?;
    let mut tail = Tail::new(args);
    loop {
        while let Some(event) = follower.try_next() {
            tail.print(event)?;
            if tail.is_complete() {
                tail.out.flush()?;
                return Ok(tail.exit);
            }
        }
        let is_behind = follower.has_more();
        if !is_behind {
            tail.out.flush()?;
            if tail.is_idle() {
                return Ok(tail.exit);
            }
        }
        // Where events are left out by the selection it does not sleep, but looks for a signal.
        match interrupt.wait_for(io::stdout().as_fd(), if is_behind { Duration::ZERO } else { LOOK })? {
            Wake::Interrupted(_) => {
                tail.out.flush()?;
                return Ok(Exit::Interrupted);
            }
            Wake::Closed => die_of_closed_pipe(),
            Wake::Readable | Wake::TimedOut => {}
        }
        if !is_behind && !follower.look() {
            tail.note_quiet();
        }
    }
}

fn open(args: &TailArgs) -> Result<LogFollower, Failure> {
    let since = args.selection.since.map(|since| FollowStart::Time(since.0));
    let start = args.from.clone().map(|from| from.0).or(since).unwrap_or_default();
    let mut request = args.selection.request();
    // Events that open sessions say what these are called.
    request.filter = request.filter.map(|filter| Filter::or([filter, Filter::kind(kinds::SESSION)]));
    LogFollower::open(&args.directory, start, &request).map_err(|error| Failure::of_log(&args.directory, error))
}

/// A tail on its way to standard output.
struct Tail<'a> {
    args: &'a TailArgs,
    printer: Printer,
    names: Names,
    out: io::BufWriter<io::StdoutLock<'static>>,
    printed: u64,
    /// When the last event was printed, or it all began.
    last: Instant,
    /// Nothing came at a look after the time of `--until`.
    is_past: bool,
    /// The worst that was met.
    exit: Exit,
}

impl<'a> Tail<'a> {
    fn new(args: &'a TailArgs) -> Self {
        let mut printer = Printer::new(args.format);
        let names = Names::of(&args.directory, &args.selection.session, &mut printer);
        Self {
            args,
            printer,
            names,
            out: io::BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock()),
            printed: 0,
            last: Instant::now(),
            is_past: false,
            exit: Exit::Done,
        }
    }

    /// Prints an event, or says what is missing: the message stands where the hole is, should both streams go to one place.
    fn print(&mut self, event: ConsumerResult<StoredEvent>) -> Result<(), Failure> {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                let failure = Failure::from(error);
                self.exit = self.exit.max(failure.exit);
                self.out.flush()?;
                eprintln!("{} {failure}", Style::of(&io::stderr()).bad("tapeline:"));
                return Ok(());
            }
        };
        if event.kind == kinds::SESSION && !self.wants_openings() {
            self.printer.learn(&event);
            return Ok(());
        }
        if self.args.format.has_names() && event.kind != kinds::SESSION {
            self.names.find(event.session, &mut self.printer);
        }
        self.printer.print(&mut self.out, &event)?;
        if event.kind != kinds::SESSION {
            self.printed += 1;
            self.last = Instant::now();
        }
        Ok(())
    }

    /// Whether events that open sessions were asked for: where no kind and no filter were, or this kind.
    fn wants_openings(&self) -> bool {
        let selection = &self.args.selection;
        selection.filter().is_none() || selection.kind.contains(&kinds::SESSION)
    }

    fn is_complete(&self) -> bool {
        self.args.events.is_some_and(|events| self.printed >= events)
    }

    /// A look has brought nothing.
    fn note_quiet(&mut self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // What was ingested before the time is durable a while later.
        let is_over = |until: u64| now.saturating_sub(Duration::from_nanos(until)) > Duration::from_secs(1);
        self.is_past |= self.args.selection.until.is_some_and(|until| is_over(until.0));
    }

    /// Whether it is to end because nothing comes.
    fn is_idle(&self) -> bool {
        self.is_past || self.args.exit_idle.is_some_and(|idle| self.last.elapsed() >= idle)
    }
}
