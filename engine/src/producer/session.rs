//! Tokens of the hot path: a session's place, an event's receipt.

use tapeline_storage::format::SessionId;

/// A session as a producer knows it: its id and its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    id: SessionId,
    shard: u16,
}

impl Session {
    pub(super) fn new(id: SessionId, shard: u16) -> Self {
        Self { id, shard }
    }

    /// The id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The shard that holds the session.
    pub fn shard(&self) -> u16 {
        self.shard
    }
}

/// Receipt of an event: proof that it was taken, and the way to learn that it is durable. Only the producer that gave
/// it can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The shard that got the event.
    pub shard: u16,
    /// The event's time: nanoseconds since the Unix epoch, strictly rising within a producer.
    pub timestamp: u64,
    /// Lane entry that must be durable.
    entry: u64,
}

impl Ticket {
    pub(super) fn new(shard: u16, entry: u64, timestamp: u64) -> Self {
        Self { shard, timestamp, entry }
    }

    pub(super) fn entry(self) -> u64 {
        self.entry
    }
}
