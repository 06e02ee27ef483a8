//! The record: an event as it lies in memory and on disk, one rkyv archive.
//!
//! ```text
//! 0           payload bytes
//! length      zero padding to 16
//! n - 32      root: session u128 | timestamp u64 | payload length u32 | kind u16 | reserved u16
//! n           end of the archive, n = round_up(length, 16) + 32
//! ```
//! An archive that starts at a multiple of 16 has its payload at a multiple of 16 and its root, as rkyv wants it, at
//! its end, so `rkyv::access::<ArchivedRecord, _>` takes the bytes as they are. The payload's place needs no pointer:
//! it always starts the archive. Serialising costs about 5 ns for 64 bytes and never allocates.

use std::alloc::Layout;
use std::mem::offset_of;

use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Fallible, Panic, Source};
use rkyv::rend::{u16_le, u32_le, u64_le, u128_le};
use rkyv::ser::{Positional, Writer, WriterExt};
use rkyv::validation::ArchiveContext;
use rkyv::{Archive, Place, Portable, Serialize};

use super::{BLOCK_BYTES_MAX, BLOCK_HEADER_BYTES, Kind, SessionId, counted};

/// Alignment, in bytes, of a record and of its payload.
pub const RECORD_ALIGN: usize = 16;

/// Bytes of the root that ends every record.
pub const RECORD_ROOT_BYTES: usize = 32;

/// Largest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// Largest payload in bytes of a record that shares its block with others: what fits beside the block's header, the
/// root and the length column. A longer one has a large block of its own.
pub const SHARED_PAYLOAD_BYTES_MAX: usize = BLOCK_BYTES_MAX - BLOCK_HEADER_BYTES - RECORD_ROOT_BYTES - RECORD_ALIGN;

/// An event on its way into an archive.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Session, [`SessionId::NONE`] for none.
    pub session: SessionId,
    /// Nanoseconds since the Unix epoch.
    pub timestamp: u64,
    /// Kind, 0 for unspecified.
    pub kind: Kind,
    /// The event's bytes, at most [`PAYLOAD_BYTES_MAX`].
    pub payload: &'a [u8],
}

/// The root of a record; the payload leads the archive that this root ends.
#[derive(Debug, Portable, CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck)]
#[repr(C)]
pub struct ArchivedRecord {
    session: u128_le,
    timestamp: u64_le,
    payload: ArchivedPayload,
    kind: u16_le,
    reserved: u16_le,
}

/// The archived payload: its length. Its bytes are the first of the archive.
#[derive(Debug, Clone, Copy, Portable)]
#[repr(transparent)]
pub struct ArchivedPayload {
    length: u32_le,
}

const _: () = assert!(size_of::<ArchivedRecord>() == RECORD_ROOT_BYTES);
const _: () = assert!(align_of::<ArchivedRecord>() == RECORD_ALIGN);
const _: () = assert!(offset_of!(ArchivedRecord, session) == 0);
const _: () = assert!(offset_of!(ArchivedRecord, timestamp) == 16);
const _: () = assert!(offset_of!(ArchivedRecord, payload) == 24);
const _: () = assert!(offset_of!(ArchivedRecord, kind) == 28);
const _: () = assert!(offset_of!(ArchivedRecord, reserved) == 30);

impl ArchivedPayload {
    /// Payload length in bytes.
    pub fn length(&self) -> usize {
        self.length.to_native() as usize
    }
}

impl Archive for Record<'_> {
    type Archived = ArchivedRecord;
    type Resolver = ();

    #[inline(always)]
    fn resolve(&self, (): (), out: Place<ArchivedRecord>) {
        rkyv::munge::munge!(
            let ArchivedRecord { session, timestamp, payload: ArchivedPayload { length }, kind, reserved } = out
        );
        session.write(u128_le::from_native(self.session.0));
        timestamp.write(u64_le::from_native(self.timestamp));
        // The slot holds callers to PAYLOAD_BYTES_MAX, far below u32::MAX.
        length.write(u32_le::from_native(self.payload.len() as u32));
        kind.write(u16_le::from_native(self.kind.0));
        reserved.write(u16_le::from_native(0));
    }
}

impl<S: Fallible + Writer + ?Sized> Serialize<S> for Record<'_> {
    #[inline(always)]
    fn serialize(&self, serializer: &mut S) -> Result<(), S::Error> {
        serializer.write(self.payload)?;
        // Most often there is nothing to align, and to align nothing would still be a call.
        if !serializer.pos().is_multiple_of(RECORD_ALIGN) {
            serializer.align(RECORD_ALIGN)?;
        }
        Ok(())
    }
}

