//! `tapeline relay`: feeds a backend from a log, which another process may write.

mod args;
mod watch;

use std::time::Duration;

use tapeline::AdapterError;
use tapeline::adapter::{RelayEnd, RelayOptions, RelayStats, relay_log};
use tapeline_reader::ConsumerError;

pub(crate) use self::args::RelayArgs;
use self::watch::Watch;
use crate::exit::{Exit, Failure, open_to_read, report_damage};
use crate::human;
use crate::message;
use crate::signal::Interrupt;

/// Relays until a signal ends it, the log is gone, or all is confirmed and that was asked for.
pub(crate) fn run(args: &RelayArgs) -> Result<Exit, Failure> {
    // Before the relay's threads begin, so that these leave the signals to this one.
    let interrupt = Interrupt::catch().map_err(|error| Failure::failed(format_args!("signals: {error}")))?;
    let adapter = args.target.adapter()?;
    let options = options(args, adapter.name())?;
    let relay = relay_log(&args.directory, adapter, options).map_err(|error| match error {
        AdapterError::Config(_) => Failure::from(error),
        error => Failure::of_log(&args.directory, ConsumerError::Adapter(error)),
    })?;
    if args.redrive {
        relay.redrive();
    }
    if args.once {
        relay.drain(Duration::MAX);
    }
    Watch::new(args, &relay).run(&interrupt)?;
    ending(args, &relay.join(), &relay.stats())
}

fn options(args: &RelayArgs, default_name: &str) -> Result<RelayOptions, Failure> {
    let log = open_to_read(&args.directory)?;
    let selection = args.events.selection();
    let mut options = RelayOptions::new(args.name.as_deref().unwrap_or(default_name));
    for session in selection.sessions_in(&log).into_iter().flatten() {
        options = options.session(session);
    }
    match selection.filter() {
        Some(filter) => Ok(options.filter(filter)),
        None => Ok(options),
    }
}

/// The status for the end of a relay, and for what the backend has not got.
fn ending(args: &RelayArgs, end: &RelayEnd, stats: &RelayStats) -> Result<Exit, Failure> {
    let place = args.directory.display();
    match end {
        RelayEnd::LogGone => return Err(Failure::new(Exit::NotFound, format_args!("{place}: the log is gone"))),
        RelayEnd::Failed(reason) => {
            let damage = open_to_read(&args.directory).map_or(Exit::Done, |log| report_damage(&log));
            return Err(Failure::new(damage.max(Exit::Failed), reason));
        }
        end if !end.is_complete() => return Ok(Exit::Interrupted),
        _ => {}
    }
    let mut exit = Exit::Done;
    if stats.dead_letters.waiting > 0 {
        let dead = human::some(stats.dead_letters.waiting, "event");
        message::error(format_args!(
            "the server has not taken {dead}: {place}/relays/{}/dead-letters.jsonl has them with the reasons, and \
             --redrive delivers them again",
            stats.name
        ));
        exit = Exit::Failed;
    }
    if stats.missed.events > 0 {
        let missed = human::some(stats.missed.events, "event");
        message::error(format_args!("{missed} were no longer in the log, or could not be read"));
        exit = Exit::Loss;
    }
    Ok(exit)
}
