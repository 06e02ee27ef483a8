//! The log store: what a bus keeps of its log outside of the shards. The directory with its lock, the shards of earlier
//! configurations, and the eras. A log in memory has none of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tapeline_reader::random::random;
use tapeline_reader::timestamp::Clock;
use tapeline_reader::{AdapterError, AdapterResult};
use tapeline_storage::device::Directory;
use tapeline_storage::device::fs::{DirectoryLock, WriteMode};
use tapeline_storage::format::{Era, Eras, LogId, LogShard, Meta, Sequence};
use tapeline_storage::log::{DirectoryError, Durability, LogDirectory, LogView, trim_at_rest};
use tapeline_storage::read::open_shard;

use crate::core::config::EventBusConfig;
use crate::core::seam;
use crate::core::seam::Step;

/// The log of one bus, as far as no shard has it.
#[derive(Debug)]
pub(crate) struct LogStore {
    log_id: LogId,
    /// Holds the directory's lock, as does each thread that may touch the directory.
    directory: Option<Mutex<LogDirectory>>,
}

/// The files of one shard.
#[derive(Debug)]
pub(super) struct ShardFiles {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) mode: WriteMode,
    /// The lock of the log's directory: the shard's threads hold it for their lives.
    pub(super) hold: Option<Arc<DirectoryLock>>,
}

impl LogStore {
    /// Opens the log's directory, if the configuration names one.
    ///
    /// # Errors
    /// [`AdapterError::Directory`].
    pub(super) fn open(config: &EventBusConfig) -> AdapterResult<Self> {
        let path = config.log.directory.as_deref();
        let directory = path.map(|path| open_directory(path, config)).transpose()?;
        let log_id = directory.as_ref().map_or_else(|| LogId(random()), |directory| directory.meta().log_id);
        Ok(Self { log_id, directory: directory.map(Mutex::new) })
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The time at which the log was made; of one in memory, of which a crash leaves nothing, that of no event.
    pub(crate) fn created(&self) -> u64 {
        self.directory().map_or(u64::MAX, |directory| directory.meta().created)
    }

    /// Locks the directory, if the log has one.
    fn directory(&self) -> Option<MutexGuard<'_, LogDirectory>> {
        // A panic of another holder leaves a directory that is whole after every statement.
        self.directory.as_ref().map(|directory| directory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of shards that have a log.
    pub(super) fn known_shards(&self) -> u16 {
        self.directory().map_or(0, |directory| directory.meta().shards)
    }

    /// The number of shards that the log had before this process opened it; `None` for a new log.
    fn shards_before(&self) -> Option<u16> {
        self.directory().and_then(|directory| directory.shards_before())
    }

    /// Makes the directories of shards below this number.
    ///
    /// # Errors
    /// [`AdapterError::Directory`].
    pub(super) fn grow(&self, shards: u16) -> AdapterResult<()> {
        match self.directory() {
            Some(mut directory) => Ok(directory.grow(shards)?),
            None => Ok(()),
        }
    }

    /// The files of this shard. `None`: the log is in memory.
    ///
    /// # Errors
    /// [`AdapterError::Directory`].
    pub(super) fn files(&self, shard: u16) -> AdapterResult<Option<ShardFiles>> {
        let Some(directory) = self.directory() else { return Ok(None) };
        let (mode, hold) = (directory.mode(), directory.hold());
        Ok(Some(ShardFiles { directory: directory.shard(shard)?, mode, hold }))
    }

    /// The lock of the log's directory, if the log has one: a thread that may touch the directory holds it for its
    /// life.
    pub(crate) fn hold(&self) -> Option<Arc<DirectoryLock>> {
        self.directory().and_then(|directory| directory.hold())
    }

    /// Opens the shards that the log has from this number on: they take no events, and stay readable. Returns them with
    /// the largest timestamp in them.
    ///
    /// # Errors
    /// [`AdapterError::Directory`], [`AdapterError::Open`].
    pub(crate) fn open_archived(&self, from: u16) -> AdapterResult<(Vec<Arc<LogView>>, u64)> {
        self.pass(Step::Archived)?;
        let (mut views, mut last_timestamp) = (Vec::new(), 0);
        if let Some(directory) = self.directory() {
            for shard in from..directory.meta().shards {
                let (view, last) = open_shard(&directory.shard(shard)?, LogShard::new(self.log_id, shard))?;
                views.push(view);
                last_timestamp = last_timestamp.max(last);
            }
        }
        Ok((views, last_timestamp))
    }

    /// Removes what an archived shard has before `to`.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub(crate) fn trim_archived(&self, view: &LogView, to: Sequence) -> AdapterResult<()> {
        match self.directory() {
            Some(directory) => Ok(trim_at_rest(&*directory.shard(view.shard())?, view, to)?),
            None => Ok(()),
        }
    }

    /// Opens the eras of the log, whose shards end at `ends`. Adds one that begins there if this process, of whose
    /// shards `active` take events, sends sessions by another route than the process before it did.
    ///
    /// # Errors
    /// [`AdapterError::Directory`].
    pub(crate) fn open_eras(&self, active: u16, ends: Vec<Sequence>) -> AdapterResult<Eras> {
        let mut eras = self.read_eras()?;
        let is_shortened = eras.shorten(&ends);
        // Until the first change all shards take events.
        let before = eras.active().or_else(|| self.shards_before());
        let is_moved = before.is_some_and(|before| before != active);
        if is_moved {
            eras.begin_after(before, Era { active, starts: ends });
        }
        if is_shortened || is_moved {
            self.save_eras(&eras)?;
        }
        Ok(eras)
    }

    fn read_eras(&self) -> AdapterResult<Eras> {
        self.pass(Step::ReadEras)?;
        match self.directory() {
            Some(directory) => Ok(directory.eras()?),
            None => Ok(Eras::default()),
        }
    }

    /// Writes the eras of the log, as durably as the log.
    ///
    /// # Errors
    /// [`AdapterError::Directory`]; the log has the eras that it had.
    pub(crate) fn save_eras(&self, eras: &Eras) -> AdapterResult<()> {
        self.pass(Step::SaveEras)?;
        match self.directory() {
            Some(directory) => Ok(directory.save_eras(eras)?),
            None => Ok(()),
        }
    }

    fn pass(&self, step: Step) -> AdapterResult<()> {
        let path = || self.directory().map_or_else(PathBuf::new, |directory| directory.path().to_owned());
        seam::pass(self.log_id, step)
            .map_err(|source| AdapterError::from(DirectoryError::Io { operation: "go on in", path: path(), source }))
    }
}

fn open_directory(path: &Path, config: &EventBusConfig) -> AdapterResult<LogDirectory> {
    let meta = Meta { log_id: LogId(random()), shards: config.num_shards, created: Clock::global().now() };
    let open = match config.log.durability {
        Durability::PageCache => LogDirectory::open_cached,
        Durability::Memory | Durability::Durable => LogDirectory::open,
    };
    Ok(open(path, meta)?)
}
