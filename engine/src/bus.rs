//! The bus: holds the parts and hands them out.

use std::borrow::Borrow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tapeline_storage::format::LogId;
use tapeline_storage::log::{Durability, LogDirectory, LogOptions, LogView};
use tapeline_storage::read::open_shard;

use crate::budget::MemoryBudget;
use crate::config::EventBusConfig;
use crate::consumer::{
    ConsumeRequest, ConsumeResponse, NamedCursor, Replay, ReplayRequest, SubscribeRequest, Subscription, list_cursors,
    poll, save_cursor,
};
use crate::error::{AdapterError, AdapterResult, ConsumerResult, IngestionError, IngestionResult};
use crate::event::{Event, RawEvent};
use crate::parts::BusParts;
use crate::producer::{Producer, ProducerOptions, local};
use crate::route::IntoSession;
use crate::shard::{LaneStats, Reach, ShardControl, ShardSpec, ShardStats, place, start};
use crate::stats::EventBusStats;
use crate::timestamp::Clock;

/// An event bus: shards on pinned threads, fed by producers, read by consumers.
///
/// Any number of threads may use one bus. Dropping it without [`EventBus::shutdown`] does the same as shutting down, and
/// blocks meanwhile. In a forked child every call fails with an error that says so.
#[derive(Debug)]
pub struct EventBus {
    parts: Arc<BusParts>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    is_shutdown_completed: AtomicBool,
    /// Holds the directory's lock.
    _directory: Option<LogDirectory>,
}

impl EventBus {
    /// Opens a bus, and recovers its log if it has one: cost as [`scan`](tapeline_storage::log::scan) on each shard's
    /// own thread. Runs on any executor.
    ///
    /// # Errors
    /// [`AdapterError`]: a setting out of range, a directory that is locked or holds something else, a log that is
    /// damaged where it was acknowledged, or a kernel that refuses what the configuration insists on.
    pub async fn new(config: EventBusConfig) -> AdapterResult<Self> {
        config.validate()?;
        let now = Clock::global().now();
        let directory = match &config.log.directory {
            Some(path) => Some(open_directory(path, &config, now)?),
            None => None,
        };
        let log_id = directory.as_ref().map_or_else(|| LogId(random()), |directory| directory.meta().log_id);
        let memory = MemoryBudget::new(config.memory_budget);
        let mut opening = Opening::default();
        let mut receivers = Vec::new();
        for spec in specs(&config, log_id, directory.as_ref(), &memory)? {
            let shard = spec.log.shard;
            let (thread, receiver) = start(spec)
                .map_err(|error| AdapterError::Fatal { shard, message: format!("cannot start a thread: {error}") })?;
            opening.threads.push(thread);
            receivers.push((shard, receiver));
        }
        let (mut last_timestamp, mut failure) = (0, None);
        for (shard, receiver) in receivers {
            match receiver.await {
                Ok(Ok(started)) => {
                    last_timestamp = last_timestamp.max(started.last_timestamp);
                    opening.shards.extend(started.take());
                }
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(_) => {
                    let message = "its thread ended while it opened".to_owned();
                    failure = failure.or(Some(AdapterError::Fatal { shard, message }));
                }
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let (archived, last) = open_archived(&config, directory.as_ref())?;
        let floor = last_timestamp.max(last) + 1;
        let (threads, shards) = opening.take();
        Ok(Self {
            parts: Arc::new(BusParts::new(log_id, shards, archived, &config, memory, floor)),
            threads: Mutex::new(threads),
            is_shutdown_completed: AtomicBool::new(false),
            _directory: directory,
        })
    }

    /// Ingests an event through a producer that is kept for the calling thread. Returns the shard and the timestamp.
    /// Costs a few nanoseconds more than [`Producer::emit`].
    ///
    /// # Errors
    /// [`IngestionError`](crate::IngestionError); the event was not taken.
    pub fn ingest(&self, event: impl Borrow<Event>) -> IngestionResult<(u16, u64)> {
        self.ingest_raw(event.borrow().as_raw())
    }

    /// As [`EventBus::ingest`], for bytes.
    ///
    /// # Errors
    /// As [`EventBus::ingest`].
    pub fn ingest_raw(&self, event: impl Borrow<RawEvent>) -> IngestionResult<(u16, u64)> {
        let event = event.borrow();
        local::with(&self.parts, |producer| {
            let session = producer.session(event.session());
            let ticket = producer.emit(session, event.kind(), event.as_bytes())?;
            Ok((ticket.shard, ticket.timestamp))
        })
    }

    /// Ingests events in order until one is handed back; returns how many are in the bus. Events that are let go, as the
    /// mode has it, are left out and end nothing.
    pub fn ingest_batch(&self, events: Vec<Event>) -> usize {
        self.ingest_all(events.iter().map(Event::as_raw))
    }

    /// As [`EventBus::ingest_batch`], for bytes.
    pub fn ingest_raw_batch(&self, events: Vec<RawEvent>) -> usize {
        self.ingest_all(events.iter())
    }

    fn ingest_all<'e>(&self, events: impl Iterator<Item = &'e RawEvent>) -> usize {
        let outcomes = events.map(|event| self.ingest_raw(event));
        let goes_on = |outcome: &IngestionResult<_>| outcome.as_ref().err().is_none_or(IngestionError::is_drop);
        outcomes.take_while(goes_on).filter(Result::is_ok).count()
    }

    /// A producer for one thread: the fast path.
    ///
    /// # Errors
    /// [`IngestionError::ShuttingDown`](crate::IngestionError::ShuttingDown) or
    /// [`IngestionError::Forked`](crate::IngestionError::Forked).
    pub fn producer(&self) -> IngestionResult<Producer> {
        self.producer_with(ProducerOptions::new())
    }

    /// A producer that has some settings of its own.
    ///
    /// # Errors
    /// As [`EventBus::producer`]; [`IngestionError::Options`] for a setting out of range.
    pub fn producer_with(&self, options: ProducerOptions) -> IngestionResult<Producer> {
        Producer::new(Arc::clone(&self.parts), options)
    }

    /// Waits until every event that was ingested before the call, by anybody, has reached the bus's durability level.
    ///
    /// # Errors
    /// [`AdapterError`], where that cannot be.
    pub async fn flush(&self) -> AdapterResult<()> {
        self.parts.check_fork()?;
        let barriers: Vec<_> = self.parts.shards().iter().map(|shard| shard.barrier()).collect();
        for (shard, barrier) in self.parts.shards().iter().zip(&barriers) {
            shard.reached(barrier, Reach::Durable).await?;
        }
        Ok(())
    }

    /// Reads a page of events. It holds what was ingested in this process before the call, up to its limit.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError).
    pub async fn poll(&self, request: ConsumeRequest) -> ConsumerResult<ConsumeResponse> {
        poll(&self.parts, &request).await
    }

    /// The events of a session so far, in order.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError).
    pub async fn replay(&self, session: impl IntoSession) -> ConsumerResult<Replay> {
        self.replay_with(ReplayRequest::new().session(session)).await
    }

    /// The events so far that the request asks for, in order.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError).
    pub async fn replay_with(&self, request: ReplayRequest) -> ConsumerResult<Replay> {
        self.parts.settle().await?;
        Replay::new(self.log_id(), self.parts.views().collect(), &request)
    }

    /// Events from a place on, then live ones. What was ingested in this process before the call is before
    /// [`Start::Latest`](crate::Start::Latest).
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): a cursor or a filter that cannot be used, a file that cannot be read.
    pub async fn subscribe(&self, request: SubscribeRequest) -> ConsumerResult<Subscription> {
        self.parts.settle().await?;
        Subscription::new(Arc::clone(&self.parts), &request)
    }

