//! Events and gaps, as a reader gets them, and sessions and kinds as a program names them.

use std::ffi::c_int;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyString};
use pyo3::{ffi, intern};
use tapeline::StoredEvent;
use tapeline::consumer::{Gap as RustGap, GapReason};
use tapeline::event::{self, Kind, kinds};

use crate::failure::Failure;
use crate::session::Session;

/// The identity of a session, 128 bits. A name and its identity are interchangeable as arguments.
#[pyclass(frozen, eq, hash, ord, from_py_object, module = "tapeline")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) event::SessionId);

#[pymethods]
impl SessionId {
    /// That of this name.
    #[new]
    fn new(name: &str) -> Self {
        Self(event::session_id(name))
    }

    /// That of these 32 hexadecimal digits.
    #[staticmethod]
    fn parse(digits: &str) -> PyResult<Self> {
        let number = u128::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 32 && !digits.starts_with('+'));
        let number = number
            .ok_or_else(|| PyValueError::new_err(format!("{digits:?} is no session id: it has 32 hexadecimal digits")));
        Ok(Self(event::SessionId(number?)))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("SessionId.parse('{}')", self.0)
    }
}

/// A session as an argument: its name, its identity, or its handle.
pub(crate) struct SessionArgument(pub(crate) event::SessionId);

impl<'a, 'py> FromPyObject<'a, 'py> for SessionArgument {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(name) = object.cast::<PyString>() {
            return Ok(Self(event::session_id(name.to_str()?)));
        }
        if let Ok(id) = object.cast::<SessionId>() {
            return Ok(Self(id.get().0));
        }
        if let Ok(session) = object.cast::<Session>() {
            return Ok(Self(session.get().session()));
        }
        Err(PyTypeError::new_err("a session is a name, a SessionId or a Session"))
    }
}

/// A number as an argument, whose range is part of its type.
///
/// # Errors
/// `ValueError` of a number out of its range, as of any other value that cannot be.
pub(crate) fn in_range<T>(name: &str, number: PyResult<T>) -> PyResult<T> {
    number.map_err(|error| {
        Python::attach(|py| {
            if error.is_instance_of::<PyOverflowError>(py) {
                PyValueError::new_err(format!("{name}: {}", error.value(py)))
            } else {
                error
            }
        })
    })
}

/// A kind as an argument: its number, or its name.
pub(crate) struct KindArgument(pub(crate) Kind);

impl<'a, 'py> FromPyObject<'a, 'py> for KindArgument {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(name) = object.cast::<PyString>() {
            return kind_number(name.to_str()?).map(|number| Self(Kind(number)));
        }
        in_range("kind", object.extract()).map(|number| Self(Kind(number)))
    }
}

/// The number of a kind that has this name.
#[pyfunction]
pub(crate) fn kind_number(name: &str) -> PyResult<u16> {
    let kind = kinds::parse(name);
    Ok(kind.ok_or_else(|| PyValueError::new_err(format!("{name:?} is no name of a kind; give its number")))?.0)
}

/// The name of a kind, if the bus has one for it.
#[pyfunction]
pub(crate) fn kind_name(kind: u16) -> Option<&'static str> {
    kinds::name(Kind(kind))
}

/// An event of the log. A memoryview of it keeps it alive.
#[pyclass(frozen, eq, module = "tapeline")]
#[derive(Debug, PartialEq)]
pub(crate) struct Event(pub(crate) StoredEvent);

#[pymethods]
impl Event {
    /// Its identity: the log's, the shard and the sequence.
    #[getter]
    fn id(&self) -> String {
        self.0.id.to_string()
    }

    /// The session that it belongs to.
    #[getter]
    fn session(&self) -> SessionId {
        SessionId(self.0.session)
    }

    /// The name of its session. `None`: it was not opened by name, or its opening is not known.
    #[getter]
    fn session_name(&self) -> Option<&str> {
        self.0.session_name()
    }

    /// The number of its kind.
    #[getter]
    fn kind(&self) -> u16 {
        self.0.kind.0
    }

    /// Its time, in nanoseconds since the Unix epoch.
    #[getter]
    fn insertion_ts(&self) -> u64 {
        self.0.insertion_ts
    }

    /// The shard that holds it.
    #[getter]
    fn shard(&self) -> u16 {
        self.0.shard_id
    }

