//! Recovery: how long a bus takes to open a log whose writer was killed, against the size of its active segment.
//!
//! A child process writes the segment durably, says so, and goes on writing until it is killed with SIGKILL. Then the
//! time of `EventBus::new` is taken, which includes the wait for the killed process's lock. Limit: the device read.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tapeline::config::Durability;
use tapeline::{Producer, Session, kinds};

use crate::args::{RecoverArgs, RecoverWriterArgs};
use crate::harness::cores::Cores;
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report};
use crate::harness::scratch::Scratch;
use crate::harness::stats::median_of;
use crate::harness::wait::block_on;
use crate::harness::{Outcome, bus, files, limits};

/// Sizes of the active segment where none are asked for.
const SIZES_MIB: [u64; 3] = [64, 128, 256];

/// Room in the segment beyond what is written before the kill, in bytes, so that it stays active.
const ROOM: u64 = 64 << 20;

/// Events of one flush while the child waits to be killed.
const TRICKLE: u64 = 1000;

/// The measurements of one recovery.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    seconds: f64,
    events: u64,
    bytes: u64,
    device: f64,
}

/// Measures each size.
pub(crate) fn run(args: &RecoverArgs, output: &mut Output) -> Outcome<()> {
    let sizes = if args.mib.is_empty() { &SIZES_MIB[..] } else { &args.mib };
    for mib in sizes {
        let rounds = (0..args.common.rounds).map(|_| round(args, *mib << 20)).collect::<Outcome<Vec<_>>>()?;
        let rate = |recovery: &Recovery| recovery.bytes as f64 / recovery.seconds;
        let report = Report::new("recover")
            .param("active_mib", *mib)
            .param("payload", args.common.payload)
            .param("rounds", args.common.rounds)
            .figure("seconds", median_of(&rounds, |recovery| recovery.seconds))
            .figure("log_bytes_per_second", median_of(&rounds, rate))
            .figure("active_bytes", median_of(&rounds, |recovery| recovery.bytes as f64))
            .figure("events", median_of(&rounds, |recovery| recovery.events as f64))
            .limit("device_bytes_per_second", median_of(&rounds, |recovery| recovery.device))
            .ratio("to_device", median_of(&rounds, |recovery| rate(recovery) / recovery.device));
        output.emit(&report)?;
    }
    Ok(())
}

fn round(args: &RecoverArgs, bytes: u64) -> Outcome<Recovery> {
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    let acknowledged = write_and_kill(scratch.path(), bytes, args.common.payload)?;
    let config = bus::config(Durability::Durable, scratch.path(), &Cores::plan(1, 1)?).segment_bytes(bytes + ROOM);
    let start = Instant::now();
    let bus = bus::open(config)?;
    let seconds = start.elapsed().as_secs_f64();
    let events = bus.shard_stats().iter().map(|shard| shard.events_durable).sum();
    if events < acknowledged {
        return Err(format!("{acknowledged} events were acknowledged, {events} were recovered").into());
    }
    bus::close(bus)?;
    let log = scratch.path().join("log");
    let bytes = events * bus::logged_bytes(args.common.payload) as u64;
    Ok(Recovery { seconds, events, bytes, device: limits::read_rate(&files::segments(&log)?)? })
}

/// Starts this program as the writer, kills it once the segment is there. Returns the events it acknowledged.
fn write_and_kill(directory: &Path, bytes: u64, payload: usize) -> Outcome<u64> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("recover-writer")
        .arg("--dir")
        .arg(directory)
        .args(["--bytes", &bytes.to_string(), "--payload", &payload.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let acknowledged = acknowledged_by(&mut child);
    // SIGKILL; the child has no say in it.
    child.kill()?;
    child.wait()?;
    acknowledged
}

fn acknowledged_by(child: &mut Child) -> Outcome<u64> {
    let stdout = child.stdout.take().ok_or("the writer has no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    line.trim().parse().map_err(|_| format!("the writer ended early, with {:?}", line.trim()).into())
}

/// The child: writes `--bytes`, prints how many events are durable, then goes on slowly until it is killed.
pub(crate) fn write_until_killed(args: &RecoverWriterArgs) -> Outcome<()> {
    let config = bus::config(Durability::Durable, &args.dir, &Cores::plan(1, 1)?).segment_bytes(args.bytes + ROOM);
    let bus = bus::open(config)?;
    let mut producer = bus.producer()?;
    let session = producer.session("recover");
    let payloads = Payloads::new(args.payload);
    let events = args.bytes / bus::logged_bytes(args.payload) as u64;
    emit(&mut producer, session, &payloads, 0..events)?;
    block_on(bus.flush())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{events}")?;
    out.flush()?;
    // A flush a time keeps the trickle far below the room that is left.
    let most = ROOM / 2 / bus::logged_bytes(args.payload) as u64;
    let mut next = events;
    while next + TRICKLE < events + most {
        emit(&mut producer, session, &payloads, next..next + TRICKLE)?;
        block_on(bus.flush())?;
        next += TRICKLE;
    }
    loop {
        std::thread::park();
    }
}

fn emit(producer: &mut Producer, session: Session, payloads: &Payloads, numbers: std::ops::Range<u64>) -> Outcome<()> {
    for number in numbers {
        let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
    }
    Ok(())
}
