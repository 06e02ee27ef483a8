//! The open block: records and their checksum, until the block is closed.

use crate::device::{BlockEnd, BlockWriter};
use crate::format::{BlockHeader, Checksum, Epoch, RECORD_ALIGN, Sequence, timestamp_of};

/// Bytes summed at a time: large enough to reach the checksum's speed, small enough to be still in the first cache.
const SUM_BYTES: usize = 16 << 10;

/// The block that is being filled.
#[derive(Debug)]
pub(super) struct OpenBlock {
    pub(super) writer: BlockWriter,
    pub(super) first_timestamp: u64,
    pub(super) last_timestamp: u64,
    pub(super) opened_at: u64,
    checksum: Option<Checksum>,
    /// Record bytes that the checksum covers.
    summed: usize,
}

impl OpenBlock {
    /// A block that is written to a file.
    pub(super) fn new(writer: BlockWriter, opened_at: u64) -> Self {
        Self { checksum: Some(Checksum::default()), ..Self::in_memory(writer, opened_at) }
    }

    /// A block that stays in memory: without a checksum.
    pub(super) fn in_memory(writer: BlockWriter, opened_at: u64) -> Self {
        Self { writer, first_timestamp: u64::MAX, last_timestamp: 0, opened_at, checksum: None, summed: 0 }
    }

    /// A block of one record, of which so many bytes are summed.
    pub(super) fn large(
        writer: BlockWriter,
        timestamp: u64,
        opened_at: u64,
        (checksum, summed): (Checksum, usize),
    ) -> Self {
        let (first_timestamp, last_timestamp) = (timestamp, timestamp);
        Self { writer, first_timestamp, last_timestamp, opened_at, checksum: Some(checksum), summed }
    }

    /// Copies a run in, which fits.
    pub(super) fn append(&mut self, records: &[u8], lengths: &[u16]) {
        // A run comes from one producer, whose timestamps rise: its ends are its extremes.
        let (Some(&first), Some(&last)) = (lengths.first(), lengths.last()) else { return };
        let first = &records[..usize::from(first) * RECORD_ALIGN];
        let last = &records[records.len() - usize::from(last) * RECORD_ALIGN..];
        self.first_timestamp = self.first_timestamp.min(timestamp_of(first));
        self.last_timestamp = self.last_timestamp.max(timestamp_of(last));
        self.writer.append(records, lengths);
        self.writer.set_times(self.first_timestamp, self.last_timestamp);
        if self.writer.records_bytes() - self.summed >= SUM_BYTES {
            self.sum();
        }
    }

    /// Sums what was appended since the last time.
    fn sum(&mut self) {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(self.writer.appended(self.summed, self.writer.records_bytes()));
            self.summed = self.writer.records_bytes();
        }
    }

    /// Sequence after the last record.
    pub(super) fn end_sequence(&self) -> Sequence {
        self.writer.memory().first_sequence().plus(self.writer.count() as u64)
    }

    /// Bytes that the block takes on disk.
    pub(super) fn block_bytes(&self) -> usize {
        crate::format::block_bytes(self.writer.count(), self.writer.records_bytes())
    }

    /// Closes the block and puts its header in front. It follows the block of which `previous_crc` is the header's
    /// checksum; everything below `durable` was known to be durable.
    pub(super) fn finish(&mut self, epoch: Epoch, previous_crc: u32, durable: Sequence) -> BlockHeader {
        self.sum();
        let times = (self.first_timestamp, self.last_timestamp);
        let sum = self.checksum.take().unwrap_or_default();
        self.writer.finish(BlockEnd { epoch, previous_crc, times, durable }, sum)
    }
}
