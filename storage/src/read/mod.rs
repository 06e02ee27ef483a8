//! Reading a log: blocks in memory, mapped segments, and the file of the active segment.
//!
//! A [`LogReader`] walks one shard in order. It hands out [`Block`]s, which hold on to what they show, and whose
//! records are borrowed views. Nothing is skipped silently: what is gone is a [`Gap`], what is damaged an error. A
//! [`FollowedShard`] is the log of another process, as it grows.

mod back;
mod block;
mod follow;
mod payload;
mod reader;
mod step;

pub use block::Block;
pub use follow::{CLOSE_LOOK, FollowedShard, Look};
pub use payload::PayloadReader;
pub use reader::{Loading, LogReader};
pub use step::{Gap, GapCause, ReadError, Step, Visibility};

use std::sync::Arc;

use crate::device::{Access, Directory};
use crate::format::LogShard;
use crate::log::{LogView, OpenError, Scan, scan};

/// Most looks at a directory that another process changes meanwhile.
const LOOKS: usize = 8;

/// Opens one shard of a log that another process may be writing, or has left. Changes nothing. The view ends where the
/// intact blocks ended at the time of the call. Returned with the largest timestamp in the log.
///
/// # Errors
/// [`OpenError`], as recovery would give it.
pub fn open_shard(directory: &Arc<dyn Directory>, shard: LogShard) -> Result<(Arc<LogView>, u64), OpenError> {
    let found = look_through(directory, shard)?;
    let (sequences, last_timestamp) = (found.gaps.trimmed()..found.end(), found.last_timestamp());
    let segments = found.segments.into_iter().map(|found| found.segment).collect();
    Ok((LogView::new(shard, sequences, segments, None), last_timestamp))
}

/// Scans a shard's directory that another process may be changing.
fn look_through(directory: &Arc<dyn Directory>, shard: LogShard) -> Result<Scan, OpenError> {
    let mut look = 1;
    loop {
        // A writer seals, renames and fills segments under our eyes; what was a contradiction is none a moment later.
        match scan(directory, shard, Access::Read) {
            Err(_) if look < LOOKS => look += 1,
            found => return found,
        }
    }
}
