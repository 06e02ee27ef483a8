//! The command line of `tapeline cursor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `tapeline cursor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline cursor ls log                             who reads this log, and how far behind
  tapeline cursor set log relay latest               skip what relay has not read
  tapeline cursor set log relay -10m                 have it read the last ten minutes again
  tapeline cursor rm log relay")]
pub(crate) struct CursorArgs {
    #[command(subcommand)]
    pub(crate) command: CursorCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CursorCommand {
    /// List the named cursors and how far each is behind
    Ls(ListArgs),
    /// Set a named cursor to a start, whether it exists or not
    Set(SetArgs),
    /// Remove a named cursor
    Rm(RemoveArgs),
}

/// Arguments of `tapeline cursor ls`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline cursor ls log
  tapeline cursor ls log --json | jq -r 'select(.lag_events > 1e6) | .name'")]
pub(crate) struct ListArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Print JSON, one object a cursor, with its text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `tapeline cursor set`.
#[derive(Debug, Args)]
#[command(after_help = "\
A reader that is running keeps its own position, and writes it over what is set here when it next saves it: stop it first.

Examples:
  tapeline cursor set log relay earliest             have it read everything again
  tapeline cursor set log relay 2026-01-31T12:00:00Z
  tapeline cursor set log copy \"$(tapeline cursor ls log --json | jq -r 'select(.name == \"relay\").cursor')\"")]
pub(crate) struct SetArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Name of the cursor: letters, digits, '-', '_', '.'
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Start: earliest, latest, a time (2026-01-31T12:00:00Z, -5m), or the text of a cursor
    #[arg(value_name = "START", allow_hyphen_values = true)]
    pub(crate) start: String,
}

/// Arguments of `tapeline cursor rm`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline cursor rm log relay")]
pub(crate) struct RemoveArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Name of the cursor
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}
