//! The command line of `tapeline ls`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tapeline_capability::RequiredCapability;

use crate::size::parse_count;
use crate::when::When;

/// Arguments of `tapeline ls`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline ls log
  tapeline ls log --session answer- --since -1h      names that begin so, with events of the last hour
  tapeline ls log --where software.model=llama-7b    opened with this model, or this tag
  tapeline ls log --where 'metadata_equals \"zone\", \"eu\"'
  tapeline ls log --sort events --reverse --limit 10 the ten longest
  tapeline ls log --json | jq -r 'select(.duration_ns > 60e9) | .session'")]
pub(crate) struct LsArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only sessions whose name or id begins so
    #[arg(long, value_name = "PREFIX")]
    pub(crate) session: Option<String>,
    /// Only sessions whose source has this: a line as of require!, or a predicate as of pred!
    #[arg(long = "where", value_name = "REQUIREMENT")]
    pub(crate) source: Option<RequiredCapability>,
    /// Only sessions with an event at this time or later: 2026-01-31T12:00:00Z, 2026-01-31, -5m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<When>,
    /// Only sessions with an event before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<When>,
    /// Only sessions with so many events or more
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_count::<u64>, default_value_t = 0, hide_default_value = true)]
    pub(crate) min_events: u64,
    /// In which order
    #[arg(long, value_enum, default_value_t = Sort::First)]
    pub(crate) sort: Sort,
    /// The other way round
    #[arg(long)]
    pub(crate) reverse: bool,
    /// The first so many of them
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_count::<usize>)]
    pub(crate) limit: Option<usize>,
    /// Print JSON, one object a session
    #[arg(long)]
    pub(crate) json: bool,
}

/// The order of sessions, from small to large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// Time of the first event
    First,
    /// Time of the last event
    Last,
    /// Number of events
    Events,
    /// Bytes of payload
    Bytes,
    /// Name
    Name,
}
