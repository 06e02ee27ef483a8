//! The bytes of a log, without any I/O.
//!
//! A segment file is one [`SegmentHeader`] page, then blocks back to back, then, once sealed, a [`SegmentIndex`] and
//! one [`Footer`] page. A block is one group commit: a [`BlockHeader`], the records, the length column, zero padding to
//! a page. A record is one rkyv archive whose payload comes first and whose root comes last. docs/FORMAT.md is the
//! byte-exact specification; its hexdump is parsed and compared by the tests of this module.

mod block;
mod bytes;
mod checksum;
mod counted;
mod entries;
mod eras;
mod footer;
mod gaps;
mod identity;
mod index;
#[cfg(any(test, feature = "sim"))]
pub mod layout;
mod meta;
mod mix;
mod names;
mod prefetch;
mod record;
mod segment;

#[cfg(test)]
mod tests;

pub use block::{
    BLOCK_HEADER_BYTES, BLOCK_MAGIC, BlockError, BlockHeader, BlockView, LARGE_UNITS, Records, block_bytes,
    column_bytes, units_of,
};
pub use checksum::{Checksum, crc32c};
pub use counted::{counted, sequences};
pub use eras::{ERAS_BYTES_MAX, ERAS_MAGIC, Era, Eras};
pub use footer::{FOOTER_MAGIC, Footer};
pub use gaps::{GAPS_FILE_BYTES, GAPS_MAGIC, Gaps, LOST_MAX};
pub use identity::{Epoch, Kind, LogId, LogShard, SEQUENCE_MAX, Sequence, SessionId};
pub use index::{
    ArchivedIndexedBlock, ArchivedIndexedSession, ArchivedSegmentIndex, FILTER_BYTES, INDEX_BYTES_MAX,
    INDEX_HEADER_BYTES, INDEX_MAGIC, IndexBuilder, IndexPlace, IndexedBlock, IndexedSession, KindTotal,
    OPENING_BYTES_MAX, Part, SegmentIndex, SessionFilter,
};
pub(crate) use index::{SessionHash, is_header as is_index_header};
pub use meta::{META_BYTES, META_MAGIC, Meta, SHARDS_MAX};
pub(crate) use mix::{SplitMix64, mix};
pub use names::{NAMES_BYTES_MAX, NAMES_MAGIC, SessionNames};
pub(crate) use record::payload_bytes_of;
pub use record::{
    ArchivedPayload, ArchivedRecord, PAYLOAD_BYTES_MAX, RECORD_ALIGN, RECORD_ROOT_BYTES, Record, RecordError,
    RecordHead, RecordView, SHARED_PAYLOAD_BYTES_MAX, archive_in_place, archive_into, archived_bytes, restamp,
    session_of, set_timestamp, timestamp_of,
};
pub use segment::{RunStart, SEGMENT_MAGIC, SEGMENT_RUNS_MAX, SegmentHeader};

/// Format version that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Alignment and granularity, in bytes, of everything written to a segment: the larger of the direct-I/O alignment and
/// the physical block of common devices.
pub const PAGE_BYTES: usize = 4096;

/// Largest block of several records, header and padding included, in bytes.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;

/// Largest block of one record, header and padding included, in bytes.
pub const LARGE_BLOCK_BYTES_MAX: usize = block_bytes(1, archived_bytes(PAYLOAD_BYTES_MAX));

/// The fault of a header, footer or meta page that cannot be used.
///
/// ```
/// # use tapeline_storage::format::{Meta, PageError};
/// assert!(matches!(Meta::decode(b"TAPE"), Err(PageError::Short { found: 4, .. })));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// Fewer bytes than the page has.
    #[error("{} where {needed} are needed", counted(*found as u64, "byte"))]
    Short {
        /// Bytes the page has.
        needed: usize,
        /// Bytes that were there.
        found: usize,
    },
    /// More bytes than such a file has.
    #[error("more than {most} bytes")]
    Long {
        /// Bytes that it has at most.
        most: usize,
    },
    /// Not a page of this kind.
    #[error("magic is {found:02x?}, expected {expected:02x?}")]
    Magic {
        /// Magic of this kind of page.
        expected: [u8; 8],
        /// Bytes that were there.
        found: [u8; 8],
    },
    /// The page's own checksum does not match.
    #[error("checksum is {found:#010x}, computed {expected:#010x}")]
    Checksum {
        /// Checksum computed over the bytes.
        expected: u32,
        /// Checksum stored in the page.
        found: u32,
    },
    /// Written by a newer or unknown format.
    #[error("format version is {found}, this build reads {FORMAT_VERSION}")]
    Version {
        /// Version stored in the page.
        found: u32,
    },
    /// A field holds a value that no writer of this version produces.
    #[error("field {field} holds {found:#x}")]
    Field {
        /// Name of the field in docs/FORMAT.md.
        field: &'static str,
        /// Its value.
        found: u64,
    },
}

impl PageError {
    /// The advice to the operator: `otherwise`, unless the page is of another version.
    pub(crate) fn remedy<'a>(&self, otherwise: &'a str) -> &'a str {
        match self {
            Self::Version { .. } => "use the program that wrote the log, or one that knows both versions",
            _ => otherwise,
        }
    }
}
