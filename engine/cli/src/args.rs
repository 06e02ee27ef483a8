//! The command line: the commands there are. What a command takes is in its own module.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::record::RecordArgs;
use crate::replay::ReplayArgs;
use crate::trim::TrimArgs;

const AFTER_HELP: &str = "\
Examples:
  tapeline record log answers/*.sse --format sse     each file becomes a session named by its stem
  agent | tapeline record log --format jsonl --session-field conversation_id
  tapeline ls log
  tapeline replay log --session answer-17 --speed 1  at the pace it was recorded
  tapeline replay log --session answer-17 --format raw | cmp - answers/answer-17.sse
  tapeline verify log && echo sound

Exit status:
  0    done
  1    failed; the message says why
  2    the command line cannot be understood
  3    no such log, session or file
  4    events that were asked for are no longer in the log
  5    the log is damaged
  130  ended by a signal

Colours and progress bars are for terminals; NO_COLOR turns the colours off.";

/// Records streams of events into a durable log, and plays them back.
#[derive(Debug, Parser)]
#[command(name = "tapeline", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Record files or standard input into a log
    Record(RecordArgs),
    /// List the sessions of a log
    Ls(DirectoryArgs),
    /// Print the events of a log, in order
    Replay(ReplayArgs),
    /// Read and check every block of a log
    Verify(DirectoryArgs),
    /// Remove the oldest segments of a log
    Trim(TrimArgs),
    /// Show what a log is made of, and what would write it here
    Info(DirectoryArgs),
}

/// Arguments of the commands that only look.
#[derive(Debug, Args)]
pub(crate) struct DirectoryArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
