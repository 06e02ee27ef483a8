//! Errors of opening a shard's directory.

use std::io;

use crate::device::advice;
use crate::format::{BlockError, LogId, PageError, Sequence, sequences};

/// The reason for which a shard's directory cannot be opened. Nothing was changed.
///
/// ```
/// # use tapeline_storage::log::OpenError;
/// fn advice(error: &OpenError) -> &'static str {
///     match error {
///         OpenError::Io { .. } => "the log may be intact: mend what the kernel says",
///         OpenError::Missing { .. } => "bring the file back",
///         _ => "tapeline repair",
///     }
/// }
/// assert_eq!(advice(&OpenError::NoGaps { path: "shard-0000/gaps".into() }), "tapeline repair");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file system refused.
    #[error("{operation} {path}: {source}{}", advice(source))]
    Io {
        /// The call that failed.
        operation: &'static str,
        /// On what.
        path: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A file whose name is like a segment's but is none.
    #[error("{path}: not a segment name; move the file out of the log's directory")]
    ForeignName {
        /// The file.
        path: String,
    },
    /// A segment whose header page cannot be used.
    #[error("{path}: segment header: {source}; {}", source.remedy("put back the file from a copy of this log, or repair the log"))]
    Header {
        /// The file.
        path: String,
        /// The fault of the page.
        source: PageError,
    },
    /// A segment of another log or shard.
    #[error("{path}: belongs to log {log_id}, shard {shard_id}; move it out of this log's directory")]
    ForeignSegment {
        /// The file.
        path: String,
        /// The log it belongs to.
        log_id: LogId,
        /// The shard it belongs to.
        shard_id: u16,
    },
    /// A segment under another name than its own: renamed or copied.
    #[error("{path}: holds sequences from {base}; rename it back, or remove the copy")]
    Renamed {
        /// The file.
        path: String,
        /// The base sequence that its header states.
        base: Sequence,
    },
    /// The file of the shard's gaps cannot be used.
    #[error(
        "{path}: {source}; {}",
        source.remedy("put back the file from a copy of this log, or repair the log: then what was trimmed counts as lost")
    )]
    Gaps {
        /// The file.
        path: String,
        /// The fault of the page.
        source: PageError,
    },
    /// The file of the shard's gaps is missing.
    #[error(
        "{path}: the file is missing, and its shard has segments; put it back from a copy of this log, or repair the log: then what was trimmed counts as lost"
    )]
    NoGaps {
        /// The file.
        path: String,
    },
    /// Sequences between two segments, or before the first, are in no file.
    #[error("{path}: missing: {}; put the segment back, or repair the log", sequences(*from, *to))]
    Missing {
        /// The shard's directory.
        path: String,
        /// First missing sequence.
        from: Sequence,
        /// Sequence after the last missing one.
        to: Sequence,
    },
    /// Two segments hold the same sequences.
    #[error("{path}: starts at sequence {base}, but the segment before it ends at {end}; remove the copy")]
    Overlap {
        /// The later file.
        path: String,
        /// Its base sequence.
        base: Sequence,
        /// End of the segment before it.
        end: Sequence,
    },
    /// A segment that is not sealed has lost its end.
    #[error(
        "{path}: cut short to {length} of {stated} bytes; events from sequence {sequence} on may be lost; put back the file from a copy of this log, or repair the log"
    )]
    CutShort {
        /// The file.
        path: String,
        /// Its length in bytes.
        length: u64,
        /// The length that its header states.
        stated: u64,
        /// Sequence after its last intact event.
        sequence: Sequence,
    },
    /// Acknowledged data is damaged.
    #[error("{path}, offset {offset}: {source}; acknowledged data is damaged from sequence {sequence} on")]
    Corrupt {
        /// The file.
        path: String,
        /// Offset of the block that does not check.
        offset: u64,
        /// Sequence that the block should start with.
        sequence: Sequence,
        /// The fault of the block.
        source: BlockError,
    },
}

impl OpenError {
    /// A refusal of the file system.
    pub(crate) fn io(operation: &'static str, path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}
