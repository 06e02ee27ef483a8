//! The bus, as Python code opens it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use tapeline::bus::ProducerBatch;
use tapeline::event::{self, Kind, SessionOutcome, kinds};
use tapeline::{ConsumeResponse, EventBus, IngestionResult, Producer, RawEvent, bus};

use crate::bell::Awaited;
use crate::block::block_on;
use crate::capability::requirement;
use crate::event::{Event, Gap, KindArgument, SessionArgument};
use crate::failure::Failure;
use crate::fork::Origin;
use crate::payload::bytes_of;
use crate::replay::Replay;
use crate::request::{PollArguments, ReplayArguments, TailArguments, take_apart};
use crate::session::{Metadata, Session};
use crate::settings::{Settings, seconds};
use crate::summary::{NamedCursor, SessionSummary, ShardStats, Stats};
use crate::tail::Tail;
use crate::trim::{Retention, Trimmed};

/// A bus that is open until it is closed.
pub(crate) struct Opened {
    bus: RwLock<Option<Arc<EventBus>>>,
    /// For batches that become visible at once.
    batches: Mutex<Option<Producer>>,
    /// A call that ingests may wait for room.
    may_wait: bool,
    origin: Origin,
}

impl Opened {
    /// # Errors
    /// It was closed, or this is a child of the process that opened it.
    #[inline]
    pub(crate) fn bus(&self) -> Result<Arc<EventBus>, Failure> {
        self.origin.check()?;
        // Held for the time of a copy. A child that is forked meanwhile never comes here.
        let bus = self.bus.read().unwrap_or_else(PoisonError::into_inner);
        bus.as_ref().map(Arc::clone).ok_or_else(Failure::closed)
    }

    fn take(&self) -> Result<Option<Arc<EventBus>>, Failure> {
        self.origin.check()?;
        Ok(self.bus.write().unwrap_or_else(PoisonError::into_inner).take())
    }

    /// Writes to the bus, with the interpreter released where that may wait for room.
    #[inline]
    pub(crate) fn write<T: Send>(
        &self,
        py: Python<'_>,
        write: impl FnOnce(&EventBus) -> T + Send,
    ) -> Result<T, Failure> {
        let bus = self.bus()?;
        Ok(if self.may_wait { py.detach(|| write(&bus)) } else { write(&bus) })
    }

    pub(crate) fn ingest(&self, py: Python<'_>, event: &RawEvent) -> Result<Ticket, Failure> {
        Ok(Ticket(self.write(py, |bus| bus.ingest_raw(event))??))
    }

    /// Publishes what `fill` puts into a batch, all at once, with a cursor. Waits for what the cursor depends on.
    fn ingest_with_cursor(
        &self,
        py: Python<'_>,
        (name, cursor): &(String, String),
        session: event::SessionId,
        fill: impl FnOnce(&mut ProducerBatch<'_>) -> IngestionResult<()> + Send,
    ) -> Result<(), Failure> {
        let bus = self.bus()?;
        py.detach(|| {
            let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
            let producer = match &mut *batches {
                Some(producer) => producer,
                none => none.insert(bus.producer()?),
            };
            let session = producer.session(session);
            let mut batch = producer.batch(session);
            batch.with_cursor(name, cursor)?;
            fill(&mut batch)?;
            Ok(batch.publish().map(drop)?)
        })
    }

    pub(crate) fn close_session(
        &self,
        py: Python<'_>,
        session: event::SessionId,
        outcome: SessionOutcome,
    ) -> Result<Ticket, Failure> {
        Ok(Ticket(self.write(py, |bus| bus.close_session(session, outcome))??))
    }
}

impl Drop for Opened {
    /// Closes a bus that was not closed, with the interpreter released.
    fn drop(&mut self) {
        let bus = self.bus.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(bus) = bus {
            Python::attach(|py| py.detach(move || drop(bus)));
        }
    }
}

/// The receipt of an event.
#[pyclass(frozen, eq, from_py_object, module = "tapeline")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) bus::Ticket);

#[pymethods]
impl Ticket {
    /// The shard that has the event.
    #[getter]
    fn shard(&self) -> u16 {
        self.0.shard_id
    }

