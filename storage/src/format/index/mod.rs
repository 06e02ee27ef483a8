//! The index of a sealed segment: which sessions it holds, where, and when; between the last block and the footer page.
//!
//! ```text
//! 0     magic, 8 bytes
//! 8     epoch of the segment, u64
//! 16    one rkyv archive of [`SegmentIndex`]
//! ...   zero padding to a multiple of 4096
//! ```
//! The footer says how long it is and what its checksum is. An index is a hint: a reader that finds none, or one that
//! does not check, reads the segment itself.

mod builder;
mod filter;
#[cfg(test)]
mod tests;

use rkyv::rancor::Error;
use rkyv::rend::u32_le;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Serialize};

pub use builder::IndexBuilder;
pub(crate) use builder::SessionHash;
pub use filter::{FILTER_BYTES, SessionFilter};

use super::bytes::{get, get_u64};
use super::checksum::crc32c;
use super::{Epoch, PAGE_BYTES, RECORD_ALIGN, SessionId};

/// First bytes of every index.
pub const INDEX_MAGIC: [u8; 8] = *b"TAPEIDX1";

/// Bytes before the archive.
pub const INDEX_HEADER_BYTES: usize = 16;

const _: () = assert!(INDEX_HEADER_BYTES.is_multiple_of(RECORD_ALIGN));

/// Longest index, in bytes.
pub const INDEX_BYTES_MAX: u64 = 64 << 20;

/// Longest payload of an event that opens a session that the index repeats, in bytes.
pub const OPENING_BYTES_MAX: usize = 512;

/// The contents of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct SegmentIndex {
    /// Its blocks, in order.
    pub blocks: Vec<IndexedBlock>,
    /// Its sessions, by id. [`SessionId::NONE`] is one of them, if there are events without a session.
    pub sessions: Vec<IndexedSession>,
    /// Numbers of blocks: for each session those that hold events of it, ascending.
    pub postings: Vec<u32>,
    /// Numbers of the blocks that hold notes of the bus, which concern readers of any session.
    pub notes: Vec<u32>,
    /// Payloads of the events that opened sessions, back to back.
    pub openings: Vec<u8>,
    /// Totals by kind, by number.
    pub kinds: Vec<KindTotal>,
    /// True if there were too many sessions to list: then none is, nor its postings and openings, and the blocks have
    /// to be read. Of still more blocks these are not listed either.
    pub sessions_left_out: bool,
}

/// A block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct IndexedBlock {
    /// Offset of its start in the file, in bytes.
    pub offset: u64,
    /// Sequence of its first record.
    pub first_sequence: u64,
    /// Smallest timestamp in it.
    pub first_timestamp: u64,
    /// Largest timestamp in it.
    pub last_timestamp: u64,
}

/// A session. Events of kind [`Kind::SESSION`](super::Kind::SESSION) count in sequences and times, and not in `events`
/// and `bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct IndexedSession {
    /// Its id.
    pub session: u128,
    /// Events.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Sequence of its first event.
    pub first_sequence: u64,
    /// Sequence of its last event.
    pub last_sequence: u64,
    /// Smallest timestamp.
    pub first_timestamp: u64,
    /// Largest timestamp.
    pub last_timestamp: u64,
    /// Its part of [`SegmentIndex::postings`].
    pub postings: Part,
    /// Its part of [`SegmentIndex::openings`]: the payload of the first event that opened it here, empty where there is
    /// none, or one longer than [`OPENING_BYTES_MAX`].
    pub opening: Part,
    /// Its part of [`SegmentIndex::openings`]: the payload of the last event of kind
    /// [`Kind::SESSION`](super::Kind::SESSION), where that is another one. One that is longer than [`OPENING_BYTES_MAX`]
    /// has the part [`Part::LEFT_OUT`].
    pub change: Part,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct Part {
    /// Its first element.
    pub start: u32,
    /// The number of blocks.
    pub count: u32,
}

impl Part {
    /// The part of what a list has not.
    pub const LEFT_OUT: Self = Self { start: u32::MAX, count: 0 };
}

/// The events of one kind in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize)]
#[rkyv(derive(Debug))]
pub struct KindTotal {
    /// The kind.
    pub kind: u16,
    /// Events.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// The length of an index, and its checksum: the footer has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPlace {
    /// Bytes of header and archive, without the padding.
    pub length: u64,
    /// CRC-32C of these bytes.
    pub crc: u32,
}

impl IndexPlace {
    /// Bytes in the file, padding included.
    pub fn file_bytes(&self) -> u64 {
        self.length.next_multiple_of(PAGE_BYTES as u64)
    }
}