    /// Keeps a cursor under a name: in a log with a directory durably, else as long as the bus. Names have letters,
    /// digits, `-`, `_` and `.`.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): the cursor or the name is none, or the file cannot be written; then the
    /// name has the cursor that it had.
    pub fn save_cursor(&self, name: &str, cursor: &str) -> ConsumerResult<()> {
        save_cursor(&self.parts, name, cursor)
    }

    /// The cursor of this name, if there is one.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): the name is none, or the file cannot be read.
    pub fn load_cursor(&self, name: &str) -> ConsumerResult<Option<String>> {
        self.parts.check_fork()?;
        self.parts.readers().cursors.load(name)
    }

    /// Forgets the cursor of this name; returns whether there was one.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): the name is none, or the file cannot be removed.
    pub fn remove_cursor(&self, name: &str) -> ConsumerResult<bool> {
        self.parts.check_fork()?;
        self.parts.readers().cursors.remove(name)
    }

    /// The named cursors, and how far each is behind. Costs some microseconds for each and each shard.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): a file cannot be read.
    pub fn cursors(&self) -> ConsumerResult<Vec<NamedCursor>> {
        list_cursors(&self.parts)
    }

    /// Numbers of the bus. Disturbs nothing.
    pub fn stats(&self) -> EventBusStats {
        self.parts.stats()
    }

    /// Numbers of each lane there is: who ingests how much into which shard, and what was let go. Disturbs nothing.
    pub fn lane_stats(&self) -> Vec<LaneStats> {
        match self.parts.is_forked() {
            true => Vec::new(),
            false => self.parts.shards().iter().flat_map(|shard| shard.lane_stats()).collect(),
        }
    }

    /// Numbers of each shard, and how it runs.
    pub fn shard_stats(&self) -> Vec<ShardStats> {
        self.parts.shards().iter().map(|shard| shard.stats()).collect()
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        self.parts.log_id()
    }