    /// The event's time, in nanoseconds since the Unix epoch.
    #[getter]
    fn insertion_ts(&self) -> u64 {
        self.0.insertion_ts
    }
}

/// A page of events.
#[pyclass(frozen, get_all, module = "tapeline")]
pub(crate) struct Page {
    /// The events.
    events: Vec<Py<Event>>,
    /// The gaps, in the places of events that are missing.
    gaps: Vec<Py<Gap>>,
    /// The cursor that the next page continues from.
    cursor: Option<String>,
    /// True if there are more events now.
    has_more: bool,
    /// Shards that cannot be read, each with the reason.
    failed_shards: Vec<(u16, String)>,
}

impl Page {
    fn new(py: Python<'_>, page: ConsumeResponse) -> PyResult<Self> {
        let failed = page.failed_shards.into_iter().map(|failure| (failure.shard_id, failure.message));
        Ok(Self {
            events: page.events.into_iter().map(|event| Py::new(py, Event(event))).collect::<PyResult<_>>()?,
            gaps: page.gaps.into_iter().map(|gap| Py::new(py, Gap::from(gap))).collect::<PyResult<_>>()?,
            cursor: page.next_id,
            has_more: page.has_more,
            failed_shards: failed.collect(),
        })
    }
}

/// An event bus. `tapeline.Bus` is made of it.
#[pyclass(frozen, subclass, module = "tapeline._native")]
pub(crate) struct Bus(Arc<Opened>);

#[pymethods]
impl Bus {
    /// Opens a bus, and waits for that.
    #[new]
    fn new(settings: &Bound<'_, PyAny>) -> Result<Self, Failure> {
        let (py, settings) = (settings.py(), take_apart::<Settings>(settings)?);
        let may_wait = settings.may_wait();
        let config = settings.config()?;
        let bus = block_on(py, EventBus::new(config))??;
        Ok(Self(Arc::new(Opened {
            bus: RwLock::new(Some(Arc::new(bus))),
            batches: Mutex::default(),
            may_wait,
            origin: Origin::here(),
        })))
    }

    /// Ingests an event: bytes, text, or a `dict` or `list` as JSON.
    #[pyo3(signature = (data, session=None, kind=KindArgument(kinds::UNSPECIFIED)))]
    fn ingest(
        &self,
        data: &Bound<'_, PyAny>,
        session: Option<SessionArgument>,
        kind: KindArgument,
    ) -> Result<Ticket, Failure> {
        self.0.ingest(data.py(), &raw_event(data, session.as_ref(), kind.0)?)
    }

    /// Ingests several events in order; returns how many the bus has taken.
    #[pyo3(signature = (batch, session=None, kind=KindArgument(kinds::UNSPECIFIED)))]
    fn ingest_batch(
        &self,
        batch: &Bound<'_, PyAny>,
        session: Option<SessionArgument>,
        kind: KindArgument,
    ) -> Result<usize, Failure> {
        check_batch(batch)?;
        let events = batch.try_iter()?.map(|data| raw_event(&data?, session.as_ref(), kind.0));
        let events = events.collect::<Result<Vec<_>, _>>()?;
        let taken = self.0.write(batch.py(), |bus| bus.try_ingest_raw_batch(events))?;
        taken.map_err(|rejected| Failure::from(rejected.error).with_taken(rejected.taken))
    }

    /// The handle of a session, which is neither opened nor looked up.
    fn session(&self, session: SessionArgument) -> Session {
        Session::new(Arc::clone(&self.0), session.0)
    }

    fn _open_session(&self, name: &str, metadata: &Bound<'_, PyAny>) -> Result<Session, Failure> {
        let (py, metadata) = (metadata.py(), take_apart::<Metadata>(metadata)?.whole()?);
        let session = self.0.write(py, |bus| bus.open_session_with(name, &metadata))??;
        Ok(Session::new(Arc::clone(&self.0), session.id()))
    }

    fn _reopen_session(&self, session: SessionArgument, metadata: &Bound<'_, PyAny>) -> Result<Session, Failure> {
        let (py, metadata) = (metadata.py(), take_apart::<Metadata>(metadata)?.whole()?);
        let (session, _) = self.0.write(py, |bus| bus.reopen_session(session.0, &metadata))??;
        Ok(Session::new(Arc::clone(&self.0), session.id()))
    }

    /// Ends a session.
    #[pyo3(signature = (session, outcome="finished"))]
    fn close_session(&self, py: Python<'_>, session: SessionArgument, outcome: &str) -> Result<Ticket, Failure> {
        self.0.close_session(py, session.0, outcome.parse()?)
    }

