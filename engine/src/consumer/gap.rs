//! Gaps: holes that a reader is told about.

use std::fmt;

use tapeline_storage::format::Sequence;

/// Events of one shard that a reader does not get, `from..to`. Reading goes on behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The shard.
    pub shard_id: u16,
    /// First sequence that is missing.
    pub from: Sequence,
    /// Sequence after the last that is missing.
    pub to: Sequence,
    /// Why.
    pub reason: GapReason,
}

/// Why events are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The log does not hold them any more.
    Trimmed,
    /// The reader fell behind, and wanted the latest events rather than all of them.
    Dropped,
    /// A block does not check; the words of [`ReadError`](tapeline_storage::read::ReadError) name segment and offset.
    Corrupt(String),
    /// The reader had seen them, or was told to stand behind them; they were above the durable watermark, and a crash
    /// took them. Events with the same sequences may follow: they are others.
    LostInCrash,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}: sequences {} to {}: {}", self.shard_id, self.from, self.to, self.reason)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trimmed => f.write_str("the log does not hold them any more"),
            Self::Dropped => f.write_str("dropped, because the reader fell behind"),
            Self::Corrupt(what) => write!(f, "unreadable: {what}"),
            Self::LostInCrash => f.write_str("lost in a crash before they were durable"),
        }
    }
}
