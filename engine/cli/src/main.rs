//! The `tapeline` program: records streams into a log, follows, lists, replays and checks them.
//!
//! It stands on the public interface of crate `tapeline` alone. docs/CLI.md is its manual. What it prints goes through
//! `stdout` and `message`.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "these panic, or take what is lost for printed")]

mod args;
mod backend;
mod choices;
mod completions;
mod convention;
mod cursor;
mod cut_off;
mod empty;
mod exit;
mod export;
mod failure;
mod filter;
mod form;
mod holder;
mod human;
mod import;
mod info;
mod inherited;
mod joined;
mod latency;
mod ls;
mod memory;
mod message;
mod names;
mod openings;
mod output;
mod owner;
mod past;
mod progress;
mod record;
mod recorded;
mod relay;
mod repair;
mod replay;
mod select;
mod show;
mod signal;
mod size;
mod stats;
mod stdout;
mod tail;
mod trim;
mod verify;
mod when;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};
use crate::exit::{Exit, Failure};
use crate::output::Style;

fn main() -> ExitCode {
    memory::share_one_arena_below_a_limit();
    memory::set_reserve_aside();
    signal::end_quietly_on_closed_pipes();
    signal::report_limits_of_file_sizes();
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => run(&arguments),
        Err(refusal) => explain(refusal),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        message::error(&failure);
        failure.exit
    });
    let exit = exit.max(names::fault());
    match stdout::lost() {
        Some(error) if exit == Exit::Done => {
            message::error(Failure::from(error));
            Exit::Failed.into()
        }
        _ => exit.into(),
    }
}

/// Prints the help that was asked for, or says why the command line cannot be understood.
fn explain(refusal: clap::Error) -> Result<Exit, Failure> {
    let text = |style: Style, refusal: &clap::Error| {
        if style.is_coloured() { refusal.render().ansi().to_string() } else { refusal.render().to_string() }
    };
    if refusal.use_stderr() {
        message::write(&text(message::style(), &on_lines_of_its_own(refusal)));
        return Ok(Exit::Usage);
    }
    let mut out = stdout::buffered();
    out.write_all(text(Style::of(&io::stdout()), &refusal).as_bytes())?;
    out.flush()?;
    Ok(Exit::Done)
}

/// The same refusal, of a command line without credentials, and without control characters: those in an argument would
/// end lines of it.
fn on_lines_of_its_own(refusal: clap::Error) -> clap::Error {
    let shown = |argument: OsString| output::printable(&backend::without_credentials(&argument.to_string_lossy()));
    let arguments = std::env::args_os().map(shown);
    Arguments::try_parse_from(arguments).err().filter(clap::Error::use_stderr).unwrap_or(refusal)
}

fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Record(record) => record::run(record),
        Command::Tail(tail) => tail::run(tail),
        Command::Ls(ls) => ls::run(ls),
        Command::Show(show) => show::run(show),
        Command::Replay(replay) => replay::run(replay),
        Command::Latency(latency) => latency::run(latency),
        Command::Verify(verify) => verify::run(verify),
        Command::Export(export) => export::run(export),
        Command::Import(import) => import::run(import),
        Command::Relay(relay) => relay::run(relay),
        Command::Repair(repair) => repair::run(repair),
        Command::Trim(trim) => trim::run(trim),
        Command::Info(info) => info::run(info),
        Command::Stats(stats) => stats::run(stats),
        Command::Cursor(cursor) => cursor::run(cursor),
        Command::Filter(args) => filter::run(args),
        Command::Completions(args) => completions::completions(args),
        Command::Man(args) => completions::man(args),
    }
}
