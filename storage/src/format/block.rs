//! The block: one group commit, written exactly once.
//!
//! ```text
//! 0               header, 80 bytes
//! 80              records, each a multiple of 16 bytes
//! 80 + records    length column: u16 per record, its length in units of 16 bytes
//! ...             zero padding to a multiple of 4096
//! ```
//! Lengths stand in a column of their own so that a reader knows where every record lies without touching the records,
//! and a writer copies runs of records without looking into them.
//!
//! A large block is longer than 1 MiB and has one record, whose length does not fit the column: [`LARGE_UNITS`] stands
//! there. A block counts as a whole or not at all, so an event of any size does, too.

use super::bytes::{get, get_u32, get_u64, put};
use super::checksum::{Checksum, crc32c};
use super::counted::counted;
use super::{
    BLOCK_BYTES_MAX, Epoch, LARGE_BLOCK_BYTES_MAX, PAGE_BYTES, PageError, RECORD_ALIGN, RecordError, RecordView,
    SEQUENCE_MAX, SHARED_PAYLOAD_BYTES_MAX, Sequence, archived_bytes, prefetch,
};

/// First bytes of every block.
pub const BLOCK_MAGIC: [u8; 8] = *b"TAPEBLK1";

/// Bytes of a block header.
pub const BLOCK_HEADER_BYTES: usize = 80;

const _: () = assert!(BLOCK_HEADER_BYTES.is_multiple_of(RECORD_ALIGN));

const HEADER_CRC: usize = 8;
const BODY_CRC: usize = 12;
const EPOCH: usize = 16;
const FIRST_SEQUENCE: usize = 24;
const COUNT: usize = 32;
const BLOCK_BYTES: usize = 36;
const RECORDS_BYTES: usize = 40;
const PREVIOUS_CRC: usize = 44;
const FIRST_TIMESTAMP: usize = 48;
const LAST_TIMESTAMP: usize = 56;
const DURABLE_SEQUENCE: usize = 64;
const RESERVED: usize = 72;

/// The entry in the length column of the one record of a large block, which takes all of the records' bytes.
pub const LARGE_UNITS: u16 = 0;

/// The longest archive whose length the column states.
const SHARED_RECORD_BYTES_MAX: usize = archived_bytes(SHARED_PAYLOAD_BYTES_MAX);

/// The entry in the length column of a record of so many bytes.
pub const fn units_of(record_bytes: usize) -> u16 {
    if record_bytes > SHARED_RECORD_BYTES_MAX { LARGE_UNITS } else { (record_bytes / RECORD_ALIGN) as u16 }
}

/// Bytes of the length column of `count` records.
pub const fn column_bytes(count: usize) -> usize {
    count * size_of::<u16>()
}

/// Bytes of a block of `count` records with `records_bytes` bytes, padding included.
pub const fn block_bytes(count: usize, records_bytes: usize) -> usize {
    (BLOCK_HEADER_BYTES + records_bytes + column_bytes(count)).next_multiple_of(PAGE_BYTES)
}

/// Header of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// CRC-32C of the header itself; links the next block to this one.
    pub header_crc: u32,
    /// CRC-32C of everything after the header, then the epoch.
    pub body_crc: u32,
    /// Epoch of the segment.
    pub epoch: Epoch,
    /// Sequence of the first record.
    pub first_sequence: Sequence,
    /// Records in the block, at least 1.
    pub count: u32,
    /// Bytes of the block, header and padding included: a multiple of [`PAGE_BYTES`].
    pub block_bytes: u32,
    /// Bytes of the records.
    pub records_bytes: u32,
    /// Header checksum of the previous block of the segment, or of the segment header.
    pub previous_crc: u32,
    /// Smallest timestamp in the block.
    pub first_timestamp: u64,
    /// Largest timestamp in the block.
    pub last_timestamp: u64,
    /// Durable watermark of the shard that was known when the block was written.
    pub durable_sequence: Sequence,
}

