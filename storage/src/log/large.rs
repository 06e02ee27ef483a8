//! A large event: one whose record does not fit beside others, and gets a block for itself.
//!
//! The producer's thread writes the record where the device will take it from, and sums it. So the shard's thread
//! neither copies nor reads it: it gives the record its time, and the block its place among the others.

use std::io;

use super::open_block::OpenBlock;
use crate::device::{BlockWriter, MemoryGuard};
use crate::format::{
    Checksum, Kind, LARGE_BLOCK_BYTES_MAX, RECORD_ROOT_BYTES, RecordHead, Sequence, SessionId, archive_in_place,
    archived_bytes, block_bytes, column_bytes, set_timestamp, timestamp_of,
};

/// A record with a block of its own, which has no time and no place yet.
#[derive(Debug)]
pub struct LargeBlock {
    writer: BlockWriter,
    record_bytes: usize,
    /// Of all of the record but its root, which has the time.
    checksum: Checksum,
}

impl LargeBlock {
    /// Bytes of memory that an event of so many bytes takes.
    pub const fn memory_bytes(payload_bytes: usize) -> usize {
        block_bytes(1, archived_bytes(payload_bytes)) + column_bytes(1).next_multiple_of(crate::format::PAGE_BYTES)
    }

    /// The record of an event whose payload `fill` writes into the zeros that it is given. `share` is dropped with the
    /// memory. Costs a page fault for each 4 KiB, and a pass of CRC-32C.
    ///
    /// # Errors
    /// The kernel's, where it has no memory; those of `fill`.
    ///
    /// # Panics
    /// If the payload is longer than [`PAYLOAD_BYTES_MAX`](crate::format::PAYLOAD_BYTES_MAX): a bug of the caller.
    pub fn new<E: From<io::Error>>(
        (session, kind): (SessionId, Kind),
        payload_bytes: usize,
        share: Box<dyn MemoryGuard>,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let record_bytes = archived_bytes(payload_bytes);
        assert!(block_bytes(1, record_bytes) <= LARGE_BLOCK_BYTES_MAX, "an event is longer than any block");
        let mut writer = BlockWriter::large(record_bytes, share)?;
        let record = writer.large_record(record_bytes);
        fill(&mut record[..payload_bytes])?;
        archive_in_place(RecordHead { session, timestamp: 0, kind }, payload_bytes, record);
        let mut checksum = Checksum::default();
        checksum.update(&record[..record_bytes - RECORD_ROOT_BYTES]);
        Ok(Self { writer, record_bytes, checksum })
    }

    /// The block of a record that is there already, which has its time.
    ///
    /// # Errors
    /// The kernel's, where it has no memory.
    pub(super) fn of_archive(archive: &[u8]) -> io::Result<Self> {
        let (mut writer, record_bytes) = (BlockWriter::large(archive.len(), Box::new(()))?, archive.len());
        writer.large_record(record_bytes).copy_from_slice(archive);
        let mut checksum = Checksum::default();
        checksum.update(&archive[..record_bytes - RECORD_ROOT_BYTES]);
        Ok(Self { writer, record_bytes, checksum })
    }

    /// The whole block, of an event at `sequence` that has the time it had.
    pub(super) fn place_again(mut self, sequence: Sequence) -> OpenBlock {
        let timestamp = timestamp_of(self.writer.large_record(self.record_bytes));
        self.place(sequence, timestamp, 0)
    }

    /// The whole block, of an event at `sequence` that has this time.
    pub(super) fn place(mut self, sequence: Sequence, timestamp: u64, now: u64) -> OpenBlock {
        let Self { record_bytes, checksum, .. } = self;
        set_timestamp(self.writer.large_record(record_bytes), timestamp);
        self.writer.start(sequence);
        self.writer.append_large(record_bytes);
        self.writer.set_times(timestamp, timestamp);
        OpenBlock::large(self.writer, timestamp, now, (checksum, record_bytes - RECORD_ROOT_BYTES))
    }

    /// The block as the device would get it, the first of a segment whose header's checksum is 0.
    #[cfg(test)]
    pub(crate) fn finished(self, sequence: Sequence, timestamp: u64, epoch: crate::format::Epoch) -> Vec<u8> {
        let mut block = self.place(sequence, timestamp, 0);
        let header = block.finish(epoch, 0, sequence);
        block.writer.memory().closed_bytes(header.block_bytes as usize).to_vec()
    }

    /// Bytes of the record.
    pub fn record_bytes(&self) -> usize {
        self.record_bytes
    }
}
