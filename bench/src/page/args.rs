//! The command line of `page`.

use std::path::PathBuf;

use clap::Args;

/// Options of `page`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PageArgs {
    /// Directory of the results: its files *.json are read, with a result a line, as --save writes them
    #[arg(value_name = "RESULTS")]
    pub(crate) results: PathBuf,
    /// The page [default: index.html in RESULTS]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Markdown with a table whose second column is called target, to stand on the page as well
    #[arg(long, value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
}
