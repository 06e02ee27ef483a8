//! The last page of a sealed segment: its totals, and what to know of its index.

use super::bytes::{get_u32, get_u64, put};
use super::checksum::crc32c;
use super::index::{FILTER_BYTES, INDEX_BYTES_MAX, IndexPlace, SessionFilter};
use super::{
    BLOCK_HEADER_BYTES, BlockHeader, Epoch, FORMAT_VERSION, PAGE_BYTES, PageError, RECORD_ROOT_BYTES, SEQUENCE_MAX,
    Sequence, column_bytes,
};

/// First bytes of every footer.
pub const FOOTER_MAGIC: [u8; 8] = *b"TAPEFTR1";

const CRC: usize = 8;
const VERSION: usize = 12;
const EPOCH: usize = 16;
const BASE_SEQUENCE: usize = 24;
const END_SEQUENCE: usize = 32;
const DATA_END: usize = 40;
const BLOCKS: usize = 48;
const RECORDS_BYTES: usize = 56;
const FIRST_TIMESTAMP: usize = 64;
const LAST_TIMESTAMP: usize = 72;
const LAST_BLOCK_CRC: usize = 80;
const RESERVED: usize = 84;
/// Length u64, CRC-32C u32; all zero: there is no index.
const INDEX_LENGTH: usize = 88;
const INDEX_CRC: usize = 96;
const RESERVED_TOO: usize = 100;
const FILTER: usize = 128;

/// No file is longer: sums of offsets and lengths stay within 64 bits.
const DATA_END_MAX: u64 = 1 << 62;

/// Footer of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Epoch of the segment.
    pub epoch: Epoch,
    /// Sequence of the first record.
    pub base_sequence: Sequence,
    /// Sequence after the last record.
    pub end_sequence: Sequence,
    /// Offset of the end of the last block, in bytes; equals the header page's end for an empty segment.
    pub data_end: u64,
    /// Blocks in the segment.
    pub blocks: u64,
    /// Bytes of all records.
    pub records_bytes: u64,
    /// Smallest timestamp, 0 where there is no record.
    pub first_timestamp: u64,
    /// Largest timestamp, 0 where there is no record.
    pub last_timestamp: u64,
    /// Header checksum of the last block, or of the segment header.
    pub last_block_crc: u32,
    /// The index between the last block and the footer, if there is one.
    pub index: Option<IndexPlace>,
}

impl Footer {
    /// Bytes of the blocks that are neither header, record nor length.
    pub fn padding_bytes(&self) -> u64 {
        let events = self.end_sequence.since(self.base_sequence);
        let filled = self.records_bytes + column_bytes(1) as u64 * events + BLOCK_HEADER_BYTES as u64 * self.blocks;
        self.data_end.saturating_sub(PAGE_BYTES as u64).saturating_sub(filled)
    }

    /// The footer of a segment that has no block.
    pub fn of_empty(epoch: Epoch, base: Sequence, header_crc: u32) -> Self {
        Self {
            epoch,
            base_sequence: base,
            end_sequence: base,
            data_end: PAGE_BYTES as u64,
            blocks: 0,
            records_bytes: 0,
            first_timestamp: 0,
            last_timestamp: 0,
            last_block_crc: header_crc,
            index: None,
        }
    }

    /// Counts a block that follows those counted so far.
    pub fn add(&mut self, block: &BlockHeader) {
        self.first_timestamp = match self.blocks {
            0 => block.first_timestamp,
            _ => self.first_timestamp.min(block.first_timestamp),
        };
        self.last_timestamp = self.last_timestamp.max(block.last_timestamp);
        self.end_sequence = block.end_sequence();
        self.data_end += u64::from(block.block_bytes);
        self.blocks += 1;
        self.records_bytes += u64::from(block.records_bytes);
        self.last_block_crc = block.header_crc;
    }

    /// Offset of the footer: after the blocks and the index.
    pub fn offset(&self) -> u64 {
        self.data_end + self.index.map_or(0, |index| index.file_bytes())
    }

