//! The command line of `tapeline latency`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::select::Selection;
use crate::when::parse_duration;

/// Arguments of `tapeline latency`.
#[derive(Debug, Args)]
#[command(after_help = "\
Measures, from the timestamps that the log has stored:
  time-to-first-token    from the first event of a session, which opens it, to its first token
  inter-token            from a token of a session to the next
  time-per-output-token  (last token - first token) / (tokens - 1), a value a session
  session-length         from the first event of a session to its last
  session-rate           tokens a second of a session, from its first event to its last token
  throughput             tokens a second of all sessions, a value for each window of time

Tokens are events of kind token. Where none of the selected events is one, as in what record wrote, every event counts that brings
content: not comments, nor chunks with a role, a reason to finish, usage or [DONE] alone. docs/HISTOGRAMS.md has the rules.

Examples:
  tapeline latency log
  tapeline latency log --by model --out report     and look at report/index.html
  tapeline latency log --since -1h --by time --window 1m
  tapeline latency log --session answer-17 --json

One pass over the log. Memory: about 200 bytes a session; with --by the distributions of each group besides, 16 bytes for each
different gap. The first 10,000 groups stand by themselves, what comes later is one group together.
Times from 1 ns to 13 days are kept to three digits; longer ones count as 13 days.")]
pub(crate) struct LatencyArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Also for each of these
    #[arg(long, value_enum)]
    pub(crate) by: Option<By>,
    /// Length of a window of time: 500ms, 10s, 1m [default: from 1ms up, so that there are at most 120]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = window)]
    pub(crate) window: Option<u64>,
    /// Write the report there: HdrHistogram text and logs, JSON, pictures, and index.html to look at
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

/// The property that slices the measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Each session
    Session,
    /// Each kind of event, as if events of this kind alone were tokens; events without a kind by what they call
    /// themselves
    Kind,
    /// Model that the event that opens a session, or else the first chunk, names; - where none does
    Model,
    /// Windows of time
    Time,
}

impl By {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Kind => "kind",
            Self::Model => "model",
            Self::Time => "time",
        }
    }
}

/// Nanoseconds, a millisecond at least.
fn window(text: &str) -> Result<u64, String> {
    match u64::try_from(parse_duration(text)?.as_nanos()) {
        Ok(nanos) if nanos >= 1_000_000 => Ok(nanos),
        _ => Err("windows are a millisecond long, or longer".to_owned()),
    }
}