impl BlockHeader {
    /// Sequence after the last record.
    pub fn end_sequence(&self) -> Sequence {
        self.first_sequence.plus(u64::from(self.count))
    }

    /// Writes the header into the first bytes of `block`, computes its checksum, and returns it.
    ///
    /// # Panics
    /// If `block` is shorter than a header.
    pub fn encode(&self, block: &mut [u8]) -> u32 {
        let header = &mut block[..BLOCK_HEADER_BYTES];
        put(header, 0, BLOCK_MAGIC);
        put(header, BODY_CRC, self.body_crc.to_le_bytes());
        put(header, EPOCH, self.epoch.get().to_le_bytes());
        put(header, FIRST_SEQUENCE, self.first_sequence.get().to_le_bytes());
        put(header, COUNT, self.count.to_le_bytes());
        put(header, BLOCK_BYTES, self.block_bytes.to_le_bytes());
        put(header, RECORDS_BYTES, self.records_bytes.to_le_bytes());
        put(header, PREVIOUS_CRC, self.previous_crc.to_le_bytes());
        put(header, FIRST_TIMESTAMP, self.first_timestamp.to_le_bytes());
        put(header, LAST_TIMESTAMP, self.last_timestamp.to_le_bytes());
        put(header, DURABLE_SEQUENCE, self.durable_sequence.get().to_le_bytes());
        put(header, RESERVED, [0; 8]);
        let crc = crc32c(&header[BODY_CRC..]);
        put(header, HEADER_CRC, crc.to_le_bytes());
        crc
    }

    /// Reads and checks a header: magic, checksum, and that its lengths belong together.
    ///
    /// # Errors
    /// [`PageError`] naming what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let Some(header) = bytes.get(..BLOCK_HEADER_BYTES) else {
            return Err(PageError::Short { needed: BLOCK_HEADER_BYTES, found: bytes.len() });
        };
        let magic = get(header, 0);
        if magic != BLOCK_MAGIC {
            return Err(PageError::Magic { expected: BLOCK_MAGIC, found: magic });
        }
        let (expected, found) = (crc32c(&header[BODY_CRC..]), get_u32(header, HEADER_CRC));
        if expected != found {
            return Err(PageError::Checksum { expected, found });
        }
        Self {
            header_crc: found,
            body_crc: get_u32(header, BODY_CRC),
            epoch: Epoch::new(get_u64(header, EPOCH)),
            first_sequence: Sequence::new(get_u64(header, FIRST_SEQUENCE)),
            count: get_u32(header, COUNT),
            block_bytes: get_u32(header, BLOCK_BYTES),
            records_bytes: get_u32(header, RECORDS_BYTES),
            previous_crc: get_u32(header, PREVIOUS_CRC),
            first_timestamp: get_u64(header, FIRST_TIMESTAMP),
            last_timestamp: get_u64(header, LAST_TIMESTAMP),
            durable_sequence: Sequence::new(get_u64(header, DURABLE_SEQUENCE)),
        }
        .plausible(get_u64(header, RESERVED))
    }

    fn plausible(self, reserved: u64) -> Result<Self, PageError> {
        let block = self.block_bytes as usize;
        let filled =
            BLOCK_HEADER_BYTES as u64 + u64::from(self.records_bytes) + u64::from(self.count) * size_of::<u16>() as u64;
        let field = |field, found| Err(PageError::Field { field, found });
        if reserved != 0 {
            return field("reserved", reserved);
        }
        let block_bytes_max = if self.count == 1 { LARGE_BLOCK_BYTES_MAX } else { BLOCK_BYTES_MAX };
        if block == 0 || !block.is_multiple_of(PAGE_BYTES) || block > block_bytes_max {
            return field("block_bytes", block as u64);
        }
        if self.count == 0 || filled.next_multiple_of(PAGE_BYTES as u64) != block as u64 {
            return field("count", u64::from(self.count));
        }
        if !self.records_bytes.is_multiple_of(RECORD_ALIGN as u32) {
            return field("records_bytes", u64::from(self.records_bytes));
        }
        let end = self.first_sequence.get().checked_add(u64::from(self.count));
        if end.is_none_or(|end| end > SEQUENCE_MAX.get()) {
            return field("first_sequence", self.first_sequence.get());
        }
        if self.durable_sequence > SEQUENCE_MAX {
            return field("durable_sequence", self.durable_sequence.get());
        }
        Ok(self)
    }
}

