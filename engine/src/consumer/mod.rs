//! Consumers: [`poll`] reads pages, [`Replay`] a session or a whole log in order, [`LogFiles`] a directory without a bus.
//!
//! All of them read through [`LogReader`](tapeline_storage::read::LogReader), from memory, mappings and files, and never
//! touch a producer or a lane.

mod cursor;
mod files;
mod filter;
mod page;
mod poll;
mod replay;

pub use files::{Damage, LogFiles, SegmentSummary, SessionSummary, Verification};
pub use filter::{CompiledFilter, Filter, FilterBuilder, FilterError, json_path_get};
pub(crate) use poll::poll;
pub use poll::{ConsumeRequest, ConsumeResponse, ShardGap};
pub use replay::Replay;
