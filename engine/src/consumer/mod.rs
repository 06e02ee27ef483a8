//! Consumers: [`poll`] reads pages, [`Subscription`] follows live from any place, [`Replay`] gives what is there in
//! order, [`LogFiles`] reads a directory without a bus, and [`LogFollower`] goes on with what its writer adds.
//!
//! Reading order: `source` (one shard as blocks and gaps, on [`LogReader`](tapeline_storage::read::LogReader)),
//! `selection` and `filter` (which events), `page` (events out of blocks), `request` (what can be asked for), `poll`,
//! `order` (sessions that moved between shards), `sweep` (pages in order of time), `subscription`, `replay` and `pacing`, `cursor` and `named` (places that are kept),
//! `names`, `opening` and `contents` (what sessions are called and what they have, `walk`ing over indexes), `wait` (the patience of a poll).
//!
//! All of them read from memory, mappings and files, on the reader's own thread, and never touch a producer or a lane.

mod activity;
mod contents;
mod cursor;
mod files;
mod filter;
mod follow;
mod gap;
mod named;
mod names;
mod opening;
mod order;
mod pacing;
mod page;
mod poll;
mod replay;
mod request;
mod selection;
mod source;
mod subscription;
mod sweep;
mod wait;
mod walk;

#[cfg(test)]
pub(crate) use contents::Contents;
pub use contents::{KindSummary, SessionSummary};
pub use cursor::CursorFault;
pub use files::{LogFiles, SegmentSummary, Verification};
pub use filter::{CompiledFilter, Filter, FilterBuilder, FilterError, is_filterable, json_path_get};
pub use follow::{FollowStart, LogFollower, LostLog};
pub use gap::{Gap, GapReason};
pub use named::NamedCursor;
pub(crate) use named::{CursorStore, Pin, list_in as list_cursors, pins, save_in as save_cursor};
pub(crate) use names::{Openings, find_sessions};
pub use opening::SessionOpening;
pub use pacing::{Pacer, PacingError, ParseSpeedError, Speed};
pub(crate) use poll::Pages;
pub use replay::{PacedReplay, Replay, ReplayRequest};
pub use request::{ConsumeRequest, ConsumeResponse, Ordering, ShardFailure, SlowReader, SubscribeRequest};
pub(crate) use source::NewBlocks;
pub use source::Start;
pub use subscription::{Batch, Batches, BlockingSubscription, EventBatch, Events, Subscription};
