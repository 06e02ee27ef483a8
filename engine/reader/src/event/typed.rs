//! Typed payloads: values of any rkyv type, read where they lie.
//!
//! The payload of a typed event, as it lies in memory and on disk:
//!
//! | bytes | what |
//! |---|---|
//! | `n` | the rkyv archive of the value, its root at the end; starts at a multiple of 16 |
//! | 8 | the tag: XXH3-64 of [`TypedPayload::TYPE_NAME`], little-endian |
//! | 4 | `n`, little-endian |
//! | 4 | `TPL1` |
//!
//! A value is serialised twice, first to learn how long it gets and then into the lane: nothing is copied or allocated
//! (but what rkyv needs to serialise some types, from an arena that the thread keeps). Reading compares the tag, checks
//! the archive with bytecheck, and gives a reference into the map, the block or the page.

use rkyv::api::high::{HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Error, Fallible};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::sharing::Share;
use rkyv::ser::{Positional, Serializer, Writer};
use rkyv::util::with_arena;
use rkyv::{Archive, Serialize};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 4] = *b"TPL1";
const TRAILER_BYTES: usize = 16;
const ALIGN: usize = 16;

/// A type whose values can be payloads. Implemented beside the derives of rkyv.
///
/// ```
/// use rkyv::{Archive, Deserialize, Serialize};
/// use tapeline_reader::{TypedPayload, rkyv};
///
/// #[derive(Archive, Serialize, Deserialize)]
/// #[rkyv(crate = tapeline_reader::rkyv)]
/// struct Token {
///     index: u32,
///     text: String,
/// }
///
/// impl TypedPayload for Token {
///     const TYPE_NAME: &'static str = "example.Token.1";
/// }
/// ```
pub trait TypedPayload: Archive {
    /// The name of the type in the log: unique among all that share one, and another one whenever the layout changes,
    /// as in `acme.Token.2`.
    const TYPE_NAME: &'static str;
}

/// The reason for which a payload cannot be read as a type.
///
/// ```
/// use tapeline_reader::TypeError;
///
/// fn may_skip(error: &TypeError) -> bool {
///     matches!(error, TypeError::NotTyped | TypeError::WrongType { .. })
/// }
/// assert!(may_skip(&TypeError::NotTyped) && !may_skip(&TypeError::Misaligned));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypeError {
    /// It is not the payload of a typed event.
    #[error("the payload is not typed")]
    NotTyped,
    /// It is of another type.
    #[error("the payload is of type {found:016x}, not of {expected} ({:016x})", tag_of(expected))]
    WrongType {
        /// Name of the type that was asked for.
        expected: &'static str,
        /// Tag of the type that was found.
        found: u64,
    },
    /// The bytes do not start at a multiple of 16, as every payload out of a log does.
    #[error("the payload is not aligned; copy it to memory that is aligned to 16")]
    Misaligned,
    /// The archive does not check.
    #[error("the payload does not check: {0}")]
    Invalid(String),
}

/// The output of rkyv for a payload: memory of known length, or a counter that learns that length.
///
/// ```
/// use tapeline_reader::{PayloadSerializer, TypedPayload, rkyv};
///
/// // The bound of a function that takes any typed payload.
/// fn name<T: TypedPayload + for<'a> rkyv::Serialize<PayloadSerializer<'a>>>(_: &T) -> &'static str {
///     T::TYPE_NAME
/// }
/// ```
#[derive(Debug)]
pub struct PayloadWriter<'a> {
    bytes: Option<&'a mut [u8]>,
    position: usize,
}

/// The serializer of typed payloads.
pub type PayloadSerializer<'a> = HighSerializer<PayloadWriter<'a>, ArenaHandle<'a>, Error>;

/// The validator of typed payloads.
pub type PayloadValidator<'a> = HighValidator<'a, Error>;

#[derive(Debug, thiserror::Error)]
#[error("the value got longer while it was serialised")]
struct Overflow;