    /// Its number in its shard.
    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence.get()
    }

    /// The place of a reader of its session that continues after it: 32 characters.
    #[getter]
    fn token(&self) -> String {
        self.0.token().to_string()
    }

    /// Its payload, without a copy.
    #[getter]
    fn payload<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf.as_any())
    }

    /// Its payload as text.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        PyString::from_bytes(py, &self.0.raw)
    }

    /// Its payload, parsed as JSON.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import(intern!(py, "json"))?.getattr(intern!(py, "loads"))?.call1((PyBytes::new(py, &self.0.raw),))
    }

    fn __len__(&self) -> usize {
        self.0.raw.len()
    }

    /// Always true, also of an event without a payload.
    fn __bool__(&self) -> bool {
        true
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.raw)
    }

    fn __repr__(&self) -> String {
        let StoredEvent { id, session, kind, .. } = &self.0;
        format!("<tapeline.Event {id} session={session} kind={} bytes={}>", kind.0, self.0.raw.len())
    }

    fn __hash__(&self) -> u64 {
        let bytes = self.0.id.log.0;
        let log = u64::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]);
        log ^ (u64::from(self.0.shard_id) << 48) ^ self.0.sequence.get()
    }

    /// # Safety
    /// The interpreter's: `view` is one to be filled in.
    #[allow(unsafe_code)]
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let payload = &slf.get().0.raw;
        let length = isize::try_from(payload.len())?;
        let first = payload.as_ptr().cast_mut().cast();
        // SAFETY: the object that the view holds on to owns the bytes, and nothing changes or moves them: the class is
        // frozen, and the view is read-only.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), first, length, 1, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Events that a reader does not get. Reading goes on after them.
#[pyclass(frozen, get_all, module = "tapeline")]
#[derive(Debug)]
pub(crate) struct Gap {
    /// The shard.
    shard: u16,
    /// The first sequence that is missing.
    first: u64,
    /// The sequence after the last that is missing.
    end: u64,
    /// The reason: `Trimmed`, `Lost`, `Overflow`, `Dropped`, `Corrupt` or `LostInCrash`.
    reason: &'static str,
    /// Of `Overflow`: `drop-newest`, `drop-oldest`, `sampled`, or `refused`, where the events went back to their
    /// producer, which may have ingested them again.
    drop_reason: Option<String>,
    /// The number of events: those that were dropped before they had sequences, or the sequences.
    events: u64,
    /// Of `Overflow`: the events of each session, as far as their sessions are known.
    sessions: Vec<(SessionId, u64)>,
    /// The place of a reader of one session that continues after it.
    token: Option<String>,
    /// All of it in words.
    message: String,
}

impl From<RustGap> for Gap {
    fn from(gap: RustGap) -> Self {
        let sequences = gap.to.since(gap.from);
        let (mut drop_reason, mut sessions) = (None, Vec::new());
        let (reason, events) = match &gap.reason {
            GapReason::Trimmed => ("Trimmed", sequences),
            GapReason::Lost => ("Lost", sequences),
            GapReason::Overflow { events, reason, sessions: dropped, .. } => {
                drop_reason = Some(reason.to_string());
                sessions.extend(dropped.named().iter().map(|&(session, events)| (SessionId(session), events)));
                ("Overflow", *events)
            }
            GapReason::Dropped => ("Dropped", sequences),
            GapReason::Corrupt(_) => ("Corrupt", sequences),
            GapReason::LostInCrash => ("LostInCrash", sequences),
            _ => ("Unknown", sequences),
        };
        Self {
            shard: gap.shard_id,
            first: gap.from.get(),
            end: gap.to.get(),
            reason,
            drop_reason,
            events,
            sessions,
            token: gap.token.map(|token| token.to_string()),
            message: gap.to_string(),
        }
    }
}

#[pymethods]
impl Gap {
    fn __str__(&self) -> &str {
        &self.message
    }

    fn __repr__(&self) -> String {
        format!("<tapeline.Gap {}>", self.message)
    }
}

/// The item of a reader: an event, or the exception for the gap in its place.
pub(crate) fn item<'py>(
    py: Python<'py>,
    item: tapeline::ConsumerResult<StoredEvent>,
) -> Result<Bound<'py, PyAny>, Failure> {
    Ok(Bound::new(py, Event(item?))?.into_any())
}
