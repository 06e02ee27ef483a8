//! The first page of a segment file: what log, shard and range of sequences it belongs to.

use super::bytes::{get, get_u32, get_u64, put};
use super::checksum::{crc32c, one_byte_change};
use super::{Epoch, FORMAT_VERSION, LogId, LogShard, PAGE_BYTES, PageError, SEQUENCE_MAX, Sequence};

/// First bytes of every segment file.
pub const SEGMENT_MAGIC: [u8; 8] = *b"TAPESEG1";

/// The archive format of records: rkyv 0.8, little-endian, aligned primitives, 32-bit relative pointers.
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
const LATER_RUNS: usize = 80;
const FLAGS: usize = 84;
const LENGTH: usize = 88;
const RUNS: usize = 96;
const RUN_BYTES: usize = 16;

/// No file is longer.
const FILE_BYTES_MAX: u64 = 1 << 62;

/// The segment holds what was in several.
const MERGED: u32 = 1;

/// Most runs that the events of one segment can come from.
pub const SEGMENT_RUNS_MAX: usize = 1 + (PAGE_BYTES - RUNS) / RUN_BYTES;

/// The beginning of a run in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunStart {
    /// First sequence.
    pub first: Sequence,
    /// The run, as in [`SegmentHeader::run`].
    pub run: Epoch,
}

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
    /// Epoch of the first segment of the same run: of the same opening for writing. Sequences above the durable
    /// watermark that one run lost in a crash are given again by the next.
    pub run: Epoch,
    /// True if it holds the events of several segments. Files of those that began within it are no part of the log any
    /// more.
    pub is_merged: bool,
    /// Length of the file in bytes from before this page is written until the segment is sealed: a shorter file without
    /// a footer has been cut short.
    pub length: u64,
}

impl SegmentHeader {
    /// The header of a segment of this run that is not merged. The time of its creation and its length are 0.
    pub const fn new(shard: LogShard, run: Epoch, epoch: Epoch, base_sequence: Sequence) -> Self {
        let LogShard { log_id, number: shard } = shard;
        Self { log_id, shard, epoch, base_sequence, created: 0, run, is_merged: false, length: 0 }
    }

    /// The shard whose segment it is.
    pub const fn log_shard(&self) -> LogShard {
        LogShard::new(self.log_id, self.shard)
    }

    /// The page as it is written, of a segment whose events come from one run, and its checksum.
    pub fn encode(&self) -> ([u8; PAGE_BYTES], u32) {
        self.encode_with_runs(&[])
    }

    /// The page as it is written, and its checksum, to which the first block links. `later`: where runs begin after the
    /// first, in order; at most [`SEGMENT_RUNS_MAX`] less that one.
    pub fn encode_with_runs(&self, later: &[RunStart]) -> ([u8; PAGE_BYTES], u32) {
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
        put(&mut page, LATER_RUNS, (later.len().min(SEGMENT_RUNS_MAX - 1) as u32).to_le_bytes());
        put(&mut page, LENGTH, self.length.to_le_bytes());
        put(&mut page, FLAGS, if self.is_merged { MERGED } else { 0 }.to_le_bytes());
        for (start, entry) in later.iter().zip(page[RUNS..].chunks_exact_mut(RUN_BYTES)) {
            put(entry, 0, start.first.get().to_le_bytes());
            put(entry, 8, start.run.get().to_le_bytes());
        }
        let crc = crc32c(&page[VERSION..]);
        put(&mut page, CRC, crc.to_le_bytes());
        (page, crc)
    }

    /// Reads and checks a page. Returns the header and its checksum.
    ///
    /// # Errors
    /// [`PageError`] naming what is wrong.
    pub fn decode(page: &[u8]) -> Result<(Self, u32), PageError> {
        let crc = super::meta::check_page(page, PAGE_BYTES, SEGMENT_MAGIC)?;
        let shard = Self::check_fields(page)?;
        let header = Self {
            log_id: LogId(get(page, LOG_ID)),
            shard,
            epoch: Epoch::new(get_u64(page, EPOCH)),
            base_sequence: Sequence::new(get_u64(page, BASE_SEQUENCE)),
            created: get_u64(page, CREATED),
            run: Epoch::new(get_u64(page, RUN)),
            is_merged: get_u32(page, FLAGS) & MERGED != 0,
            length: get_u64(page, LENGTH),
        };
        Ok((header, crc))
    }

