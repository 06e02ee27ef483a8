//! Batches that no crash separates: the shard puts all of one into one block.
//!
//! A batch may have the position of a named cursor with it, whose record is then its last. Not on the hot path: costs
//! two locks, a copy of the batch in the shard, and a decoding of the cursor.

use std::sync::Arc;

use tapeline_reader::ConsumerError;
use tapeline_reader::named::{check_in, expect_notes, fold_notes, keep_in_memory};
use tapeline_reader::note::CursorNote;
use tapeline_reader::source::LogViews;
use tapeline_reader::timestamp::TimeSource;
use tapeline_storage::format::{BLOCK_BYTES_MAX, Kind, Record, SessionId, archive_into, archived_bytes, block_bytes};
use tapeline_storage::log::LogView;

use super::overflow::wait_for_room;
use super::{Producer, Session, Ticket, publish_group_in, refusal, stamp_group};
use crate::bus_core::{BusCore, TapBatch};
use crate::core::error::{IngestionError, IngestionResult};
use crate::core::lock::lock;
use crate::lane::{Overflow, Publish};
use crate::shard::Barrier;

/// A named cursor that goes with a batch.
#[derive(Debug)]
pub(super) struct BatchCursor {
    note: CursorNote,
    /// Of its record.
    payload: Vec<u8>,
}

impl Producer {
    /// The cursor for a batch.
    ///
    /// # Errors
    /// [`IngestionError::Cursor`], [`IngestionError::CursorMode`].
    #[cold]
    pub(super) fn batch_cursor(&self, name: &str, cursor: &str) -> IngestionResult<BatchCursor> {
        self.core.check_open()?;
        if self.backpressure.overflow() == Overflow::Evict {
            return Err(IngestionError::CursorMode);
        }
        let refused = |source| refused(name, source);
        check_in(LogViews::new(self.core.log_id(), &views(&self.core)), name, cursor).map_err(refused)?;
        let note = CursorNote { name: name.to_owned(), cursor: cursor.to_owned() };
        let payload = note.payload()?;
        Ok(BatchCursor { note, payload })
    }

    /// Publishes the `events` that a batch has written to the shard of its session, and a cursor with them. Returns the
    /// session's token from now on, and the ticket of all.
    ///
    /// # Errors
    /// As [`Producer::emit`], [`IngestionError::BatchTooLarge`], [`IngestionError::Cursor`]; then none of it was taken.
    #[cold]
    pub(super) fn publish_with_cursor(
        &mut self,
        session: Session,
        events: u64,
        cursor: &BatchCursor,
    ) -> IngestionResult<(Session, Ticket)> {
        let core = Arc::clone(&self.core);
        let name = &cursor.note.name;
        let last = core.taps().last_of(name);
        let mut at = session;
        let outcome = self.begin_tap(&core, session, events, cursor).and_then(|()| {
            let mut last = lock(&last);
            let ticket = self.publish_group(&core, &mut at, (events, 1), (name, &mut last))?;
            let store = &core.readers().cursors;
            keep_in_memory(store, name, &cursor.note.cursor).map_err(|source| refused(name, source))?;
            Ok(ticket)
        });
        if outcome.is_err() {
            self.discard(at.shard_id());
        }
        if outcome.is_ok() && core.taps().is_fold_due() {
            fold_elsewhere(&core);
        }
        outcome.map(|ticket| (at, ticket))
    }

    /// Publishes the `events` that a batch has written to the shard of its session, as one, after the batch before it,
    /// whose `name` is that of both. Returns the session's token from now on, and the ticket of all.
    ///
    /// # Errors
    /// As [`Producer::emit`], [`IngestionError::BatchTooLarge`], [`IngestionError::Cursor`]; then none of it was taken.
    #[cold]
    pub(super) fn publish_as_one(
        &mut self,
        session: Session,
        events: u64,
        (name, last): (&str, &mut Option<TapBatch>),
    ) -> IngestionResult<(Session, Ticket)> {
        let core = Arc::clone(&self.core);
        let mut at = session;
        let begun = self.check_session(session.id(), events).and_then(|()| self.check_fits(session));
        let outcome = begun.and_then(|()| self.publish_group(&core, &mut at, (events, 0), (name, last)));
        if outcome.is_err() {
            self.discard(at.shard_id());
        }
        outcome.map(|ticket| (at, ticket))
    }

