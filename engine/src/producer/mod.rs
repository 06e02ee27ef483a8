//! Producers: the handles that threads ingest through.
//!
//! [`Producer::emit`] is the hot path: it claims room in the lane to the session's shard, serialises the record there
//! with rkyv in its on-disk form, and publishes it with one store. It makes no system call, takes no lock, allocates
//! nothing, and does not wait (but in mode [`Block`](crate::BackpressureMode::Block), when the lane is full).
//! Expected cost: about 10 ns for 64 bytes, half of it the time stamp and the record.

mod batch;
pub(crate) mod fork;
pub(crate) mod local;
mod session;

use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};
use std::time::Instant;

use tapeline_storage::format::{Kind, PAYLOAD_BYTES_MAX, RECORD_ROOT_BYTES, Record, archive_into, archived_bytes};

pub use batch::Batch;
pub use session::{Session, Ticket};

use crate::config::BackpressureMode;
use crate::error::{AdapterError, AdapterResult, IngestionError, IngestionResult};
use crate::lane::{LaneWriter, lane};
use crate::parts::BusParts;
use crate::route::{IntoSession, shard_of};
use crate::shard::{Barrier, Reach, ShardControl};
use crate::timestamp::TimestampGenerator;

/// Ingests events from one thread at a time: `Send`, not `Sync`, not `Clone`. Make one for each thread.
///
/// Events of one session through one producer are read in the order they were ingested. Dropping it loses nothing that
/// was ingested.
#[derive(Debug)]
pub struct Producer {
    parts: Arc<BusParts>,
    /// One lane to each shard, made when it is first used.
    lanes: Box<[Option<LaneWriter>]>,
    clock: TimestampGenerator,
    /// Shard of events without a session.
    home: u16,
    payload_max: usize,
}

impl Producer {
    pub(crate) fn new(parts: Arc<BusParts>) -> IngestionResult<Self> {
        parts.check_open()?;
        let shards = parts.shards().len();
        let mut clock = TimestampGenerator::new();
        clock.at_least(parts.timestamp_floor());
        let half_lane = parts.lane_options().capacity_bytes / 2;
        Ok(Self {
            home: parts.next_home(),
            lanes: (0..shards).map(|_| None).collect(),
            clock,
            payload_max: PAYLOAD_BYTES_MAX.min(half_lane - RECORD_ROOT_BYTES),
            parts,
        })
    }

    /// The session's token: its id and its shard. Costs a hash for a name, nothing for an id.
    pub fn session(&self, session: impl IntoSession) -> Session {
        let id = session.into_session();
        let shard = match id {
            crate::SessionId::NONE => self.home,
            id => shard_of(id, self.lanes.len() as u16),
        };
        Session::new(id, shard)
    }

    /// Begins a session by name: ingests an event of kind [`kinds::SESSION`](crate::kinds::SESSION) that carries the
    /// name, so that it can be listed later.
    ///
    /// # Errors
    /// As [`Producer::emit`].
    pub fn open_session(&mut self, name: &str) -> IngestionResult<Session> {
        let session = self.session(name);
        let opened = serde_json::json!({ "type": "session.open", "name": name }).to_string();
        self.emit(session, crate::kinds::SESSION, opened.as_bytes())?;
        Ok(session)
    }

    /// Ingests an event. The ticket tells when it is durable.
    ///
    /// # Errors
    /// [`IngestionError`]; the event was not taken.
    #[inline]
    pub fn emit(&mut self, session: Session, kind: Kind, payload: &[u8]) -> IngestionResult<Ticket> {
        let ticket = self.write(session, kind, payload, true)?;
        self.publish(session.shard())?;
        Ok(ticket)
    }