/// The fault of bytes that are not a whole block.
///
/// ```
/// # use tapeline_storage::format::{BlockError, BlockView, Epoch};
/// assert!(matches!(BlockView::check(b"no block", Epoch::new(1)), Err(BlockError::Header(_))));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The header cannot be used.
    #[error("block header: {0}")]
    Header(#[from] PageError),
    /// The block belongs to another segment: stale bytes of a reused file.
    #[error("block of epoch {found}, the segment has {expected}")]
    Epoch {
        /// The segment's epoch.
        expected: Epoch,
        /// The block's epoch.
        found: Epoch,
    },
    /// The body does not match its checksum.
    #[error("block body: checksum is {found:#010x}, computed {expected:#010x}")]
    Body {
        /// Checksum computed over the bytes.
        expected: u32,
        /// Checksum stored in the header.
        found: u32,
    },
    /// The block does not follow the one before it.
    #[error("block starts at sequence {found}, expected {expected}")]
    Sequence {
        /// Sequence that follows the previous block.
        expected: Sequence,
        /// Sequence in the header.
        found: Sequence,
    },
    /// The block follows another block than the one before it.
    #[error("block links to {found:#010x}, the block before it is {expected:#010x}")]
    Link {
        /// Header checksum of the previous block.
        expected: u32,
        /// Checksum that this block links to.
        found: u32,
    },
    /// The length column does not describe the records.
    #[error("length column covers {column} bytes, the records have {records}")]
    Column {
        /// Sum of the column in bytes.
        column: u64,
        /// Bytes of the records.
        records: u32,
    },
    /// Fewer bytes than the header states.
    #[error("block of {needed} bytes ends after {}", counted(*found as u64, "byte"))]
    Short {
        /// Bytes of the block.
        needed: usize,
        /// Bytes that were there.
        found: usize,
    },
}

/// A whole, checked block, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct BlockView<'a> {
    header: BlockHeader,
    bytes: &'a [u8],
}

impl<'a> BlockView<'a> {
    /// Checks the header, the body's checksum and the length column. Costs one pass of CRC-32C.
    ///
    /// # Errors
    /// [`BlockError`] naming what is wrong.
    pub fn check(bytes: &'a [u8], epoch: Epoch) -> Result<Self, BlockError> {
        let view = Self::of_checked(bytes, epoch)?;
        let mut checksum = Checksum::default();
        checksum.update(&view.bytes[BLOCK_HEADER_BYTES..]);
        let expected = checksum.finish(epoch);
        if expected != view.header.body_crc {
            return Err(BlockError::Body { expected, found: view.header.body_crc });
        }
        let records = view.header.records_bytes;
        let column: u64 =
            view.column().chunks_exact(2).map(|unit| u64::from(u16::from_le_bytes([unit[0], unit[1]]))).sum::<u64>()
                * RECORD_ALIGN as u64;
        let is_large = records as usize > SHARED_RECORD_BYTES_MAX && view.header.count == 1;
        let stated = if is_large { 0 } else { u64::from(records) };
        if column != stated {
            return Err(BlockError::Column { column, records });
        }
        Ok(view)
    }

