//! Replay: a scan of sealed segments by their mappings, one core, every record looked at.
//!
//! States: `cold`, the page cache dropped and the log opened anew; `mapped`, the same mappings once more; `fresh`, the
//! log opened anew with the page cache warm. A block is checksummed once in the life of a mapping: `checksum` says
//! whether that happened in the pass or is remembered from the one before; `verify`, everything checked, read from the
//! device past the page cache by several threads. Limits: memory read, the device read.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tapeline::config::Durability;
use tapeline::event::Sequence;
use tapeline::log::Verification;
use tapeline::{LogFiles, kinds};
use tapeline_storage::format::{LogShard, sequences};
use tapeline_storage::log::{LogDirectory, LogView};
use tapeline_storage::read::{LogReader, Step, open_shard};

use crate::args::ReplayArgs;
use crate::harness::cores::{Cores, on_core};
use crate::harness::payloads::Payloads;
use crate::harness::report::{Output, Report};
use crate::harness::scratch::Scratch;
use crate::harness::stats::{median, median_of};
use crate::harness::{Outcome, bus, files, limits};

/// Events between two looks at how much has been written.
const STRIDE: u64 = 4096;

/// Name of the state, and what becomes of the checksum in it.
const STATES: [(&str, &str); 3] = [("mapped", "remembered"), ("fresh", "computed"), ("cold", "computed")];

/// The measurements of one pass over a log.
#[derive(Debug, Clone, Copy, Default)]
struct Pass {
    events: u64,
    payload_bytes: u64,
    /// Sum of all timestamps, so that every record is read.
    timestamps: u64,
    seconds: f64,
}

