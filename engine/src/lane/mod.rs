//! The lane: an SPSC byte ring from one producer to one shard, or from one shard to another.
//!
//! Two rings of one memory: `bytes` holds the records, back to back and each contiguous; `lengths` holds one `u16`
//! entry per record, its length in units of 16 bytes. A record that does not fit before the end of the byte ring starts
//! at its beginning; an entry of length 0, a *skip*, tells the reader so. Lengths stand apart from the records so that
//! a shard moves a run of records without touching them one by one.
//!
//! A place in a lane is an *entry index*: u64 from 0, never wrapping, skips included. Four of them move forward only:
//! durable <= released <= freed <= published <= committed.
//!
//! | step | who | cost |
//! |---|---|---|
//! | [`LaneWriter::claim`], write, [`Claim::commit`] | producer | about 2 ns beside the writing |
//! | [`LaneWriter::publish`] | producer | one Release store for everything committed since the last |
//! | [`LaneReader::peek`] | shard | one cache miss per run, about 0.5 ns per entry |
//! | [`LaneReader::consume`], [`LaneReader::free`], [`LaneReader::release`] | shard | some stores per run |
//!
//! Neither side ever waits, allocates or makes a system call; a full lane is an answer, not a wait. Each side keeps its
//! own copy of the other side's index and looks at the real one only when the copy says "full" or "empty".
//!
//! An *evicting* lane lets its writer give up the oldest records that the reader is not copying (`evict`, `hold`): then
//! durable, released and freed pass over entries that never reached the log, and whoever holds a ticket asks the writer.
//!
//! What happens at the ends: a writer that is dropped *abandons* the lane, and what it did not publish never was. A
//! reader that is dropped, or says so, *closes* it: nothing beyond [`LaneHandle::released`] will be read any more. A
//! publish that races a close may come too late; whoever must know compares the two indices after the close.
//!
//! Not here: waiting, doorbells, what a full lane means for an event, what a record is.

mod drops;
mod evict;
#[cfg(test)]
#[cfg(not(tapeline_loom))]
mod evict_tests;
mod handle;
mod hold;
#[cfg(test)]
#[cfg(tapeline_loom)]
mod loom_tests;
mod options;
mod reader;
mod ring;
mod sync;
#[cfg(test)]
#[cfg(not(tapeline_loom))]
mod tests;
mod writer;

use std::io;

pub use drops::{DropReason, Drops};
pub(crate) use handle::LaneHandle;
pub(crate) use options::{LaneOptions, Overflow};
pub(crate) use reader::LaneReader;
pub(crate) use writer::{Claim, LaneFull, LaneWriter};

use crate::budget::MemoryShare;
use handle::Numbers;
use ring::Ring;
use sync::Arc;

/// Bytes of one unit of a record's length, and the alignment of every record.
pub(crate) const UNIT_BYTES: usize = tapeline_storage::format::RECORD_ALIGN;

/// Makes a lane of the producer of this number, which gives `memory` back when both ends are gone. Maps and touches its memory, so that ingest meets no page fault: about 1 ms per MiB.
///
/// # Errors
/// `InvalidInput` for [`LaneOptions`] that are out of range, else the kernel's, when it has no memory.
pub(crate) fn lane(options: LaneOptions, producer: u64, memory: MemoryShare) -> io::Result<(LaneWriter, LaneReader)> {
    options.validate()?;
    let ring = Arc::new(Ring::new(options, memory)?);
    let numbers = Arc::new(Numbers::new(options, producer));
    Ok((LaneWriter::new(Arc::clone(&ring), Arc::clone(&numbers)), LaneReader::new(ring, numbers)))
}