    /// Returns whether the event of a ticket is durable.
    fn is_durable(&self, ticket: Ticket) -> Result<bool, Failure> {
        Ok(self.0.bus()?.is_durable(ticket.0))
    }

    /// Numbers of the bus since it was opened.
    fn stats(&self) -> Result<Stats, Failure> {
        Ok(self.0.bus()?.stats().into())
    }

    /// The shards, and what the log of each met.
    fn shards(&self) -> Result<Vec<ShardStats>, Failure> {
        Ok(self.0.bus()?.shard_stats().into_iter().map(ShardStats::from).collect())
    }

    /// Returns whether the bus takes events and can make them durable.
    fn is_healthy(&self, py: Python<'_>) -> Result<bool, Failure> {
        let Ok(bus) = self.0.bus() else { return Ok(false) };
        Ok(block_on(py, bus.is_healthy())?)
    }

    /// The statistics of the bus and its shards, as Prometheus reads them.
    fn prometheus(&self) -> Result<String, Failure> {
        Ok(self.0.bus()?.prometheus())
    }

    /// The identity of the log.
    #[getter]
    fn log_id(&self) -> Result<String, Failure> {
        Ok(self.0.bus()?.log_id().to_string())
    }

    /// True once it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.0.bus().is_err()
    }

    fn _flush(&self, py: Python<'_>) -> Result<(), Failure> {
        let bus = self.0.bus()?;
        Ok(block_on(py, bus.flush())??)
    }

    fn _flush_awaited(&self) -> Result<Awaited, Failure> {
        let bus = self.0.bus()?;
        Ok(Awaited::new(async move { bus.flush().await }))
    }

    fn _durable(&self, py: Python<'_>, ticket: Ticket) -> Result<(), Failure> {
        let bus = self.0.bus()?;
        Ok(block_on(py, bus.durable(ticket.0))??)
    }

    fn _durable_awaited(&self, ticket: Ticket) -> Result<Awaited, Failure> {
        Ok(Awaited::new(self.0.bus()?.durable(ticket.0)))
    }

    fn _readable(&self, py: Python<'_>, ticket: Ticket) -> Result<(), Failure> {
        let bus = self.0.bus()?;
        Ok(block_on(py, bus.readable(ticket.0))??)
    }

    fn _readable_awaited(&self, ticket: Ticket) -> Result<Awaited, Failure> {
        Ok(Awaited::new(self.0.bus()?.readable(ticket.0)))
    }

    fn _event_id(&self, py: Python<'_>, ticket: Ticket) -> Result<Option<String>, Failure> {
        let bus = self.0.bus()?;
        Ok(block_on(py, bus.event_id(ticket.0))??.map(|id| id.to_string()))
    }

    fn _ingest_with_cursor(
        &self,
        batch: &Bound<'_, PyAny>,
        named: (String, String),
        session: Option<SessionArgument>,
        kind: KindArgument,
    ) -> Result<(), Failure> {
        check_batch(batch)?;
        let payloads = batch.try_iter()?.map(|data| bytes_of(&data?)).collect::<PyResult<Vec<_>>>()?;
        let session = session.map_or(event::SessionId::NONE, |session| session.0);
        self.0.ingest_with_cursor(batch.py(), &named, session, |batch| {
            payloads.iter().try_for_each(|payload| batch.push(kind.0, payload))
        })
    }

