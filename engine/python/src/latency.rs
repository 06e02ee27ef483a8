//! Latencies of a replay, by the times that the log has stored, as histograms that numpy takes as they are. The
//! measures are those of docs/HISTOGRAMS.md, of sessions whose tokens have a kind.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use tapeline::consumer::Gap as RustGap;
use tapeline::event::{Kind, SessionId};
use tapeline::{ConsumerError, StoredEvent};
use tapeline_histogram::{Histogram as Buckets, histogram};

use crate::event::Gap;
use crate::failure::Failure;

/// Events after which signals are looked at.
const STEP: usize = 1 << 16;

/// A distribution of times in nanoseconds, in buckets of three significant digits.
#[pyclass(frozen, module = "tapeline")]
pub(crate) struct Histogram(Buckets<u64>);

#[pymethods]
impl Histogram {
    /// The number of values.
    #[getter]
    fn count(&self) -> u64 {
        self.0.len()
    }

    /// The smallest value; 0 without one.
    #[getter]
    fn min(&self) -> u64 {
        self.0.min()
    }

    /// The largest value; 0 without one.
    #[getter]
    fn max(&self) -> u64 {
        self.0.max()
    }

    /// The mean; 0 without a value.
    #[getter]
    fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// The value that this share of them, 0 to 1, does not exceed.
    fn quantile(&self, share: f64) -> Result<u64, Failure> {
        match (0.0..=1.0).contains(&share) {
            true => Ok(self.0.value_at_quantile(share)),
            false => Err(Failure::argument(format!("share is {share}; 0 to 1"))),
        }
    }

    /// The edges of the buckets from the smallest value's to the largest's, one more than `counts` has.
    #[getter]
    fn edges<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let end = self.buckets().last().map(|lowest| self.0.next_non_equivalent(lowest));
        numbers(py, self.buckets().chain(end))
    }

    /// The number of values in each bucket.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        numbers(py, self.buckets().map(|lowest| self.0.count_at(lowest)))
    }

    fn __repr__(&self) -> String {
        let [p50, p99] = [0.5, 0.99].map(|share| self.0.value_at_quantile(share));
        format!("<tapeline.Histogram count={} p50={p50} p99={p99} max={}>", self.0.len(), self.0.max())
    }
}

impl Histogram {
    /// The lowest value of each bucket.
    fn buckets(&self) -> impl Iterator<Item = u64> {
        let first = (!self.0.is_empty()).then(|| self.0.lowest_equivalent(self.0.min()));
        let next = |&lowest: &u64| Some(self.0.next_non_equivalent(lowest)).filter(|&next| next <= self.0.max());
        std::iter::successors(first, next)
    }
}

/// A memoryview of 64-bit numbers.
fn numbers(py: Python<'_>, numbers: impl Iterator<Item = u64>) -> PyResult<Bound<'_, PyAny>> {
    let bytes: Vec<u8> = numbers.flat_map(u64::to_ne_bytes).collect();
    PyMemoryView::from(PyBytes::new(py, &bytes).as_any())?.call_method1("cast", ("Q",))
}

/// The latencies of a replay.
#[pyclass(frozen, get_all, module = "tapeline")]
pub(crate) struct Latency {
    /// Of each session: the time from its first event to its first token, unless the first event is the token.
    time_to_first_token: Py<Histogram>,
    /// Of each token but a session's first: the time since the one before.
    inter_token: Py<Histogram>,
    /// Of each session with two tokens or more: the time from its first token to its last, divided by the others.
    time_per_output_token: Py<Histogram>,
    /// Of each session with two events or more: the time from its first event to its last.
    session_length: Py<Histogram>,
    /// The number of sessions.
    sessions: usize,
    /// The number of tokens.
    tokens: u64,
    /// The events that were missing. A gap within a session looks like a pause.
    gaps: Vec<Py<Gap>>,
}

/// A session, as far as it has been read.
struct Track {
    begun: u64,
    last: u64,
    events: u64,
    tokens: u64,
    first_token: u64,
    last_token: u64,
}

/// The one pass over the events.
pub(crate) struct Meter {
    token: Kind,
    sessions: HashMap<SessionId, Track>,
    to_first: Buckets<u64>,
    between: Buckets<u64>,
    gaps: Vec<RustGap>,
}

impl Meter {
    /// Of sessions whose tokens have this kind.
    pub(crate) fn new(token: Kind) -> Self {
        let (to_first, between) = (histogram(), histogram());
        Self { token, sessions: HashMap::new(), to_first, between, gaps: Vec::new() }
    }

    /// Measures a replay to its end.
    ///
    /// # Errors
    /// An event that cannot be read, unless it is a gap; an interrupt.
    pub(crate) fn measure(mut self, py: Python<'_>, mut replay: tapeline::Replay) -> Result<Latency, Failure> {
        while py.detach(|| self.step(&mut replay))? {
            py.check_signals()?;
        }
        Ok(self.ended(py)?)
    }

    /// Returns whether there may be more.
    fn step(&mut self, replay: &mut tapeline::Replay) -> Result<bool, ConsumerError> {
        for _ in 0..STEP {
            match replay.next() {
                None => return Ok(false),
                Some(Ok(event)) if event.session == SessionId::NONE => {}
                Some(Ok(event)) => self.event(&event),
                Some(Err(ConsumerError::Gap(gap))) => self.gaps.push(gap),
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(true)
    }

    fn event(&mut self, event: &StoredEvent) {
        let time = event.insertion_ts;
        let new = || Track { begun: time, last: time, events: 0, tokens: 0, first_token: 0, last_token: 0 };
        let track = self.sessions.entry(event.session).or_insert_with(new);
        if event.kind == self.token {
            // Where a clock went back between two producers, the time is 0.
            match track.tokens {
                0 if track.events > 0 => self.to_first.saturating_record(time.saturating_sub(track.begun)),
                0 => {}
                _ => self.between.saturating_record(time.saturating_sub(track.last_token)),
            }
            track.first_token = if track.tokens == 0 { time } else { track.first_token };
            track.tokens += 1;
            track.last_token = time;
        }
        track.events += 1;
        track.last = time;
    }

    fn ended(self, py: Python<'_>) -> PyResult<Latency> {
        let (mut per_token, mut lengths, mut tokens) = (histogram(), histogram(), 0);
        for track in self.sessions.values() {
            tokens += track.tokens;
            if track.tokens > 1 {
                let time = track.last_token.saturating_sub(track.first_token);
                per_token.saturating_record(time / (track.tokens - 1));
            }
            if track.events > 1 {
                lengths.saturating_record(track.last.saturating_sub(track.begun));
            }
        }
        Ok(Latency {
            time_to_first_token: Py::new(py, Histogram(self.to_first))?,
            inter_token: Py::new(py, Histogram(self.between))?,
            time_per_output_token: Py::new(py, Histogram(per_token))?,
            session_length: Py::new(py, Histogram(lengths))?,
            sessions: self.sessions.len(),
            tokens,
            gaps: self.gaps.into_iter().map(|gap| Py::new(py, Gap::from(gap))).collect::<PyResult<_>>()?,
        })
    }
}
