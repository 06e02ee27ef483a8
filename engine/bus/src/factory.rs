//! The foundry: where the shards of a bus are made, at its opening and later, and the threads they run on.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tapeline_reader::random::random;
use tapeline_reader::timestamp::Clock;
use tapeline_reader::{AdapterError, AdapterResult};
use tapeline_storage::device::fs::DirectoryLock;
use tapeline_storage::format::{Eras, LogId, Sequence};
use tapeline_storage::log::{Durability, LogDirectory, LogOptions, LogView, trim_at_rest};
use tapeline_storage::read::open_shard;

use crate::core::budget::MemoryBudget;
use crate::core::config::{EventBusConfig, PlacementConfig};
use crate::core::seam::Step;
use crate::core::{foreign, seam};
use crate::shard::{ShardControl, ShardSpec, ShardThread, place, start};

/// What every shard of a bus is made with.
#[derive(Debug)]
pub(crate) struct Foundry {
    config: EventBusConfig,
    log_id: LogId,
    memory: Arc<MemoryBudget>,
    /// Holds the directory's lock, as does each thread.
    directory: Option<Mutex<LogDirectory>>,
    threads: Mutex<Vec<ShardThread>>,
}

/// Shards that run.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) shards: Vec<Arc<ShardControl>>,
    /// The largest timestamp in their logs.
    pub(crate) last_timestamp: u64,
}

