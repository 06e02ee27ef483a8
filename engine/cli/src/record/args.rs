//! The command line of `tapeline record`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::size::{parse_segment_size, parse_shards};

/// Arguments of `tapeline record`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline record log answers/*.sse --format sse
  curl -sN $URL -d @request.json | tapeline record log --format sse --session answer-17
  agent | tapeline record log --format jsonl --session-field conversation_id

An event's payload is its bytes exactly as they stood, line ends included, so that `replay --format raw` prints the
file again. With --on-bad keep, an event over 64 MiB, or over half of a segment, is recorded in parts, and a line that
names no session goes to that of its file; the summary counts both. It is printed when all that it counts is durable;
after a signal, what is in the pipe is recorded first.")]
pub(crate) struct RecordArgs {
    /// Directory of the log; created where it does not exist
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Files to record, one after the other; standard input for -, and without any
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// End of an event
    #[arg(long, value_enum)]
    pub(crate) format: InputFormat,
    /// Session of all events; without it, each file is a session named by its stem, standard input is "stdin"
    #[arg(long, value_name = "NAME", conflicts_with = "session_field")]
    pub(crate) session: Option<String>,
    /// Field of each JSON line whose value, a string or a number, names the event's session
    #[arg(long, value_name = "FIELD")]
    pub(crate) session_field: Option<String>,
    /// Treatment of an event that is too long, and of a line that names no session
    #[arg(long, value_enum, default_value_t = OnBad::Keep)]
    pub(crate) on_bad: OnBad,
    /// Shards that take events, each a pinned core and files of its own [default: the log's own number, 1 for a new
    /// log]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_shards)]
    pub(crate) shards: Option<u16>,
    /// Failure that an event must survive before it counts as recorded
    #[arg(long, value_enum, default_value_t = Level::Durable)]
    pub(crate) durability: Level,
    /// Size of new segment files: 4M, 1GiB [default: the engine's, 256M]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = parse_segment_size)]
    pub(crate) segment_bytes: Option<u64>,
    /// Print the summary as one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// The end of an event in the input.
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

/// The treatment of input that cannot be recorded as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBad {
    /// It is recorded all the same: too long in parts, a line without a session in that of its file
    Keep,
    /// It is left out, and counted
    Skip,
    /// The recording ends before it, with status 1
    Stop,
}
