//! Events that are too long for a lane: each has memory of its own, which the device writes from.
//!
//! Costs a copy of the payload, a page fault for each 4 KiB (or 2 MiB, where the kernel has huge pages) and a pass of
//! CRC-32C, all on the producer's thread, and a lock.

use std::time::{Duration, Instant};

use rkyv::Serialize;
use tapeline_reader::blocking::is_shard_thread;
use tapeline_reader::event::write_payload;
use tapeline_reader::{PayloadSerializer, TypedPayload, note};
use tapeline_storage::format::{Kind, SessionId};
use tapeline_storage::log::LargeBlock;

use super::overflow::Rejected;
use super::source::Large;
use super::{Producer, Session, Ticket};
use crate::core::budget::MemoryShare;
use crate::core::error::{IngestionError, IngestionResult};
use crate::lane::Publish;

/// Time after which a producer that waits for memory looks again.
const LOOK: Duration = Duration::from_millis(5);

impl Producer {
    /// The fault of an event that is not written into a lane as it is, if it has one other than its length.
    pub(super) fn check_large(&self, kind: Kind, bytes: usize, publish: Publish) -> IngestionResult<()> {
        // All events of a batch have to fit the lane together.
        let max = if publish == Publish::Now { self.payload_bytes_max() } else { self.links.payload_max() };
        if bytes > max {
            return Err(IngestionError::TooLarge { bytes, max });
        }
        if note::is_reserved(kind) {
            return Err(IngestionError::ReservedKind { kind: kind.0 });
        }
        if self.is_forked() { Err(IngestionError::Forked) } else { Ok(()) }
    }

    /// Publishes an event that is too long for a lane.
    #[cold]
    #[inline(never)]
    pub(super) fn emit_large(
        &mut self,
        session: SessionId,
        kind: Kind,
        payload: &[u8],
        publish: Publish,
    ) -> IngestionResult<Ticket> {
        self.check_large(kind, payload.len(), publish)?;
        self.emit_filled(session, (kind, payload.len()), |place| {
            place.copy_from_slice(payload);
            Ok(())
        })
    }

    /// Publishes a value that is too long for a lane, whose payload has so many bytes.
    #[cold]
    #[inline(never)]
    pub(super) fn emit_large_archived<T>(
        &mut self,
        session: SessionId,
        kind: Kind,
        (value, bytes): (&T, usize),
        publish: Publish,
    ) -> IngestionResult<Ticket>
    where
        T: TypedPayload + for<'b> Serialize<PayloadSerializer<'b>>,
    {
        self.check_large(kind, bytes, publish)?;
        self.emit_filled(session, (kind, bytes), |place| write_payload(value, place).map_err(IngestionError::Archive))
    }

    /// Publishes an event whose payload has so many bytes, which `fill` writes.
    fn emit_filled(
        &mut self,
        session: SessionId,
        (kind, payload_bytes): (Kind, usize),
        fill: impl FnOnce(&mut [u8]) -> IngestionResult<()>,
    ) -> IngestionResult<Ticket> {
        let session = self.reroute(session);
        let share = self.take_memory(session, LargeBlock::memory_bytes(payload_bytes))?;
        let block = LargeBlock::new((session.id(), kind), payload_bytes, Box::new(share), fill)?;
        let time = self.time();
        self.write(session, Large { kind, block: Box::new(block), time }, Publish::Now)
    }

    /// Takes a share of the bus's memory for a large event. Where there is none, the producer's mode decides.
    fn take_memory(&mut self, session: Session, bytes: usize) -> IngestionResult<MemoryShare> {
        let shard_id = session.shard_id();
        let (core, memory) = (&self.core, self.core.memory());
        if self.links.get(shard_id).is_none() {
            let connected = self.links.connect(core, shard_id, self.route, self.id);
            connected.inspect_err(|error| core.producers().count_refused(error, 1))?;
        }
        let Some(link) = self.links.get_mut(shard_id) else { return Err(IngestionError::NoShard { shard_id }) };
        let patience = self.backpressure.patience().filter(|_| !is_shard_thread());
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        loop {
            // Before the look, so that no move after it is missed.
            let next_move = link.control.next_move();
            let left = match memory.take_for_event(bytes) {
                Ok(share) => return Ok(share),
                Err(left) => left,
            };
            let is_over = patience.is_none() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let (control, view) = (&link.control, link.control.view());
            let takes_nothing = control.is_closing() || view.is_full() || view.poison().is_some();
            let is_in_vain = bytes > memory.bytes() || takes_nothing;
            if is_over || is_in_vain {
                let budget = memory.bytes();
                let refusal = IngestionError::EventBudget { shard_id, bytes, left, budget };
                let event = Rejected { session: session.id(), bytes };
                return Err(self.backpressure.give_up_large(link, event, refusal));
            }
            // Readers give memory back, too, and say nothing of it.
            let look = Instant::now() + LOOK;
            next_move.wait(Some(deadline.map_or(look, |deadline| deadline.min(look))));
        }
    }
}
