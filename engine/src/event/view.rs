//! A stored event where it lies.

use tapeline_storage::format::{Kind, RecordView, Sequence, SessionId};

/// An event as it lies in a block or a mapped file, borrowed. Costs nothing to make; copies nothing.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    shard_id: u16,
    sequence: Sequence,
    record: RecordView<'a>,
}

impl<'a> EventView<'a> {
    #[inline]
    pub(crate) fn new(shard_id: u16, sequence: Sequence, record: RecordView<'a>) -> Self {
        Self { shard_id, sequence, record }
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

    /// Its kind.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.record.kind()
    }

    /// When it was ingested: nanoseconds since the Unix epoch.
    #[inline]
    pub fn insertion_ts(&self) -> u64 {
        self.record.timestamp()
    }

    /// The payload, exactly as it was ingested. Starts at a multiple of 16.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.record.payload()
    }
}
