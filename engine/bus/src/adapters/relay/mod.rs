//! Relays: each feeds one adapter from a durable cursor of the log.
//!
//! Reading order: `options`, `handle` and `controls` (the owner's side), `round` (what is delivered between two
//! positions of the cursor), `sender` (calls of the adapter), `dead_letters`, `run` (the loop).
//!
//! A relay is a thread that polls one future. It reads with one subscription, or one follower of a log that another
//! process writes, so that it has the order of sessions that move between shards, and one cursor. It delivers in
//! rounds: a batch for each shard, together. The cursor is stored when the backend has confirmed the round, while the
//! next round is delivered: its syncs would hold the backend up. The round after that is read meanwhile, and delivered
//! once the cursor is stored. So at most two batches of each shard come twice after a crash, and at most two rounds are
//! in memory.

mod controls;
mod dead_letters;
mod handle;
mod options;
mod round;
mod run;
mod sender;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tapeline_reader::named::load_in;
use tapeline_reader::source::LogViews;
use tapeline_reader::{AdapterError, AdapterResult, ConfigError, ConsumerError, LogFiles};
use tapeline_storage::device::fs::{DirectoryLock, create_directory, lock_exclusive};

use self::controls::Controls;
use self::dead_letters::DeadLetters;
use self::round::Collector;
use self::run::{InFlight, Intake, Kept, Open, RelayRun, Unread};
use self::sender::Sender;
use super::Adapter;
use crate::bus_core::{BusCore, RelayStatus};
use crate::core::config::BatchConfig;
use crate::core::timer::Timers;
use crate::core::{foreign, park};
use crate::live::{Followed, Inputs, Subscription};

pub use self::controls::RelayEnd;
pub use self::handle::RelayHandle;
pub use self::options::RelayOptions;

/// The directory of a log in which each of its relays has one of its own.
const DIRECTORY: &str = "relays";

/// The lock and the dead letters in the directory of a relay.
const LOCK: &str = "lock";
const DEAD_LETTERS: &str = "dead-letters.jsonl";

/// The time for which a relay waits for another of its name that is ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The parts of its bus that a relay is started with.
pub(crate) struct RelayPlace {
    pub(crate) core: Arc<BusCore>,
    pub(crate) directory: Option<PathBuf>,
    /// Keeps the log's directory locked while the relay's thread may write to it.
    pub(crate) hold: Option<Arc<DirectoryLock>>,
    pub(crate) batch: BatchConfig,
}

/// Starts a relay of a bus.
///
/// # Errors
/// [`AdapterError`].
pub(crate) fn start_relay(
    place: RelayPlace,
    adapter: Box<dyn Adapter>,
    options: RelayOptions,
) -> AdapterResult<RelayHandle> {
    options.validate()?;
    let RelayPlace { core, directory, hold, batch } = place;
    let lock = directory.as_deref().map(|directory| lock_of(directory, &options.name)).transpose()?;
    let request = options.clone();
    let (bus, timers) = (Arc::clone(&core), Arc::clone(core.timers()));
    let open: Open = Box::new(move |cursor| {
        let subscription = Subscription::new(Arc::clone(&bus), &request.request(cursor))?;
        Ok(Inputs::Bus(Box::new(subscription)))
    });
    let views: Vec<_> = core.shards().views().collect();
    let cursor =
        load_in(&core.readers().cursors, LogViews::new(core.log_id(), &views), &options.name).map_err(unread)?;
    let entered = core.relays().enter(&options.name, adapter.name());
    let status = entered.ok_or_else(|| running(&options.name))?;
    let start = Start { open, cursor, status, timers, directory, locks: (lock, hold), batch };
    start.spawn(adapter, &options)
}

/// Relays a log that another process writes, or that no process writes at present, to an adapter: from where its cursor
/// stands, for as long as the log is there. The cursor and the dead letters are kept in the log's directory.
///
/// ```
/// use std::time::Duration;
///
/// use tapeline::adapter::{MemoryAdapter, RelayEnd, RelayOptions, relay_log};
/// use tapeline::{EventBus, EventBusConfig, RawEvent};
///
/// # let directory = std::env::temp_dir().join(format!("tapeline-relay-log-{}", std::process::id()));
/// # futures_lite::future::block_on(async {
/// let bus = EventBus::new(EventBusConfig::builder().directory(&directory).build()?).await?;
/// bus.ingest_raw(RawEvent::from_str("hello"))?;
/// bus.flush().await?;
///
/// // As another process would.
/// let kept = MemoryAdapter::new();
/// let relay = relay_log(&directory, Box::new(kept.clone()), RelayOptions::new("elsewhere"))?;
/// relay.drain(Duration::from_secs(10));
/// assert_eq!(relay.join(), RelayEnd::Drained);
/// assert_eq!(kept.len(), 1);
/// # bus.shutdown().await?;
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).expect("runs");
/// ```
///
/// # Errors
/// [`AdapterError`]: no log, a cursor of the name that cannot be used, another relay of the name, a setting out of
/// range.
pub fn relay_log(log: &Path, adapter: Box<dyn Adapter>, options: RelayOptions) -> AdapterResult<RelayHandle> {
    options.validate()?;
    let cursor = LogFiles::open(log).and_then(|files| files.load_cursor(&options.name).map_err(unread))?;
    let lock = lock_of(log, &options.name)?;
    let (path, request, timers) = (log.to_owned(), options.clone(), Arc::<Timers>::default());
    let followers = Arc::clone(&timers);
    let open: Open = Box::new(move |cursor| {
        let followed = Followed::open(&path, &request.request(cursor), &followers)?;
        Ok(Inputs::Log(Box::new(followed)))
    });
    let status = Arc::new(RelayStatus::new(&options.name, adapter.name()));
    let batch = BatchConfig::default();
    let directory = Some(log.to_owned());
    let start = Start { open, cursor, status, timers, directory, locks: (Some(lock), None), batch };
    start.spawn(adapter, &options)
}

