//! The errors of ingestion.

use std::io;

use tapeline_reader::{ConfigError, ConsumerError};
use tapeline_storage::format::{SessionId, counted};
use tapeline_storage::log::Poison;

/// The reason for which an event was not taken. It was lent to the call, so the caller still has it. Where
/// [`IngestionError::is_drop`] holds it counts as dropped; otherwise it may be ingested again.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{Event, EventBus, EventBusConfig, IngestionError};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.shutdown_via_ref().await?;
/// match bus.ingest(Event::from_str("1")?) {
///     Err(IngestionError::ShuttingDown) => println!("the bus has ended"),
///     Err(IngestionError::Backpressure { shard_id }) => println!("shard {shard_id} lags: try again later"),
///     Err(error) if error.is_drop() => println!("counted, and reported to readers: {error}"),
///     other => println!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestionError {
    /// The lane is full: the shard lags behind.
    #[error("backpressure: the lane to shard {shard_id} is full; try again later, or choose BackpressureMode::Block")]
    Backpressure {
        /// The shard.
        shard_id: u16,
    },
    /// The lane is full, and the mode is to drop the newest event: it is counted, and readers get a gap.
    #[error("dropped: the lane to shard {shard_id} is full")]
    Dropped {
        /// The shard.
        shard_id: u16,
    },
    /// The lane is filling up, and the event is not among those that are kept: it is counted, and readers get a gap.
    #[error("sampled out: the lane to shard {shard_id} is filling up")]
    Sampled {
        /// The shard.
        shard_id: u16,
    },
    /// The bus is shutting down, or has.
    #[error("the bus is shut down")]
    ShuttingDown,
    /// The payload is larger than any record can be.
    #[error("payload of {bytes} bytes; at most {max} fit")]
    TooLarge {
        /// Payload length in bytes.
        bytes: usize,
        /// Largest payload in bytes.
        max: usize,
    },
    /// The session's name is longer than those that readers remember.
    #[error("a session's name of {bytes} bytes; at most {max} fit")]
    NameTooLong {
        /// Bytes of the name.
        bytes: usize,
        /// Bytes of the longest.
        max: usize,
    },
    /// The disk of the shard's log is full. Events taken before are kept and written once there is space.
    #[error("the disk of shard {shard_id} is full; free space and go on")]
    StorageFull {
        /// The shard.
        shard_id: u16,
    },
    /// A write of the shard's log failed; the log takes nothing more.
    #[error(transparent)]
    Poisoned(Box<Poison>),
    /// The kind is one of those that the bus alone writes.
    #[error("kind {kind} is the bus's own; choose one below {}", tapeline_reader::kinds::RESERVED.start)]
    ReservedKind {
        /// The kind.
        kind: u16,
    },
    /// A setting of the producer is out of range.
    #[error(transparent)]
    Options(#[from] ConfigError),
    /// A lane more would be beyond the memory of the bus; or a larger lane, which the event would need.
    #[error(
        "a lane to shard {shard_id} takes {bytes} bytes; the bus's memory_budget of {budget} has {left} left; raise it, or drop producers"
    )]
    Budget {
        /// The shard.
        shard_id: u16,
        /// Bytes of the lane, or of what it would have to grow by.
        bytes: usize,
        /// Bytes left.
        left: usize,
        /// Bytes there are.
        budget: usize,
    },
    /// A cursor cannot go with a batch: its name or its text is none, or what it depends on cannot be written or waited
    /// for. Nothing of the batch was taken.
    #[error("cursor {name} cannot go with the batch: {source}")]
    Cursor {
        /// The cursor.
        name: String,
        /// The reason.
        source: Box<ConsumerError>,
    },
    /// The producer's mode may drop events after they were taken, which a cursor that goes with them would count as
    /// there.
    #[error("a producer that drops its oldest events saves no cursor with a batch; choose another BackpressureMode")]
    CursorMode,
    /// A batch with a cursor does not fit one block. Nothing of it was taken.
    #[error(
        "a batch with a cursor goes into one block: it takes {bytes} bytes, and at most {max} fit; publish it in parts"
    )]
    BatchTooLarge {
        /// Bytes of a block that would hold it.
        bytes: usize,
        /// Bytes of the largest block.
        max: usize,
    },
    /// There is no memory for an event of this size at present: it takes that much until it is written.
    #[error(
        "an event takes {bytes} bytes until shard {shard_id} has written it; the bus's memory_budget of {budget} has {left} left; try again later, choose BackpressureMode::Block, or raise it"
    )]
    EventBudget {
        /// The shard.
        shard_id: u16,
        /// Bytes of the event.
        bytes: usize,
        /// Bytes left.
        left: usize,
        /// Bytes there are.
        budget: usize,
    },
    /// The kernel has no memory for an event of this size.
    #[error("no memory for an event: {0}")]
    Memory(#[from] io::Error),
    /// No session is to be closed.
    #[error("events without a session have none that could be closed; name the session")]
    NoSession,
    /// The session was closed, and not opened again.
    #[error("session {session} is closed; open it again with open_session, which begins another turn of it")]
    SessionClosed {
        /// The session.
        session: SessionId,
    },
    /// The list of closed sessions, which is made for the first close, would be beyond the memory of the bus.
    #[error("the list of closed sessions takes {bytes} bytes; the bus's memory_budget has {left} left; raise it")]
    ClosedBudget {
        /// Bytes of the list.
        bytes: usize,
        /// Bytes left.
        left: usize,
    },
    /// The event is not JSON.
    #[error("not JSON: {0}")]
    Serialization(#[from] serde_json::Error),
    /// The value cannot be serialised.
    #[error("cannot be archived: {0}")]
    Archive(String),
    /// The process is a fork of the one that opened the bus: its shards live there.
    #[error("the bus belongs to the parent of this forked process; open one after the fork")]
    Forked,
    /// The session was made by a producer of another bus.
    #[error("this bus has no shard {shard_id}; make the session with a producer of this bus")]
    NoShard {
        /// The shard.
        shard_id: u16,
    },
    /// A lane to the shard cannot be made.
    #[error("no memory for a lane to shard {shard_id}: {source}")]
    Lane {
        /// The shard.
        shard_id: u16,
        /// The kernel's error.
        source: io::Error,
    },
}

impl IngestionError {
    /// Returns whether the producer's mode dropped the event: it is counted, readers get a gap, and there is nothing to
    /// try again.
    pub fn is_drop(&self) -> bool {
        matches!(self, Self::Dropped { .. } | Self::Sampled { .. })
    }
}

/// A batch of which the bus did not take all.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{Event, EventBus, EventBusConfig};
///
/// let bus = EventBus::new(EventBusConfig::builder().payload_bytes_max(1 << 20).build()?).await?;
/// let text = |bytes| Event::new(serde_json::json!("x".repeat(bytes)));
/// // The second event is larger than any event may be.
/// let rejected = bus.try_ingest_batch(vec![text(5), text(2 << 20), text(7)]).unwrap_err();
/// assert_eq!((rejected.taken, rejected.rest.len()), (1, 2));
/// // Without it the others go on.
/// bus.try_ingest_batch(rejected.rest.into_iter().skip(1).collect())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("of a batch of {}, {taken} were taken: {error}", counted((taken + rest.len()) as u64, "event"))]
pub struct RejectedBatch<E> {
    /// Events that are in the bus.
    pub taken: usize,
    /// The events that were not taken, in order: the first of them, and all after it, but those that were taken
    /// although they come after an event of a closed session.
    pub rest: Vec<E>,
    /// The reason for which the first of them was not taken.
    #[source]
    pub error: IngestionError,
}

/// Result of taking an event.
pub type IngestionResult<T> = Result<T, IngestionError>;
