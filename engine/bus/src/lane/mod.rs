//! The lane: an SPSC queue of records from one producer to one shard, or from one shard to another: a chain of rings,
//! of which most often there is one.
//!
//! A ring is two rings of one memory: `bytes` holds the records, back to back and each contiguous; `lengths` holds one
//! `u16` entry per record, its length in units of 16 bytes. A record that does not fit before the end of the byte ring
//! starts at its beginning; an entry of length 0, a *skip*, sends the reader there. Lengths stand apart from the
//! records so that a shard moves a run of records without touching them one by one.
//!
//! A position in a lane is an *entry index*: u64 from 0, never wrapping, skips included. Four of them move forward
//! only: durable <= released <= freed <= published <= committed.
//!
//! | step | who | cost |
//! |---|---|---|
//! | [`LaneWriter::claim`], write, [`Claim::commit`] | producer | about 2 ns beside the writing |
//! | [`LaneWriter::publish`] | producer | one Release store for everything committed since the last |
//! | [`LaneReader::peek`] | shard | one cache miss per run, about 0.5 ns per entry |
//! | [`LaneReader::consume`], [`LaneReader::free`], [`LaneReader::release`] | shard | some stores per run |
//!
//! Neither side ever waits; a full lane is an answer, not a wait. Neither allocates or makes a system call, but where
//! the lane grows. Each side keeps its own copy of the other side's index and looks at the real one only when the copy
//! says "full" or "empty".
//!
//! A lane begins with a ring of [`LaneOptions::FIRST_BYTES`] and grows ([`growth`]): where its writer finds it full, or
//! goes round it in less than 100 ms, it goes on in a ring four times as large, up to the size that the lane was made
//! with, as far as the memory budget has it to spare. It never shrinks. The rules:
//!
//! 1. Entry indices and byte positions run on from ring to ring; each ring reckons its offsets from them by its own
//!    size. So watermarks, tickets, marks and statistics know nothing of rings.
//! 2. A ring ends at an entry index, which is `published` at the moment when the writer goes on: what is published is
//!    in the rings before, what is not yet published is copied into the new one. So whatever a writer takes back or
//!    repeats is in its last ring.
//! 3. The writer stores the next ring, then the end, then publishes; the reader loads `published`, then the end. So a
//!    reader that knows of an entry knows in which ring it is. It follows when its index has come to the end; the ring
//!    that it leaves is freed by the side that releases it last.
//! 4. A lane never holds more than `capacity_bytes` and `capacity_events` of its last ring, earlier rings included: the
//!    writer's limits are `freed` plus these, as if there were one ring.
//! 5. The writer of an evicting lane keeps the rings before its last until they are freed, and walks over their records
//!    when it gives them up; the reader, when it takes the hold, goes on in the ring that has the entry `freed`.
//!
//! An *evicting* lane lets its writer give up the oldest records that the reader is not copying (`evict`): then
//! durable, released and freed pass over entries that never reached the log, and the holder of a ticket asks the
//! writer.
//!
//! A *group* is published by [`LaneWriter::publish_group`] ([`groups`]): its reader stops before it, and takes all of
//! it at once.
//!
//! The ends of a lane: a writer that is dropped *abandons* the lane, and what it did not publish never was. A reader
//! that is dropped, or says so, *closes* it: nothing beyond [`LaneHandle::released`] will be read any more. A publish
//! that races a close may come too late; a producer that must know compares the two indices after the close.
//!
//! Two facts about the records ride beside them, each with its rules in one place: the route under which their
//! producer published them from an entry on (`crate::routing` has the invariant; the reader takes no records of a later
//! route than its shard's), and the time of the earliest record that was begun and is not published ([`mark`]).
//!
//! Not here: waiting, doorbells, whether an event that finds no room waits, is dropped or goes back, what a record is.
//! The lane keeps the book of the outcome ([`losses`]).

mod entry_position;
mod evict;
#[cfg(test)]
#[cfg(not(tapeline_loom))]
mod evict_tests;
mod groups;
mod growth;
#[cfg(test)]
#[cfg(not(tapeline_loom))]
mod growth_tests;
mod handle;
mod large_events;
#[cfg(test)]
#[cfg(tapeline_loom)]
mod loom_tests;
mod losses;
mod mark;
mod options;
mod reach;
mod reader;
mod ring;
mod room;
mod sync;
#[cfg(test)]
#[cfg(not(tapeline_loom))]
mod tests;
mod unstamped;
mod writer;

use std::io;
use std::sync::Arc as StdArc;

use tapeline_reader::{DropReason, Drops};

pub(crate) use growth::RingNeeded;
pub(crate) use handle::LaneHandle;
pub(crate) use mark::Publish;
pub(crate) use options::{LaneOptions, Overflow};
pub(crate) use reader::{LaneReader, RecordRun};
pub(crate) use unstamped::UNSTAMPED_MAX;
pub(crate) use writer::{Claim, LaneFull, LaneWriter};

use crate::core::budget::{MemoryBudget, MemoryShare};
use growth::Growth;
use handle::Numbers;
use ring::Ring;
use sync::Arc;

/// Bytes of one unit of a record's length, and the alignment of every record.
pub(crate) const UNIT_BYTES: usize = tapeline_storage::format::RECORD_ALIGN;

/// The memory of a lane.
#[derive(Debug)]
pub(crate) struct LaneMemory {
    /// For its first ring.
    pub(crate) first: MemoryShare,
    /// Of which its later rings take shares.
    pub(crate) budget: StdArc<MemoryBudget>,
}

/// Makes a lane of the producer of this number that may grow to `most`, and begins with a ring of the size of
/// [`LaneOptions::first`]. Some microseconds.
///
/// # Errors
/// `InvalidInput` for [`LaneOptions`] that are out of range, `OutOfMemory`.
pub(crate) fn lane(most: LaneOptions, producer: u64, memory: LaneMemory) -> io::Result<(LaneWriter, LaneReader)> {
    most.validate()?;
    begin(most.first(), most, producer, memory)
}

/// Makes a lane that begins with a ring of the size of `first`.
fn begin(
    first: LaneOptions,
    most: LaneOptions,
    producer: u64,
    memory: LaneMemory,
) -> io::Result<(LaneWriter, LaneReader)> {
    let ring = Arc::new(Ring::new(first, memory.first)?);
    let numbers = Arc::new(Numbers::new(first, most, producer));
    let growth = Growth::new(first, most, memory.budget);
    Ok((LaneWriter::new(Arc::clone(&ring), Arc::clone(&numbers), growth), LaneReader::new(ring, numbers)))
}

/// A lane of one ring.
#[cfg(test)]
pub(crate) fn fixed(options: LaneOptions) -> io::Result<(LaneWriter, LaneReader)> {
    options.validate()?;
    begin(options, options, 0, LaneMemory { first: MemoryShare::default(), budget: MemoryBudget::new(0) })
}
