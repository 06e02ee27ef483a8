//! Sessions at rest: one out of many is found without a scan, all are listed, indexes are built beside ingest.
//!
//! The log that is searched has as many bytes as asked for on paper: its files are sparse, with the header, index and
//! footer that real ones would have, and the one block that the search has to come to.

mod indexing;
mod sparse;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use tapeline::event::SessionId;
use tapeline::{LogFiles, ReplayRequest};

use self::sparse::SparseLog;
use crate::args::CommonArgs;
use crate::harness::report::{Output, Report};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median;
use crate::harness::{Outcome, files};

/// Options of `sessions`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SessionsArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Sessions of the log that is searched
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) sessions: u64,
    /// GiB of the log that is searched, on paper
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) gib: u64,
    /// Seconds of a round of ingest beside index building
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
}

/// Options of the process that looks for a session.
#[derive(Debug, Clone, Args)]
pub(crate) struct SessionsFinderArgs {
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) session: u128,
}

/// Measures all of it.
pub(crate) fn run(args: &SessionsArgs, output: &mut Output) -> Outcome<()> {
    output.emit(&find(args)?)?;
    output.emit(&indexing::rate(args)?)?;
    output.emit(&indexing::beside_ingest(args)?)?;
    Ok(())
}

fn find(args: &SessionsArgs) -> Outcome<Report> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let log = SparseLog::write(&scratch.path().join("log"), args.sessions, args.gib << 30)?;
    let segments = files::segments(log.path())?;
    let (mut warm, mut cold, mut list) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.common.rounds {
        let session = log.target(round);
        // Once for the page cache.
        first_event_ms(log.path(), session)?;
        warm.push(first_event_ms(log.path(), session)?);
        segments.iter().try_for_each(|segment| files::drop_cache(segment))?;
        cold.push(first_event_ms(log.path(), session)?);
        let start = Instant::now();
        let listed = LogFiles::open(log.path())?.sessions()?.len() as u64;
        list.push(start.elapsed().as_secs_f64());
        if listed != args.sessions {
            return Err(format!("{listed} sessions were listed, the log has {}", args.sessions).into());
        }
    }
    Ok(Report::new("sessions")
        .param("case", "find")
        .param("sessions", args.sessions)
        .param("log_bytes", log.bytes())
        .param("segments", segments.len())
        .param("index_bytes", log.index_bytes())
        .param("rounds", args.common.rounds)
        .figure("first_event_ms", median(&warm))
        .figure("first_event_cold_cache_ms", median(&cold))
        .figure("list_all_seconds", median(&list)))
}

/// Milliseconds from the start of a process to the first event of the session in its hands.
fn first_event_ms(log: &Path, session: SessionId) -> Outcome<f64> {
    let start = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("sessions-finder")
        .arg("--dir")
        .arg(log)
        .args(["--session", &session.0.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the finder has no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    child.wait()?;
    if line.trim() == session.to_string() {
        Ok(elapsed)
    } else {
        Err(format!("an event of session {session} was wanted, the finder said {:?}", line.trim()).into())
    }
}

/// The child: finds the first event, and says whose it is.
pub(crate) fn find_and_tell(args: &SessionsFinderArgs) -> Outcome<()> {
    let log = LogFiles::open(&args.dir)?;
    let mut replay = log.replay_with(&ReplayRequest::new().session(SessionId(args.session)))?;
    let event = replay.next().ok_or("no such session")??;
    writeln!(std::io::stdout(), "{}", event.session)?;
    Ok(())
}
