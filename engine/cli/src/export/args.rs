//! The command line of `tapeline export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::select::Selection;

/// Arguments of `tapeline export`.
#[derive(Debug, Args)]
#[command(after_help = "\
jsonl loses nothing: `tapeline import` makes the same log of it, and of that log `export` prints the same bytes again.

Examples:
  tapeline export log --out log.jsonl && tapeline import copy log.jsonl
  tapeline export log --format parquet --since -1d --out day.parquet
  tapeline export log --format openai-chunks --session answer-17
  tapeline export log --format openai-chunks --out streams/  a file for each session")]
pub(crate) struct ExportArgs {
    /// Directory of the log
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Format to write
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub(crate) format: ExportFormat,
    /// The file to write, for openai-chunks a directory; what is there by the same name is replaced. Standard output
    /// without, and for -
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Form of payloads of kind token, in openai-chunks
    #[arg(long, value_enum, value_name = "FORM", default_value_t = TokenForm::Auto)]
    pub(crate) tokens: TokenForm,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

/// The form of payloads of kind token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TokenForm {
    #[default]
    /// Chunks and objects of JSON with the text are understood, anything else is the text
    Auto,
    /// The text itself, whatever it looks like
    Text,
    /// Chunks and objects of JSON, [DONE] and errors; what is no JSON is the text
    Json,
}

/// The format that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object a line, with all that makes the event
    Jsonl,
    /// Server-sent events
    Sse,
    /// Streams of chat.completion.chunk objects, one a session
    OpenaiChunks,
    /// An Apache Parquet file
    Parquet,
}