#[allow(unsafe_code)]
// SAFETY: every bit pattern of the length is valid; the check proves that the bytes it speaks of lie in the archive.
unsafe impl<C: Fallible + ArchiveContext + ?Sized> CheckBytes<C> for ArchivedPayload
where
    C::Error: Source,
{
    #[inline]
    unsafe fn check_bytes(value: *const Self, context: &mut C) -> Result<(), C::Error> {
        // SAFETY: the caller hands a pointer to a whole, aligned field; any four bytes are a `u32_le`.
        let field = unsafe { &*value };
        let Ok(layout) = Layout::from_size_align(field.length().next_multiple_of(RECORD_ALIGN), 1) else {
            rkyv::rancor::fail!(RecordError::Length { payload: field.length(), archive: 0 });
        };
        let root = value.cast::<u8>().wrapping_sub(offset_of!(ArchivedRecord, payload));
        context.check_subtree_ptr(root.wrapping_sub(layout.size()), &layout)
    }
}

/// Bytes of the archive of a payload of `payload_bytes`: a multiple of [`RECORD_ALIGN`].
#[inline]
pub const fn archived_bytes(payload_bytes: usize) -> usize {
    ((payload_bytes + RECORD_ALIGN - 1) & !(RECORD_ALIGN - 1)) + RECORD_ROOT_BYTES
}

/// Copies an archive into `slot`, which has its length, with another time.
///
/// # Panics
/// If the lengths differ or are too short for a root: a bug of the caller.
pub fn restamp(archive: &[u8], timestamp: u64, slot: &mut [u8]) {
    slot.copy_from_slice(archive);
    set_timestamp(slot, timestamp);
}

/// Gives an archive another time. Its last 16 bytes will do.
///
/// # Panics
/// If there are fewer: a bug of the caller.
#[inline(always)]
pub fn set_timestamp(archive: &mut [u8], timestamp: u64) {
    let at = archive.len() - (RECORD_ROOT_BYTES - offset_of!(ArchivedRecord, timestamp));
    super::bytes::put(archive, at, timestamp.to_le_bytes());
}

/// Serialises `record` into `slot`, which must have exactly [`archived_bytes`] bytes and start at a multiple of 16.
///
/// # Panics
/// If `slot` has another length or alignment: a bug of the caller, never a matter of input.
#[inline(always)]
#[allow(unsafe_code)]
pub fn archive_into(record: &Record<'_>, slot: &mut [u8]) {
    let root = slot.len().wrapping_sub(RECORD_ROOT_BYTES);
    assert!(slot.len() == archived_bytes(record.payload.len()), "slot and record differ in length");
    let (leading, root_bytes) = slot.split_at_mut(root);
    assert!(root_bytes.as_ptr().cast::<ArchivedRecord>().is_aligned(), "slot is not aligned for a record");
    // The slot has the exact length, so the writer cannot overflow.
    let Ok(()) = record.serialize(&mut Slot { bytes: leading, position: 0 });
    // The root is resolved where it stays. Written through the writer it would be put together on the stack in small
    // stores and read back in large loads, which costs the processor more than all the rest.
    // SAFETY: the slot ends with the bytes of a root, aligned, initialised and borrowed for writing.
    let place = unsafe { Place::new_unchecked(root, root_bytes.as_mut_ptr().cast::<ArchivedRecord>()) };
    record.resolve((), place);
}

/// The parts of a record beside its payload.
#[derive(Debug, Clone, Copy)]
pub struct RecordHead {
    /// The session.
    pub session: SessionId,
    /// Nanoseconds since the Unix epoch.
    pub timestamp: u64,
    /// The kind.
    pub kind: Kind,
}

/// Makes a record of a payload that lies at the start of `slot` already, `payload_bytes` long. `slot` is as
/// [`archive_into`] wants it.
///
/// # Panics
/// As [`archive_into`].
#[allow(unsafe_code)]
pub fn archive_in_place(head: RecordHead, payload_bytes: usize, slot: &mut [u8]) {
    let root = slot.len().wrapping_sub(RECORD_ROOT_BYTES);
    assert!(slot.len() == archived_bytes(payload_bytes), "slot and record differ in length");
    let (leading, root_bytes) = slot.split_at_mut(root);
    assert!(root_bytes.as_ptr().cast::<ArchivedRecord>().is_aligned(), "slot is not aligned for a record");
    let (payload, padding) = leading.split_at_mut(payload_bytes);
    padding.fill(0);
    // SAFETY: the slot ends with the bytes of a root, aligned, initialised and borrowed for writing.
    let place = unsafe { Place::new_unchecked(root, root_bytes.as_mut_ptr().cast::<ArchivedRecord>()) };
    let RecordHead { session, timestamp, kind } = head;
    Record { session, timestamp, kind, payload }.resolve((), place);
}