impl Positional for PayloadWriter<'_> {
    fn pos(&self) -> usize {
        self.position
    }
}

impl Fallible for PayloadWriter<'_> {
    type Error = Error;
}

impl Writer<Error> for PayloadWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let end = self.position + bytes.len();
        if let Some(room) = &mut self.bytes {
            let Some(room) = room.get_mut(self.position..end) else { rkyv::rancor::fail!(Overflow) };
            room.copy_from_slice(bytes);
        }
        self.position = end;
        Ok(())
    }
}

/// Bytes of the payload of `value`.
///
/// # Errors
/// rkyv's, in words.
pub fn payload_bytes<T>(value: &T) -> Result<usize, String>
where
    T: TypedPayload + for<'a> Serialize<PayloadSerializer<'a>>,
{
    Ok(serialize(value, None)? + TRAILER_BYTES)
}

/// Writes the payload of `value` into `payload`, which has the length that [`payload_bytes`] gave.
///
/// # Errors
/// rkyv's, in words, or that the value does not have that length any more.
pub fn write_payload<T>(value: &T, payload: &mut [u8]) -> Result<(), String>
where
    T: TypedPayload + for<'a> Serialize<PayloadSerializer<'a>>,
{
    const { assert!(align_of::<T::Archived>() <= ALIGN, "payloads are aligned to 16 bytes") };
    let archive_bytes = payload.len().saturating_sub(TRAILER_BYTES);
    let (archive, trailer) = payload.split_at_mut(archive_bytes);
    if serialize(value, Some(archive))? != archive_bytes {
        return Err("the value got shorter while it was serialised".to_owned());
    }
    // A lane holds less than 1 MiB.
    let length = archive_bytes as u32;
    trailer[..8].copy_from_slice(&tag_of(T::TYPE_NAME).to_le_bytes());
    trailer[8..12].copy_from_slice(&length.to_le_bytes());
    trailer[12..].copy_from_slice(&MAGIC);
    Ok(())
}

/// Returns the length of the archive.
fn serialize<T>(value: &T, bytes: Option<&mut [u8]>) -> Result<usize, String>
where
    T: for<'a> Serialize<PayloadSerializer<'a>>,
{
    with_arena(|arena| {
        let writer = PayloadWriter { bytes, position: 0 };
        let mut serializer = Serializer::new(writer, arena.acquire(), Share::new());
        rkyv::api::serialize_using::<_, Error>(value, &mut serializer).map_err(|error| error.to_string())?;
        Ok(serializer.into_writer().position)
    })
}

/// The tag of a payload, if it is typed.
pub(super) fn type_tag(payload: &[u8]) -> Option<u64> {
    split(payload).map(|(_, tag)| tag)
}

/// The value in a payload.
///
/// # Errors
/// [`TypeError`].
pub(super) fn access<T>(payload: &[u8]) -> Result<&T::Archived, TypeError>
where
    T: TypedPayload,
    T::Archived: for<'a> CheckBytes<PayloadValidator<'a>>,
{
    let (archive, found) = split(payload).ok_or(TypeError::NotTyped)?;
    if found != tag_of(T::TYPE_NAME) {
        return Err(TypeError::WrongType { expected: T::TYPE_NAME, found });
    }
    if !payload.as_ptr().addr().is_multiple_of(ALIGN) {
        return Err(TypeError::Misaligned);
    }
    rkyv::access::<T::Archived, Error>(archive).map_err(|error| TypeError::Invalid(error.to_string()))
}

/// The archive and the tag.
fn split(payload: &[u8]) -> Option<(&[u8], u64)> {
    let (archive, trailer) = payload.split_last_chunk::<TRAILER_BYTES>()?;
    let (tag, rest) = trailer.split_first_chunk::<8>()?;
    let (length, magic) = rest.split_first_chunk::<4>()?;
    let is_whole = u32::from_le_bytes(*length) as usize == archive.len() && *magic == MAGIC;
    is_whole.then_some((archive, u64::from_le_bytes(*tag)))
}

fn tag_of(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}
