//! Settings of a log.

use super::BatchOptions;
use crate::device::BlockMemory;
use crate::format::{BLOCK_BYTES_MAX, LogShard, PAGE_BYTES, archived_bytes, block_bytes};

/// The failures that an acknowledged event survives.
///
/// ```
/// # use tapeline_storage::log::Durability;
/// assert_eq!(Durability::default(), Durability::Durable);
/// assert_eq!(Durability::PageCache.to_string(), "page-cache");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing: events live in this process, in a bounded budget. No file.
    Memory,
    /// The end of the process, not of the machine: written to the page cache.
    PageCache,
    /// The end of the machine: O_DIRECT and O_DSYNC where there are, acknowledged by the device.
    #[default]
    Durable,
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::PageCache => "page-cache",
            Self::Durable => "durable",
        })
    }
}

/// The memory that one shard's log may take.
#[derive(Debug, Clone, Copy)]
pub struct LogMemory {
    /// Blocks: those being filled and written, and the most recent ones for readers. At least 4. At level `Memory` they
    /// are all the log there is.
    pub blocks: usize,
    /// Most bytes for the index of the active segment's sessions; 0 for none.
    pub index_bytes: usize,
    /// Most bytes for windows of the active segment's file, which readers read. The log reads a window that a reader
    /// waits for also where this is used up.
    pub window_bytes: usize,
}

impl LogMemory {
    /// Default of `index_bytes`: 8 MiB, for some 50,000 sessions, or for 64 sessions with 1.5 million events.
    pub const INDEX_BYTES: usize = 8 << 20;

    /// Default of `window_bytes`: 8 MiB.
    pub const WINDOW_BYTES: usize = 8 << 20;
}

impl Default for LogMemory {
    fn default() -> Self {
        Self { blocks: 16, index_bytes: Self::INDEX_BYTES, window_bytes: Self::WINDOW_BYTES }
    }
}

/// Settings of one shard's log. Times are nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// The shard.
    pub shard: LogShard,
    /// Size of a segment file in bytes while it is written; made to hold at least one block of `block_bytes`.
    pub segment_bytes: u64,
    /// Largest block in bytes: a multiple of a page, at most [`BLOCK_BYTES_MAX`]. Bounds the largest record.
    pub block_bytes: usize,
    /// Longest payload in bytes of an event that has a block for itself; 0 for none. A segment of
    /// full length has room for its block.
    pub large_payload_bytes_max: usize,
    /// Limits of a block in events and in time: the oldest event has its block committed when its time is over.
    pub batch: BatchOptions,
    /// The memory that the log may take.
    pub memory: LogMemory,
    /// Seed of the random segment epochs.
    pub seed: u64,
    /// The failures that a write survives once the device driver has completed it: the level that the driver and the
    /// directory were opened for.
    pub durability: Durability,
    /// A sealed segment is rewritten with full blocks if that saves so many bytes, and half of what it takes.
    pub repack_saves_bytes: u64,
}

impl LogOptions {
    /// Default size of a segment file.
    pub const SEGMENT_BYTES: u64 = 256 << 20;

    /// Time from a full disk, or another error that passes, to the next attempt: 100 ms.
    pub const FULL_RETRY_NS: u64 = 100_000_000;

    /// Time from an error that passes to the next attempt to index a segment: 10 s, since it reads all of it.
    pub const TIDY_RETRY_NS: u64 = 10_000_000_000;

    /// Longest time for which a log that closes goes on after errors that pass, in nanoseconds.
    pub const CLOSE_PATIENCE_NS: u64 = 2_000_000_000;

    /// Time without a block that waits for the device, after which segments get their indexes: 100 ms.
    pub const CALM_NS: u64 = 100_000_000;

    /// Longest time for which a log that closes goes on giving segments their indexes, in nanoseconds.
    pub const CLOSE_TIDYING_NS: u64 = 2_000_000_000;

    /// Least bytes that a rewritten segment saves: 64 KiB.
    pub const REPACK_SAVES_BYTES: u64 = 64 << 10;

    /// Memory that `blocks` blocks take, in bytes.
    pub const fn memory_bytes(blocks: usize) -> usize {
        blocks * BlockMemory::BLOCK_BYTES
    }

    /// Length of a new segment file.
    pub(super) fn segment_length(&self) -> u64 {
        let large = match self.large_payload_bytes_max {
            0 => 0,
            bytes => block_bytes(1, archived_bytes(bytes)),
        };
        let least = self.segment_length_min().max((large + 2 * PAGE_BYTES) as u64);
        self.segment_bytes.max(least).next_multiple_of(PAGE_BYTES as u64)
    }

    /// The least that it can be: header, one block, footer.
    pub(super) fn segment_length_min(&self) -> u64 {
        (self.block_bytes.next_multiple_of(PAGE_BYTES) + 2 * PAGE_BYTES) as u64
    }

    /// Settings with the defaults.
    pub fn new(shard: LogShard, seed: u64) -> Self {
        Self {
            shard,
            segment_bytes: Self::SEGMENT_BYTES,
            block_bytes: BLOCK_BYTES_MAX,
            large_payload_bytes_max: 0,
            batch: BatchOptions::default(),
            memory: LogMemory::default(),
            seed,
            durability: Durability::Durable,
            repack_saves_bytes: Self::REPACK_SAVES_BYTES,
        }
    }
}
