//! Errors of the bus as exceptions of `tapeline.errors`: the class that a program catches, the message, and the facts
//! that the Rust error has, as attributes. `code` is the name of the Rust variant.

use std::fmt::Debug;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use tapeline::consumer::Gap as RustGap;
use tapeline::error::{
    ConfigError, DirectoryError, FilterError, OpenError, ParseOutcomeError, ParseTokenError, Poison, ReadError,
};
use tapeline::{AdapterError, ConsumerError, IngestionError};

use crate::event::{Gap, SessionId};

/// An exception to be raised.
pub(crate) struct Failure(Box<Raised>);

enum Raised {
    Python(PyErr),
    Tapeline { class: &'static str, message: String, facts: Vec<(&'static str, Fact)> },
}

enum Fact {
    Flag(bool),
    Number(u64),
    Text(String),
    Session(SessionId),
    Gap(RustGap),
    /// Shard, first and end of its sequences, events in its lanes.
    NotDurable(Vec<(u16, u64, u64, u64)>),
    Nothing,
}

impl Failure {
    fn new(class: &'static str, error: &(impl Debug + ToString)) -> Self {
        let code = variant(error);
        Self(Box::new(Raised::Tapeline { class, message: error.to_string(), facts: vec![("code", Fact::Text(code))] }))
    }

    /// The process is a child of the one that opened the bus.
    pub(crate) fn forked() -> Self {
        Self::new("ForkedError", &AdapterError::Forked)
    }

    /// The bus was closed.
    pub(crate) fn closed() -> Self {
        Self::new("ClosedError", &AdapterError::Shutdown)
    }

    /// An argument is out of its range.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        PyValueError::new_err(message.into()).into()
    }

    /// A keyword argument cannot be taken apart, for the last of these causes.
    pub(crate) fn of_argument(py: Python<'_>, mut error: PyErr) -> Self {
        let mut name = String::new();
        while let Some(cause) = error.cause(py) {
            // "failed to extract field Selection.kinds"
            let message = error.value(py).to_string();
            message.rsplit('.').next().unwrap_or_default().clone_into(&mut name);
            error = cause;
        }
        let message = format!("{name}: {}", error.value(py));
        if name.is_empty() {
            error.into()
        } else if error.is_instance_of::<PyTypeError>(py) {
            PyTypeError::new_err(message).into()
        } else {
            Self::argument(message)
        }
    }

    /// An object is used by another thread.
    pub(crate) fn in_use(message: &'static str) -> Self {
        PyRuntimeError::new_err(message).into()
    }

    /// Of a batch, so many events are in the bus.
    pub(crate) fn with_taken(self, taken: usize) -> Self {
        self.number("taken", taken)
    }

    fn with(mut self, name: &'static str, fact: Fact) -> Self {
        if let Raised::Tapeline { facts, .. } = &mut *self.0 {
            facts.push((name, fact));
        }
        self
    }

    fn number(self, name: &'static str, number: impl TryInto<u64>) -> Self {
        self.with(name, number.try_into().map_or(Fact::Nothing, Fact::Number))
    }

    fn text(self, name: &'static str, text: impl ToString) -> Self {
        self.with(name, Fact::Text(text.to_string()))
    }

    fn of_poison(poison: &Poison) -> Self {
        let failure =
            Self::new("PoisonedError", poison).text("operation", poison.operation).text("place", &poison.place);
        let failure = match poison.errno {
            Some(errno) => failure.number("errno", i64::from(errno)),
            None => failure.with("errno", Fact::Nothing),
        };
        let Self(mut raised) = failure.number("shard", poison.shard_id).number("durable", poison.durable.get());
        if let Raised::Tapeline { facts, .. } = &mut *raised {
            facts[0] = ("code", Fact::Text("Poisoned".into()));
        }
        Self(raised)
    }

    fn into_exception(self, py: Python<'_>) -> PyResult<PyErr> {
        match *self.0 {
            Raised::Python(error) => Ok(error),
            Raised::Tapeline { class, message, facts } => {
                let class = py.import("tapeline.errors")?.getattr(class)?;
                let attributes = PyDict::new(py);
                for (name, fact) in facts {
                    match fact {
                        Fact::Flag(flag) => attributes.set_item(name, flag)?,
                        Fact::Number(number) => attributes.set_item(name, number)?,
                        Fact::Text(text) => attributes.set_item(name, text)?,
                        Fact::Session(session) => attributes.set_item(name, session)?,
                        Fact::Gap(gap) => attributes.set_item(name, Gap::from(gap))?,
                        Fact::NotDurable(shards) => attributes.set_item(name, shards)?,
                        Fact::Nothing => attributes.set_item(name, py.None())?,
                    }
                }
                Ok(PyErr::from_value(class.cast::<PyType>()?.call((message,), Some(&attributes))?))
            }
        }
    }
}

/// The name of an error's variant.
fn variant(error: &impl Debug) -> String {
    let text = format!("{error:?}");
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        Python::attach(|py| failure.into_exception(py).unwrap_or_else(|error| error))
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self(Box::new(Raised::Python(error)))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new("ConfigError", &error)
    }
}