    /// The page as it is written, with the filter of the sessions that the index lists.
    pub fn encode(&self, filter: &SessionFilter) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        put(&mut page, 0, FOOTER_MAGIC);
        put(&mut page, VERSION, FORMAT_VERSION.to_le_bytes());
        put(&mut page, EPOCH, self.epoch.get().to_le_bytes());
        put(&mut page, BASE_SEQUENCE, self.base_sequence.get().to_le_bytes());
        put(&mut page, END_SEQUENCE, self.end_sequence.get().to_le_bytes());
        put(&mut page, DATA_END, self.data_end.to_le_bytes());
        put(&mut page, BLOCKS, self.blocks.to_le_bytes());
        put(&mut page, RECORDS_BYTES, self.records_bytes.to_le_bytes());
        put(&mut page, FIRST_TIMESTAMP, self.first_timestamp.to_le_bytes());
        put(&mut page, LAST_TIMESTAMP, self.last_timestamp.to_le_bytes());
        put(&mut page, LAST_BLOCK_CRC, self.last_block_crc.to_le_bytes());
        if let Some(index) = self.index {
            put(&mut page, INDEX_LENGTH, index.length.to_le_bytes());
            put(&mut page, INDEX_CRC, index.crc.to_le_bytes());
            put(&mut page, FILTER, *filter.as_bytes());
        }
        let crc = crc32c(&page[VERSION..]);
        put(&mut page, CRC, crc.to_le_bytes());
        page
    }

    /// The filter in a page that was decoded. Without an index any session may be in the segment.
    pub fn filter_of(page: &[u8]) -> SessionFilter {
        match get_u64(page, INDEX_LENGTH) {
            0 => SessionFilter::all(),
            _ => SessionFilter::from_bytes(page.get(FILTER..PAGE_BYTES).unwrap_or_default()),
        }
    }

    /// Reads and checks a page. The index is not looked at: it is a hint that readers may do without.
    ///
    /// # Errors
    /// [`PageError`] naming what is wrong.
    pub fn decode(page: &[u8]) -> Result<Self, PageError> {
        super::meta::check_page(page, PAGE_BYTES, FOOTER_MAGIC)?;
        let footer = Self {
            epoch: Epoch::new(get_u64(page, EPOCH)),
            base_sequence: Sequence::new(get_u64(page, BASE_SEQUENCE)),
            end_sequence: Sequence::new(get_u64(page, END_SEQUENCE)),
            data_end: get_u64(page, DATA_END),
            blocks: get_u64(page, BLOCKS),
            records_bytes: get_u64(page, RECORDS_BYTES),
            first_timestamp: get_u64(page, FIRST_TIMESTAMP),
            last_timestamp: get_u64(page, LAST_TIMESTAMP),
            last_block_crc: get_u32(page, LAST_BLOCK_CRC),
            index: match get_u64(page, INDEX_LENGTH) {
                0 => None,
                length => Some(IndexPlace { length, crc: get_u32(page, INDEX_CRC) }),
            },
        };
        let field = |field, found| Err(PageError::Field { field, found });
        if footer.end_sequence <= footer.base_sequence || footer.end_sequence > SEQUENCE_MAX {
            return field("end_sequence", footer.end_sequence.get());
        }
        let page_bytes = PAGE_BYTES as u64;
        if !footer.data_end.is_multiple_of(page_bytes) || !(2 * page_bytes..DATA_END_MAX).contains(&footer.data_end) {
            return field("data_end", footer.data_end);
        }
        let (events, data) = (footer.end_sequence.since(footer.base_sequence), footer.data_end - page_bytes);
        if footer.blocks == 0 || footer.blocks > events.min(data / page_bytes) {
            return field("blocks", footer.blocks);
        }
        if footer.records_bytes > data || events > footer.records_bytes / RECORD_ROOT_BYTES as u64 {
            return field("records_bytes", footer.records_bytes);
        }
        if footer.index.is_some_and(|index| index.length > INDEX_BYTES_MAX) {
            return field("index_length", get_u64(page, INDEX_LENGTH));
        }
        if get_u32(page, RESERVED) != 0 || page[RESERVED_TOO..FILTER].iter().any(|&byte| byte != 0) {
            return field("reserved", u64::from(get_u32(page, RESERVED)));
        }
        Ok(footer)
    }
}

const _: () = assert!(FILTER + FILTER_BYTES == PAGE_BYTES);
