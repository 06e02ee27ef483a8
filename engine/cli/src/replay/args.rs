//! The command line of `tapeline replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tapeline_reader::Speed;

use crate::form::OutputFormat;
use crate::select::Selection;
use crate::when::parse_duration;

/// Arguments of `tapeline replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline replay log --session answer-17 --speed 1  at the pace it was recorded
  tapeline replay log --session answer-17 --format raw | cmp - answers/answer-17.sse
  tapeline replay log --format sse --speed 2 --limit-idle 1s
  tapeline replay log --since -1h --kind tool_call --format jsonl")]
pub(crate) struct ReplayArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Form in which events are printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) format: OutputFormat,
    /// Pace: a factor of the recorded one, or max
    #[arg(long, value_name = "FACTOR|max", allow_hyphen_values = true, default_value_t = Speed::Max)]
    pub(crate) speed: Speed,
    /// No pause longer than this, whatever was recorded: 500ms, 1s
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_duration)]
    pub(crate) limit_idle: Option<Duration>,
    #[command(flatten)]
    pub(crate) selection: Selection,
}