impl Foundry {
    /// Opens the log's directory, if it is to have one.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) fn open(config: EventBusConfig) -> AdapterResult<Self> {
        let directory = match &config.log.directory {
            Some(path) => Some(open_directory(path, &config)?),
            None => None,
        };
        let log_id = directory.as_ref().map_or_else(|| LogId(random()), |directory| directory.meta().log_id);
        let memory = MemoryBudget::new(config.memory_budget());
        Ok(Self { config, log_id, memory, directory: directory.map(Mutex::new), threads: Mutex::default() })
    }

    pub(crate) fn config(&self) -> &EventBusConfig {
        &self.config
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Memory of lanes and blocks.
    pub(crate) fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// Shards to start with: those that are to take events, and those that may later and have a log already.
    pub(crate) fn shards_at_start(&self) -> u16 {
        let known = self.directory.as_ref().map_or(0, |directory| lock(directory).meta().shards);
        self.config.num_shards.max(known.min(self.config.max_shards()))
    }

    /// Makes the shards of these numbers, which follow those there are, and waits until their logs are open. All of
    /// them, or none.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) async fn make(&self, numbers: std::ops::Range<u16>) -> AdapterResult<Made> {
        if let Some(directory) = &self.directory {
            lock(directory).grow(numbers.end)?;
        }
        let mut making = Making::default();
        let mut receivers = Vec::new();
        for shard in numbers {
            let spec = self.spec(shard)?;
            let (thread, receiver) = seam::pass(self.log_id, Step::Spawn(shard))
                .and_then(|()| start(spec))
                .map_err(|error| AdapterError::Fatal { shard, message: format!("cannot start a thread: {error}") })?;
            making.threads.push(thread);
            receivers.push((shard, receiver));
        }
        let mut failure = None;
        for (shard, receiver) in receivers {
            match foreign::awaited(receiver).await {
                Ok(Ok(started)) => {
                    making.made.last_timestamp = making.made.last_timestamp.max(started.last_timestamp);
                    making.made.shards.extend(started.take());
                }
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(_) => {
                    let message = "its thread ended while it opened".to_owned();
                    failure = failure.or(Some(AdapterError::Fatal { shard, message }));
                }
            }
        }
        match failure {
            Some(error) => Err(error),
            None => {
                lock(&self.threads).append(&mut making.threads);
                Ok(std::mem::take(&mut making.made))
            }
        }
    }

    /// What the shard of this number is started with.
    fn spec(&self, shard: u16) -> AdapterResult<ShardSpec> {
        let Self { config, .. } = self;
        let (files, hold) = match &self.directory {
            Some(directory) => {
                let directory = lock(directory);
                (Some((directory.shard(shard)?, directory.mode())), directory.hold())
            }
            None => (None, None),
        };
        let log = LogOptions {
            segment_bytes: config.log.segment_bytes,
            batch: config.batch.options(),
            blocks: config.blocks(),
            durability: config.log.durability,
            ..LogOptions::new(self.log_id, shard, u64::from_le_bytes(random()))
        };
        let bytes = config.memory_bytes();
        let memory = self.memory.take(bytes).map_err(|left| AdapterError::Budget { shard, bytes, left })?;
        let place = place(shard, &config.placement);
        let PlacementConfig { driver, idle, .. } = config.placement;
        Ok(ShardSpec { log, place, driver, idle, files, hold, memory })
    }

    /// The shards that the log has beyond this number: they take no events, and stay readable. Returned with the
    /// largest timestamp in them.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) fn open_archived(&self, from: u16) -> AdapterResult<(Vec<Arc<LogView>>, u64)> {
        self.pass(Step::Archived)?;
        let (mut views, mut last_timestamp) = (Vec::new(), 0);
        if let Some(directory) = &self.directory {
            let directory = lock(directory);
            for shard in from..directory.meta().shards {
                let (view, last) = open_shard(&directory.shard(shard)?, self.log_id, shard)?;
                views.push(view);
                last_timestamp = last_timestamp.max(last);
            }
        }
        Ok((views, last_timestamp))
    }

    /// Gives up what an archived shard has before `to`.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) fn trim_archived(&self, view: &LogView, to: Sequence) -> AdapterResult<()> {
        match &self.directory {
            Some(directory) => Ok(trim_at_rest(&*lock(directory).shard(view.shard())?, view, to)?),
            None => Ok(()),
        }
    }

    /// Shards that the log had before this process opened it; `None` for a new log.
    pub(crate) fn shards_before(&self) -> Option<u16> {
        self.directory.as_ref().and_then(|directory| lock(directory).shards_before())
    }

    /// The eras of the log so far.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) fn eras(&self) -> AdapterResult<Eras> {
        self.pass(Step::ReadEras)?;
        match &self.directory {
            Some(directory) => Ok(lock(directory).eras()?),
            None => Ok(Eras::default()),
        }
    }

    /// Keeps the eras of the log as durably as the log.
    ///
    /// # Errors
    /// [`AdapterError`]; the log has the eras that it had.
    pub(crate) fn save_eras(&self, eras: &Eras) -> AdapterResult<()> {
        self.pass(Step::SaveEras)?;
        match &self.directory {
            Some(directory) => Ok(lock(directory).save_eras(eras)?),
            None => Ok(()),
        }
    }

    fn pass(&self, step: Step) -> AdapterResult<()> {
        seam::pass(self.log_id, step)
            .map_err(|error| AdapterError::Fatal { shard: 0, message: format!("{step:?}: {error}") })
    }

    /// The lock of the log's directory, if it has one: a thread that may touch the directory holds it for its life.
    pub(crate) fn hold(&self) -> Option<Arc<DirectoryLock>> {
        self.directory.as_ref().and_then(|directory| lock(directory).hold())
    }

    /// Waits for the end of all threads but the calling one. Shards that have not been told to end do not. The message
    /// of the first that panicked.
    pub(crate) fn join(&self) -> Option<String> {
        let threads = std::mem::take(&mut *lock(&self.threads));
        join(threads)
    }

    /// In a forked child: the threads are the parent's, and so may be the lock of their list.
    pub(crate) fn forget_threads(self: &Arc<Self>) {
        match self.threads.try_lock() {
            Ok(mut threads) => std::mem::take(&mut *threads).into_iter().for_each(std::mem::forget),
            Err(_) => std::mem::forget(Arc::clone(self)),
        }
    }
}

/// Shards that are being made. If that fails or is abandoned they end.
#[derive(Default)]
struct Making {
    threads: Vec<ShardThread>,
    made: Made,
}

impl Drop for Making {
    fn drop(&mut self) {
        self.made.shards.iter().for_each(|shard| shard.stop());
        // Why it failed is known by now.
        let _ = join(self.threads.drain(..));
    }
}

/// Waits for the end of these threads, but never for the calling one's. The message of the first that panicked.
fn join(threads: impl IntoIterator<Item = ShardThread>) -> Option<String> {
    let own = thread::current().id();
    let others = threads.into_iter().filter(|thread| thread.thread().id() != own);
    // All of them, whatever the first says. A panic has no payload here: it was caught on its thread.
    let outcomes: Vec<_> = others.map(|thread| thread.join().unwrap_or_else(|_| Err(String::new()))).collect();
    outcomes.into_iter().find_map(Result::err)
}

fn open_directory(path: &Path, config: &EventBusConfig) -> AdapterResult<LogDirectory> {
    let page_cache = config.log.durability == Durability::PageCache;
    Ok(LogDirectory::open(path, config.num_shards, LogId(random()), Clock::global().now(), page_cache)?)
}

/// Locks; what is locked is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
