//! `tapeline filter`: the grammar of `--filter`, and whether a text is in it.

use std::io::Write;

use clap::Args;
use tapeline_reader::Filter;

use crate::exit::{Exit, Failure};
use crate::stdout;

const EXAMPLES: &str = "\
Examples:
  tapeline help filter                               the grammar
  tapeline filter '{\"path\":\"model\",\"value\":\"x\"}' && echo good";

/// Arguments of `tapeline filter`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\nGrammar:\n\n{}", Filter::GRAMMAR))]
pub(crate) struct FilterArgs {
    /// Check this filter; without one, print the grammar
    #[arg(value_name = "JSON")]
    pub(crate) filter: Option<String>,
}

/// Prints the grammar, or the filter as it was understood.
///
/// # Errors
/// [`Exit::Usage`] where the text is no filter.
pub(crate) fn run(args: &FilterArgs) -> Result<Exit, Failure> {
    let mut out = stdout::buffered();
    match &args.filter {
        None => out.write_all(Filter::GRAMMAR.as_bytes())?,
        Some(text) => {
            let filter = Filter::from_json(text).and_then(|filter| filter.compile().map(|_| filter));
            let filter = filter.map_err(|error| Failure::new(Exit::Usage, error))?;
            writeln!(out, "{}", filter.to_json())?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}
