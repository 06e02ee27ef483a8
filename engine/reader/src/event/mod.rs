//! Events as users hand them in and get them back.

mod id;
mod serde_forms;
mod typed;
mod view;

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use rkyv::bytecheck::CheckBytes;
use serde::de::IgnoredAny;
use tapeline_storage::format::{Kind, Sequence, SessionId};

pub use id::{EventId, ParseEventIdError};
pub use typed::{PayloadSerializer, PayloadValidator, PayloadWriter, TypeError, TypedPayload};
pub use typed::{payload_bytes, write_payload};
pub use view::EventView;

use crate::session::IntoSession;
use crate::session::ResumeToken;

/// An event whose payload is JSON. The bytes stay as they came: order of keys and form of numbers are kept.
///
/// `Debug` prints the JSON. Serialises as its JSON, through serde_json: its session and kind are not part of that.
///
/// ```
/// use tapeline_reader::{Event, kinds};
///
/// let event = Event::from_str(r#"{"tool": "search"}"#)?.with_session("run-7").with_kind(kinds::TOOL_CALL);
/// assert_eq!(event.as_value()?["tool"], "search");
/// // The bytes stay as they came.
/// assert_eq!(event.as_bytes(), br#"{"tool": "search"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Event(RawEvent);

impl Event {
    /// An event of a JSON value.
    pub fn new(value: serde_json::Value) -> Self {
        Self(RawEvent::from_bytes(value.to_string()))
    }

    /// An event of JSON text. One pass that checks and builds nothing.
    ///
    /// # Errors
    /// If the text is not JSON, with line and column.
    #[allow(clippy::should_implement_trait, reason = "usable without importing the trait, which is implemented too")]
    pub fn from_str(json: &str) -> Result<Self, serde_json::Error> {
        Self::from_slice(json.as_bytes())
    }

    /// An event of JSON bytes.
    ///
    /// # Errors
    /// If the bytes are not UTF-8 JSON.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<IgnoredAny>(json)?;
        Ok(Self(RawEvent::from_bytes(Bytes::copy_from_slice(json))))
    }

    /// The same event in a session.
    #[must_use]
    pub fn with_session(self, session: impl IntoSession) -> Self {
        Self(self.0.with_session(session))
    }

    /// The same event with a kind.
    #[must_use]
    pub fn with_kind(self, kind: Kind) -> Self {
        Self(self.0.with_kind(kind))
    }

    /// The JSON bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The JSON as a value, parsed anew at each call.
    ///
    /// # Errors
    /// If a number is beyond what a value can hold.
    pub fn as_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(self.as_bytes())
    }

    /// The JSON as a value.
    ///
    /// # Errors
    /// As [`Event::as_value`].
    pub fn into_inner(self) -> Result<serde_json::Value, serde_json::Error> {
        self.as_value()
    }

    /// The event as bytes.
    pub fn into_raw(self) -> RawEvent {
        self.0
    }

    #[doc(hidden)]
    pub fn as_raw(&self) -> &RawEvent {
        &self.0
    }
}

impl std::str::FromStr for Event {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        Self::from_slice(json.as_bytes())
    }
}

impl From<serde_json::Value> for Event {
    fn from(value: serde_json::Value) -> Self {
        Self::new(value)
    }
}

impl TryFrom<Event> for serde_json::Value {
    type Error = serde_json::Error;

    /// Same as [`Event::into_inner`].
    fn try_from(event: Event) -> Result<Self, serde_json::Error> {
        event.into_inner()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({})", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// An event whose payload is any bytes.
///
/// `Debug` prints the payload's length, never the payload: logs are no place for what users wrote.
///
/// ```
/// use tapeline_reader::{RawEvent, kinds};
///
/// let event = RawEvent::from_bytes(vec![0, 159]).with_session("run-7").with_kind(kinds::DRIFT);
/// assert_eq!(event.len(), 2);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RawEvent {
    bytes: Bytes,
    session: SessionId,
    kind: Kind,
}

impl RawEvent {
    /// An event of these bytes, in no session and of no kind.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), session: SessionId::NONE, kind: crate::kinds::UNSPECIFIED }
    }

    /// An event of a copy of this text.
    #[allow(clippy::should_implement_trait, reason = "cannot fail")]
    pub fn from_str(text: &str) -> Self {
        Self::from_bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// An event of bytes that are checked to be JSON.
    ///
    /// # Errors
    /// If they are not.
    pub fn from_bytes_validated(bytes: impl Into<Bytes>) -> Result<Self, serde_json::Error> {
        let bytes = bytes.into();
        serde_json::from_slice::<IgnoredAny>(&bytes)?;
        Ok(Self::from_bytes(bytes))
    }

    /// An event of a JSON value, given by value or by reference.
    pub fn from_value(value: impl Borrow<serde_json::Value>) -> Self {
        Self::from_bytes(value.borrow().to_string())
    }

    /// The same event in a session.
    #[must_use]
    pub fn with_session(mut self, session: impl IntoSession) -> Self {
        self.session = session.into_session();
        self
    }

    /// The same event with a kind.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload, shared.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// xxh3-64 of the payload.
    pub fn hash(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.bytes)
    }

    /// The payload parsed as JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn parse(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.bytes)
    }

    /// Payload length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl From<Event> for RawEvent {
    fn from(event: Event) -> Self {
        event.into_raw()
    }
}

