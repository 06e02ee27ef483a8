//! The way of a producer's events when the shards that take events have changed since it looked.

use tapeline_storage::format::{Kind, SessionId, restamp};

use super::overflow::wait_for_room;
use super::{Producer, Session, Ticket, refusal};
use crate::core::error::IngestionResult;
use crate::core::refusals::RefusalReason;
use crate::lane::Publish;

impl Producer {
    /// The route has changed: publishes an event by the one in force.
    #[cold]
    #[inline(never)]
    pub(super) fn emit_elsewhere(&mut self, session: SessionId, kind: Kind, payload: &[u8]) -> IngestionResult<Ticket> {
        let session = self.reroute(session);
        self.put(session, kind, payload)
    }

    /// Takes the route in force, and finds the session's shard there. No event may be begun.
    #[cold]
    pub(super) fn reroute(&mut self, session: SessionId) -> Session {
        let route = self.core.route().get();
        if route != self.route {
            for link in self.links.iter_mut() {
                // A batch that was leaked would keep the lane on the old route for ever.
                let _ = link.lane.discard();
                link.lane.set_route(route.number());
            }
            self.route = route;
        }
        self.route_session(session)
    }

    /// The route has changed since the batch was begun: its events move to the session's shard of today, with times of
    /// today.
    #[cold]
    pub(super) fn publish_elsewhere(
        &mut self,
        session: Session,
        events: u64,
    ) -> IngestionResult<(Session, Option<Ticket>)> {
        let session = self.move_batch(session, events)?;
        // Should the route change again meanwhile, they move again.
        self.publish(session, events)
    }

    /// Moves what is written to a session's shard and not published to the session's shard of today, with times of
    /// today. Returns the session's token of today.
    ///
    /// # Errors
    /// [`IngestionError`](crate::IngestionError); none of it is written any more.
    pub(super) fn move_batch(&mut self, session: Session, events: u64) -> IngestionResult<Session> {
        let Some(link) = self.links.get_mut(session.shard_id()) else { return Ok(session) };
        let (records, lengths) = link.lane.take_back();
        let session = self.reroute(session.id());
        let mut rest = &records[..];
        for length in lengths {
            let (record, after) = rest.split_at(length);
            rest = after;
            if let Err(error) = self.rewrite(session, record) {
                self.discard(session.shard_id());
                match (self.links.get(session.shard_id()), RefusalReason::of(&error)) {
                    (Some(link), Some(reason)) => link.lane.count_refused(reason, events, 0),
                    _ => self.core.producers().count_refused(&error, events),
                }
                return Err(error);
            }
        }
        Ok(session)
    }

    /// Writes a record that was taken back to another lane, to be published.
    fn rewrite(&mut self, session: Session, record: &[u8]) -> IngestionResult<()> {
        let (shard, time) = (session.shard_id(), self.time());
        let link = match self.links.get_mut(shard) {
            Some(link) => link,
            None => self.links.connect(&self.core, shard, self.route, self.id)?,
        };
        if let Some(patience) = self.backpressure.patience() {
            wait_for_room(&link.control, &mut link.lane, record.len(), patience);
        }
        let Ok(mut claim) = link.lane.claim_reserve(record.len()) else { return Err(refusal(&link.control)) };
        claim.begin(self.clock.last() + 1, Publish::Later);
        restamp(record, self.clock.draw(time), claim.slot());
        let _ = claim.commit();
        Ok(())
    }
}
