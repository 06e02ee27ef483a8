//! Replay as its users have it: the program `tapeline` writing JSON lines, and events at the pace they came at.
//!
//! The program is the one that lies beside this one, and a figure its whole run. The lines go to a file, in which they
//! are counted, and to /dev/null: what lies between the two is the kernel's copying.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use tapeline::consumer::Speed;
use tapeline::event::{Sequence, SessionId};
use tapeline::log::{LogRestore, RestoredEvent};
use tapeline::{LogFiles, ReplayRequest, kinds};

use crate::args::PlayArgs;
use crate::harness::Outcome;
use crate::harness::report::{Output, Report};
use crate::harness::scratch::Scratch;
use crate::harness::stats::{median, median_of};

/// Streams at a time, and tokens of each in a second, in the paced log.
const SESSIONS: u64 = 50;
const RATE: u64 = 20;

/// The payload without its text.
const EMPTY: &str = r#"{"token":""}"#;

/// The beginning of the logs: nanoseconds since the Unix epoch.
const START: u64 = 1_700_000_000_000_000_000;

/// Measures both.
pub(crate) fn run(args: &PlayArgs, output: &mut Output) -> Outcome<()> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    json_lines(args, &scratch, output)?;
    paced(args, &scratch, output)
}

fn json_lines(args: &PlayArgs, scratch: &Scratch, output: &mut Output) -> Outcome<()> {
    let (log, file) = (scratch.path().join("json"), scratch.path().join("lines.jsonl"));
    fill(&log, args, args.events, 1_000)?;
    let (mut to_file, mut to_nothing) = (Vec::new(), Vec::new());
    for _ in 0..args.common.rounds {
        to_file.push(args.events as f64 / print_to(File::create(&file)?, &log)?);
        let lines = BufReader::new(File::open(&file)?).split(b'\n').count() as u64;
        if lines != args.events {
            return Err(format!("tapeline replay printed {lines} of {} events", args.events).into());
        }
        to_nothing.push(args.events as f64 / print_to(File::options().write(true).open("/dev/null")?, &log)?);
    }
    let bytes = file.metadata()?.len();
    for (sink, rates) in [("file", to_file), ("/dev/null", to_nothing)] {
        let report = Report::new("play")
            .param("case", "json_lines")
            .param("to", sink)
            .param("payload", args.common.payload)
            .param("rounds", args.common.rounds)
            .figure("events_per_second", median(&rates))
            .figure("events", args.events as f64)
            .figure("bytes", bytes as f64);
        output.emit(&report)?;
    }
    Ok(())
}

/// Seconds that the program takes from its start to its end.
fn print_to(sink: File, log: &Path) -> Outcome<f64> {
    let start = Instant::now();
    let mut child = Command::new(program()?);
    let status = child.arg("replay").arg(log).args(["--format", "jsonl"]).stdin(Stdio::null()).stdout(sink).status()?;
    if status.success() { Ok(start.elapsed().as_secs_f64()) } else { Err(format!("tapeline replay: {status}").into()) }
}

fn paced(args: &PlayArgs, scratch: &Scratch, output: &mut Output) -> Outcome<()> {
    let log = scratch.path().join("paced");
    let step = 1_000_000_000 / (SESSIONS * RATE);
    fill(&log, args, SESSIONS * RATE * args.seconds, step)?;
    let mut errors = Vec::new();
    for _ in 0..args.common.rounds {
        let mut replay = LogFiles::open(&log)?.replay_with(&ReplayRequest::new())?.paced(Speed::Factor(1.0));
        replay.try_for_each(|event| event.map(drop))?;
        errors.push(replay.pacing_error());
    }
    let report = Report::new("play")
        .param("case", "paced")
        .param("speed", 1)
        .param("sessions", SESSIONS)
        .param("events_per_second", SESSIONS * RATE)
        .param("seconds", args.seconds)
        .param("rounds", args.common.rounds)
        .figure("p50_ns", median_of(&errors, |error| error.p50.as_nanos() as f64))
        .figure("p99_ns", median_of(&errors, |error| error.p99.as_nanos() as f64))
        .figure("max_ns", median_of(&errors, |error| error.max.as_nanos() as f64));
    output.emit(&report)?;
    Ok(())
}

/// A log of tokens, `step` nanoseconds apart, of all sessions by turns.
fn fill(log: &Path, args: &PlayArgs, events: u64, step: u64) -> Outcome<()> {
    let text = "x".repeat(args.common.payload.saturating_sub(EMPTY.len()));
    let payload = EMPTY.replace(":\"", &format!(":\"{text}"));
    let mut restore = LogRestore::create(log, None)?;
    for number in 0..events {
        restore.append(&RestoredEvent {
            shard_id: 0,
            sequence: Sequence::new(number),
            insertion_ts: START + number * step,
            session: SessionId(u128::from(number % SESSIONS + 1)),
            kind: kinds::TOKEN,
            payload: payload.as_bytes(),
        })?;
    }
    Ok(restore.finish()?)
}

fn program() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("tapeline");
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!("{} is missing: cargo build --release -p tapeline-cli", program.display()).into())
    }
}