    /// A block whose body was checked before: only the header is looked at.
    ///
    /// # Errors
    /// [`BlockError`] naming what is wrong with the header.
    pub fn of_checked(bytes: &'a [u8], epoch: Epoch) -> Result<Self, BlockError> {
        let header = BlockHeader::decode(bytes)?;
        if header.epoch != epoch {
            return Err(BlockError::Epoch { expected: epoch, found: header.epoch });
        }
        let needed = header.block_bytes as usize;
        let bytes = bytes.get(..needed).ok_or(BlockError::Short { needed, found: bytes.len() })?;
        Ok(Self { header, bytes })
    }

    /// Checks that this block follows the one that ended at `sequence` and whose header checksum is `crc`.
    ///
    /// # Errors
    /// [`BlockError::Sequence`] or [`BlockError::Link`].
    pub fn follows(&self, sequence: Sequence, crc: u32) -> Result<(), BlockError> {
        if self.header.first_sequence != sequence {
            return Err(BlockError::Sequence { expected: sequence, found: self.header.first_sequence });
        }
        if self.header.previous_crc != crc {
            return Err(BlockError::Link { expected: crc, found: self.header.previous_crc });
        }
        Ok(())
    }

    /// The header.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// The records in order.
    pub fn records(&self) -> Records<'a> {
        Records::new(self.record_bytes(), self.column())
    }

    pub(crate) fn record_bytes(&self) -> &'a [u8] {
        &self.bytes[BLOCK_HEADER_BYTES..][..self.header.records_bytes as usize]
    }

    pub(crate) fn column(&self) -> &'a [u8] {
        let start = BLOCK_HEADER_BYTES + self.header.records_bytes as usize;
        &self.bytes[start..][..column_bytes(self.header.count as usize)]
    }
}

/// Records of a block, one after the other. Costs about 3 ns a record.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    records: &'a [u8],
    column: &'a [u8],
}

impl<'a> Records<'a> {
    /// Over records and their length column (two bytes a record, little-endian, in units of 16 bytes).
    pub fn new(records: &'a [u8], column: &'a [u8]) -> Self {
        Self { records, column }
    }

    /// The bytes of the records, and of their length column.
    pub(crate) fn into_parts(self) -> (&'a [u8], &'a [u8]) {
        (self.records, self.column)
    }

    /// Records not yet handed out.
    pub fn remaining(&self) -> usize {
        self.column.len() / size_of::<u16>()
    }

    /// Bytes of the records not yet handed out, and perhaps of some that were left out after them.
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// Passes over `count` records.
    pub fn skip_records(&mut self, count: usize) {
        let count = count.min(self.remaining());
        let (skipped, rest) = self.column.split_at(column_bytes(count));
        let skipped: usize = skipped.chunks_exact(size_of::<u16>()).map(length_of).sum();
        self.column = rest;
        self.records = self.records.get(skipped..).unwrap_or_default();
    }

    /// The record of a large block, all of the bytes.
    #[cold]
    fn large(&mut self) -> Option<Result<RecordView<'a>, RecordError>> {
        self.column = &[];
        Some(RecordView::parse(std::mem::take(&mut self.records)))
    }

    /// Leaves out all but the next `count` records.
    pub fn take_records(&mut self, count: usize) {
        if count < self.remaining() {
            self.column = &self.column[..column_bytes(count)];
        }
    }
}

fn length_of(unit: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([unit[0], unit[1]])) * RECORD_ALIGN
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (length, column) = self.column.split_first_chunk::<2>()?;
        let length = length_of(length);
        let Some((record, rest)) = self.records.split_at_checked(length) else {
            self.column = &[];
            return Some(Err(RecordError::Length { payload: length, archive: self.records.len() }));
        };
        (self.records, self.column) = (rest, column);
        prefetch::ahead_of(rest);
        match RecordView::parse(record) {
            // A look at what did not parse alone: other records are not asked whether they are large.
            Err(_) if record.is_empty() => self.large(),
            parsed => Some(parsed),
        }
    }
}
