//! Consumers: [`poll`] reads pages, [`Replay`] a session or a whole log in order, [`LogFiles`] a directory without a bus.
//!
//! All of them read through [`LogReader`](tapeline_storage::read::LogReader), from memory, mappings and files, and never
//! touch a producer or a lane.

mod cursor;
mod files;
mod filter;
mod gap;
mod named;
mod pacing;
mod page;
mod poll;
mod readers;
mod replay;
mod request;
mod selection;
mod source;
mod subscription;
mod sweep;
mod wait;

pub use cursor::CursorFault;
pub use files::{Damage, LogFiles, SegmentSummary, SessionSummary, Verification};
pub use filter::{CompiledFilter, Filter, FilterBuilder, FilterError, json_path_get};
pub use gap::{Gap, GapReason};
pub use named::NamedCursor;
pub(crate) use named::{list as list_cursors, save as save_cursor};
pub use pacing::{PacedReplay, Pacer, PacingError, ParseSpeedError, Speed};
pub(crate) use poll::poll;
pub(crate) use readers::Readers;
pub use replay::{Replay, ReplayRequest};
pub use request::{ConsumeRequest, ConsumeResponse, Ordering, ShardFailure, SlowReader, Start, SubscribeRequest};
pub use subscription::{BlockingSubscription, EventBatch, Events, Subscription};
