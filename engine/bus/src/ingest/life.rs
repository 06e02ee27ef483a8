//! Sessions that begin and end: their events, and the refusal of what comes after the end.

use std::borrow::Cow;
use std::sync::Arc;

use tapeline_capability::CapabilitySet;
use tapeline_reader::{IntoSession, SESSION_NAME_BYTES_MAX, SessionChange, SessionMetadata, SessionOutcome, kinds};
use tapeline_storage::format::SessionId;

use super::{Producer, Session, Ticket};
use crate::bus_core::CLOSED_BYTES;
use crate::core::error::{IngestionError, IngestionResult};

impl Producer {
    /// Sets the capabilities of what it is the producer of. The sessions that it opens from now on state them, beside
    /// what their metadata says; a label of a session comes before a metadata entry of the same name.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tapeline::capability::CapabilitySet;
    /// use tapeline::{EventBus, EventBusConfig, require};
    ///
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// let worker = CapabilitySet::parse(["hardware.gpu=h100"])?.with_metadata("zone", "eu");
    /// let mut producer = bus.producer()?;
    /// producer.set_capabilities(worker);
    /// producer.open_session("chat-42")?;
    /// let found = bus.sessions_where(require!("hardware.gpu=h100")).await?;
    /// assert_eq!(found[0].name.as_deref(), Some("chat-42"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_capabilities(&mut self, capabilities: CapabilitySet) {
        self.capabilities = (!capabilities.is_empty()).then(|| Box::new(capabilities));
    }

    /// Begins a session by name: ingests an event of kind [`kinds::SESSION`] that carries the name, so that it can be
    /// listed later. A session that was closed takes events again: this is another turn of it.
    ///
    /// # Errors
    /// As [`Producer::emit`], and [`IngestionError::NameTooLong`].
    pub fn open_session(&mut self, name: &str) -> IngestionResult<Session> {
        self.open_session_with(name, &SessionMetadata::new())
    }

    /// As [`Producer::open_session`], stating what the session is about.
    ///
    /// # Errors
    /// As [`Producer::open_session`].
    pub fn open_session_with(&mut self, name: &str, metadata: &SessionMetadata) -> IngestionResult<Session> {
        self.begin_session(name, metadata).map(|(session, _)| session)
    }

    /// As [`Producer::open_session_with`], with the ticket of the event that opens the session: to wait until it is
    /// durable.
    ///
    /// # Errors
    /// As [`Producer::open_session`].
    pub fn begin_session(&mut self, name: &str, metadata: &SessionMetadata) -> IngestionResult<(Session, Ticket)> {
        if name.len() > SESSION_NAME_BYTES_MAX {
            return Err(IngestionError::NameTooLong { bytes: name.len(), max: SESSION_NAME_BYTES_MAX });
        }
        self.open(self.session(name), Some(name), metadata)
    }

    /// As [`Producer::begin_session`], of a session that is known by its id, be it closed or not. The event has no
    /// name; a session that has one keeps it.
    ///
    /// # Errors
    /// As [`Producer::emit`], and [`IngestionError::NoSession`].
    pub fn reopen_session(
        &mut self,
        session: impl IntoSession,
        metadata: &SessionMetadata,
    ) -> IngestionResult<(Session, Ticket)> {
        match session.into_session() {
            SessionId::NONE => Err(IngestionError::NoSession),
            id => self.open(self.session(id), None, metadata),
        }
    }

    fn open(
        &mut self,
        session: Session,
        name: Option<&str>,
        metadata: &SessionMetadata,
    ) -> IngestionResult<(Session, Ticket)> {
        // The list's lock may be a thread's of the parent.
        if self.is_forked() {
            return Err(IngestionError::Forked);
        }
        let core = Arc::clone(&self.core);
        let metadata = self.stated(metadata);
        core.closed().open(session.id(), || {
            let ticket = self.put(session, kinds::SESSION, &SessionChange::open_payload(name, &metadata))?;
            name.into_iter().for_each(|name| core.readers().names.learn(session.id(), name));
            Ok(((session, ticket), ticket.insertion_ts))
        })
    }

    /// Facts about a session, with its own capabilities.
    pub(crate) fn stated<'m>(&self, metadata: &'m SessionMetadata) -> Cow<'m, SessionMetadata> {
        match &self.capabilities {
            Some(capabilities) => Cow::Owned(metadata.clone().of_source(capabilities)),
            None => Cow::Borrowed(metadata),
        }
    }

    /// Ends a session: ingests an event of kind [`kinds::SESSION`] that says how it ended. What any producer ingested
    /// into it before the call comes before that event. Once this has returned, events of the session are refused with
    /// [`IngestionError::SessionClosed`], on every thread that can know that it has, until the session is opened again.
    /// An event that another thread ingests at the same time may come after the close, where readers that end with it
    /// do not see it.
    ///
    /// The bus remembers the 16,384 sessions that were closed last, in 3 MiB of its memory budget, for as long as it
    /// is open. To an older one, and after a restart, events are taken again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tapeline::event::{SessionMetadata, SessionOutcome};
    /// use tapeline::{EventBus, EventBusConfig, IngestionError, kinds};
    ///
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// let mut producer = bus.producer()?;
    /// let chat = producer.open_session_with("chat-42", &SessionMetadata::new().model("gpt-oss-20b"))?;
    /// producer.emit(chat, kinds::TOKEN, b"hello")?;
    /// producer.close_session(chat, SessionOutcome::Finished)?;
    /// assert!(matches!(producer.emit(chat, kinds::TOKEN, b"late"), Err(IngestionError::SessionClosed { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Producer::emit`], [`IngestionError::NoSession`] and [`IngestionError::ClosedBudget`]; the session is as it
    /// was.
    pub fn close_session(&mut self, session: Session, outcome: SessionOutcome) -> IngestionResult<Ticket> {
        if session.id() == SessionId::NONE {
            return Err(IngestionError::NoSession);
        }
        self.check_session(session.id(), 1)?;
        self.check_open(1)?;
        let core = Arc::clone(&self.core);
        let no_room = |left| IngestionError::ClosedBudget { bytes: CLOSED_BYTES, left };
        core.closed().prepare(core.memory()).map_err(no_room)?;
        core.closed().close(session.id(), || {
            let ticket = self.put(session, kinds::SESSION, &SessionChange::close_payload(outcome))?;
            Ok((ticket, ticket.insertion_ts))
        })
    }

    /// Refuses events of a session that is closed. One load, or two.
    ///
    /// # Errors
    /// [`IngestionError::SessionClosed`].
    #[inline(always)]
    pub(super) fn check_session(&self, session: SessionId, events: u64) -> IngestionResult<()> {
        if self.core.closed().may_be(session) { self.check_closed(session, events) } else { Ok(()) }
    }

    /// Refuses a call beside [`Producer::emit`], with so many events, once the bus ends.
    ///
    /// # Errors
    /// [`IngestionError::Forked`], [`IngestionError::ShuttingDown`].
    pub(super) fn check_open(&self, events: u64) -> IngestionResult<()> {
        self.core.check_open().inspect_err(|refusal| self.core.producers().count_refused(refusal, events))
    }

    #[cold]
    #[inline(never)]
    fn check_closed(&self, session: SessionId, events: u64) -> IngestionResult<()> {
        // The list's lock may be a thread's of the parent.
        if self.is_forked() {
            return Err(IngestionError::Forked);
        }
        if !self.core.closed().is_closed(session) {
            return Ok(());
        }
        let refusal = IngestionError::SessionClosed { session };
        self.core.producers().count_refused(&refusal, events);
        Err(refusal)
    }
}