/// A writer into memory of known length, for short writes.
struct Slot<'a> {
    bytes: &'a mut [u8],
    position: usize,
}

impl Positional for Slot<'_> {
    #[inline(always)]
    fn pos(&self) -> usize {
        self.position
    }
}

impl Fallible for Slot<'_> {
    type Error = Panic;
}

impl Writer for Slot<'_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Result<(), Panic> {
        let end = self.position + bytes.len();
        let Some(room) = self.bytes.get_mut(self.position..end) else {
            rkyv::rancor::fail!(RecordError::Length { payload: end, archive: self.bytes.len() });
        };
        copy(bytes, room);
        self.position = end;
        Ok(())
    }
}

/// Copies all of `from` into `to`, which is as long. Short ones by their two ends, which overlap: a call of `memcpy`,
/// which is what a compiler makes of any loop, would cost more than the copy.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        33..=64 => copy_ends::<32>(from, to),
        65..=128 => copy_ends::<64>(from, to),
        17..=32 => copy_ends::<16>(from, to),
        9..=16 => copy_ends::<8>(from, to),
        5..=8 => copy_ends::<4>(from, to),
        3..=4 => copy_ends::<2>(from, to),
        1..=2 => copy_ends::<1>(from, to),
        0 => {}
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last `N` bytes of `from`.
#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>()) {
        *to = *from;
    }
}

/// The timestamp of an archive that this process serialised, which is not checked; 0 for bytes shorter than a root.
#[inline]
pub fn timestamp_of(archive: &[u8]) -> u64 {
    let root = archive.len().saturating_sub(RECORD_ROOT_BYTES);
    super::bytes::get_u64(archive, root + offset_of!(ArchivedRecord, timestamp))
}

/// The session of an archive that this process serialised, which is not checked; none for bytes shorter than a root.
#[inline]
pub fn session_of(archive: &[u8]) -> SessionId {
    let root = archive.len().saturating_sub(RECORD_ROOT_BYTES);
    let session = archive.get(root + offset_of!(ArchivedRecord, session)..).and_then(|rest| rest.first_chunk());
    session.map_or(SessionId::NONE, |session| SessionId(u128::from_le_bytes(*session)))
}

/// The payload's length that the root of a record states, unchecked; 0 for bytes shorter than a root.
pub(crate) fn payload_bytes_of(archive: &[u8]) -> usize {
    let root = archive.len().saturating_sub(RECORD_ROOT_BYTES);
    let length = archive.get(root + offset_of!(ArchivedRecord, payload)..).and_then(|rest| rest.first_chunk());
    length.map_or(0, |length| u32::from_le_bytes(*length) as usize)
}

/// The fault of bytes that are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// rkyv refused the archive.
    #[error("not a valid archive: {0}")]
    Archive(String),
    /// The payload length and the archive length do not belong together.
    #[error("payload of {} in an archive of {}", counted(*payload as u64, "byte"), counted(*archive as u64, "byte"))]
    Length {
        /// Payload length that the root states.
        payload: usize,
        /// Length of the archive.
        archive: usize,
    },
    /// A reserved field is set.
    #[error("reserved field holds {0:#x}")]
    Reserved(u16),
}

/// A checked record, borrowed from a block.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    root: &'a ArchivedRecord,
    payload: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Checks one archive of exactly `bytes.len()` bytes. Costs about 2 ns.
    ///
    /// # Errors
    /// [`RecordError`] where the bytes are not one whole record of this version.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let root = rkyv::access::<ArchivedRecord, rkyv::rancor::Failure>(bytes).map_err(|_| Self::explain(bytes))?;
        let length = root.payload.length();
        let payload = bytes
            .get(..length)
            .filter(|_| archived_bytes(length) == bytes.len())
            .ok_or(RecordError::Length { payload: length, archive: bytes.len() })?;
        match root.reserved.to_native() {
            0 => Ok(Self { root, payload }),
            reserved => Err(RecordError::Reserved(reserved)),
        }
    }

    #[cold]
    fn explain(bytes: &[u8]) -> RecordError {
        match rkyv::access::<ArchivedRecord, rkyv::rancor::Error>(bytes) {
            Ok(root) => RecordError::Length { payload: root.payload.length(), archive: bytes.len() },
            Err(error) => RecordError::Archive(error.to_string()),
        }
    }

    /// The session.
    #[inline]
    pub fn session(&self) -> SessionId {
        SessionId(self.root.session.to_native())
    }

    /// Nanoseconds since the Unix epoch.
    #[inline]
    pub fn timestamp(&self) -> u64 {
        self.root.timestamp.to_native()
    }

    /// The kind.
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind(self.root.kind.to_native())
    }

    /// The event's bytes; they start at a multiple of 16 in memory and in the file.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}
