//! The `tapeline` program: records streams into a log, follows, lists, replays and checks them.
//!
//! It stands on the public interface of crate `tapeline` alone. docs/CLI.md is its manual.

mod args;
mod completions;
mod cursor;
mod empty;
mod exit;
mod export;
mod failure;
mod filter;
mod form;
mod human;
mod import;
mod info;
mod latency;
mod ls;
mod names;
mod openings;
mod output;
mod progress;
mod record;
mod recorded;
mod repair;
mod replay;
mod select;
mod show;
mod signal;
mod size;
mod stats;
mod tail;
mod trim;
mod verify;
mod when;
mod words;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};
use crate::exit::{Exit, Failure};
use crate::output::Style;

fn main() -> ExitCode {
    signal::end_quietly_on_closed_pipes();
    signal::report_limits_of_file_sizes();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => {
            // A closed terminal leaves no way to say more; the exit status says the rest.
            let _ = refusal.print();
            return if refusal.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match run(&arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{} {failure}", Style::of(&io::stderr()).bad("tapeline:"));
            failure.exit.into()
        }
    }
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
