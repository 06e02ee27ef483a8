//! A new log out of events that have their places and times already: what an export holds, put back.

use std::path::Path;

use tapeline_storage::format::{Eras, Kind, LogId, Record, Sequence, SessionId};
use tapeline_storage::log::{LogDirectory, LogOptions, ShardRestore};

use crate::error::{AdapterError, AdapterResult};
use crate::names::Openings;
use crate::random::random;
use crate::timestamp::Clock;
use crate::trim::save_names;

/// An event with its place and its time.
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

/// Writes a new log, which no bus can open meanwhile.
///
/// Segments are written whole and sealed, durably, as they fill; a log that is abandoned halfway holds those. Costs
/// about what writing the bytes costs.
#[derive(Debug)]
pub struct LogRestore {
    directory: LogDirectory,
    segment_bytes: u64,
    shards: Vec<ShardRestore>,
    names: Openings,
    now: u64,
}

impl LogRestore {
    /// A new log in `path`, which is created where it does not exist. `segment_bytes` as in
    /// `LogConfig::segment_bytes` of a bus.
    ///
    /// # Errors
    /// [`AdapterError::Directory`]: there is a log already, or something else.
    pub fn create(path: &Path, segment_bytes: Option<u64>) -> AdapterResult<Self> {
        let now = Clock::global().now();
        let directory = LogDirectory::create(path, LogId(random()), now)?;
        let segment_bytes = segment_bytes.unwrap_or(LogOptions::SEGMENT_BYTES);
        Ok(Self { directory, segment_bytes, shards: Vec::new(), names: Openings::default(), now })
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        self.directory.meta().log_id
    }

    /// Appends an event to its shard. It is durable once [`LogRestore::finish`] has returned.
    ///
    /// # Errors
    /// [`AdapterError::Restore`] or [`AdapterError::ReservedKind`]: the event was not accepted, and the log may go on;
    /// [`AdapterError`] otherwise.
    pub fn append(&mut self, event: &RestoredEvent<'_>) -> AdapterResult<()> {
        let RestoredEvent { shard_id: shard, sequence, insertion_ts: timestamp, session, kind, payload } = *event;
        if kind.is_reserved() {
            return Err(AdapterError::ReservedKind { kind: kind.0 });
        }
        let record = Record { session, timestamp, kind, payload };
        self.shard(shard)?.append(sequence, &record).map_err(|source| AdapterError::Restore { shard_id: shard, source })
    }

    /// Has the log remember what a session is called that none of its events names, as those after a trim. The first
    /// name counts. Where the names take more than 16 MiB, some are forgotten.
    pub fn name_session(&mut self, session: SessionId, name: &str) {
        self.names.name(session, name.to_owned());
    }

    fn shard(&mut self, shard: u16) -> AdapterResult<&mut ShardRestore> {
        let known = self.shards.len() as u16;
        if shard >= known {
            self.directory.grow(shard.saturating_add(1))?;
        }
        for number in known..=shard {
            let seed = u64::from_le_bytes(random());
            let options = LogOptions {
                segment_bytes: self.segment_bytes,
                ..LogOptions::new(self.directory.meta().log_id, number, seed)
            };
            self.shards.push(ShardRestore::new(self.directory.shard(number)?, options, self.now));
        }
        Ok(&mut self.shards[usize::from(shard)])
    }

    /// Seals the log. It is complete, and durable, when this returns.
    ///
    /// # Errors
    /// [`AdapterError`]; the segments that were full are there.
    pub fn finish(self) -> AdapterResult<()> {
        save_names(&self.directory, self.names)?;
        let has_several = self.shards.len() > 1;
        for shard in self.shards {
            shard.finish()?;
        }
        // Sessions may lie elsewhere than a bus would send them.
        if has_several {
            self.directory.save_eras(&Eras::of_unknown_route())?;
        }
        Ok(())
    }
}
