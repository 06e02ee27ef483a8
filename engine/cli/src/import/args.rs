//! The command line of `tapeline import`.

use std::path::PathBuf;

use clap::Args;
use tapeline_reader::LogId;

use crate::backend::{self, Backend, Streams};
use crate::exit::Failure;
use crate::size::parse_segment_size;

/// Arguments of `tapeline import`.
#[derive(Args)]
#[command(after_help = "\
Events keep their shard, sequence, time, session, kind and payload. What is left out between two sequences of a shard counts
as lost in the new log, and readers get a gap for it; --renumber closes such holes. To add JSON lines of any other form to a log,
use `tapeline record --format jsonl`.

Examples:
  tapeline import copy log.jsonl
  tapeline export log --session answer-17 | tapeline import one --renumber
  tapeline import copy --from redis://localhost      what `tapeline relay` has put there")]
pub(crate) struct ImportArgs {
    /// Directory of the new log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Files that `tapeline export --format jsonl` wrote, read one after the other; standard input for -, and without
    /// any
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Server that a relay has fed, as `tapeline relay --to` takes it
    #[arg(long, value_name = "URL", conflicts_with_all = ["from_file", "files"])]
    pub(crate) from: Option<String>,
    /// File whose first line is the URL, so that no list of processes shows a password
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub(crate) from_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) streams: Streams,
    /// Log on the server, where there are several: its id
    #[arg(long, value_name = "ID", value_parser = parse_log)]
    pub(crate) log: Option<LogId>,
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

impl ImportArgs {
    /// The backend to import from.
    pub(super) fn backend(&self) -> Result<Backend<'_>, Failure> {
        let url = backend::url(self.from.as_ref(), self.from_file.as_ref())?;
        Ok(Backend { url, streams: &self.streams })
    }
}

/// Without the URL, which may hold a password.
impl std::fmt::Debug for ImportArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportArgs").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn parse_log(text: &str) -> Result<LogId, String> {
    let id = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten();
    id.map(|id| LogId(id.to_be_bytes())).ok_or_else(|| "an id of a log is 32 hexadecimal digits".to_owned())
}
