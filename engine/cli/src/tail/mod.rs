//! `tapeline tail`: what is in a log from a start on, then what comes, while another process writes it.

mod args;
mod from;

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use tapeline_reader::{ConsumerResult, FollowStart, LogFiles, LogFollower, LostLog, StoredEvent, kinds};

pub(crate) use self::args::TailArgs;
use crate::empty;
use crate::exit::{Exit, Failure};
use crate::form::Printer;
use crate::message;
use crate::names::{self, Names};
use crate::openings::{self, Openings};
use crate::select::AsksFor;
use crate::signal::{Interrupt, Wake, die_of_closed_pipe};
use crate::stdout;

/// Sleep between two looks at the files: a durable event is printed so much later at most, and some milliseconds.
const LOOK: Duration = Duration::from_millis(10);

/// Prints what is there, then what comes, until a signal or an option ends it.
///
/// Events that are gone or cannot be read are reported on standard error and in the exit status; the tail goes on after
/// them.
pub(crate) fn run(args: &TailArgs) -> Result<Exit, Failure> {
    let interrupt = Interrupt::catch().map_err(|error| Failure::failed(format_args!("signals: {error}")))?;
    let mut tail = Tail::new(args);
    let mut start = first_start(args);
    loop {
        let ended = match open(args, start, &interrupt, &tail)? {
            Opened::Log(mut follower) => tail.follow(&mut follower, &interrupt)?,
            Opened::Never(exit) => Ended::Done(exit),
        };
        match ended {
            Ended::Done(exit) => {
                tail.printer.finish(&mut tail.out)?;
                tail.out.flush()?;
                tail.report_empty(args, exit);
                return Ok(exit);
            }
            Ended::Lost(why) => {
                let place = args.directory.display();
                let what = match why {
                    LostLog::Replaced => "another log has taken the place of the one that was followed",
                    _ => "the log was removed",
                };
                if !args.wait {
                    return Err(Failure::new(Exit::NotFound, format_args!("{place}: {what}; --wait follows the next")));
                }
                message::note(format_args!("{place}: {what}; from here on it is the next log"));
            }
        }
        // Of a log that began while this one waited, all is news.
        start = FollowStart::Earliest;
        tail.forget_names();
    }
}

fn first_start(args: &TailArgs) -> FollowStart {
    let since = args.selection.since.map(|since| FollowStart::Time(since.0));
    args.from.clone().map(|from| from.0).or(since).unwrap_or_default()
}

/// The outcome of opening a log.
enum Opened {
    Log(Box<LogFollower>),
    /// None came for as long as was to be waited.
    Never(Exit),
}

/// Opens the log, and waits for one if that was asked for: then from its beginning.
fn open(args: &TailArgs, start: FollowStart, interrupt: &Interrupt, tail: &Tail<'_>) -> Result<Opened, Failure> {
    let mut request = args.selection.request();
    if let Ok(log) = LogFiles::open(&args.directory) {
        names::report_damage(&log);
        request.sessions = args.selection.sessions_in(&log);
    }
    // Events that open sessions say what these are called, and what they are.
    request.filter = request.filter.map(openings::let_through);
    let mut start = start;
    let mut has_told = false;
    loop {
        let failure = match LogFollower::open(&args.directory, start.clone(), &request) {
            Ok(follower) => return Ok(Opened::Log(Box::new(follower))),
            Err(error) => Failure::of_log(&args.directory, error),
        };
        if failure.exit != Exit::NotFound {
            return Err(failure);
        }
        if !args.wait {
            return Err(Failure::new(failure.exit, format_args!("{failure}; --wait waits for one")));
        }
        if !std::mem::replace(&mut has_told, true) {
            message::note(format_args!("{failure}; waiting for one"));
        }
        start = FollowStart::Earliest;
        if tail.is_idle() {
            return Ok(Opened::Never(tail.exit));
        }
        match interrupt.wait_for(io::stdout().as_fd(), LOOK)? {
            Wake::Interrupted(_) => return Ok(Opened::Never(Exit::Interrupted)),
            Wake::Closed => die_of_closed_pipe(),
            Wake::Readable | Wake::TimedOut => {}
        }
    }
}

/// The reason why a log is not followed any more.
enum Ended {
    Done(Exit),
    Lost(LostLog),
}

