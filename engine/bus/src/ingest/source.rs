//! An event's payload on its way into the lane: bytes, or a value that is serialised where it will lie.

use rkyv::Serialize;
use tapeline_reader::event::write_payload;
use tapeline_reader::timestamp::{TimeSource, Timestamps};
use tapeline_reader::{PayloadSerializer, TypedPayload};
use tapeline_storage::format::{Kind, Record, RecordHead, SessionId, archive_in_place, archive_into};
use tapeline_storage::log::LargeBlock;

use super::{Producer, Ticket};
use crate::core::error::{IngestionError, IngestionResult};
use crate::lane::{Claim, Publish};

/// A source from which a record is made.
pub(super) trait RecordSource {
    fn kind(&self) -> Kind;

    /// Bytes of the payload.
    fn payload_bytes(&self) -> usize;

    /// Returns whether the event gets its time later.
    fn is_pending(&self) -> bool;

    /// Serialises the event into the claim and returns its time. An error leaves the clock as it was.
    fn fill(self, session: SessionId, claim: &mut Claim<'_>, clock: &mut Timestamps) -> IngestionResult<u64>;

    /// Publishes the event as a large one, where it is too long for a lane and has no other fault. Takes the source in
    /// pieces, so that none of them has to lie in memory for the sake of this rare case.
    fn publish_large(self, producer: &mut Producer, session: SessionId, publish: Publish) -> IngestionResult<Ticket>;

    /// Publishes the event by the route in force. Takes the source in pieces likewise.
    fn publish_elsewhere(self, producer: &mut Producer, session: SessionId) -> IngestionResult<Ticket>;
}

/// Bytes.
pub(super) struct Bytes<'a> {
    pub(super) kind: Kind,
    pub(super) payload: &'a [u8],
    pub(super) time: TimeSource,
}

impl RecordSource for Bytes<'_> {
    #[inline(always)]
    fn kind(&self) -> Kind {
        self.kind
    }

    #[inline(always)]
    fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    #[inline(always)]
    fn is_pending(&self) -> bool {
        self.time == TimeSource::Pending
    }

    // A function of its own would cost a third of an event.
    #[inline(always)]
    fn fill(self, session: SessionId, claim: &mut Claim<'_>, clock: &mut Timestamps) -> IngestionResult<u64> {
        let Self { kind, payload, time } = self;
        let timestamp = clock.draw(time);
        archive_into(&Record { session, timestamp, kind, payload }, claim.slot());
        Ok(timestamp)
    }

    #[inline(always)]
    fn publish_large(self, producer: &mut Producer, session: SessionId, publish: Publish) -> IngestionResult<Ticket> {
        producer.emit_large(session, self.kind, self.payload, publish)
    }

    #[inline(always)]
    fn publish_elsewhere(self, producer: &mut Producer, session: SessionId) -> IngestionResult<Ticket> {
        producer.emit_elsewhere(session, self.kind, self.payload)
    }
}

/// An event whose payload is in memory of its own: a record without a payload stands for it in the lane.
pub(super) struct Large {
    pub(super) kind: Kind,
    pub(super) block: Box<LargeBlock>,
    pub(super) time: TimeSource,
}

impl RecordSource for Large {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn payload_bytes(&self) -> usize {
        0
    }

    fn is_pending(&self) -> bool {
        false
    }

    fn fill(self, session: SessionId, claim: &mut Claim<'_>, clock: &mut Timestamps) -> IngestionResult<u64> {
        let Self { kind, block, time } = self;
        let timestamp = clock.draw(time);
        archive_into(&Record { session, timestamp, kind, payload: &[] }, claim.slot());
        claim.attach(block);
        Ok(timestamp)
    }

    fn publish_large(self, producer: &mut Producer, _: SessionId, publish: Publish) -> IngestionResult<Ticket> {
        // Its record fits any lane: the process was forked.
        producer.check_large(self.kind, 0, publish)?;
        Err(IngestionError::Forked)
    }

    fn publish_elsewhere(self, producer: &mut Producer, session: SessionId) -> IngestionResult<Ticket> {
        let session = producer.reroute(session);
        producer.write(session, self, Publish::Now)
    }
}

/// A value of an rkyv type.
pub(super) struct Value<'a, T> {
    kind: Kind,
    value: &'a T,
    bytes: usize,
    time: TimeSource,
}

impl<'a, T> Value<'a, T>
where
    T: TypedPayload + for<'s> Serialize<PayloadSerializer<'s>>,
{
    /// Serialises the value once to learn how long it is.
    ///
    /// # Errors
    /// [`IngestionError::Archive`].
    pub(super) fn new(kind: Kind, value: &'a T, time: TimeSource) -> IngestionResult<Self> {
        let bytes = tapeline_reader::event::payload_bytes(value).map_err(IngestionError::Archive)?;
        Ok(Self { kind, value, bytes, time })
    }
}

impl<T> RecordSource for Value<'_, T>
where
    T: TypedPayload + for<'s> Serialize<PayloadSerializer<'s>>,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn payload_bytes(&self) -> usize {
        self.bytes
    }

    fn is_pending(&self) -> bool {
        self.time == TimeSource::Pending
    }

    fn fill(self, session: SessionId, claim: &mut Claim<'_>, clock: &mut Timestamps) -> IngestionResult<u64> {
        let Self { kind, value, bytes, time } = self;
        write_payload(value, &mut claim.slot()[..bytes]).map_err(IngestionError::Archive)?;
        let timestamp = clock.draw(time);
        archive_in_place(RecordHead { session, timestamp, kind }, bytes, claim.slot());
        Ok(timestamp)
    }

    #[inline(always)]
    fn publish_large(self, producer: &mut Producer, session: SessionId, publish: Publish) -> IngestionResult<Ticket> {
        producer.emit_large_archived(session, self.kind, (self.value, self.bytes), publish)
    }

    fn publish_elsewhere(self, producer: &mut Producer, session: SessionId) -> IngestionResult<Ticket> {
        let session = producer.reroute(session);
        producer.emit_archived(session, self.kind, self.value)
    }
}
