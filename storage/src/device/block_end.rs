//! The end of a block: its checksum, and the header in front of it.

use super::BlockWriter;
use crate::format::{BlockHeader, Checksum, Epoch, Sequence};

/// The facts in the header of a block that its records do not give.
#[derive(Debug, Clone, Copy)]
pub struct BlockEnd {
    /// Epoch of its segment.
    pub epoch: Epoch,
    /// Checksum of the header before it: a block's, or the segment's.
    pub previous_crc: u32,
    /// The smallest and the largest time of its records.
    pub times: (u64, u64),
    /// The sequence below which everything was known to be durable.
    pub durable: Sequence,
}

impl BlockWriter {
    /// The checksum of the records so far.
    pub fn records_sum(&self) -> Checksum {
        let mut sum = Checksum::default();
        sum.update(self.appended(0, self.records_bytes()));
        sum
    }

    /// Closes the block and puts its header in front. `sum` is that of its records.
    pub fn finish(&mut self, end: BlockEnd, mut sum: Checksum) -> BlockHeader {
        let block_bytes = self.close();
        sum.update(self.closed_tail(block_bytes));
        let header = BlockHeader {
            header_crc: 0,
            body_crc: sum.finish(end.epoch),
            epoch: end.epoch,
            first_sequence: self.memory().first_sequence(),
            count: self.count() as u32,
            block_bytes: block_bytes as u32,
            records_bytes: self.records_bytes() as u32,
            previous_crc: end.previous_crc,
            first_timestamp: end.times.0,
            last_timestamp: end.times.1,
            durable_sequence: end.durable,
        };
        let header_crc = header.encode(self.header_mut());
        BlockHeader { header_crc, ..header }
    }
}