    /// Shards that take events.
    pub fn num_shards(&self) -> u16 {
        self.parts.shards().len() as u16
    }

    /// Whether the bus has been asked to end.
    pub fn is_shutdown(&self) -> bool {
        self.parts.is_closed()
    }

    /// Whether the bus has ended.
    pub fn is_shutdown_completed(&self) -> bool {
        self.is_shutdown_completed.load(Ordering::Acquire)
    }

    /// Ends the bus: takes no more events, makes those that were taken durable, seals the log.
    ///
    /// # Errors
    /// [`AdapterError`], where events that were taken could not be made durable.
    pub async fn shutdown(self) -> AdapterResult<()> {
        self.shutdown_via_ref().await
    }

    /// As [`EventBus::shutdown`], through a reference. Reading goes on to work. Every call after the first waits for the
    /// end like the first.
    ///
    /// # Errors
    /// As [`EventBus::shutdown`].
    pub async fn shutdown_via_ref(&self) -> AdapterResult<()> {
        self.parts.check_fork()?;
        self.ask_to_end();
        for shard in self.parts.shards() {
            shard.stopped().await;
        }
        self.join();
        match self.parts.shards().iter().find_map(|shard| shard.view().poison()) {
            Some(poison) => Err(AdapterError::Poisoned(Box::new(poison.clone()))),
            None => Ok(()),
        }
    }

    fn ask_to_end(&self) {
        self.parts.close();
        self.parts.shards().iter().for_each(|shard| shard.stop());
    }

    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A shard that panicked has marked itself stopped; the panic has been printed.
            let _ = thread.join();
        }
        self.is_shutdown_completed.store(true, Ordering::Release);
    }
}

impl Drop for EventBus {
    fn drop(&mut self) {
        if self.parts.is_forked() {
            // The threads are the parent's.
            let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
            threads.drain(..).for_each(std::mem::forget);
            return;
        }
        self.ask_to_end();
        self.join();
    }
}

/// Shards of a bus that is being opened. If the opening fails or is abandoned they end.
#[derive(Default)]
struct Opening {
    threads: Vec<JoinHandle<()>>,
    shards: Vec<Arc<ShardControl>>,
}

impl Opening {
    fn take(mut self) -> (Vec<JoinHandle<()>>, Vec<Arc<ShardControl>>) {
        (std::mem::take(&mut self.threads), std::mem::take(&mut self.shards))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.shards.iter().for_each(|shard| shard.stop());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn open_directory(path: &Path, config: &EventBusConfig, now: u64) -> AdapterResult<LogDirectory> {
    let page_cache = config.log.durability == Durability::PageCache;
    Ok(LogDirectory::open(path, config.num_shards, LogId(random()), now, page_cache)?)
}

/// The shards that the log has beyond the configured number: they take no events, and stay readable. Returned with the
/// largest timestamp in them.
fn open_archived(config: &EventBusConfig, directory: Option<&LogDirectory>) -> AdapterResult<(Vec<Arc<LogView>>, u64)> {
    let (mut views, mut last_timestamp) = (Vec::new(), 0);
    if let Some(directory) = directory {
        for shard in config.num_shards..directory.meta().shards {
            let (view, last) = open_shard(&directory.shard(shard)?, directory.meta().log_id, shard)?;
            views.push(view);
            last_timestamp = last_timestamp.max(last);
        }
    }
    Ok((views, last_timestamp))
}

/// What each shard is started with.
fn specs(
    config: &EventBusConfig,
    log_id: LogId,
    directory: Option<&LogDirectory>,
    memory: &Arc<MemoryBudget>,
) -> AdapterResult<Vec<ShardSpec>> {
    let places = place(config.num_shards, config.placement.cores.as_deref());
    let one = |(shard, place): (u16, _)| {
        let files = match directory {
            Some(directory) => Some((directory.shard(shard)?, directory.mode())),
            None => None,
        };
        let log = LogOptions {
            segment_bytes: config.log.segment_bytes,
            commit_interval_ns: u64::try_from(config.log.commit_interval.as_nanos()).unwrap_or(u64::MAX),
            blocks: config.blocks(),
            durability: config.log.durability,
            ..LogOptions::new(log_id, shard, u64::from_le_bytes(random()))
        };
        // The configuration has room for every shard.
        let memory = memory.take(config.memory_bytes()).unwrap_or_default();
        Ok(ShardSpec { log, place, host: config.placement.host, driver: config.placement.driver, files, memory })
    };
    (0..).zip(places).map(one).collect()
}

/// Random bytes of the operating system; without them, of the clock and an address.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        let mix = xxhash_rust::xxh3::xxh3_128_with_seed(
            &Clock::global().now().to_le_bytes(),
            (&raw const bytes).addr() as u64,
        );
        for (byte, mixed) in bytes.iter_mut().zip(mix.to_le_bytes()) {
            *byte = mixed;
        }
    }
    bytes
}
