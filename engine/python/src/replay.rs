//! A replay: the events that are in a log now.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use tapeline::consumer::{Pacer as RustPacer, Speed};
use tapeline::{ConsumerResult, StoredEvent};

use crate::arrow::ArrowEvents;
use crate::block::sleep;
use crate::event::{KindArgument, item};
use crate::failure::Failure;
use crate::fork::Origin;
use crate::latency::{Latency, Meter};
use crate::settings::seconds;

/// Events that are read at once, with the interpreter released.
const READ_AHEAD: usize = 256;

/// The events of a log, as fast as they can be read. `tapeline.Replay` is made of it.
#[pyclass(frozen, module = "tapeline._native")]
pub(crate) struct Replay {
    origin: Origin,
    reader: Mutex<Reader>,
}

struct Reader {
    /// `None` once it was taken over, as columns or to be measured.
    replay: Option<tapeline::Replay>,
    read: VecDeque<ConsumerResult<StoredEvent>>,
    has_begun: bool,
}

impl Reader {
    /// The same with what comes next, where nothing is left that was read.
    fn filled(&mut self, py: Python<'_>) -> &mut Self {
        self.has_begun = true;
        if self.read.is_empty() {
            py.detach(|| self.read.extend(self.replay.iter_mut().flatten().take(READ_AHEAD)));
        }
        self
    }
}

impl Replay {
    pub(crate) fn new(replay: tapeline::Replay) -> Self {
        let reader = Reader { replay: Some(replay), read: VecDeque::new(), has_begun: false };
        Self { origin: Origin::here(), reader: Mutex::new(reader) }
    }

    fn reader(&self, py: Python<'_>) -> Result<MutexGuard<'_, Reader>, Failure> {
        self.origin.check()?;
        Ok(self.reader.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what is replayed.
    ///
    /// # Errors
    /// A part of it was read.
    fn whole(&self, py: Python<'_>) -> Result<tapeline::Replay, Failure> {
        let mut reader = self.reader(py)?;
        let whole = if reader.has_begun { None } else { reader.replay.take() };
        whole.ok_or_else(|| Failure::in_use("events of this replay were read; make another one"))
    }
}

#[pymethods]
impl Replay {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyAny>>, Failure> {
        let next = self.reader(py)?.filled(py).read.pop_front();
        next.map(|next| item(py, next)).transpose()
    }

    /// Reads more, where nothing is left that was read. Returns whether there is a next event.
    fn read_ahead(&self, py: Python<'_>) -> Result<bool, Failure> {
        Ok(!self.reader(py)?.filled(py).read.is_empty())
    }

    /// Returns whether the next event was read. Waits for no thread that reads.
    fn is_read(&self) -> Result<bool, Failure> {
        self.origin.check()?;
        Ok(match self.reader.try_lock() {
            Ok(reader) => !reader.read.is_empty(),
            Err(TryLockError::Poisoned(reader)) => !reader.into_inner().read.is_empty(),
            Err(TryLockError::WouldBlock) => false,
        })
    }

    /// All of it as columns. Nothing of it may have been read.
    fn to_arrow(&self, py: Python<'_>, keep_gaps: bool) -> Result<ArrowEvents, Failure> {
        Ok(ArrowEvents::new(self.whole(py)?, keep_gaps))
    }

    /// The latencies in all of it, with tokens of this kind. Nothing of it may have been read.
    fn latency(&self, py: Python<'_>, token: KindArgument) -> Result<Latency, Failure> {
        let whole = self.whole(py)?;
        Meter::new(token.0).measure(py, whole)
    }

    /// The time of the next event, if that was read. `None` of a gap, which is due at once.
    fn next_insertion_ts(&self, py: Python<'_>) -> Result<Option<u64>, Failure> {
        Ok(self.reader(py)?.read.front().and_then(|next| next.as_ref().ok()).map(|event| event.insertion_ts))
    }
}

/// Says when the events of a replay are due.
#[pyclass(frozen, module = "tapeline._native")]
pub(crate) struct Pacer(Mutex<RustPacer>);

#[pymethods]
impl Pacer {
    /// At this multiple of the recorded pace, with no pause longer than `idle_max` seconds.
    #[new]
    #[pyo3(signature = (speed, idle_max=None))]
    fn new(speed: f64, idle_max: Option<f64>) -> Result<Self, Failure> {
        if !(speed.is_finite() && speed > 0.0) {
            return Err(Failure::argument(format!("speed is {speed}; a number above 0")));
        }
        let pacer = RustPacer::new(Speed::Factor(speed));
        Ok(Self(Mutex::new(match idle_max {
            Some(longest) => pacer.limit_idle(seconds("idle_max", longest)?),
            None => pacer,
        })))
    }

    /// Seconds until an event of this time is due.
    fn wait(&self, insertion_ts: u64) -> f64 {
        self.due_in(insertion_ts).as_secs_f64()
    }

    /// Sleeps until an event of this time is due.
    fn sleep(&self, py: Python<'_>, insertion_ts: u64) -> PyResult<()> {
        sleep(py, self.due_in(insertion_ts))
    }
}

impl Pacer {
    fn due_in(&self, insertion_ts: u64) -> Duration {
        let mut pacer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pacer.wait(insertion_ts).unwrap_or_default()
    }
}
