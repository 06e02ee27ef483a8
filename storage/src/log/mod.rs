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

mod append;
mod batching;
mod blocks;
mod chore;
mod directory;
mod files;
mod gaps;
mod lending;
mod merge;
mod options;
mod permit;
mod pipeline;
mod places;
mod pool;
mod queue;
mod recover;
mod repair;
mod restore;
mod rewrite;
mod roll;
mod run;
mod scan;
mod seal;
mod sealed;
mod seek;
mod segment;
mod span;
mod survey;
#[cfg(test)]
mod tests;
mod tidier;
mod trim;
mod trouble;
mod view;

pub use append::Log;
pub use batching::{BatchOptions, BatchTarget};
pub use chore::{Chore, ChoreDone, ChoreLabel};
pub use directory::{DirectoryError, LogDirectory};
pub(crate) use files::{SealedFile, SegmentFiles};
pub use lending::LentBlock;
pub use options::{Durability, LogOptions};
pub use recover::{Cut, Recovered, recover};
pub use repair::{RepairAction, SurveyedFile, plan_shard_repair, repair_shard, survey_shard};
pub use restore::{RestoreError, ShardRestore};
pub(crate) use roll::SPARE_NAME;
pub use run::{Expired, Place, Run};
pub use scan::{FoundSegment, OpenError, Scan, scan};
pub(crate) use scan::{begin_segment, read_footer};
pub(crate) use sealed::SealedMap;
pub use seek::SessionSeek;
pub use segment::{BlockPlace, Segment};
pub use span::{Grain, Span};
pub use survey::{DamagedPlace, SegmentSurvey, Stretch, Surveyor};
pub use trim::trim_at_rest;
pub use trouble::Trouble;
pub use view::{LogView, Poison, Watermarks};