    fn _poll(&self, arguments: &Bound<'_, PyAny>) -> Result<Page, Failure> {
        let (py, arguments) = (arguments.py(), take_apart::<PollArguments<'_>>(arguments)?);
        let (bus, request) = (self.0.bus()?, arguments.request()?);
        Ok(Page::new(py, block_on(py, bus.poll(request))??)?)
    }

    fn _replay(&self, arguments: &Bound<'_, PyAny>) -> Result<Replay, Failure> {
        let (py, arguments) = (arguments.py(), take_apart::<ReplayArguments<'_>>(arguments)?);
        let (bus, request) = (self.0.bus()?, arguments.request()?);
        Ok(Replay::new(block_on(py, bus.replay_with(request))??))
    }

    fn _tail(&self, arguments: &Bound<'_, PyAny>) -> Result<Tail, Failure> {
        let (py, arguments) = (arguments.py(), take_apart::<TailArguments<'_>>(arguments)?);
        let (bus, follow) = (self.0.bus()?, arguments.follow()?);
        block_on(py, Tail::begin(&bus, follow))?
    }

    fn _sessions(&self, py: Python<'_>, wanted: Option<&str>) -> Result<Vec<SessionSummary>, Failure> {
        let bus = self.0.bus()?;
        let sessions = match wanted {
            None => block_on(py, bus.sessions())??,
            Some(wanted) => block_on(py, bus.sessions_where(requirement(wanted)?))??,
        };
        Ok(sessions.into_iter().map(SessionSummary::from).collect())
    }

    fn _trim(&self, retention: &Bound<'_, PyAny>) -> Result<Trimmed, Failure> {
        let (py, policy) = (retention.py(), take_apart::<Retention>(retention)?.policy()?);
        let bus = self.0.bus()?;
        Ok(block_on(py, bus.trim(&policy))??.into())
    }

    fn _plan_trim(&self, retention: &Bound<'_, PyAny>) -> Result<Trimmed, Failure> {
        let (py, policy) = (retention.py(), take_apart::<Retention>(retention)?.policy()?);
        let bus = self.0.bus()?;
        Ok(py.detach(|| bus.plan_trim(&policy))?.into())
    }

    fn _unfinished(&self, py: Python<'_>) -> Result<Vec<SessionSummary>, Failure> {
        let bus = self.0.bus()?;
        let sessions = block_on(py, bus.unfinished())??;
        Ok(sessions.into_iter().map(SessionSummary::from).collect())
    }

    fn _summary(&self, py: Python<'_>, session: SessionArgument) -> Result<Option<SessionSummary>, Failure> {
        let bus = self.0.bus()?;
        Ok(block_on(py, bus.session(session.0))??.map(SessionSummary::from))
    }

    fn _save_cursor(&self, py: Python<'_>, name: &str, cursor: &str) -> Result<(), Failure> {
        let bus = self.0.bus()?;
        Ok(py.detach(|| bus.save_cursor(name, cursor))?)
    }

    fn _load_cursor(&self, py: Python<'_>, name: &str) -> Result<Option<String>, Failure> {
        let bus = self.0.bus()?;
        Ok(py.detach(|| bus.load_cursor(name))?)
    }

    fn _remove_cursor(&self, py: Python<'_>, name: &str) -> Result<bool, Failure> {
        let bus = self.0.bus()?;
        Ok(py.detach(|| bus.remove_cursor(name))?)
    }

    fn _cursors(&self, py: Python<'_>) -> Result<Vec<NamedCursor>, Failure> {
        let bus = self.0.bus()?;
        Ok(py.detach(|| bus.cursors())?.into_iter().map(NamedCursor::from).collect())
    }

    /// Closes the bus: what was ingested is durable when it returns. Nothing if it is closed.
    #[pyo3(signature = (timeout=None))]
    fn _close(&self, py: Python<'_>, timeout: Option<f64>) -> Result<(), Failure> {
        let patience: Option<Duration> = timeout.map(|timeout| seconds("timeout", timeout)).transpose()?;
        let Some(bus) = self.0.take()? else { return Ok(()) };
        let ended = match patience {
            Some(patience) => block_on(py, bus.shutdown_within(patience)),
            None => block_on(py, bus.shutdown_via_ref()),
        };
        // It holds the directory's lock.
        py.detach(move || drop(bus));
        Ok(ended??)
    }
}

/// # Errors
/// One payload where several are wanted: its characters, or its keys, are no events.
fn check_batch(batch: &Bound<'_, PyAny>) -> PyResult<()> {
    if batch.is_instance_of::<PyString>() || batch.is_instance_of::<PyBytes>() || batch.is_instance_of::<PyDict>() {
        Err(PyTypeError::new_err(format!(
            "a batch is several payloads, not one {}; put it into a list",
            batch.get_type().name()?
        )))
    } else {
        Ok(())
    }
}

fn raw_event(data: &Bound<'_, PyAny>, session: Option<&SessionArgument>, kind: Kind) -> PyResult<RawEvent> {
    let event = RawEvent::from_bytes(bytes_of(data)?).with_kind(kind);
    Ok(match session {
        Some(session) => event.with_session(session.0),
        None => event.with_session(event::SessionId::NONE),
    })
}
