//! A log without a bus, also while another process writes it.

use std::path::PathBuf;

use pyo3::prelude::*;
use tapeline::LogFiles;

use crate::capability::requirement;
use crate::failure::Failure;
use crate::replay::Replay;
use crate::request::{ReplayArguments, take_apart};
use crate::summary::{NamedCursor, SessionSummary};

/// The files of a log, as they were when it was opened. `tapeline.Log` is made of it.
#[pyclass(frozen, subclass, module = "tapeline._native")]
pub(crate) struct Log(LogFiles);

#[pymethods]
impl Log {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> Result<Self, Failure> {
        Ok(Self(py.detach(|| LogFiles::open(&path))?))
    }

    /// The identity of the log.
    #[getter]
    fn log_id(&self) -> String {
        self.0.log_id().to_string()
    }

    /// The time at which the log was made, in nanoseconds since the Unix epoch.
    #[getter]
    fn created(&self) -> u64 {
        self.0.created()
    }

    /// The places of it that cannot be read, in words.
    #[getter]
    fn damage(&self) -> Vec<String> {
        self.0.damage().iter().map(ToString::to_string).collect()
    }

    fn _replay(&self, arguments: &Bound<'_, PyAny>) -> Result<Replay, Failure> {
        let (py, request) = (arguments.py(), take_apart::<ReplayArguments<'_>>(arguments)?.request()?);
        Ok(Replay::new(py.detach(|| self.0.replay_with(&request))?))
    }

    fn _sessions(&self, py: Python<'_>, wanted: Option<&str>) -> Result<Vec<SessionSummary>, Failure> {
        let wanted = wanted.map(requirement).transpose()?;
        let sessions = py.detach(|| match wanted {
            None => self.0.sessions(),
            Some(wanted) => self.0.sessions_where(wanted),
        });
        Ok(sessions?.into_iter().map(SessionSummary::from).collect())
    }

    fn _cursors(&self, py: Python<'_>) -> Result<Vec<NamedCursor>, Failure> {
        Ok(py.detach(|| self.0.cursors())?.into_iter().map(NamedCursor::from).collect())
    }
}
