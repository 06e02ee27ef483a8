//! Trims: what a log no longer keeps.

use std::path::PathBuf;

use pyo3::prelude::*;
use tapeline::config::RetentionPolicy;
use tapeline::log::trim_log;
use tapeline::retention::TrimPlan;

use crate::failure::Failure;
use crate::request::take_apart;
use crate::settings::seconds;

/// The limits of a log.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Retention {
    keep_seconds: Option<f64>,
    keep_bytes: Option<u64>,
    keep_segments: Option<usize>,
    keep_for_cursors: bool,
}

impl Retention {
    /// # Errors
    /// A time that is none.
    pub(crate) fn policy(&self) -> Result<RetentionPolicy, Failure> {
        let mut policy = RetentionPolicy::new();
        policy.keep_for_cursors = self.keep_for_cursors;
        policy.max_age = self.keep_seconds.map(|age| seconds("keep_seconds", age)).transpose()?;
        (policy.max_bytes, policy.max_segments) = (self.keep_bytes, self.keep_segments);
        Ok(policy)
    }

    /// Returns whether it limits anything.
    pub(crate) fn limits(&self) -> bool {
        self.keep_seconds.is_some() || self.keep_bytes.is_some() || self.keep_segments.is_some()
    }
}

/// The result of a trim.
#[pyclass(frozen, get_all, module = "tapeline")]
#[derive(Debug)]
pub(crate) struct Trimmed {
    /// Segments that were removed.
    segments: usize,
    /// Events in them.
    events: u64,
    /// Bytes of their files.
    bytes: u64,
    /// Segments that stay for a cursor alone.
    segments_kept_for_cursors: usize,
    /// Segments that stay for any reason.
    segments_left: usize,
    /// Bytes of their files.
    bytes_left: u64,
}

impl From<TrimPlan> for Trimmed {
    fn from(plan: TrimPlan) -> Self {
        Self {
            segments: plan.removed.len(),
            events: plan.removed.iter().map(|segment| segment.end.since(segment.base)).sum(),
            bytes: plan.removed.iter().map(|segment| segment.bytes).sum(),
            segments_kept_for_cursors: plan.kept.len(),
            segments_left: plan.segments_left,
            bytes_left: plan.bytes_left,
        }
    }
}

#[pymethods]
impl Trimmed {
    fn __repr__(&self) -> String {
        format!("<tapeline.{self:?}>")
    }
}

/// Trims the log in a directory that no process has open for writing.
#[pyfunction]
pub(crate) fn trim(path: PathBuf, retention: &Bound<'_, PyAny>) -> Result<Trimmed, Failure> {
    let (py, policy) = (retention.py(), take_apart::<Retention>(retention)?.policy()?);
    Ok(py.detach(|| trim_log(&path, &policy))?.into())
}
