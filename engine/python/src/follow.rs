//! A log that another process writes, followed by its files.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use tapeline::log::LogFollower;
use tapeline::{ConsumerResult, StoredEvent};

use crate::event::item;
use crate::failure::Failure;
use crate::request::{FollowArguments, take_apart};

/// Events that are read at once, with the interpreter released.
const READ_AHEAD: usize = 256;

/// A reader of a log's files. `tapeline.Follower` is made of it.
#[pyclass(frozen, module = "tapeline._native")]
pub(crate) struct Follower(Mutex<Reader>);

struct Reader {
    follower: LogFollower,
    /// The items that were read, each with the cursor after it.
    read: VecDeque<(ConsumerResult<StoredEvent>, String)>,
    /// The cursor after what was handed out.
    cursor: String,
}

impl Reader {
    fn read_ahead(&mut self) {
        if !self.follower.has_more() && !self.follower.look() {
            return;
        }
        while self.read.len() < READ_AHEAD
            && let Some(next) = self.follower.try_next()
        {
            self.read.push_back((next, self.follower.cursor()));
        }
    }
}

impl Follower {
    fn reader(&self, py: Python<'_>) -> MutexGuard<'_, Reader> {
        self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Follower {
    #[new]
    fn new(path: PathBuf, arguments: &Bound<'_, PyAny>) -> Result<Self, Failure> {
        let (py, arguments) = (arguments.py(), take_apart::<FollowArguments<'_>>(arguments)?);
        let (start, request) = (arguments.start()?, arguments.request()?);
        let follower = py.detach(|| LogFollower::open(&path, start, &request))?;
        let cursor = follower.cursor();
        Ok(Self(Mutex::new(Reader { follower, read: VecDeque::new(), cursor })))
    }

    /// Looks for events, where nothing is left that was read. Returns whether there is a next one.
    fn read_ahead(&self, py: Python<'_>) -> bool {
        let mut reader = self.reader(py);
        let reader = &mut *reader;
        if reader.read.is_empty() {
            py.detach(|| reader.read_ahead());
        }
        !reader.read.is_empty()
    }

    /// Returns whether the next event was read. Waits for no thread that reads.
    fn is_read(&self) -> bool {
        match self.0.try_lock() {
            Ok(reader) => !reader.read.is_empty(),
            Err(TryLockError::Poisoned(reader)) => !reader.into_inner().read.is_empty(),
            Err(TryLockError::WouldBlock) => false,
        }
    }

    /// The next event, if it was read.
    fn take<'py>(&self, py: Python<'py>) -> Result<Option<Bound<'py, PyAny>>, Failure> {
        let next = {
            let mut reader = self.reader(py);
            let Some((next, cursor)) = reader.read.pop_front() else { return Ok(None) };
            reader.cursor = cursor;
            next
        };
        item(py, next).map(Some)
    }

    /// The place after the last event that was handed out.
    #[getter]
    fn cursor(&self, py: Python<'_>) -> String {
        self.reader(py).cursor.clone()
    }

    /// Returns whether the log is not there any more.
    fn is_lost(&self, py: Python<'_>) -> bool {
        self.reader(py).follower.lost().is_some()
    }

    /// The identity of the log.
    #[getter]
    fn log_id(&self, py: Python<'_>) -> String {
        self.reader(py).follower.log_id().to_string()
    }
}
