//! The things that a reader gives: blocks, gaps, and errors that keep it from going on.

use std::io;

use super::block::Block;
use crate::device::advice;
use crate::format::{BlockError, Sequence};

/// Up to where a reader reads.
///
/// A subscription asks for it, as does a poll; a follower of files sees durable events alone.
///
/// ```
/// # use tapeline_storage::read::Visibility;
/// assert_eq!(Visibility::default(), Visibility::Appended);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Everything that is readable; what a crash may still take is included.
    #[default]
    Appended,
    /// Only records that are acknowledged at the log's level.
    Durable,
}

/// Sequences that a reader asked for and that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First sequence that is gone.
    pub from: Sequence,
    /// Sequence after the last one that is gone.
    pub to: Sequence,
    /// The reason for which they are missing.
    pub cause: GapCause,
}

/// The reason for which sequences are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapCause {
    /// They were trimmed.
    Trimmed,
    /// A repair of the log found them to be lost.
    Lost,
    /// Their block does not check.
    Damaged,
}

/// The next thing for a reader.
#[derive(Debug, Clone)]
pub enum Step {
    /// Records.
    Block(Block),
    /// Sequences that the log does not hold any more; the reader is after them.
    Gap(Gap),
    /// Nothing at present.
    End,
}

/// The reason for which a reader cannot go on.
///
/// ```
/// # use tapeline_storage::format::{BlockError, Sequence};
/// # use tapeline_storage::read::ReadError;
/// # let source = BlockError::Sequence { expected: Sequence::new(7), found: Sequence::new(9) };
/// let error = ReadError::Corrupt { shard_id: 0, segment: "00000000000000000000.seg".into(), offset: 4096, source };
/// assert!(error.to_string().starts_with("shard 0, segment 00000000000000000000.seg, offset 4096: "));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file system refused.
    #[error("shard {shard_id}, segment {segment}, offset {offset}: {source}{}", advice(source))]
    Io {
        /// The shard.
        shard_id: u16,
        /// File name of the segment.
        segment: String,
        /// Offset in the file.
        offset: u64,
        /// The kernel's error.
        source: io::Error,
    },
    /// A block does not check.
    #[error("shard {shard_id}, segment {segment}, offset {offset}: {source}")]
    Corrupt {
        /// The shard.
        shard_id: u16,
        /// File name of the segment.
        segment: String,
        /// Offset of the block.
        offset: u64,
        /// The fault of the block.
        source: BlockError,
    },
}
