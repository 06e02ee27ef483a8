//! The command line: the commands there are. What a command takes is in its own module.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::completions::{CompletionsArgs, ManArgs};
use crate::cursor::CursorArgs;
use crate::export::ExportArgs;
use crate::filter::FilterArgs;
use crate::import::ImportArgs;
use crate::latency::LatencyArgs;
use crate::ls::LsArgs;
use crate::record::RecordArgs;
use crate::relay::RelayArgs;
use crate::repair::RepairArgs;
use crate::replay::ReplayArgs;
use crate::show::ShowArgs;
use crate::stats::StatsArgs;
use crate::tail::TailArgs;
use crate::trim::TrimArgs;

const AFTER_HELP: &str = "\
Examples:
  tapeline record log answers/*.sse --format sse     each file becomes a session named by its stem
  agent | tapeline record log --format jsonl --session-field conversation_id
  tapeline tail log --from -20                       the last 20 events, then live
  tapeline ls log --since -1h
  tapeline show log answer-17                        how fast it was, and where it stalled
  tapeline replay log --session answer-17 --speed 1  at the pace it was recorded
  tapeline replay log --session answer-17 --format raw | cmp - answers/answer-17.sse
  tapeline verify log && echo sound

Exit status:
  0    done
  1    failed; the message says why, also where the log cannot be read for want of descriptors, memory or permissions
  2    the command line cannot be understood
  3    no such log, session or file
  4    events that were asked for are no longer in the log
  5    the log is damaged
  130  ended by a signal

Colours and progress bars are for terminals; NO_COLOR turns the colours off.";

const VERIFY_HELP: &str = "\
Examples:
  tapeline verify log && echo sound
  tapeline verify log --json | jq 'select(.type == \"damage\")'";

const INFO_HELP: &str = "\
Examples:
  tapeline info log
  tapeline info log --json | jq .backend.device";

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
    /// Print the events of a log as they come
    Tail(TailArgs),
    /// List the sessions of a log
    Ls(LsArgs),
    /// Show one session: events, kinds, timing
    Show(ShowArgs),
    /// Print the events of a log, in order
    Replay(ReplayArgs),
    /// Measure time to first token, gaps between tokens, lengths and rates
    Latency(LatencyArgs),
    /// Write events for other programs, and for import
    Export(ExportArgs),
    /// Make a log of what export wrote
    Import(ImportArgs),
    /// Feed a server elsewhere with the events of a log, as they come
    Relay(RelayArgs),
    /// Read and check every block of a log
    #[command(after_help = VERIFY_HELP)]
    Verify(DirectoryArgs),
    /// Make a damaged log open again, and keep everything in it that is intact
    Repair(RepairArgs),
    /// Remove the oldest segments of a log
    Trim(TrimArgs),
    /// Show what a log is made of, and what would write it here
    #[command(after_help = INFO_HELP)]
    Info(DirectoryArgs),
    /// Show what a log holds: by shard, by kind, over time
    Stats(StatsArgs),
    /// List, set and remove the named cursors of a log
    Cursor(CursorArgs),
    /// Explain the grammar of --filter, or check a filter
    Filter(FilterArgs),
    /// Print the script that completes command lines in a shell
    Completions(CompletionsArgs),
    /// Write the manual pages
    Man(ManArgs),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
