//! The start of a shard: a thread pins itself, recovers the log, chooses its device, and reports.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use futures_channel::oneshot;
use tapeline_reader::{AdapterError, AdapterResult};
use tapeline_storage::device::blocking::BlockingDevice;
use tapeline_storage::device::fs::{DirectoryLock, WriteMode};
use tapeline_storage::device::uring::{UringDevice, UringOptions};
use tapeline_storage::device::{Device, Directory, Doorbell, probe};
use tapeline_storage::log::{Log, LogOptions, recover};

use super::core_choice::{self, CoreChoice};
use super::facts::ShardReport;
use super::host::{self, ThreadBackground};
use super::{Shard, ShardControl};
use crate::core::budget::MemoryShare;
use crate::core::config::{Driver, IdleMode};
use crate::core::seam::Step;
use crate::core::{foreign, seam};

/// Everything that one shard is started with.
#[derive(Debug)]
pub(crate) struct ShardSpec {
    pub(crate) log: LogOptions,
    pub(crate) core: CoreChoice,
    pub(crate) driver: Driver,
    pub(crate) idle: IdleMode,
    /// The shard's directory, and how its files are written. `None`: in memory.
    pub(crate) files: Option<(Arc<dyn Directory>, WriteMode)>,
    /// The lock of the log's directory, if it has one: the shard's threads hold it for their lives.
    pub(crate) hold: Option<Arc<DirectoryLock>>,
    /// Of its blocks.
    pub(crate) memory: MemoryShare,
}

/// A shard's thread. Ends with the message of its panic, if it panicked.
pub(crate) type ShardThread = JoinHandle<Result<(), String>>;

/// A shard whose log is open. It sleeps until the opening takes it over, and ends if the opening does not: the shards
/// of a bus do not take turns on its cores while others are still opened.
#[derive(Debug)]
pub(crate) struct Started {
    control: Option<Arc<ShardControl>>,
    /// Dropped with this, which ends the shard's sleep.
    _asleep: mpsc::Sender<()>,
    /// The largest timestamp in its log.
    pub(crate) last_timestamp: u64,
}

impl Started {
    /// Takes the shard over.
    pub(crate) fn take(mut self) -> Option<Arc<ShardControl>> {
        self.control.take()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(control) = &self.control {
            control.stop();
        }
    }
}

/// Starts a shard on a thread of its own. The receiver gets it once its log is open.
///
/// # Errors
/// The kernel's, where it refuses the thread.
pub(crate) fn start(spec: ShardSpec) -> io::Result<(ShardThread, oneshot::Receiver<AdapterResult<Started>>)> {
    let (sender, receiver) = oneshot::channel();
    let name = format!("tapeline-{}", spec.log.shard.number);
    let work = move || {
        // Outlives all that may touch the directory, also when it panics.
        let hold = spec.hold.clone();
        let log = spec.log.shard.log_id;
        let outcome = foreign::contain(|| {
            run(spec, sender);
            let _ = seam::pass(log, Step::ShardEnd);
        });
        drop(hold);
        outcome
    };
    let thread = std::thread::Builder::new().name(name).spawn(work)?;
    Ok((thread, receiver))
}

/// Marks the shard as stopped however its thread ends, so that no caller waits for it for ever. Where it ended before
/// its time, its log is poisoned by then (see `host`).
struct StopMark(Arc<ShardControl>);

impl Drop for StopMark {
    fn drop(&mut self) {
        self.0.set_stopped();
    }
}

fn run(mut spec: ShardSpec, started: oneshot::Sender<AdapterResult<Started>>) {
    core_choice::pin(&mut spec.core);
    let idle = spec.idle;
    let background =
        ThreadBackground::new(spec.log.shard.log_id, spec.hold.clone(), std::mem::take(&mut spec.core.free));
    let (control, log, last_timestamp) = match open(spec) {
        Ok(opened) => opened,
        Err(error) => {
            // The opening no longer listens: the bus was dropped while it opened.
            let _ = started.send(Err(error));
            return;
        }
    };
    let mark = StopMark(Arc::clone(&control));
    let (asleep, awake) = mpsc::channel();
    // Where the opening does not receive it, its drop stops the shard.
    let _ = started.send(Ok(Started { control: Some(Arc::clone(&control)), _asleep: asleep, last_timestamp }));
    let _ = awake.recv();
    host::run(idle, background, |background| Shard::new(control, log, background));
    drop(mark);
}

fn open(spec: ShardSpec) -> AdapterResult<(Arc<ShardControl>, Log, u64)> {
    let ShardSpec { log: options, core, driver, idle: _, files, hold, memory } = spec;
    let (log_id, shard) = (options.shard.log_id, options.shard.number);
    let mut notes = core.notes;
    let (log, cuts, last_timestamp) = match files {
        None => (Log::in_memory(&options), Vec::new(), 0),
        Some((directory, mode)) => {
            let recovered = recover(directory, options)?;
            let (cuts, last) = (recovered.cuts().to_vec(), recovered.last_timestamp());
            let device = device(driver, mode, hold.as_deref(), &mut notes)
                .map_err(|message| AdapterError::Fatal { shard_id: shard, message })?;
            (recovered.start(device), cuts, last)
        }
    };
    let doorbell = seam::pass(log_id, Step::Doorbell).and_then(|()| Doorbell::new());
    let doorbell = doorbell.map_err(|source| AdapterError::NoDescriptor { shard_id: shard, source })?;
    notes.extend(log.device_notes());
    let report = ShardReport { device: log.device_name(), core: core.core, among: core.among, notes, cuts };
    let control = Arc::new(ShardControl::new(Arc::clone(log.view()), doorbell, report, memory));
    Ok((control, log, last_timestamp))
}

/// The device for files written in `mode`; notes why it is another than the first choice. Its ring holds the lock.
fn device(
    driver: Driver,
    mode: WriteMode,
    lock: Option<&DirectoryLock>,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Device>, String> {
    let blocking = || Box::new(BlockingDevice::new(mode)) as Box<dyn Device>;
    let refusal = match (mode, driver) {
        (_, Driver::Blocking) => return Ok(blocking()),
        (WriteMode::Direct, _) => match ring() {
            Ok(mut ring) => {
                if let Some(Err(error)) = lock.map(|lock| ring.hold(lock)) {
                    notes.push(format!("the lock is free before the last writes of a process that is killed: {error}"));
                }
                return Ok(Box::new(ring));
            }
            Err(error) => format!("io_uring: {error}"),
        },
        // Buffered writes through a ring go to worker threads and reach a tenth of the speed.
        (WriteMode::Buffered, _) => "level page-cache writes through pwrite".to_owned(),
        (WriteMode::BufferedSync, _) => "the file system refuses O_DIRECT: pwritev2 with RWF_DSYNC".to_owned(),
    };
    if driver == Driver::Uring {
        return Err(refusal);
    }
    notes.push(refusal);
    Ok(blocking())
}

fn ring() -> io::Result<UringDevice> {
    probe::io_uring_available()?;
    UringDevice::new(UringOptions::default())
}
