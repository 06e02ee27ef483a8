//! The first page of a segment file: what log, shard and range of sequences it belongs to.

use super::bytes::{get, get_u32, get_u64, put};
use super::checksum::crc32c;
use super::{Epoch, FORMAT_VERSION, LogId, PAGE_BYTES, PageError, Sequence};

/// First bytes of every segment file.
pub const SEGMENT_MAGIC: [u8; 8] = *b"TAPESEG1";

/// How records are archived: rkyv 0.8, little-endian, aligned primitives, 32-bit relative pointers.
const RKYV_TAG: [u8; 4] = [8, b'L', b'A', 32];

/// FNV-1a of the record's layout in words; another layout has another hash.
const SCHEMA_HASH: u64 =
    fnv1a(b"payload:leading,align16;session:u128;timestamp:u64;payload_length:u32;kind:u16;reserved:u16");

const CRC: usize = 8;
const VERSION: usize = 12;
const LOG_ID: usize = 16;
const SHARD: usize = 32;
const RKYV: usize = 36;
const SCHEMA: usize = 40;
const EPOCH: usize = 48;
const BASE_SEQUENCE: usize = 56;
const CREATED: usize = 64;
const RUN: usize = 72;
const RESERVED: usize = 80;

/// Header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log that the segment belongs to.
    pub log_id: LogId,
    /// The shard that wrote it.
    pub shard: u16,
    /// Random number of this segment.
    pub epoch: Epoch,
    /// Sequence of its first record.
    pub base_sequence: Sequence,
    /// Creation time, nanoseconds since the Unix epoch.
    pub created: u64,
    /// Epoch of the first segment of the same run: of the same opening for writing. Sequences above the durable watermark
    /// that one run lost in a crash are given again by the next.
    pub run: Epoch,
}

impl SegmentHeader {
    /// The page as it is written. The checksum in it links the first block.
    pub fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        put(&mut page, 0, SEGMENT_MAGIC);
        put(&mut page, VERSION, FORMAT_VERSION.to_le_bytes());
        put(&mut page, LOG_ID, self.log_id.0);
        put(&mut page, SHARD, u32::from(self.shard).to_le_bytes());
        put(&mut page, RKYV, RKYV_TAG);
        put(&mut page, SCHEMA, SCHEMA_HASH.to_le_bytes());
        put(&mut page, EPOCH, self.epoch.get().to_le_bytes());
        put(&mut page, BASE_SEQUENCE, self.base_sequence.get().to_le_bytes());
        put(&mut page, CREATED, self.created.to_le_bytes());
        put(&mut page, RUN, self.run.get().to_le_bytes());
        let crc = crc32c(&page[VERSION..]);
        put(&mut page, CRC, crc.to_le_bytes());
        page
    }

    /// Reads and checks a page. Returns the header and its checksum.
    ///
    /// # Errors
    /// [`PageError`] naming what is wrong.
    pub fn decode(page: &[u8]) -> Result<(Self, u32), PageError> {
        let crc = super::meta::check_page(page, PAGE_BYTES, SEGMENT_MAGIC)?;
        let field = |field, found| Err(PageError::Field { field, found });
        let shard = get_u32(page, SHARD);
        let Ok(shard) = u16::try_from(shard) else { return field("shard", u64::from(shard)) };
        if get::<4>(page, RKYV) != RKYV_TAG {
            return field("rkyv_format", u64::from(get_u32(page, RKYV)));
        }
        if get_u64(page, SCHEMA) != SCHEMA_HASH {
            return field("schema_hash", get_u64(page, SCHEMA));
        }
        if page[RESERVED..PAGE_BYTES].iter().any(|&byte| byte != 0) {
            return field("reserved", 1);
        }
        let header = Self {
            log_id: LogId(get(page, LOG_ID)),
            shard,
            epoch: Epoch::new(get_u64(page, EPOCH)),
            base_sequence: Sequence::new(get_u64(page, BASE_SEQUENCE)),
            created: get_u64(page, CREATED),
            run: Epoch::new(get_u64(page, RUN)),
        };
        Ok((header, crc))
    }
}

const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}
