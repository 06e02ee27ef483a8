//! Tapeline's logs without a bus: everything that reads or tends a directory of segments, on the caller's own thread. A
//! bus is the crate `tapeline`, which re-exports what is public here.
//!
//! * [`LogFiles`] is a log at rest, or as it was at one moment: its sessions, kinds, segments and named cursors;
//!   [`Replay`] hands out its events in order, [`PacedReplay`] at their pace.
//! * [`LogFollower`] goes on with what a writer adds.
//! * [`Filter`] says which events; [`EventView`] and [`StoredEvent`] are what comes of it, a [`Gap`] what does not.
//! * [`plan_repair`] and [`repair_log`], [`LogRestore`], [`trim_log`] tend a log that no process has open for writing.
//! * [`sse`] takes apart the streams of servers, as payloads hold them.
//!
//! Nothing here starts a thread. The groups of modules below stand in reading order: each imports from the groups above
//! it. Modules that are hidden from this documentation are what a bus shares with the readers of its log; they promise
//! nothing to others.

// An event, and what it belongs to.
#[doc(hidden)]
pub mod event;
pub mod kinds;
mod session;
pub mod sse;
#[doc(hidden)]
pub mod timestamp;

// Which events a reader wants, its position, what it does not get, and how its calls fail.
#[doc(hidden)]
pub mod cursor;
mod error;
mod filter;
#[doc(hidden)]
pub mod gap;

// One shard as blocks and gaps, and all shards as events in order.
mod process;
mod replay;
#[doc(hidden)]
pub mod source;

// A log's directory: at rest, while it grows, the cursors that it keeps, and its maintenance.
mod files;
mod follow;
mod maintenance;
#[doc(hidden)]
pub mod named;

#[cfg(test)]
mod documentation_tests;

/// The program in README.md, which is a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use event::{
    Event, EventId, EventView, ParseEventIdError, Payload, PayloadSerializer, PayloadValidator, PayloadWriter,
    RawEvent, StoredEvent, TypeError, TypedPayload,
};
/// The version of rkyv that typed payloads are archived with.
pub use rkyv;
pub use session::{
    IntoSession, ParseOutcomeError, ParseTokenError, ResumeToken, SESSION_NAME_BYTES_MAX, SessionChange,
    SessionMetadata, SessionOpening, SessionOutcome, SessionState, TokenFault, session_id,
};
pub use tapeline_storage::format::{
    BlockError, FORMAT_VERSION, Kind, LogId, PAYLOAD_BYTES_MAX, PageError, Sequence, SessionId,
};
pub use timestamp::TimestampGenerator;

pub use cursor::CursorFault;
pub use error::{
    AdapterError, AdapterResult, ConfigError, ConsumerError, ConsumerResult, Damage, DamageCause, NotDurable,
    ScalingError,
};
pub use filter::{CompiledFilter, Filter, FilterBuilder, FilterError, is_filterable, json_path_get};
pub use gap::{DropReason, DroppedSessions, Drops, Gap, GapReason};
pub use tapeline_storage::log::{
    Cut, DirectoryError, Durability, OpenError, Poison, RepairAction, RestoreError, Stretch, Trouble,
};
pub use tapeline_storage::read::{PayloadReader, ReadError, Visibility};

pub use replay::{PacedReplay, Pacer, PacingError, ParseSpeedError, Replay, ReplayRequest, Speed};
pub use source::Start;

pub use files::{KindSummary, LogFiles, SegmentSummary, SessionSummary, ShardSummary, Verification};
pub use follow::{FollowStart, LogFollower, LostLog};
pub use maintenance::trim::{
    KeptSegment, RetentionPolicy, TrimPlan, TrimReason, TrimmedSegment, trim_log, trim_log_without_names,
};
pub use maintenance::{LogRestore, RepairStep, RestoredEvent, plan_repair, repair_log};
pub use named::NamedCursor;

// Parts that a bus shares with the readers of its log.
#[doc(hidden)]
pub use files::{before, contents, last, named_before, opening};
#[doc(hidden)]
pub use filter::selection;
#[doc(hidden)]
pub use gap::note;
#[doc(hidden)]
pub use maintenance::trim;
#[doc(hidden)]
pub use process::{blocking, fork, random};
#[doc(hidden)]
pub use replay::{order, page};
#[doc(hidden)]
pub use session::naming;
#[doc(hidden)]
pub use tapeline_storage::device::{advice, is_of_environment};
