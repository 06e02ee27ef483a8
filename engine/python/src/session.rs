//! A session, as a program writes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use pyo3::prelude::*;
use tapeline::event::{self, Kind, SessionMetadata, SessionOutcome, kinds};
use tapeline::{IngestionError, RawEvent};

use crate::bus::{Opened, Ticket};
use crate::capability::{requirement, tags};
use crate::event::{KindArgument, SessionId};
use crate::failure::Failure;
use crate::payload::bytes_of;

/// A session of a bus: what is written to it comes in order. Any thread may use it.
#[pyclass(frozen, module = "tapeline")]
pub(crate) struct Session {
    opened: Arc<Opened>,
    session: event::SessionId,
}

impl Session {
    pub(crate) fn new(opened: Arc<Opened>, session: event::SessionId) -> Self {
        Self { opened, session }
    }

    pub(crate) fn session(&self) -> event::SessionId {
        self.session
    }

    fn put(&self, data: &Bound<'_, PyAny>, kind: Kind) -> Result<Ticket, Failure> {
        let event = RawEvent::from_bytes(bytes_of(data)?).with_session(self.session).with_kind(kind);
        self.opened.ingest(data.py(), &event)
    }
}

/// The description of a session.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Metadata {
    model: Option<String>,
    user: Option<String>,
    content_type: Option<String>,
    tags: Vec<String>,
    requires: Option<String>,
    labels: BTreeMap<String, String>,
}

impl Metadata {
    /// # Errors
    /// A tag or a requirement that is none.
    pub(crate) fn whole(self) -> Result<SessionMetadata, Failure> {
        let mut metadata = SessionMetadata::new();
        (metadata.model, metadata.user, metadata.content_type) = (self.model, self.user, self.content_type);
        (metadata.tags, metadata.labels) = (tags(&self.tags)?, self.labels);
        Ok(match self.requires {
            Some(needs) => metadata.requires(requirement(&needs)?),
            None => metadata,
        })
    }
}

#[pymethods]
impl Session {
    /// Its identity.
    #[getter]
    fn id(&self) -> SessionId {
        SessionId(self.session)
    }

    /// Ingests a token of a model's answer.
    fn token(&self, data: &Bound<'_, PyAny>) -> Result<Ticket, Failure> {
        self.put(data, kinds::TOKEN)
    }

    /// Ingests a tool call, or a piece of one.
    fn tool_call(&self, data: &Bound<'_, PyAny>) -> Result<Ticket, Failure> {
        self.put(data, kinds::TOOL_CALL)
    }

    /// Ingests an event of any kind.
    #[pyo3(signature = (data, kind=KindArgument(kinds::UNSPECIFIED)))]
    fn ingest(&self, data: &Bound<'_, PyAny>, kind: KindArgument) -> Result<Ticket, Failure> {
        self.put(data, kind.0)
    }

    /// Ends the session: `finished`, `stopped`, `failed` or `timed-out`.
    #[pyo3(signature = (outcome="finished"))]
    fn close(&self, py: Python<'_>, outcome: &str) -> Result<Ticket, Failure> {
        self.opened.close_session(py, self.session, outcome.parse()?)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// Closes it: finished, or failed where an exception leaves the block. Nothing if the block has closed it.
    fn __exit__(
        &self,
        class: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) -> Result<(), Failure> {
        let outcome = if class.is_none() { SessionOutcome::Finished } else { SessionOutcome::Failed };
        match self.opened.write(class.py(), |bus| bus.close_session(self.session, outcome))? {
            Ok(_) | Err(IngestionError::SessionClosed { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn __repr__(&self) -> String {
        format!("<tapeline.Session {}>", self.session)
    }
}
