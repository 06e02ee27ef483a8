//! The command line of `tapeline tail`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::from::From;
use crate::form::OutputFormat;
use crate::select::Selection;
use crate::size::parse_count;
use crate::when;

/// Arguments of `tapeline tail`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline tail log                                  what comes from now on
  tapeline tail log --from -20                       the last 20 events, then what comes
  tapeline tail log --from -5m --kind tool_call --format jsonl | jq .payload
  tapeline tail log --from start --exit-idle 5s      all there is, until nothing has come for 5 s
  tapeline tail log --session answer-17 -n 1 --format raw
  tapeline tail log --wait                           before there is a log, too

It may be started while the log is written or after, and goes on when the writer is restarted. What it prints is durable.
It ends with a signal, with status 130, or as --events, --exit-idle and --until say, and with status 3 when the log is removed or
another takes its place, unless --wait is given.")]
pub(crate) struct TailArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Start: start, now, -N (the last N of what is selected), -5m, a time [default: --since, or now]
    #[arg(long, value_name = "START", allow_hyphen_values = true)]
    pub(crate) from: Option<From>,
    /// Form in which events are printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) format: OutputFormat,
    /// End after so many events, not counting those that open sessions
    #[arg(short = 'n', long, value_name = "N", allow_hyphen_values = true, value_parser = parse_count::<u64>)]
    pub(crate) events: Option<u64>,
    /// End when no selected event has come for so long: 5s, 500ms, 1m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = when::parse_duration)]
    pub(crate) exit_idle: Option<Duration>,
    /// Wait for a log that is not there yet, and follow the next one when it is removed or replaced
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
}