impl SegmentIndex {
    /// The sessions that a filter is to let through, that of notes among them.
    fn listed(&self) -> Vec<SessionId> {
        let notes = (!self.notes.is_empty()).then_some(SessionId::NOTES);
        self.sessions.iter().map(|entry| SessionId(entry.session)).chain(notes).collect()
    }

    /// The filter of the sessions.
    pub fn filter(&self) -> SessionFilter {
        if self.sessions_left_out { SessionFilter::all() } else { SessionFilter::of(&self.listed()) }
    }

    /// The bytes as they are written, whole pages, and what the footer says of them. `None` for more than
    /// [`INDEX_BYTES_MAX`].
    pub fn encode(&self, epoch: Epoch) -> Option<(AlignedVec, IndexPlace)> {
        let mut bytes = AlignedVec::<16>::new();
        bytes.extend_from_slice(&INDEX_MAGIC);
        bytes.extend_from_slice(&epoch.get().to_le_bytes());
        let mut bytes = rkyv::api::high::to_bytes_in::<_, Error>(self, bytes).ok()?;
        let place = IndexPlace { length: bytes.len() as u64, crc: crc32c(&bytes) };
        if place.length > INDEX_BYTES_MAX {
            return None;
        }
        bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
        Some((bytes, place))
    }
}

impl ArchivedSegmentIndex {
    /// Reads the index at the start of `bytes`, which lie at a multiple of 16. `None` if it does not check.
    ///
    /// Costs a checksum pass.
    pub fn decode(bytes: &[u8], place: IndexPlace, epoch: Epoch) -> Option<&Self> {
        let index = bytes.get(..usize::try_from(place.length).ok()?)?;
        if crc32c(index) == place.crc { Self::decode_summed(bytes, place, epoch) } else { None }
    }

    /// As [`ArchivedSegmentIndex::decode`], of bytes whose checksum has been found right.
    ///
    /// The elements are numbers, of which any value is one: the compiler makes 40 ns of their check, however many there
    /// are.
    pub fn decode_summed(bytes: &[u8], place: IndexPlace, epoch: Epoch) -> Option<&Self> {
        let bytes = bytes.get(..usize::try_from(place.length).ok()?)?;
        if !is_header(bytes, epoch) {
            return None;
        }
        rkyv::access::<Self, Error>(&bytes[INDEX_HEADER_BYTES..]).ok()
    }

    /// The entry of a session.
    pub fn session(&self, session: SessionId) -> Option<&ArchivedIndexedSession> {
        let at = self.sessions.binary_search_by_key(&session.0, |entry| entry.session.to_native()).ok()?;
        self.sessions.get(at)
    }

    /// Numbers of the blocks that hold events of a session, ascending.
    pub fn blocks_of(&self, entry: &ArchivedIndexedSession) -> &[u32_le] {
        entry.postings.of(&self.postings)
    }

    /// The payload of the event that opened a session, if it is here.
    pub fn opening_of(&self, entry: &ArchivedIndexedSession) -> Option<&[u8]> {
        Some(entry.opening.of(&self.openings)).filter(|payload| !payload.is_empty())
    }
}

impl ArchivedIndexedSession {
    /// Returns whether the payload of its last event of kind [`Kind::SESSION`](super::Kind::SESSION) is too long for an index.
    pub fn is_change_left_out(&self) -> bool {
        (self.change.start.to_native(), self.change.count.to_native()) == (Part::LEFT_OUT.start, Part::LEFT_OUT.count)
    }
}

impl ArchivedSegmentIndex {
    /// The payload of the last event of kind [`Kind::SESSION`](super::Kind::SESSION) of a session, if there is one, and
    /// it is here.
    pub fn last_change_of(&self, entry: &ArchivedIndexedSession) -> Option<&[u8]> {
        match entry.change.count.to_native() {
            _ if entry.is_change_left_out() => None,
            0 => self.opening_of(entry),
            _ => Some(entry.change.of(&self.openings)).filter(|payload| !payload.is_empty()),
        }
    }
}

impl ArchivedPart {
    /// The part of `list`; empty if it lies outside.
    fn of<'a, T>(&self, list: &'a [T]) -> &'a [T] {
        let start = self.start.to_native() as usize;
        start.checked_add(self.count.to_native() as usize).and_then(|end| list.get(start..end)).unwrap_or_default()
    }
}

/// Returns whether an index of a segment of this epoch begins here.
pub(crate) fn is_header(bytes: &[u8], epoch: Epoch) -> bool {
    bytes.len() >= INDEX_HEADER_BYTES && get(bytes, 0) == INDEX_MAGIC && get_u64(bytes, 8) == epoch.get()
}
