//! Errors, one enum for each thing a caller can ask for.

mod damage;

use std::io;
use std::ops::Range;

use tapeline_storage::device::{advice, is_passing};
use tapeline_storage::format::{Sequence, counted};
use tapeline_storage::log::{DirectoryError, OpenError, Poison, RestoreError, Trouble};
use tapeline_storage::read::ReadError;

pub use damage::{Damage, DamageCause};

use crate::cursor::CursorFault;
use crate::filter::FilterError;
use crate::gap::Gap;
use crate::session::{ResumeToken, TokenFault};

/// The reason for which a setting cannot be used.
///
/// ```
/// use tapeline_reader::{ConfigError, RetentionPolicy};
///
/// let refused = RetentionPolicy::new().max_segments(0).validate();
/// assert!(matches!(refused, Err(ConfigError::InvalidValue(setting)) if setting.contains("max_segments")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value out of range.
    #[error("invalid configuration: {0}")]
    InvalidValue(String),
}

/// The reason for which the number of shards does not change.
///
/// ```
/// use tapeline_reader::ScalingError;
///
/// assert_eq!(ScalingError::AtMaxShards(4).to_string(), "no shard more: 4 is the policy's max_shards");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScalingError {
    /// The bus has no policy.
    #[error("the bus has no scaling policy; open it with EventBusConfig::scaling")]
    Disabled,
    /// There are as many as there may be.
    #[error("no shard more: {0} is the policy's max_shards")]
    AtMaxShards(u16),
    /// There are as few as there may be.
    #[error("no shard less: {0} is the policy's min_shards")]
    AtMinShards(u16),
    /// The last change is too recent.
    #[error("the last change of the shards is more recent than the policy's cooldown; try again later")]
    InCooldown,
    /// A shard cannot be started. Those there are go on.
    #[error("a shard cannot be started: {0}")]
    ShardCreationFailed(String),
    /// Events cannot be moved while a log takes none.
    #[error("shard {0} takes no events: its disk is full or its log has failed; mend that first")]
    ShardBlocked(u16),
    /// The shards have changed, but the log could not note it: after a restart, sessions that moved may be read out of
    /// order.
    #[error("the shards have changed, but the log could not note it: {0}")]
    NotKept(String),
}

