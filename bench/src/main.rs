//! `tapeline-bench`: measures Tapeline against the limits of the machine it runs on.
//!
//! Each scenario prints one result a line with `--json`, or a table. Producers are pinned to the first cores, shards to
//! the last; a figure is the median of several rounds; the limits beside it are measured in the same run.
//!
//! Exit status: 0 when measured, 1 when something failed, 2 when the arguments make no sense.

mod args;
mod harness;
mod page;
mod scenario;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Scenario};
use harness::Outcome;
use harness::machine;
use harness::report::Output;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tapeline-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Outcome<()> {
    let directory = cli.scenario.directory();
    if let Some(path) = directory {
        std::fs::create_dir_all(path).map_err(|error| format!("create {}: {error}", path.display()))?;
    }
    let machine = machine::describe(directory.unwrap_or(&std::env::temp_dir()));
    let save = cli.save.as_deref().map(append_to).transpose()?;
    let mut output = Output::new(cli.json, machine, save);
    match &cli.scenario {
        Scenario::Ingest(args) => scenario::ingest::run(args, &mut output),
        Scenario::Burst(args) => scenario::burst::run(args, &mut output),
        Scenario::Latency(args) => scenario::latency::run(args, &mut output),
        Scenario::Histogram(args) => scenario::histogram::run(args, &mut output),
        Scenario::Replay(args) => scenario::replay::run(args, &mut output),
        Scenario::Recover(args) => scenario::recover::run(args, &mut output),
        Scenario::Catchup(args) => scenario::catchup::run(args, &mut output),
        Scenario::Serving(args) => scenario::serving::run(args, &mut output),
        Scenario::Deliver(args) => scenario::deliver::run(args, &mut output),
        Scenario::Play(args) => scenario::play::run(args, &mut output),
        Scenario::Poll(args) => scenario::poll::run(args, &mut output),
        Scenario::Capability(args) => scenario::capability::run(args, &mut output),
        Scenario::Filter(args) => scenario::filter::run(args, &mut output),
        Scenario::Fanout(args) => scenario::fanout::run(args, &mut output),
        Scenario::Overload(args) => scenario::overload::run(args, &mut output),
        Scenario::Relay(args) => scenario::relay::run(args, &mut output),
        Scenario::Scale(args) => scenario::scale::run(args, &mut output),
        Scenario::Task(args) => scenario::task::run(args, &mut output),
        Scenario::Daemon(args) => scenario::daemon::run(args, &mut output),
        Scenario::Workload(args) => scenario::workload::run(args, &mut output),
        #[cfg(feature = "peers")]
        Scenario::Peers(args) => scenario::peers::run(args, &mut output),
        Scenario::Page(args) => page::run(args),
        Scenario::Sessions(args) => scenario::sessions::run(args, &mut output),
        Scenario::SessionsFinder(args) => scenario::sessions::find_and_tell(args),
        Scenario::RecoverWriter(args) => scenario::recover::write_until_killed(args),
    }
}

fn append_to(path: &Path) -> Outcome<std::fs::File> {
    let opened = std::fs::File::options().create(true).append(true).open(path);
    opened.map_err(|error| format!("open {}: {error}", path.display()).into())
}

/// Returns whether the process that reads the results has gone, as `head` does.
fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