    /// A batch of events of one session that becomes visible at once, for the price of one store.
    pub fn batch(&mut self, session: Session) -> Batch<'_> {
        Batch::new(self, session)
    }

    /// Whether the event has reached the bus's durability level. Costs one load.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        self.lane_of(ticket).is_some_and(|lane| lane.durable() >= ticket.entry())
    }

    /// Waits until the event has reached the bus's durability level.
    ///
    /// # Errors
    /// [`AdapterError`], where it cannot.
    pub async fn durable(&self, ticket: Ticket) -> AdapterResult<()> {
        let (control, barrier) = self.barrier(ticket)?;
        control.reached(&barrier, Reach::Durable).await
    }

    /// As [`Producer::durable`], blocking the thread.
    ///
    /// # Errors
    /// As [`Producer::durable`].
    pub fn wait_durable(&self, ticket: Ticket) -> AdapterResult<()> {
        let (control, barrier) = self.barrier(ticket)?;
        control.wait_reached(&barrier, Reach::Durable)
    }

    /// Waits until everything this producer ingested has reached the bus's durability level.
    ///
    /// # Errors
    /// As [`Producer::durable`].
    pub async fn flush(&self) -> AdapterResult<()> {
        self.parts.check_fork()?;
        for (control, lane) in self.parts.shards().iter().zip(&self.lanes) {
            if let Some(lane) = lane {
                let handle = lane.handle();
                let published = handle.published();
                control.reached(&Barrier::of(handle, published), Reach::Durable).await?;
            }
        }
        Ok(())
    }

    /// Serialises an event into the lane of its shard, without publishing it. `looks`: its time is read from the clock;
    /// otherwise it is one nanosecond after the event before.
    #[inline(always)]
    fn write(&mut self, session: Session, kind: Kind, payload: &[u8], looks: bool) -> IngestionResult<Ticket> {
        if payload.len() > self.payload_max || fork::generation() != self.parts.fork_generation() {
            return Err(self.refuse_early(payload));
        }
        let (shard, bytes) = (session.shard(), archived_bytes(payload.len()));
        let at = usize::from(shard);
        if self.lanes.get_mut(at).and_then(Option::as_mut).is_none_or(|lane| lane.claim(bytes).is_err()) {
            self.claim_slowly(shard, bytes)?;
        }
        let timestamp = if looks { self.clock.next() } else { self.clock.follow() };
        let Some(Some(lane)) = self.lanes.get_mut(at) else { return Err(IngestionError::ShuttingDown) };
        archive_into(&Record { session: session.id(), timestamp, kind, payload }, lane.claimed());
        Ok(Ticket::new(shard, lane.commit(), timestamp))
    }

    /// Publishes what was written to a shard. One store, one load.
    #[inline(always)]
    fn publish(&mut self, shard: u16) -> IngestionResult<()> {
        let Some(Some(lane)) = self.lanes.get_mut(usize::from(shard)) else { return Ok(()) };
        if lane.is_closed() {
            lane.discard();
            return Err(self.refuse_late(shard));
        }
        lane.publish();
        compiler_fence(Ordering::SeqCst);
        // Looked at after publishing, so that a shard that closes its lanes and then fences finds every event whose
        // producer did not see the end.
        if lane.is_closed() { self.settle(shard) } else { Ok(()) }
    }

    /// Takes back what was written to a shard and not published.
    fn discard(&mut self, shard: u16) {
        if let Some(Some(lane)) = self.lanes.get_mut(usize::from(shard)) {
            lane.discard();
        }
    }

    #[cold]
    fn refuse_late(&self, shard: u16) -> IngestionError {
        let control = &self.parts.shards()[usize::from(shard)];
        control.count_refused();
        refusal(control)
    }

    #[cold]
    fn refuse_early(&self, payload: &[u8]) -> IngestionError {
        match payload.len() > self.payload_max {
            true => IngestionError::TooLarge { bytes: payload.len(), max: self.payload_max },
            false => IngestionError::Forked,
        }
    }

    /// Claims room in a lane that there is not yet, or that is full.
    #[cold]
    fn claim_slowly(&mut self, shard: u16, bytes: usize) -> IngestionResult<()> {
        if self.lanes.get(usize::from(shard)).is_none_or(Option::is_none) {
            self.connect(shard)?;
        }
        match self.parts.backpressure_mode() {
            BackpressureMode::FailProducer => self.claim_once(shard, bytes),
            // A deadline beyond what an instant can hold cannot be told from none.
            BackpressureMode::Block { deadline } => self.claim_by(shard, bytes, Instant::now().checked_add(deadline)),
        }
    }

    fn claim(&mut self, shard: u16, bytes: usize) -> bool {
        let lane = self.lanes.get_mut(usize::from(shard)).and_then(Option::as_mut);
        lane.is_some_and(|lane| lane.claim(bytes).is_ok())
    }

    fn claim_once(&mut self, shard: u16, bytes: usize) -> IngestionResult<()> {
        if self.claim(shard, bytes) {
            return Ok(());
        }
        let control = &self.parts.shards()[usize::from(shard)];
        control.count_refused();
        Err(refusal(control))
    }

    fn connect(&mut self, shard: u16) -> IngestionResult<()> {
        self.parts.check_open()?;
        let control = &self.parts.shards()[usize::from(shard)];
        if control.is_closing() || control.view().poison().is_some() {
            return Err(refusal(control));
        }
        let (writer, reader) =
            lane(self.parts.lane_options()).map_err(|source| IngestionError::Lane { shard, source })?;
        if control.connect(reader).is_err() {
            return Err(refusal(control));
        }
        self.lanes[usize::from(shard)] = Some(writer);
        Ok(())
    }

    /// Waits for room, at most until `deadline`.
    fn claim_by(&mut self, shard: u16, bytes: usize, deadline: Option<Instant>) -> IngestionResult<()> {
        let parts = Arc::clone(&self.parts);
        let control = &parts.shards()[usize::from(shard)];
        loop {
            let listener = control.next_move();
            if self.claim(shard, bytes) {
                return Ok(());
            }
            let ended = control.is_closing() || control.view().is_full() || control.view().poison().is_some();
            if ended || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                control.count_refused();
                return Err(refusal(control));
            }
            wait(listener, deadline);
        }
    }

    /// The lane was closed while an event was published: waits until it is known whether the shard still took it.
    #[cold]
    fn settle(&mut self, shard: u16) -> IngestionResult<()> {
        let control = &self.parts.shards()[usize::from(shard)];
        let Some(Some(lane)) = self.lanes.get(usize::from(shard)) else { return Ok(()) };
        let handle = lane.handle();
        let published = handle.published();
        match control.wait_reached(&Barrier::of(handle, published), Reach::Appended) {
            Ok(()) => Ok(()),
            Err(_) => {
                control.count_refused();
                Err(refusal(control))
            }
        }
    }

    fn lane_of(&self, ticket: Ticket) -> Option<&LaneWriter> {
        self.lanes.get(usize::from(ticket.shard))?.as_ref()
    }

    fn barrier(&self, ticket: Ticket) -> AdapterResult<(&ShardControl, Barrier)> {
        self.parts.check_fork()?;
        let control = self.parts.shards().get(usize::from(ticket.shard));
        match (control, self.lane_of(ticket)) {
            (Some(control), Some(lane)) => Ok((control, Barrier::of(lane.handle(), ticket.entry()))),
            _ => Err(AdapterError::Fatal {
                shard: ticket.shard,
                message: "the ticket is of another producer".to_owned(),
            }),
        }
    }
}

/// Why a shard takes no event at present.
fn refusal(control: &ShardControl) -> IngestionError {
    if let Some(poison) = control.view().poison() {
        return IngestionError::Poisoned(Box::new(poison.clone()));
    }
    match (control.is_closing(), control.view().is_full()) {
        (true, _) => IngestionError::ShuttingDown,
        (_, true) => IngestionError::StorageFull { shard: control.id() },
        _ => IngestionError::Backpressure { shard: control.id() },
    }
}

fn wait(listener: event_listener::EventListener, deadline: Option<Instant>) {
    use event_listener::Listener;
    match deadline {
        Some(deadline) => drop(listener.wait_deadline(deadline)),
        None => listener.wait(),
    }
}