/// The locks that a relay's thread holds: that of its name, and that of a bus's directory.
type Locks = (Option<DirectoryLock>, Option<Arc<DirectoryLock>>);

/// The parts that a relay is started with, whatever it reads.
struct Start {
    open: Open,
    cursor: Option<String>,
    status: Arc<RelayStatus>,
    timers: Arc<Timers>,
    directory: Option<PathBuf>,
    locks: Locks,
    batch: BatchConfig,
}

impl Start {
    fn spawn(self, adapter: Box<dyn Adapter>, options: &RelayOptions) -> AdapterResult<RelayHandle> {
        let status = Arc::clone(&self.status);
        let started = self.try_spawn(adapter, options);
        if started.is_err() {
            status.end();
        }
        started
    }

    fn try_spawn(self, adapter: Box<dyn Adapter>, options: &RelayOptions) -> AdapterResult<RelayHandle> {
        let Self { open, cursor, status, timers, directory, locks, batch } = self;
        let dead_letters = dead_letters(directory.as_deref(), &status, options)?;
        let inputs = open(cursor.clone()).map_err(unread)?;
        let begin = inputs.cursor();
        status.lag.events.store(inputs.lag(), Ordering::Relaxed);
        // From now on the log keeps what was not relayed, where its retention keeps events for cursors.
        if cursor.is_none() {
            inputs.save_cursor(&options.name, &begin).map_err(unread)?;
        }
        let (intake, sender) = (
            Intake {
                open,
                inputs,
                collector: Collector::new(options.batch.unwrap_or(batch).options()),
                status: Arc::clone(&status),
                cursor: Kept { confirmed: None, saved: begin },
                broken: None,
                unread: Unread::default(),
                in_flight: InFlight::default(),
            },
            Sender {
                new: Some(adapter),
                adapter: Arc::default(),
                controls: Controls::new(),
                status,
                dead_letters,
                timers,
                timeout: options.timeout,
                pauses: options.pauses,
            },
        );
        let run = RelayRun { intake, sender, is_selective: options.is_selective(), advance: None, due: None };
        spawn(run, locks, options)
    }
}

/// The dead letters of a relay, and their number for its status.
fn dead_letters(directory: Option<&Path>, status: &RelayStatus, options: &RelayOptions) -> AdapterResult<DeadLetters> {
    let default = directory.map(|log| directory_of(log, &options.name).join(DEAD_LETTERS));
    let path = options.dead_letters.clone().or(default);
    let opened = DeadLetters::open(path.clone()).and_then(|letters| {
        let waiting = letters.count()?;
        status.dead_letters.waiting.store(waiting, Ordering::Relaxed);
        Ok(letters)
    });
    opened.map_err(|error| {
        let path = path.unwrap_or_default();
        invalid(format!("the dead letters {} cannot be opened: {error}", path.display()))
    })
}

/// Runs a relay on a thread of its own, which holds the locks until the relay has ended.
fn spawn(run: RelayRun, locks: Locks, options: &RelayOptions) -> AdapterResult<RelayHandle> {
    let Sender { adapter, controls, status, timers, .. } = &run.sender;
    let handle = RelayHandle {
        controls: Arc::clone(controls),
        status: Arc::clone(status),
        adapter: Arc::clone(adapter),
        timers: Arc::clone(timers),
        timeout: options.timeout,
        patience: options.drain,
    };
    let (controls, status) = (Arc::clone(controls), Arc::clone(status));
    let work = move || {
        let end = foreign::contain(|| park::block_on(run.run()));
        status.end();
        drop(locks);
        controls.end(end.unwrap_or_else(RelayEnd::Failed));
    };
    let spawned = thread::Builder::new().name(format!("tapeline-r-{}", options.name)).spawn(work);
    spawned.map_err(|source| AdapterError::NoThread { purpose: "a relay", source })?;
    Ok(handle)
}

/// Keeps other relays of the name away, also those of other processes.
fn lock_of(log: &Path, name: &str) -> AdapterResult<DirectoryLock> {
    let directory = directory_of(log, name);
    let locked = create_directory(&directory).and_then(|()| lock_exclusive(&directory, LOCK, LOCK_PATIENCE));
    locked.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => running(name),
        _ => invalid(format!("{} cannot be locked: {error}", directory.display())),
    })
}

fn directory_of(log: &Path, name: &str) -> PathBuf {
    log.join(DIRECTORY).join(name)
}

fn running(name: &str) -> AdapterError {
    invalid(format!("a relay {name:?} of this log runs already; choose another name, or end it"))
}

fn invalid(message: String) -> AdapterError {
    ConfigError::InvalidValue(message).into()
}

/// The cursor or the log cannot be read.
fn unread(error: ConsumerError) -> AdapterError {
    match error {
        ConsumerError::Adapter(error) => error,
        error => invalid(format!("a relay cannot read the log: {error}")),
    }
}
