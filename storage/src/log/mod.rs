//! The log of one shard: append, group commit, roll, seal, recover.
//!
//! Reading order: [`Log`] (append and commit), `pipeline` (closed blocks on their way to the device, the durable
//! watermark), `roll` (segments that end and begin), [`Chore`] (what of that blocks, and so runs elsewhere),
//! [`LogView`] (what readers on other threads see), `scan` and `recover` (what is found after a stop),
//! [`LogDirectory`] (the directory that holds the shards' logs).
//!
//! A failed write or sync is final: the log is poisoned with the first error, the durable watermark never passes the
//! failed block, nothing is retried. What passes is waited for: a full disk, and descriptors or memory that have run
//! out ([`Trouble`]).

mod active;
mod active_segment;
mod append;
mod batching;
mod blocks;
mod chore;
mod commits;
mod dense;
mod directory;
mod ending;
mod error;
mod files;
mod gaps;
mod group_commit;
mod health;
mod in_flight;
mod large;
mod lending;
mod memory_tail;
mod merge;
mod names;
mod next_segment;
mod open_block;
mod options;
mod outage;
mod permit;
mod pipeline;
mod places;
mod pool;
mod queue;
mod recent_large;
mod recover;
mod refused;
mod repair;
mod restore;
mod rewrite;
mod roll;
mod room;
mod run;
mod scan;
mod sealed;
mod seek;
mod segment;
mod segment_list;
mod span;
mod survey;
#[cfg(test)]
mod tests;
mod tidier;
mod tidy;
mod trim;
mod trouble;
mod view;
mod watermarks;
mod windows;

pub use active::{ActiveSession, ActiveSessions};
pub use append::Log;
pub use batching::{BatchOptions, BatchTarget};
pub use chore::{Chore, ChoreDone, ChoreLabel};
pub use directory::{DirectoryError, LogDirectory};
pub(crate) use ending::read_footer;
pub use error::OpenError;
pub(crate) use files::{SealedFile, SegmentFiles};
pub use group_commit::Urgency;
pub use health::Poison;
pub use large::LargeBlock;
pub use lending::LentBlock;
pub(crate) use names::SPARE_NAME;
pub use options::{Durability, LogMemory, LogOptions};
pub use places::BlockPlace;
pub use recover::{Cut, Recovered, recover};
pub use repair::{RepairAction, SurveyedFile, plan_shard_repair, repair_shard, survey_shard};
pub use restore::{RestoreError, ShardRestore};
pub use run::{Expired, Position, Run};
pub(crate) use scan::begin_segment;
pub use scan::{FoundSegment, Scan, scan};
pub(crate) use sealed::SealedMap;
pub use seek::SessionSeek;
pub use segment::Segment;
pub use span::{Grain, Span};
pub use survey::{DamagedPlace, SegmentSurvey, Stretch, Surveyor};
pub use trim::trim_at_rest;
pub use trouble::Trouble;
pub use view::LogView;
pub use watermarks::Watermarks;
pub(crate) use windows::{BlockIn, Load, Sought, Window};
pub use windows::{LoadJob, Loader};
