//! A replay: the events that are in a log now.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use tapeline::consumer::{Pacer as RustPacer, Speed};
use tapeline::{ConsumerResult, StoredEvent};

use crate::block::sleep;
use crate::event::item;
use crate::failure::Failure;
use crate::fork::Origin;
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
    replay: tapeline::Replay,
    read: VecDeque<ConsumerResult<StoredEvent>>,
}

impl Reader {
    fn read_ahead(&mut self) {
        self.read.extend(self.replay.by_ref().take(READ_AHEAD));
    }
}

impl Replay {
    pub(crate) fn new(replay: tapeline::Replay) -> Self {
        Self { origin: Origin::here(), reader: Mutex::new(Reader { replay, read: VecDeque::new() }) }
    }
}

#[pymethods]
impl Replay {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyAny>>, Failure> {
        self.origin.check()?;
        let mut reader = self.reader.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let reader = &mut *reader;
        if reader.read.is_empty() {
            py.detach(|| reader.read_ahead());
        }
        reader.read.pop_front().map(|next| item(py, next)).transpose()
    }

    /// Reads more, where nothing is left that was read. Returns whether there is a next event.
    fn read_ahead(&self, py: Python<'_>) -> Result<bool, Failure> {
        self.origin.check()?;
        let mut reader = self.reader.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let reader = &mut *reader;
        if reader.read.is_empty() {
            py.detach(|| reader.read_ahead());
        }
        Ok(!reader.read.is_empty())
    }

    /// Returns whether the next event was read.
    fn is_read(&self, py: Python<'_>) -> Result<bool, Failure> {
        self.origin.check()?;
        Ok(!self.reader.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner).read.is_empty())
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
