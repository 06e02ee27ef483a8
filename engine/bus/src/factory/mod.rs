//! The shard factory: makes the shards of a bus, at its opening and later, and joins their threads. `store` is the log
//! store: the log's directory, and what of the log no shard has.

mod store;

use std::sync::{Arc, Mutex};
use std::thread;

use tapeline_reader::random::random;
use tapeline_reader::{AdapterError, AdapterResult};
use tapeline_storage::format::LogShard;
use tapeline_storage::log::{LogMemory, LogOptions};

pub(crate) use store::LogStore;

use crate::core::budget::MemoryBudget;
use crate::core::config::{EventBusConfig, PlacementConfig};
use crate::core::lock::lock;
use crate::core::seam::Step;
use crate::core::{foreign, seam};
use crate::shard::{ShardControl, ShardSpec, ShardThread, Started, choose_core, start};

/// Makes the shards of one bus.
#[derive(Debug)]
pub(crate) struct ShardFactory {
    config: EventBusConfig,
    store: LogStore,
    memory: Arc<MemoryBudget>,
    threads: Mutex<Vec<ShardThread>>,
}

/// Shards that run.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) shards: Vec<Arc<ShardControl>>,
    /// The largest timestamp in their logs.
    pub(crate) last_timestamp: u64,
}

impl ShardFactory {
    /// Opens the log store.
    ///
    /// # Errors
    /// [`AdapterError::Directory`].
    pub(crate) fn open(config: EventBusConfig) -> AdapterResult<Self> {
        let store = LogStore::open(&config)?;
        let memory = MemoryBudget::new(config.memory_budget());
        Ok(Self { config, store, memory, threads: Mutex::default() })
    }

    pub(crate) fn config(&self) -> &EventBusConfig {
        &self.config
    }

    pub(crate) fn store(&self) -> &LogStore {
        &self.store
    }

    /// The memory of lanes and blocks.
    pub(crate) fn memory(&self) -> &Arc<MemoryBudget> {
        &self.memory
    }

    /// The number of shards to start with: those that are to take events, and those that may later and have a log
    /// already.
    pub(crate) fn shards_at_start(&self) -> u16 {
        self.config.num_shards.max(self.store.known_shards().min(self.config.max_shards()))
    }

    /// Makes the shards of these numbers, which follow those there are, and waits until their logs are open. All of
    /// them, or none.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) async fn make(&self, numbers: std::ops::Range<u16>) -> AdapterResult<Made> {
        self.store.grow(numbers.end)?;
        let mut making = Making::default();
        let mut receivers = Vec::new();
        for shard in numbers {
            let spec = self.spec(shard)?;
            let (thread, receiver) = seam::pass(self.store.log_id(), Step::Spawn(shard))
                .and_then(|()| start(spec))
                .map_err(|source| AdapterError::NoThread { purpose: "a shard", source })?;
            making.threads.push(thread);
            receivers.push((shard, receiver));
        }
        // Dropped before the threads are joined: those that are not taken over end.
        let (mut all, mut failure) = (Vec::new(), None);
        for (shard, receiver) in receivers {
            match foreign::awaited(receiver).await {
                Ok(Ok(started)) => all.push(started),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(_) => {
                    let message = format!("shard {shard} ended while it opened its log");
                    failure = failure.or(Some(AdapterError::Panicked { message }));
                }
            }
        }
        match failure {
            Some(error) => Err(error),
            None => {
                let last_timestamp = all.iter().map(|started| started.last_timestamp).max().unwrap_or(0);
                making.made = Made { shards: all.into_iter().filter_map(Started::take).collect(), last_timestamp };
                lock(&self.threads).append(&mut making.threads);
                Ok(std::mem::take(&mut making.made))
            }
        }
    }

    /// Makes what the shard of this number is started with.
    fn spec(&self, shard: u16) -> AdapterResult<ShardSpec> {
        let config = &self.config;
        let (files, hold) = match self.store.files(shard)? {
            Some(files) => (Some((files.directory, files.mode)), files.hold),
            None => (None, None),
        };
        let log = LogOptions {
            segment_bytes: config.log.segment_bytes,
            large_payload_bytes_max: config.payload_bytes_max(),
            batch: config.batch.options(),
            memory: LogMemory {
                blocks: config.blocks(),
                index_bytes: config.catch_up_bytes() / 2,
                window_bytes: config.catch_up_bytes() / 2,
            },
            durability: config.log.durability,
            ..LogOptions::new(LogShard::new(self.store.log_id(), shard), u64::from_le_bytes(random()))
        };
        let bytes = config.memory_bytes() + config.catch_up_bytes();
        let memory = self.memory.take(bytes).map_err(|left| AdapterError::Budget { shard_id: shard, bytes, left })?;
        let core = choose_core(shard, &config.placement);
        let PlacementConfig { driver, idle, .. } = config.placement;
        Ok(ShardSpec { log, core, driver, idle, files, hold, memory })
    }

    /// Waits for the end of all threads but the calling one. Shards that have not been asked to end do not. The message
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