impl From<IngestionError> for Failure {
    fn from(error: IngestionError) -> Self {
        use IngestionError as E;
        match &error {
            E::Backpressure { shard_id } => Self::new("BackpressureError", &error).number("shard", *shard_id),
            E::Dropped { shard_id } | E::Sampled { shard_id } => {
                Self::new("DroppedError", &error).number("shard", *shard_id)
            }
            E::ShuttingDown => Self::new("ClosedError", &error),
            E::TooLarge { bytes, max } | E::BatchTooLarge { bytes, max } | E::NameTooLong { bytes, max } => {
                Self::new("TooLargeError", &error).number("bytes", *bytes).number("max", *max)
            }
            E::StorageFull { shard_id } => Self::new("StorageFullError", &error).number("shard", *shard_id),
            E::Poisoned(poison) => Self::of_poison(poison),
            E::SessionClosed { session } => {
                Self::new("SessionClosedError", &error).with("session", Fact::Session(SessionId(*session)))
            }
            E::EventBudget { .. } | E::Memory(_) => {
                Self::new("NoMemoryError", &error).with("is_retryable", Fact::Flag(true))
            }
            E::Budget { .. } | E::ClosedBudget { .. } | E::Lane { .. } => Self::new("NoMemoryError", &error),
            E::Cursor { name, .. } => Self::new("CursorError", &error).text("name", name),
            E::Options(_) => Self::new("ConfigError", &error),
            E::Forked => Self::new("ForkedError", &error),
            _ => Self::new("IngestError", &error),
        }
    }
}

impl From<AdapterError> for Failure {
    fn from(error: AdapterError) -> Self {
        use AdapterError as E;
        let failure = match &error {
            E::Config(error) => Self::new("ConfigError", error),
            E::Directory(DirectoryError::Locked { path }) => {
                Self::new("LockedError", &error).text("path", path.display())
            }
            E::Directory(inner) => of_directory(inner),
            E::Open(inner) => of_open(inner),
            E::Poisoned(poison) => Self::of_poison(poison),
            E::StorageFull { shard_id } => Self::new("StorageFullError", &error).number("shard", *shard_id),
            E::Dropped { shard_id } => Self::new("DroppedError", &error).number("shard", *shard_id),
            E::NotEnded { shards } => {
                let shards = shards.iter().map(|shard| {
                    let sequences = &shard.sequences;
                    (shard.shard_id, sequences.start.get(), sequences.end.get(), shard.events_in_lanes)
                });
                Self::new("NotEndedError", &error).with("shards", Fact::NotDurable(shards.collect()))
            }
            E::Shutdown => Self::new("ClosedError", &error),
            E::Forked => Self::new("ForkedError", &error),
            _ => Self::new("StoreError", &error),
        };
        let is = |flag| Fact::Flag(flag);
        failure.with("is_retryable", is(error.is_retryable())).with("is_fatal", is(error.is_fatal()))
    }
}

fn of_directory(error: &DirectoryError) -> Failure {
    use DirectoryError as E;
    let failure = Failure::new("OpenError", error);
    match error {
        E::Eras { path, .. }
        | E::Exists { path }
        | E::Io { path, .. }
        | E::Locked { path }
        | E::Meta { path, .. }
        | E::Names { path, .. }
        | E::Newer { path, .. }
        | E::NoShard { path }
        | E::NotALog { path } => failure.text("path", path.display()),
        _ => failure,
    }
}

fn of_open(error: &OpenError) -> Failure {
    use OpenError as E;
    let failure = Failure::new("OpenError", error);
    match error {
        E::Corrupt { path, offset, .. } => failure.text("path", path).number("offset", *offset),
        E::CutShort { path, .. }
        | E::ForeignName { path }
        | E::ForeignSegment { path, .. }
        | E::Gaps { path, .. }
        | E::Header { path, .. }
        | E::Io { path, .. }
        | E::Missing { path, .. }
        | E::NoGaps { path }
        | E::Overlap { path, .. }
        | E::Renamed { path, .. } => failure.text("path", path),
        _ => failure,
    }
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Self {
        use ConsumerError as E;
        match error {
            E::Adapter(error) => error.into(),
            E::InvalidFilter(error) => error.into(),
            E::Gap(gap) => Self::new("GapError", &gap).text("code", variant(&gap.reason)).with("gap", Fact::Gap(gap)),
            E::InvalidCursor { ref fault, ref earliest } => {
                Self::new("CursorError", &error).text("fault", variant(fault)).text("earliest", earliest)
            }
            E::CursorName(ref name) | E::CursorStore { ref name, .. } => {
                Self::new("CursorError", &error).text("name", name)
            }
            E::InvalidToken { fault, earliest } => {
                let earliest = earliest.map_or(Fact::Nothing, |token| Fact::Text(token.to_string()));
                Self::new("TokenError", &error).text("fault", variant(&fault)).with("earliest", earliest)
            }
            E::Lagged { shard_id, lag_events } => {
                Self::new("LaggedError", &error).number("shard", shard_id).number("lag_events", lag_events)
            }
            E::Read(ReadError::Io { shard_id, ref segment, offset, .. })
            | E::Read(ReadError::Corrupt { shard_id, ref segment, offset, .. }) => Self::new("ReadError", &error)
                .number("shard", shard_id)
                .text("segment", segment)
                .number("offset", offset),
            error => Self::new("ReadError", &error),
        }
    }
}

impl From<FilterError> for Failure {
    fn from(error: FilterError) -> Self {
        use FilterError as E;
        let failure = Self::new("FilterError", &error);
        match &error {
            E::Invalid { at, .. } | E::PathTooLong { at, .. } | E::TooDeep { at, .. } | E::TooLarge { at, .. } => {
                failure.text("at", at)
            }
            _ => failure,
        }
    }
}

impl From<ParseTokenError> for Failure {
    fn from(error: ParseTokenError) -> Self {
        Self::new("TokenError", &error).text("fault", "Damaged").with("earliest", Fact::Nothing)
    }
}

impl From<ParseOutcomeError> for Failure {
    fn from(error: ParseOutcomeError) -> Self {
        Self::argument(error.to_string())
    }
}
