//! The command line of `tapeline stats`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `tapeline stats`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline stats log
  tapeline stats log --by hour                       a bar an hour, however many there are
  tapeline stats log --json | jq 'select(.type == \"kind\")'")]
pub(crate) struct StatsArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Stretch of time of one bar [default: one that makes some 20 bars]
    #[arg(long, value_enum, value_name = "UNIT")]
    pub(crate) by: Option<Unit>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unit {
    /// Seconds
    Second,
    /// Minutes
    Minute,
    /// Hours
    Hour,
    /// Days, of UTC
    Day,
}

impl Unit {
    /// Its nanoseconds.
    pub(crate) fn nanoseconds(self) -> u64 {
        const SECOND: u64 = 1_000_000_000;
        match self {
            Self::Second => SECOND,
            Self::Minute => 60 * SECOND,
            Self::Hour => 3600 * SECOND,
            Self::Day => 86_400 * SECOND,
        }
    }
}
