//! Damage: what of a log cannot be read.

use std::fmt;

use tapeline_storage::log::{DirectoryError, OpenError};

/// A place that does not check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The shard.
    pub shard_id: u16,
    /// File name of the segment, or the path of what cannot be opened.
    pub segment: String,
    /// Offset in the file.
    pub offset: u64,
    /// The fault.
    pub reason: String,
}

impl Damage {
    pub(crate) fn of_open(shard: u16, error: &OpenError) -> Self {
        match error {
            OpenError::Corrupt { path, offset, .. } => {
                Self { shard_id: shard, segment: path.clone(), offset: *offset, reason: error.to_string() }
            }
            OpenError::CutShort { path, length, .. } => {
                Self { shard_id: shard, segment: path.clone(), offset: *length, reason: error.to_string() }
            }
            OpenError::Header { path, .. }
            | OpenError::ForeignName { path }
            | OpenError::ForeignSegment { path, .. }
            | OpenError::Renamed { path, .. }
            | OpenError::Missing { path, .. }
            | OpenError::Overlap { path, .. }
            | OpenError::Gaps { path, .. }
            | OpenError::Io { path, .. } => {
                Self { shard_id: shard, segment: path.clone(), offset: 0, reason: error.to_string() }
            }
            other => Self { shard_id: shard, segment: String::new(), offset: 0, reason: other.to_string() },
        }
    }

    pub(crate) fn of_directory(shard: u16, error: &DirectoryError) -> Self {
        Self { shard_id: shard, segment: format!("shard-{shard:04}"), offset: 0, reason: error.to_string() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
