//! A stored event where it lies.

use std::sync::Arc;

use rkyv::bytecheck::CheckBytes;
use tapeline_storage::format::{Kind, RecordView, Sequence, SessionId};

use super::typed::{self, PayloadValidator, TypeError, TypedPayload};
use crate::session::ResumeToken;
use crate::session::naming::ReaderNames;

/// An event as it lies in a block or a mapped file, borrowed. Costs nothing to make; copies nothing.
///
/// ```
/// use tapeline_reader::{EventView, kinds};
///
/// /// The text of a token, without a copy of it.
/// fn token<'a>(event: &EventView<'a>) -> Option<&'a str> {
///     (event.kind() == kinds::TOKEN).then(|| std::str::from_utf8(event.payload()).ok()).flatten()
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    shard_id: u16,
    sequence: Sequence,
    record: RecordView<'a>,
    names: Option<&'a ReaderNames>,
}

impl<'a> EventView<'a> {
    /// An event out of a record of a log.
    #[doc(hidden)]
    #[inline]
    pub fn new(shard_id: u16, sequence: Sequence, record: RecordView<'a>) -> Self {
        Self { shard_id, sequence, record, names: None }
    }

    /// The same, of a reader that knows these names of sessions.
    #[doc(hidden)]
    #[inline]
    pub fn named_by(mut self, names: &'a ReaderNames) -> Self {
        self.names = Some(names);
        self
    }

    #[doc(hidden)]
    #[inline]
    pub fn record(&self) -> &RecordView<'a> {
        &self.record
    }

    /// The shard that holds it.
    #[inline]
    pub fn shard_id(&self) -> u16 {
        self.shard_id
    }

    /// Its dense number in that shard.
    #[inline]
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Its session.
    #[inline]
    pub fn session(&self) -> SessionId {
        self.record.session()
    }

    /// The name of its session, as of [`StoredEvent::session_name`](super::StoredEvent::session_name). Costs a lock of
    /// the reader's own, and a look-up where the last one was of another session.
    pub fn session_name(&self) -> Option<Arc<str>> {
        self.names?.open().of(self.session())
    }

    /// Its kind.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.record.kind()
    }

    /// Time of ingestion: nanoseconds since the Unix epoch.
    #[inline]
    pub fn insertion_ts(&self) -> u64 {
        self.record.timestamp()
    }

    /// The place of a reader that continues after this event, in its session.
    pub fn token(&self) -> ResumeToken {
        ResumeToken::new(self.session(), self.shard_id, self.sequence, self.insertion_ts())
    }

    /// The payload, exactly as it was ingested. Starts at a multiple of 16.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.record.payload()
    }

    /// The payload as a value of this type, where it lies, checked. Costs the check: some nanoseconds for flat types.
    ///
    /// # Errors
    /// [`TypeError`].
    pub fn access<T>(&self) -> Result<&'a T::Archived, TypeError>
    where
        T: TypedPayload,
        T::Archived: for<'b> CheckBytes<PayloadValidator<'b>>,
    {
        typed::access::<T>(self.payload())
    }

    /// The tag of the payload's type, if it is typed.
    pub fn type_tag(&self) -> Option<u64> {
        typed::type_tag(self.payload())
    }
}