    /// The header page of this checksum, of which `page` is what is left: it may differ from that in what `known` says
    /// of log, shard, epoch and first sequence, in the runs after the first, and in one byte more. Returns it with what
    /// it says; `None` if there is no such page.
    pub fn mend(page: &[u8], known: &Self, crc: u32) -> Option<([u8; PAGE_BYTES], Self)> {
        let mut left: [u8; PAGE_BYTES] = page.try_into().ok()?;
        left[..CREATED].copy_from_slice(&known.encode().0[..CREATED]);
        put(&mut left, CRC, crc.to_le_bytes());
        let mut of_one_run = left;
        of_one_run[RUNS..].fill(0);
        put(&mut of_one_run, LATER_RUNS, [0; size_of::<u32>()]);
        [left, of_one_run].into_iter().find_map(|mut page| {
            if crc32c(&page[VERSION..]) != crc {
                let (at, change) = one_byte_change(&page[VERSION..], crc)?;
                page[VERSION + at] ^= change;
            }
            // What is known is not among what may be changed.
            let (header, _) = Self::decode(&page).ok()?;
            let stated = (header.log_id, header.shard, header.epoch, header.base_sequence);
            (stated == (known.log_id, known.shard, known.epoch, known.base_sequence)).then_some((page, header))
        })
    }

    /// Checks the fields of a page that not every value suits. Returns the shard.
    fn check_fields(page: &[u8]) -> Result<u16, PageError> {
        let field = |field, found| Err(PageError::Field { field, found });
        let shard = get_u32(page, SHARD);
        let Ok(shard) = u16::try_from(shard) else { return field("shard", u64::from(shard)) };
        if get::<4>(page, RKYV) != RKYV_TAG {
            return field("rkyv_format", u64::from(get_u32(page, RKYV)));
        }
        if get_u64(page, SCHEMA) != SCHEMA_HASH {
            return field("schema_hash", get_u64(page, SCHEMA));
        }
        let (later_runs, flags) = (get_u32(page, LATER_RUNS), get_u32(page, FLAGS));
        let runs_end = RUNS + (later_runs as usize).min(SEGMENT_RUNS_MAX) * RUN_BYTES;
        if later_runs as usize >= SEGMENT_RUNS_MAX {
            return field("runs", u64::from(later_runs));
        }
        if flags & !MERGED != 0 {
            return field("flags", u64::from(flags));
        }
        let length = get_u64(page, LENGTH);
        if !length.is_multiple_of(PAGE_BYTES as u64) || length > FILE_BYTES_MAX {
            return field("length", length);
        }
        if page[runs_end..PAGE_BYTES].iter().any(|&byte| byte != 0) {
            return field("reserved", 1);
        }
        let base = get_u64(page, BASE_SEQUENCE);
        if base > SEQUENCE_MAX.get() {
            return field("base_sequence", base);
        }
        if !Self::runs_rise(page, base) {
            return field("runs", u64::from(later_runs));
        }
        Ok(shard)
    }

    /// Returns whether each later run begins after the one before it.
    fn runs_rise(page: &[u8], base: u64) -> bool {
        let rises = |before: u64, start: &RunStart| {
            (start.first.get() > before && start.first <= SEQUENCE_MAX).then_some(start.first.get())
        };
        Self::later_runs(page).iter().try_fold(base, rises).is_some()
    }

    /// Beginnings of the runs after the first in the segment of a page that was decoded.
    pub fn later_runs(page: &[u8]) -> Vec<RunStart> {
        let count = (get_u32(page, LATER_RUNS) as usize).min(SEGMENT_RUNS_MAX - 1);
        let entries = page.get(RUNS..PAGE_BYTES).unwrap_or_default().chunks_exact(RUN_BYTES).take(count);
        let start =
            |entry: &[u8]| RunStart { first: Sequence::new(get_u64(entry, 0)), run: Epoch::new(get_u64(entry, 8)) };
        entries.map(start).collect()
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
