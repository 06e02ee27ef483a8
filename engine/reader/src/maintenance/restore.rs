//! A new log out of events that have their sequences and times already: what an export holds, put back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tapeline_storage::format::{Eras, Kind, LogId, LogShard, Meta, Record, Sequence, SessionId};
use tapeline_storage::log::{LogDirectory, LogOptions, ShardRestore};

use super::trim::save_names;
use crate::error::{AdapterError, AdapterResult};
use crate::process::random::random;
use crate::session::SessionOpening;
use crate::timestamp::Clock;

/// An event with its sequence and its time.
///
/// An example is at [`LogRestore`].
///
/// ```
/// use tapeline_reader::{RestoredEvent, Sequence, kinds, session_id};
///
/// let event = RestoredEvent {
///     shard_id: 0,
///     sequence: Sequence::ZERO,
///     insertion_ts: 1_700_000_000_000_000_000,
///     session: session_id("chat-42"),
///     kind: kinds::TOKEN,
///     payload: b"hello",
/// };
/// assert_eq!(event.payload.len(), 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredEvent<'a> {
    /// Its shard.
    pub shard_id: u16,
    /// Its sequence, above those restored before in its shard. What is left out between two counts as lost, what is
    /// left out before the first as trimmed.
    pub sequence: Sequence,
    /// Nanoseconds since the Unix epoch.
    pub insertion_ts: u64,
    /// Its session.
    pub session: SessionId,
    /// Its kind, none of the bus's own.
    pub kind: Kind,
    /// Its bytes, at most [`PAYLOAD_BYTES_MAX`](crate::PAYLOAD_BYTES_MAX).
    pub payload: &'a [u8],
}

/// Writes a new log, which is one once it is complete: until then no bus and no reader opens it.
///
/// Where it is abandoned halfway, or the process is killed, the next restore into the same directory begins anew, and
/// [`repair_log`](crate::repair_log) keeps the segments that were full. Costs about what writing the bytes costs.
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore, RestoredEvent, Sequence, kinds, session_id};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-restore-{}", std::process::id()));
/// let mut restore = LogRestore::create(&directory, None)?;
/// restore.append(&RestoredEvent {
///     shard_id: 0,
///     sequence: Sequence::ZERO,
///     insertion_ts: 1_700_000_000_000_000_000,
///     session: session_id("chat-42"),
///     kind: kinds::TOKEN,
///     payload: b"hello",
/// })?;
/// restore.finish()?;
/// assert_eq!(LogFiles::open(&directory)?.replay("chat-42")?.count(), 1);
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogRestore {
    path: PathBuf,
    log_id: LogId,
    /// Made for the first event.
    directory: Option<LogDirectory>,
    segment_bytes: u64,
    shards: Vec<ShardRestore>,
    /// Openings that are not among the events.
    openings: HashMap<SessionId, SessionOpening>,
    now: u64,
}

impl LogRestore {
    /// A new log in `path`, which is created with the first event, where it does not exist. `segment_bytes` as in
    /// `LogConfig::segment_bytes` of a bus.
    ///
    /// # Errors
    /// [`AdapterError::Directory`]: there is a log already, or something else.
    pub fn create(path: &Path, segment_bytes: Option<u64>) -> AdapterResult<Self> {
        LogDirectory::check_vacant(path)?;
        Ok(Self {
            path: path.to_owned(),
            log_id: LogId(random()),
            directory: None,
            segment_bytes: segment_bytes.unwrap_or(LogOptions::SEGMENT_BYTES),
            shards: Vec::new(),
            openings: HashMap::new(),
            now: Clock::global().now(),
        })
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Appends an event to its shard. It is durable once [`LogRestore::finish`] has returned.
    ///
    /// # Errors
    /// [`AdapterError::Restore`] or [`AdapterError::ReservedKind`]: the event was not accepted, and the log may go on;
    /// [`AdapterError`] otherwise. Where no event was accepted there is no log.
    pub fn append(&mut self, event: &RestoredEvent<'_>) -> AdapterResult<()> {
        let RestoredEvent { shard_id: shard, sequence, insertion_ts: timestamp, session, kind, payload } = *event;
        if kind.is_reserved() {
            return Err(AdapterError::ReservedKind { kind: kind.0 });
        }
        let record = Record { session, timestamp, kind, payload };
        let refused = |source| AdapterError::Restore { shard_id: shard, source };
        ShardRestore::check(sequence, &record).map_err(refused)?;
        self.shard(shard)?.append(sequence, &record).map_err(refused)
    }

    /// Has the log remember what a session was opened as where none of its events says it, as after a trim. The first
    /// opening counts. Where the openings take more than 16 MiB, some are forgotten.
    pub fn open_session(&mut self, session: SessionId, opening: SessionOpening) {
        self.openings.entry(session).or_insert(opening);
    }

    fn shard(&mut self, shard: u16) -> AdapterResult<&mut ShardRestore> {
        let known = self.shards.len() as u16;
        if shard >= known {
            self.directory(shard.saturating_add(1))?;
        }
        for number in known..=shard {
            let (log_id, seed) = (self.log_id, u64::from_le_bytes(random()));
            let options = LogOptions {
                segment_bytes: self.segment_bytes,
                ..LogOptions::new(LogShard::new(log_id, number), seed)
            };
            let directory = self.directory(number.saturating_add(1))?.shard(number)?;
            self.shards.push(ShardRestore::new(directory, options, self.now));
        }
        Ok(&mut self.shards[usize::from(shard)])
    }

    /// The log's directory, with so many shards at least.
    fn directory(&mut self, shards: u16) -> AdapterResult<&LogDirectory> {
        let directory = match self.directory.take() {
            Some(directory) => self.directory.insert(directory),
            None => self
                .directory
                .insert(LogDirectory::create(&self.path, Meta { log_id: self.log_id, shards, created: self.now })?),
        };
        directory.grow(shards)?;
        Ok(directory)
    }

    /// Seals the log. It is complete, and durable, when this returns, also where it has no events.
    ///
    /// # Errors
    /// [`AdapterError`]: the log is not complete.
    pub fn finish(mut self) -> AdapterResult<()> {
        self.directory(1)?;
        let Some(mut directory) = self.directory else { return Ok(()) };
        save_names(&directory, self.openings)?;
        let has_several = self.shards.len() > 1;
        for shard in self.shards {
            shard.finish()?;
        }
        // Sessions may lie elsewhere than a bus would send them.
        if has_several {
            directory.save_eras(&Eras::of_unknown_route())?;
        }
        directory.complete()?;
        Ok(())
    }
}