impl Pass {
    fn events_per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// Makes a log and reads it in each state.
pub(crate) fn run(args: &ReplayArgs, output: &mut Output) -> Outcome<()> {
    let cores = Cores::plan(1, 1)?;
    let scratch = Scratch::below(args.common.dir.as_deref())?;
    fill(args, &scratch, &cores)?;
    let log = scratch.path().join("log");
    let reader = cores.shard();
    let device = median(&(0..args.common.rounds).map(|_| device_rate(&log)).collect::<Outcome<Vec<_>>>()?);
    let memory = on_core(reader, || Ok(limits::scan_rate()))?;
    let mut states = [(); STATES.len()].map(|()| Vec::new());
    for _ in 0..args.common.rounds {
        let [mapped, fresh, cold] = &mut states;
        on_core(reader, || {
            drop_caches(&log)?;
            let opened = open(&log)?;
            cold.push(pass(&opened)?);
            mapped.push(pass(&opened)?);
            drop(opened);
            fresh.push(pass(&open(&log)?)?);
            Ok(())
        })?;
    }
    for ((state, checksum), passes) in STATES.into_iter().zip(&states) {
        let report = Report::new("replay")
            .param("state", state)
            .param("checksum", checksum)
            .param("payload", args.common.payload)
            .param("mib", args.mib)
            .param("rounds", args.common.rounds);
        output.emit(&with_figures(report, args.common.payload, passes, memory, device))?;
    }
    verify(args, &log, output)
}

/// Every block read from the device and checked, as `tapeline verify` does it, beside the device in the same round.
fn verify(args: &ReplayArgs, log: &Path, output: &mut Output) -> Outcome<()> {
    let (mut passes, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..args.common.rounds {
        let device = device_rate(log)?;
        drop_caches(log)?;
        let opened = LogFiles::open(log)?;
        let start = Instant::now();
        let Verification { events, bytes, damage, .. } = opened.verify(|_| {});
        let seconds = start.elapsed().as_secs_f64();
        if let Some(damage) = damage.first() {
            return Err(damage.to_string().into());
        }
        passes.push((events as f64 / seconds, bytes as f64 / seconds));
        ratios.push(bytes as f64 / seconds / device);
    }
    let report = Report::new("replay")
        .param("state", "verify")
        .param("checksum", "computed")
        .param("payload", args.common.payload)
        .param("mib", args.mib)
        .param("rounds", args.common.rounds)
        .figure("events_per_second", median_of(&passes, |pass| pass.0))
        .figure("log_bytes_per_second", median_of(&passes, |pass| pass.1))
        .ratio("to_device", median(&ratios));
    output.emit(&report)?;
    Ok(())
}

fn with_figures(report: Report, payload: usize, passes: &[Pass], memory: f64, device: f64) -> Report {
    let rate = median_of(passes, Pass::events_per_second);
    let log_rate = rate * bus::logged_bytes(payload) as f64;
    report
        .figure("events_per_second", rate)
        .figure("payload_bytes_per_second", median_of(passes, |pass| pass.payload_bytes as f64 / pass.seconds))
        .figure("log_bytes_per_second", log_rate)
        .figure("seconds", median_of(passes, |pass| pass.seconds))
        .figure("events", passes.first().map_or(0.0, |pass| pass.events as f64))
        .limit("memory_read_bytes_per_second", memory)
        .limit("device_bytes_per_second", device)
        .ratio("to_memory_read", log_rate / memory)
        .ratio("to_device", log_rate / device)
}

/// Writes a log of the size asked for and seals it.
fn fill(args: &ReplayArgs, scratch: &Scratch, cores: &Cores) -> Outcome<()> {
    let bus = bus::open(bus::config(Durability::Durable, scratch.path(), cores))?;
    let payload = args.common.payload;
    let events = (args.mib << 20) / bus::logged_bytes(payload) as u64;
    on_core(cores.producer(), || {
        let mut producer = bus.producer()?;
        let payloads = Payloads::new(payload);
        for number in 0..events {
            let session = producer.session(u128::from(number / STRIDE + 1));
            let _ = producer.emit(session, kinds::TOKEN, payloads.of(number))?;
        }
        Ok(())
    })?;
    // The end of a bus seals what it wrote.
    bus::close(bus)
}

/// The shards of a log, as a reader maps them.
fn open(log: &Path) -> Outcome<Vec<Arc<LogView>>> {
    let directory = LogDirectory::open_read_only(log)?;
    let log_id = directory.meta().log_id;
    let shard = |number| Ok(open_shard(&directory.shard(number)?, LogShard::new(log_id, number))?.0);
    (0..directory.meta().shards).map(shard).collect()
}

fn pass(shards: &[Arc<LogView>]) -> Outcome<Pass> {
    let start = Instant::now();
    let mut pass = Pass::default();
    for view in shards {
        scan(view, &mut pass)?;
    }
    pass.seconds = start.elapsed().as_secs_f64();
    match std::hint::black_box(pass).events {
        0 => Err("no sealed segment was found; make the log larger with --mib".into()),
        _ => Ok(pass),
    }
}

/// Reads the sealed segments of a shard.
fn scan(view: &Arc<LogView>, pass: &mut Pass) -> Outcome<()> {
    let sealed = view.segments().into_iter().filter(|segment| segment.footer().is_some());
    let end = sealed.map(|segment| segment.end_sequence()).max().unwrap_or(Sequence::ZERO);
    let mut reader = LogReader::new(Arc::clone(view), view.trimmed());
    while reader.next_sequence() < end {
        match reader.step()? {
            Step::Block(block) => {
                for record in block.records() {
                    let record = record?;
                    pass.timestamps = pass.timestamps.wrapping_add(record.timestamp());
                    pass.payload_bytes += record.payload().len() as u64;
                }
                pass.events += block.count() as u64;
            }
            Step::Gap(gap) => return Err(format!("{} are gone", sequences(gap.from, gap.to)).into()),
            Step::End => return Ok(()),
        }
    }
    Ok(())
}

fn device_rate(log: &Path) -> Outcome<f64> {
    limits::read_rate(&files::segments(log)?)
}

fn drop_caches(log: &Path) -> Outcome<()> {
    for segment in files::segments(log)? {
        files::drop_cache(&segment).map_err(|error| format!("drop {}: {error}", segment.display()))?;
    }
    Ok(())
}
