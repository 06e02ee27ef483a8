//! The command line of `tapeline show`.

use std::path::PathBuf;

use clap::Args;

use crate::size::parse_count;

/// Arguments of `tapeline show`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline show log answer-17                        what it streamed, when, how fast, where it stalled
  tapeline show log answer-17 --events               and each event, with the time since the one before
  tapeline show log answer-17 --events --limit 20
  tapeline show log answer-17 --json | jq .stalls[0]")]
pub(crate) struct ShowArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The session: its name, or its id as 32 hexadecimal digits
    #[arg(value_name = "SESSION")]
    pub(crate) session: String,
    /// Number of the longest stalls to show
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_count::<usize>, default_value_t = 5)]
    pub(crate) stalls: usize,
    /// Show the events, too
    #[arg(long)]
    pub(crate) events: bool,
    /// Show the first so many events
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_count::<usize>)]
    pub(crate) limit: Option<usize>,
    /// Print JSON: one object of the session, then one an event
    #[arg(long)]
    pub(crate) json: bool,
}
