//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tapeline::Speed;

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

/// Arguments of `tapeline record`.
#[derive(Debug, Args)]
#[command(after_help = "\
An event's payload is its bytes exactly as they stood, line ends included, so that `replay --format raw` prints the
file again. The summary is printed when all that it counts is durable; a signal ends the recording, and what was read
until then is made durable and counted.")]
pub(crate) struct RecordArgs {
    /// Directory of the log; created where it does not exist
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// What to record, one after the other; standard input for -, and without any
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where an event ends
    #[arg(long, value_enum)]
    pub(crate) format: InputFormat,
    /// Session of all events; without it, each file is a session named by its stem, standard input is "stdin"
    #[arg(long, value_name = "NAME", conflicts_with = "session_field")]
    pub(crate) session: Option<String>,
    /// Field of each JSON line whose value, a string or a number, names the event's session
    #[arg(long, value_name = "FIELD")]
    pub(crate) session_field: Option<String>,
    /// Shards of a new log, each a pinned core and a file of its own [default: the log's own number, 1 for a new log]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) shards: Option<u16>,
    /// What an event must survive before it counts as recorded
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
    /// Size of new segment files [default: the engine's, 268435456]
    #[arg(long, value_name = "BYTES")]
    pub(crate) segment_bytes: Option<u64>,
    /// Print the summary as one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `tapeline replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only this session: its name, or its id as 32 hexadecimal digits
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,
    /// What to print of an event
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) format: OutputFormat,
    /// Pace: a factor of the recorded one, or max
    #[arg(long, value_name = "FACTOR|max", default_value_t = Speed::Max)]
    pub(crate) speed: Speed,
}

/// Where an event ends in what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// At the end of each line
    Jsonl,
    /// At the blank line after each server-sent-events frame
    Sse,
    /// Wherever 64 KiB or what is there ends
    Raw,
}

/// Durability of what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Survives the loss of power
    Durable,
    /// Survives the end of the process, not of the machine
    PageCache,
}

/// What is printed of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// The payload bytes as recorded, nothing else
    Raw,
    /// One JSON object a line, with all that is known of the event
    Jsonl,
    /// One line to read: time, session, kind, payload
    Text,
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