/// The reason for which the store of the bus, its own log first of all, cannot serve.
///
/// ```
/// use std::path::Path;
/// use tapeline_reader::{AdapterError, DirectoryError, LogFiles};
///
/// match LogFiles::open(Path::new("/no/such/log")) {
///     Err(AdapterError::Directory(DirectoryError::NotALog { path })) => println!("no log in {}", path.display()),
///     Err(error) if error.is_retryable() => println!("again, later: {error}"),
///     other => println!("{other:?}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log's directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The log of a shard.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An event that cannot be put back.
    #[error("shard {shard_id}: {source}")]
    Restore {
        /// Its shard.
        shard_id: u16,
        /// The reason.
        source: RestoreError,
    },
    /// A write failed; nothing after its watermark is acknowledged.
    #[error(transparent)]
    Poisoned(Box<Poison>),
    /// The disk is full: what was asked for has to wait for space.
    #[error("the disk of shard {shard_id} is full; free space and try again")]
    StorageFull {
        /// The shard.
        shard_id: u16,
    },
    /// Descriptors or memory have run out, or the kernel refuses for another reason that passes: what was asked for has
    /// to wait for that. Nothing is lost; the shard tries again every 100 ms and goes on by itself.
    #[error("shard {shard_id} is held up: {trouble}{}", trouble.remedy())]
    HeldUp {
        /// The shard.
        shard_id: u16,
        /// The call that was refused, and the error.
        trouble: Box<Trouble>,
    },
    /// The event was dropped for newer ones before it reached the log.
    #[error("dropped: the lane to shard {shard_id} was full, and newer events were kept")]
    Dropped {
        /// The shard.
        shard_id: u16,
    },
    /// The number of shards cannot be changed.
    #[error(transparent)]
    Scaling(#[from] ScalingError),
    /// A shard cannot be started: the kernel refuses the device that the configuration insists on.
    #[error("shard {shard_id} cannot be started: {message}")]
    Fatal {
        /// The shard.
        shard_id: u16,
        /// The failure, in words.
        message: String,
    },
    /// A thread of the bus panicked. What it had acknowledged is durable.
    #[error("a thread of the bus panicked: {message}")]
    Panicked {
        /// The panic.
        message: String,
    },
    /// A shard has no descriptor by which other threads wake it.
    #[error("shard {shard_id} has no descriptor to be woken by: {source}{}", advice(source))]
    NoDescriptor {
        /// The shard.
        shard_id: u16,
        /// The kernel's error.
        source: io::Error,
    },
    /// A thread of the bus cannot be started.
    #[error("the thread for {purpose} cannot be started: {source}; free threads or memory and try again")]
    NoThread {
        /// The thread's purpose.
        purpose: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The blocks of one more shard would be beyond the memory of the bus.
    #[error("the blocks of shard {shard_id} take {bytes} bytes; the bus's memory_budget has {left} left; raise it")]
    Budget {
        /// The shard.
        shard_id: u16,
        /// Bytes of its blocks.
        bytes: usize,
        /// Bytes left.
        left: usize,
    },
    /// The bus has no shard of this number.
    #[error("there is no shard {shard_id}; the bus has {shards}, numbered from 0")]
    NoShard {
        /// The number.
        shard_id: u16,
        /// Shards that there are.
        shards: usize,
    },
    /// The kind is one of those that the bus alone writes.
    #[error("kind {kind} is the bus's own; choose one below {}", crate::kinds::RESERVED.start)]
    ReservedKind {
        /// The kind.
        kind: u16,
    },
    /// The ticket was given by a producer of another bus: only that bus can answer.
    #[error("the ticket of an event in shard {shard_id} was given by a producer of another bus; ask that bus")]
    ForeignTicket {
        /// The shard that the ticket names.
        shard_id: u16,
    },
    /// A call was made on a thread of the bus that it waits for: in a task of the bus, or in a waker that a shard
    /// calls.
    #[error("{call} would wait for its own thread; call it on a thread that is none of the bus's")]
    OnShard {
        /// The call.
        call: &'static str,
    },
    /// The thread for the tasks of a shard cannot be made.
    #[error(
        "shard {shard_id}: the thread for its tasks cannot be made: {source}; free threads or memory and try again"
    )]
    NoTaskThread {
        /// The shard.
        shard_id: u16,
        /// The kernel's error.
        source: io::Error,
    },
    /// The bus is closed and all is durable, but a task does not come to an `await`.
    #[error(
        "a task on shard {shard_id} does not return; its thread holds the lock of the log's directory until it does"
    )]
    TaskRuns {
        /// The shard.
        shard_id: u16,
    },
    /// The bus was to end within a time that is over. It goes on ending, and each call of `shutdown` waits for it.
    #[error("the bus has not ended in time; not durable: {}", not_durable(shards))]
    NotEnded {
        /// The shards that have events which are taken over and not durable, and those events.
        shards: Vec<NotDurable>,
    },
    /// A backend did not answer as it should, or not in time; the same call may succeed later.
    #[error("{0}")]
    Transient(String),
    /// A backend takes nothing at present: it is full or overloaded.
    #[error("the backend takes nothing at present: {0}")]
    Backpressure(String),
    /// There is no connection to a backend.
    #[error("no connection to the backend: {0}")]
    Connection(String),
    /// A backend does not take an event as it is, however often it is asked: the event is too large, or of a form that
    /// the backend does not know.
    #[error("the backend does not take the event: {0}")]
    Serialization(String),
    /// A backend refuses the call until an operator changes something: credentials, permissions, the name or the type
    /// of what is written to.
    #[error("the backend refuses: {0}")]
    Denied(String),
    /// A backend has nothing of the name that is asked for, and the adapter is not to make it.
    #[error("the backend has none: {0}")]
    NotFound(String),
    /// The bus is shut down.
    #[error("the bus is shut down")]
    Shutdown,
    /// The process is a fork of the one that opened the bus.
    #[error("the bus belongs to the parent of this forked process; open one after the fork")]
    Forked,
}

/// Events of a shard that are taken over and not durable.
///
/// ```
/// use tapeline_reader::{NotDurable, Sequence};
///
/// # let of_shard = NotDurable::new(0, Sequence::new(10)..Sequence::new(15), 2);
/// println!("shard {}: a crash may take {} events", of_shard.shard_id, of_shard.events());
/// # assert_eq!(of_shard.events(), 7);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotDurable {
    /// The shard.
    pub shard_id: u16,
    /// Those in its log, records of the bus included.
    pub sequences: Range<Sequence>,
    /// Those in its lanes, which have no sequence yet.
    pub events_in_lanes: u64,
}

impl NotDurable {
    /// So many in the log and in lanes.
    #[doc(hidden)]
    pub fn new(shard_id: u16, sequences: Range<Sequence>, events_in_lanes: u64) -> Self {
        Self { shard_id, sequences, events_in_lanes }
    }

    /// All of them.
    pub fn events(&self) -> u64 {
        self.sequences.end.since(self.sequences.start) + self.events_in_lanes
    }
}

/// The events of each shard, for people.
fn not_durable(shards: &[NotDurable]) -> String {
    let shard = |shard: &NotDurable| format!("{} of shard {}", counted(shard.events(), "event"), shard.shard_id);
    match shards {
        [] => "none".to_owned(),
        _ => shards.iter().map(shard).collect::<Vec<_>>().join(", "),
    }
}

