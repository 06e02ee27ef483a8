//! What is written into the room that was found for an event: bytes, or a value where it will lie.

use rkyv::Serialize;
use tapeline_storage::format::{Kind, Record, SessionId, archive_in_place, archive_into};

use super::{Producer, Ticket};
use crate::error::{IngestionError, IngestionResult};
use crate::event::{PayloadSerializer, TypedPayload, write_payload};
use crate::lane::Claim;
use crate::timestamp::TimestampGenerator;

/// Fills in an event.
pub(super) trait Fill {
    /// Serialises the event into the claim and returns its time. An error leaves the clock as it was.
    fn fill(self, session: SessionId, claim: &mut Claim<'_>, clock: &mut TimestampGenerator) -> IngestionResult<u64>;

    /// Has the event published by the route in force. In pieces, so that none of them has to lie in memory for the sake of
    /// this rare case.
    fn publish_elsewhere(self, producer: &mut Producer, session: SessionId) -> IngestionResult<Ticket>;
}

/// When an event was: read from the clock, or one nanosecond after the event before.
#[inline(always)]
fn time(clock: &mut TimestampGenerator, looks: bool) -> u64 {
    if looks { clock.next() } else { clock.follow() }
}

/// Bytes.
pub(super) struct Bytes<'a> {
    pub(super) kind: Kind,
    pub(super) payload: &'a [u8],
    /// Whether the clock is read.
    pub(super) looks: bool,
}

impl Fill for Bytes<'_> {
    // A function of its own would cost a third of an event.
    #[inline(always)]
    fn fill(self, session: SessionId, claim: &mut Claim<'_>, clock: &mut TimestampGenerator) -> IngestionResult<u64> {
        let Self { kind, payload, looks } = self;
        let timestamp = time(clock, looks);
        archive_into(&Record { session, timestamp, kind, payload }, claim.slot());
        Ok(timestamp)
    }

    #[inline(always)]
    fn publish_elsewhere(self, producer: &mut Producer, session: SessionId) -> IngestionResult<Ticket> {
        producer.emit_elsewhere(session, self.kind, self.payload)
    }
}

/// A value whose archive takes so many bytes.
pub(super) struct Value<'a, T> {
    pub(super) kind: Kind,
    pub(super) value: &'a T,
    pub(super) bytes: usize,
    /// Whether the clock is read.
    pub(super) looks: bool,
}

impl<T> Fill for Value<'_, T>
where
    T: TypedPayload + for<'s> Serialize<PayloadSerializer<'s>>,
{
    fn fill(self, session: SessionId, claim: &mut Claim<'_>, clock: &mut TimestampGenerator) -> IngestionResult<u64> {
        let Self { kind, value, bytes, looks } = self;
        write_payload(value, &mut claim.slot()[..bytes]).map_err(IngestionError::Archive)?;
        let timestamp = time(clock, looks);
        archive_in_place(session, timestamp, kind, bytes, claim.slot());
        Ok(timestamp)
    }

    fn publish_elsewhere(self, producer: &mut Producer, session: SessionId) -> IngestionResult<Ticket> {
        let session = producer.reroute(session);
        producer.emit_archived(session, self.kind, self.value)
    }
}
