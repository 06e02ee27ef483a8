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
//! Nothing here starts a thread. Modules that are hidden from this documentation are what a bus shares with the readers
//! of its log; they promise nothing to others.

pub mod kinds;
pub mod sse;

#[doc(hidden)]
pub mod blocking;
#[doc(hidden)]
pub mod contents;
#[doc(hidden)]
pub mod cursor;
#[doc(hidden)]
pub mod event;
#[doc(hidden)]
pub mod fork;
#[doc(hidden)]
pub mod gap;
#[doc(hidden)]
pub mod named;
#[doc(hidden)]
pub mod note;
#[doc(hidden)]
pub mod order;
#[doc(hidden)]
pub mod page;
#[doc(hidden)]
pub mod random;
#[doc(hidden)]
pub mod replay;
#[doc(hidden)]
pub mod selection;
#[doc(hidden)]
pub mod source;
#[doc(hidden)]
pub mod timestamp;
#[doc(hidden)]
pub mod trim;

mod activity;
mod damage;
mod error;
mod files;
mod filter;
mod follow;
mod life;
mod names;
mod opening;
mod pacing;
mod repair;
mod restore;
mod session;
mod token;
mod walk;

#[cfg(test)]
mod documentation_tests;

/// The program in README.md, which is a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use contents::{KindSummary, SessionSummary};
pub use cursor::CursorFault;
pub use damage::{Damage, DamageCause};
pub use error::{AdapterError, AdapterResult, ConfigError, ConsumerError, ConsumerResult, NotDurable, ScalingError};
pub use event::{
    Event, EventId, EventView, ParseEventIdError, Payload, PayloadSerializer, PayloadValidator, PayloadWriter,
    RawEvent, StoredEvent, TypeError, TypedPayload,
};
pub use files::{LogFiles, SegmentSummary, ShardSummary, Verification};
pub use filter::{CompiledFilter, Filter, FilterBuilder, FilterError, is_filterable, json_path_get};
pub use follow::{FollowStart, LogFollower, LostLog};
pub use gap::{Gap, GapReason};
pub use life::{ParseOutcomeError, SessionChange, SessionMetadata, SessionOpening, SessionOutcome, SessionState};
pub use named::NamedCursor;
pub use note::{DropReason, DroppedSessions, Drops};
pub use pacing::{Pacer, PacingError, ParseSpeedError, Speed};
pub use repair::{RepairStep, plan_repair, repair_log};
pub use replay::{PacedReplay, Replay, ReplayRequest};
pub use restore::{LogRestore, RestoredEvent};
/// The version of rkyv that typed payloads are archived with.
pub use rkyv;
pub use session::{IntoSession, session_id};
pub use source::Start;
#[doc(hidden)]
pub use tapeline_storage::device::{advice, is_of_environment};
pub use tapeline_storage::format::{
    BlockError, FORMAT_VERSION, Kind, LogId, PAYLOAD_BYTES_MAX, PageError, Sequence, SessionId,
};
pub use tapeline_storage::log::{
    Cut, DirectoryError, Durability, OpenError, Poison, RepairAction, RestoreError, Stretch, Trouble,
};
pub use tapeline_storage::read::{ReadError, Visibility};
pub use timestamp::TimestampGenerator;
pub use token::{ParseTokenError, ResumeToken, TokenFault};
pub use trim::{KeptSegment, RetentionPolicy, TrimPlan, TrimReason, TrimmedSegment, trim_log};