    /// Writes the cursor's record after the events of the batch.
    fn begin_tap(
        &mut self,
        core: &BusCore,
        session: Session,
        events: u64,
        cursor: &BatchCursor,
    ) -> IngestionResult<()> {
        self.check_open(events)?;
        if events > 0 {
            self.check_session(session.id(), events)?;
        }
        let expect = || expect_notes(&core.readers().cursors, LogViews::new(core.log_id(), &views(core)));
        core.taps().begin(expect).map_err(|source| refused(&cursor.note.name, source))?;
        let written = self.write_note(session, &cursor.payload);
        written.inspect_err(|error| core.producers().count_refused(error, events))?;
        self.check_fits(session)
    }

    /// # Errors
    /// [`IngestionError::BatchTooLarge`] if what is written to the shard of a session and not published fits no block.
    fn check_fits(&self, session: Session) -> IngestionResult<()> {
        let lane = self.links.get(session.shard_id()).map(|link| &link.lane);
        let (records, bytes) = lane.map_or((0, 0), |lane| lane.unpublished_size());
        match block_bytes(records, bytes) {
            bytes if bytes > BLOCK_BYTES_MAX => Err(IngestionError::BatchTooLarge { bytes, max: BLOCK_BYTES_MAX }),
            _ => Ok(()),
        }
    }

    /// Publishes what is written to the shard of a session, by the route in force, as one group of so many
    /// events and notes. Waits until the last batch of this name is durable, where that is in another shard.
    fn publish_group(
        &mut self,
        core: &BusCore,
        session: &mut Session,
        (events, notes): (u64, u64),
        (name, last): (&str, &mut Option<TapBatch>),
    ) -> IngestionResult<Ticket> {
        loop {
            if let Some(before) = last.as_ref().filter(|before| before.shard != session.shard_id()) {
                before.wait_durable(core).map_err(|source| refused(name, ConsumerError::from(source)))?;
            }
            let Some(link) = self.links.get_mut(session.shard_id()) else {
                return Err(IngestionError::NoShard { shard_id: session.shard_id() });
            };
            link.lane.begin_publish();
            if core.route().get() != self.route || session.route() != self.route {
                *session = self.move_batch(*session, events)?;
                continue;
            }
            if link.lane.unstamped() > 0 {
                stamp_group(&mut link.lane, &mut self.clock);
            }
            let (entry, time) = (link.lane.position(), self.clock.last());
            let ticket = Ticket::new(self.origin, session.shard_id(), entry, time);
            if !publish_group_in(&mut link.lane, time) {
                self.confirm(session.shard_id(), events, notes)?;
            }
            if let Some(link) = self.links.get_mut(session.shard_id()) {
                (0..notes).for_each(|_| link.lane.count_note(0));
                *last = Some(TapBatch { shard: session.shard_id(), barrier: Barrier::of(link.lane.handle(), entry) });
            }
            return Ok(ticket);
        }
    }

    /// Writes the record of a cursor to the shard of a session, to be published.
    fn write_note(&mut self, session: Session, payload: &[u8]) -> IngestionResult<()> {
        let (shard, bytes) = (session.shard_id(), archived_bytes(payload.len()));
        if payload.len() > self.links.payload_max() {
            return Err(IngestionError::TooLarge { bytes: payload.len(), max: self.links.payload_max() });
        }
        let link = match self.links.get_mut(shard) {
            Some(link) => link,
            None => self.links.connect(&self.core, shard, self.route, self.id)?,
        };
        if let Some(patience) = self.backpressure.patience() {
            wait_for_room(&link.control, &mut link.lane, bytes, patience);
        }
        let Ok(mut claim) = link.lane.claim_reserve(bytes) else { return Err(refusal(&link.control)) };
        claim.begin(self.clock.last() + 1, Publish::Later);
        let (session, kind, timestamp) = (SessionId::CURSORS, Kind::CURSOR, self.clock.draw(TimeSource::Pending));
        archive_into(&Record { session, timestamp, kind, payload }, claim.slot());
        let _ = claim.commit();
        let _ = link.lane.note_unstamped();
        Ok(())
    }
}

fn views(core: &BusCore) -> Vec<Arc<LogView>> {
    core.shards().views().collect()
}

fn refused(name: &str, source: ConsumerError) -> IngestionError {
    IngestionError::Cursor { name: name.to_owned(), source: Box::new(source) }
}

/// Has a thread of the bus write the cursors' files. Where none can, or the files cannot be written, an opening reads
/// more of the log.
fn fold_elsewhere(core: &Arc<BusCore>) {
    let (views, bus) = (views(core), Arc::downgrade(core));
    if let Some(threads) = core.readers().load_threads() {
        threads.call(move || {
            if let Some(core) = bus.upgrade() {
                let _ = fold_notes(&core.readers().cursors, LogViews::new(core.log_id(), &views));
            }
        });
    }
}
