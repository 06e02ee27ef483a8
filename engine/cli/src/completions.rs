//! `tapeline completions` and `tapeline man`: files made of the command line's own description.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Arguments;
use crate::exit::{Exit, Failure, check_directory};
use crate::stdout;

/// Arguments of `tapeline completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline completions bash > ~/.local/share/bash-completion/completions/tapeline
  tapeline completions zsh > ~/.zfunc/_tapeline
  tapeline completions fish > ~/.config/fish/completions/tapeline.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Arguments of `tapeline man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tapeline man --out ~/.local/share/man/man1
  man tapeline-tail")]
pub(crate) struct ManArgs {
    /// Directory to write them to; created where it does not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Prints the shell's script.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "tapeline", &mut script);
    let mut out = stdout::buffered();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Exit::Done)
}

/// Writes a page for the program and for each command.
pub(crate) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    check_directory(&args.out)?;
    fs::create_dir_all(&args.out).map_err(|error| Failure::file(&args.out, &error))?;
    clap_mangen::generate_to(Arguments::command(), &args.out).map_err(|error| Failure::file(&args.out, &error))?;
    Ok(Exit::Done)
}