/// A tail on its way to standard output.
struct Tail<'a> {
    args: &'a TailArgs,
    printer: Printer,
    names: Names,
    openings: Openings,
    out: stdout::Buffered,
    printed: u64,
    /// The time at which the last event was printed, or at which the tail began.
    last: Instant,
    /// Nothing came at a look after the time of `--until`.
    is_past: bool,
    /// The worst that was met.
    exit: Exit,
}

impl<'a> Tail<'a> {
    fn new(args: &'a TailArgs) -> Self {
        let mut printer = Printer::new(args.format, &args.directory);
        let names = Names::of(&args.directory, &args.selection.session, &mut printer);
        Self {
            args,
            printer,
            names,
            openings: Openings::default(),
            out: stdout::buffered(),
            printed: 0,
            last: Instant::now(),
            is_past: false,
            exit: Exit::Done,
        }
    }

    /// Prints what is there, then what comes, until a signal or an option ends it or the log is gone.
    fn follow(&mut self, follower: &mut LogFollower, interrupt: &Interrupt) -> Result<Ended, Failure> {
        if self.is_complete() {
            return Ok(Ended::Done(self.exit));
        }
        loop {
            while let Some(event) = follower.try_next() {
                if event.is_err() && follower.lost().is_some() {
                    // One line reports the events that are gone with the log.
                    continue;
                }
                self.print(event)?;
                if self.is_complete() {
                    self.out.flush()?;
                    return Ok(Ended::Done(self.exit));
                }
            }
            let is_behind = follower.has_more();
            if !is_behind {
                self.out.flush()?;
                if let Some(why) = follower.lost() {
                    return Ok(Ended::Lost(why));
                }
                if self.is_idle() {
                    return Ok(Ended::Done(self.exit));
                }
            }
            // Where events are left out by the selection it does not sleep, but looks for a signal.
            match interrupt.wait_for(io::stdout().as_fd(), if is_behind { Duration::ZERO } else { LOOK })? {
                Wake::Interrupted(_) => {
                    self.out.flush()?;
                    return Ok(Ended::Done(Exit::Interrupted));
                }
                Wake::Closed => die_of_closed_pipe(),
                Wake::Readable | Wake::TimedOut => {}
            }
            if !is_behind && !follower.look() {
                self.note_quiet();
            }
        }
    }

    /// Says why nothing was printed, if that is so and no signal has ended it.
    fn report_empty(&self, args: &TailArgs, exit: Exit) {
        self.printer.report_nothing(&args.selection);
        if self.printed > 0 || exit != Exit::Done || self.is_complete() {
            return;
        }
        let Ok(log) = LogFiles::open(&args.directory) else { return };
        if first_start(args) == FollowStart::Earliest {
            return empty::explain(&log, &args.selection);
        }
        let selected = if args.selection.is_some() { "selected event" } else { "event" };
        let when = if self.is_past { "before --until" } else { "since the start" };
        message::note(format_args!(
            "nothing is printed: no {selected} has come {when}; --from start begins with the earliest"
        ));
    }

    /// Another log has other names.
    fn forget_names(&mut self) {
        self.printer = Printer::new(self.args.format, &self.args.directory);
        self.names = Names::of(&self.args.directory, &self.args.selection.session, &mut self.printer);
        self.openings = Openings::default();
    }

    /// Prints an event, or says what is missing: the message stands where the hole is, should both streams go to one
    /// place.
    fn print(&mut self, event: ConsumerResult<StoredEvent>) -> Result<(), Failure> {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                let failure = Failure::from(error);
                self.exit = self.exit.max(failure.exit);
                self.out.flush()?;
                message::error(failure);
                return Ok(());
            }
        };
        self.learn_opening(&event);
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

    /// Learns what the event's session was opened as, if that was before this tail began.
    fn learn_opening(&mut self, event: &StoredEvent) {
        if self.args.format.asks_for() == AsksFor::Events {
            return;
        }
        // If the log can no longer be opened, the reader of the log reports the fault.
        let opening = self.openings.before(event, |time| match LogFiles::open(&self.args.directory) {
            Ok(log) => log.openings_before(time, self.args.selection.sessions_in(&log).as_deref()),
            Err(_) => HashMap::new(),
        });
        if let Some(opening) = opening {
            self.printer.open(event.session, opening);
        }
    }

    /// True if events that open sessions were asked for: where no kind and no filter were, or this kind.
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

    /// True if it is to end because nothing comes.
    fn is_idle(&self) -> bool {
        self.is_past || self.args.exit_idle.is_some_and(|idle| self.last.elapsed() >= idle)
    }
}