impl From<serde_json::Value> for RawEvent {
    fn from(value: serde_json::Value) -> Self {
        Self::from_value(value)
    }
}

impl fmt::Debug for RawEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEvent")
            .field("len", &self.len())
            .field("session", &format_args!("{}", self.session))
            .field("kind", &self.kind.0)
            .finish()
    }
}

/// An event as it is read back.
///
/// Serialises as an object of its fields, through serde_json; `session_name` is there if it is known. The payload
/// stands in one of three of them: `raw` is the JSON that was ingested, byte for byte but for line ends, which become
/// spaces, so that an event is one line; `raw_text` is UTF-8 that is not JSON; `raw_bytes` is an array of numbers.
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore, RestoredEvent, Sequence, kinds, session_id};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-stored-event-{}", std::process::id()));
/// let mut restore = LogRestore::create(&directory, None)?;
/// let (session, kind) = (session_id("run-7"), kinds::TOOL_CALL);
/// let (insertion_ts, payload) = (1_700_000_000_000_000_000, br#"{"tool": "search"}"#);
/// restore.append(&RestoredEvent { shard_id: 0, sequence: Sequence::ZERO, insertion_ts, session, kind, payload })?;
/// restore.finish()?;
///
/// let event = LogFiles::open(&directory)?.replay(session)?.next().unwrap()?;
/// assert_eq!((event.session, event.kind, event.parse()?["tool"].as_str()), (session, kind, Some("search")));
/// // The id stays, whatever becomes of the log; the JSON is for server-sent events.
/// println!("id: {}\ndata: {}", event.id, serde_json::to_string(&event)?);
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Eq)]
pub struct StoredEvent {
    /// Stable identity: log, shard and sequence.
    pub id: EventId,
    /// The payload, exactly as it was ingested.
    pub raw: Payload,
    /// Time of ingestion: nanoseconds since the Unix epoch.
    pub insertion_ts: u64,
    /// The shard that holds it.
    pub shard_id: u16,
    /// Its dense number in that shard.
    pub sequence: Sequence,
    /// Its session.
    pub session: SessionId,
    /// Its kind.
    pub kind: Kind,
    /// The name of its session, as far as its reader knows it: [`StoredEvent::session_name`].
    pub name: Option<Arc<str>>,
}

/// Equal if the log holds the same of both. The name of a session is no part of its events.
impl PartialEq for StoredEvent {
    fn eq(&self, other: &Self) -> bool {
        let Self { id, raw, insertion_ts, shard_id, sequence, session, kind, name: _ } = self;
        (*id, *insertion_ts, *shard_id) == (other.id, other.insertion_ts, other.shard_id)
            && (*sequence, *session, *kind) == (other.sequence, other.session, other.kind)
            && *raw == other.raw
    }
}

impl StoredEvent {
    /// The name of its session, which an event gave it that opens sessions. A reader knows the names in the openings
    /// that it passes; of those before its start the ones in sealed segments, in the log's file of names, and, if it
    /// reads through a bus, those that this process opened by name, or has read. `None`: the session was not opened by
    /// name, or its opening is not known: docs/CONSUMERS.md has the cases.
    ///
    /// The reader looks a session up once; an event costs no allocation and no look-up of its own.
    pub fn session_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The place of a reader that continues after this event, in its session: what a client of a stream gives back to
    /// go on. Costs a hash of 16 bytes; the text costs another 30 ns.
    pub fn token(&self) -> ResumeToken {
        ResumeToken::new(self.session, self.shard_id, self.sequence, self.insertion_ts)
    }

    /// The text by which a backend or its consumer recognises a repeat of the event: that of its id. Two events of any
    /// logs have different ones.
    pub fn dedup_id(&self) -> String {
        self.id.to_string()
    }

    /// The payload parsed as JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn parse(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_slice(&self.raw)
    }

    /// The payload as a value of this type, where it lies, checked.
    ///
    /// # Errors
    /// [`TypeError`].
    pub fn access<T>(&self) -> Result<&T::Archived, TypeError>
    where
        T: TypedPayload,
        T::Archived: for<'b> CheckBytes<PayloadValidator<'b>>,
    {
        typed::access::<T>(&self.raw)
    }

    /// The tag of the payload's type, if it is typed.
    pub fn type_tag(&self) -> Option<u64> {
        typed::type_tag(&self.raw)
    }

    /// The payload as text.
    ///
    /// # Errors
    /// If it is not UTF-8.
    pub fn raw_str(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.raw)
    }
}

/// Bytes of an event. Prints as text, with replacement characters where it is not UTF-8.
///
/// ```
/// use tapeline_reader::Payload;
///
/// let payload = Payload::from(bytes::Bytes::from_static(b"hello"));
/// // Bytes, text, or shared without a copy.
/// assert_eq!((&payload[..2], payload.to_string()), (&b"he"[..], String::from("hello")));
/// assert_eq!(payload.into_bytes(), "hello");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload(Bytes);

impl Payload {
    /// The bytes, shared.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq<[u8]> for Payload {
    fn eq(&self, other: &[u8]) -> bool {
        self[..] == *other
    }
}

impl PartialEq<&[u8]> for Payload {
    fn eq(&self, other: &&[u8]) -> bool {
        self[..] == **other
    }
}

impl PartialEq<str> for Payload {
    fn eq(&self, other: &str) -> bool {
        self[..] == *other.as_bytes()
    }
}

impl PartialEq<&str> for Payload {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}