impl AdapterError {
    /// Returns whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.is_passing_refusal()
            || matches!(
                self,
                Self::StorageFull { .. }
                    | Self::HeldUp { .. }
                    | Self::NoDescriptor { .. }
                    | Self::NoTaskThread { .. }
                    | Self::NoThread { .. }
                    | Self::TaskRuns { .. }
                    | Self::NotEnded { .. }
                    | Self::Transient(_)
                    | Self::Backpressure(_)
                    | Self::Connection(_)
                    | Self::Directory(DirectoryError::Locked { .. })
                    | Self::Scaling(ScalingError::InCooldown | ScalingError::ShardBlocked(_))
            )
    }

    /// Returns whether the bus accepts nothing more until it is opened anew, or cannot be opened as it is configured.
    /// An error that is neither this nor retryable concerns one call: its arguments, its thread, or one event.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Directory(DirectoryError::Locked { .. }) => false,
            Self::Directory(_) | Self::Open(_) => !self.is_passing_refusal(),
            Self::Poisoned(_) | Self::Fatal { .. } | Self::Panicked { .. } | Self::Forked => true,
            _ => false,
        }
    }

    /// Returns whether descriptors, memory or space have run out for a call of the file system.
    fn is_passing_refusal(&self) -> bool {
        match self {
            Self::Directory(DirectoryError::Io { source, .. }) | Self::Open(OpenError::Io { source, .. }) => {
                is_passing(source)
            }
            _ => false,
        }
    }

    /// Returns whether the bus is shut down.
    pub fn is_shutdown(&self) -> bool {
        matches!(self, Self::Shutdown)
    }
}

/// The reason for which events cannot be read.
///
/// ```
/// use tapeline_reader::{ConsumerError, Filter, FilterError};
///
/// let error = ConsumerError::from(Filter::from_json("{").unwrap_err());
/// assert!(matches!(error, ConsumerError::InvalidFilter(FilterError::Syntax { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The store.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A block that cannot be read or does not check.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record that does not check, in a block that does.
    #[error("shard {shard_id}, sequence {sequence}: {message}")]
    Record {
        /// The shard.
        shard_id: u16,
        /// The event.
        sequence: Sequence,
        /// The fault.
        message: String,
    },
    /// The cursor cannot be used here.
    #[error("invalid cursor: {fault}; the earliest one is {earliest}")]
    InvalidCursor {
        /// The fault.
        fault: CursorFault,
        /// The earliest cursor that can be used.
        earliest: String,
    },
    /// A reader cannot continue after the token. The answer of an HTTP server is 410 Gone.
    #[error("resume token {fault}{}", token_advice(*fault, *earliest))]
    InvalidToken {
        /// The fault.
        fault: TokenFault,
        /// The token of the earliest event of the session that the log holds, if it holds one. A reader without a token
        /// begins with that event. Of a token of another session there is none.
        earliest: Option<ResumeToken>,
    },
    /// A reader of one session was asked for the events without a session.
    #[error("events without a session cannot be followed as one; name a session, or subscribe to all")]
    NoSession,
    /// The filter is malformed or too large.
    #[error(transparent)]
    InvalidFilter(#[from] FilterError),
    /// Events that are not available. Reading goes on after them.
    #[error("gap: {0}")]
    Gap(Gap),
    /// A cursor cannot have this name.
    #[error(
        "{0:?} is no name for a cursor: 1 to 128 letters, digits, '-', '_' or '.', not beginning with '.', not ending with .tmp"
    )]
    CursorName(String),
    /// The file of a named cursor.
    #[error("cannot {operation} cursor {name}: {source}{}", advice(source))]
    CursorStore {
        /// The cursor.
        name: String,
        /// The call that failed.
        operation: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The subscription has ended, because its reader was too slow.
    #[error("shard {shard_id}: {} behind, more than the subscription allows; subscribe again", counted(*lag_events, "event"))]
    Lagged {
        /// The shard.
        shard_id: u16,
        /// Events that the reader is behind.
        lag_events: u64,
    },
    /// A trim has removed nothing: the names of sessions that go on cannot be kept.
    #[error("nothing was trimmed, because the names of sessions that go on would be lost: {reason}")]
    NamesLost {
        /// The reason for which they cannot be written.
        reason: String,
    },
    /// A shard of the log cannot be opened; the others can be read.
    #[error("shard {}: {}", .0.shard_id, .0.reason)]
    Damaged(Damage),
}

fn token_advice(fault: TokenFault, earliest: Option<ResumeToken>) -> String {
    match earliest {
        _ if fault == TokenFault::Foreign => "; give it back for the session that it came with".to_owned(),
        Some(earliest) => format!("; begin without a token: the earliest event that is left has {earliest}"),
        None => "; begin without a token: the log holds no event of the session".to_owned(),
    }
}

/// Result of asking the store for something.
pub type AdapterResult<T> = Result<T, AdapterError>;

/// Result of reading.
pub type ConsumerResult<T> = Result<T, ConsumerError>;
