//! The command line of `tapeline import`.

use std::path::PathBuf;

use clap::Args;

use crate::size::parse_segment_size;

/// Arguments of `tapeline import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Events keep their shard, sequence, time, session, kind and payload. What is left out between two sequences of a shard counts
as lost in the new log, and readers get a gap for it; --renumber closes such holes. To add JSON lines of any other form to a log,
use `tapeline record --format jsonl`.

Examples:
  tapeline import copy log.jsonl
  tapeline export log --session answer-17 | tapeline import one --renumber")]
pub(crate) struct ImportArgs {
    /// Directory of the new log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Files that `tapeline export --format jsonl` wrote, read one after the other; standard input for -, and without
    /// any
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Number the events of each shard anew, from 0
    #[arg(long)]
    pub(crate) renumber: bool,
    /// Size of segment files: 4M, 1GiB [default: the engine's, 256M]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = parse_segment_size)]
    pub(crate) segment_bytes: Option<u64>,
    /// Print the summary as one JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
