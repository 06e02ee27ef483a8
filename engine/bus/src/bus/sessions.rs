//! The sessions of a bus's log, as they are at present.

use std::sync::Arc;

use tapeline_capability::RequiredCapability;
use tapeline_reader::contents::Contents;
use tapeline_reader::opening::{last_openings, retain_meeting};
use tapeline_reader::{ConsumerResult, IntoSession, SessionState, SessionSummary};
use tapeline_storage::format::SessionId;
use tapeline_storage::log::LogView;

use crate::bus_core::BusCore;

use super::EventBus;

impl EventBus {
    /// The sessions there are, by time of their first event. Reads on the calling thread: the index of each sealed
    /// segment, and the events of those that have none, as the one that is being written.
    ///
    /// # Errors
    /// [`ConsumerError`](crate::ConsumerError): a file cannot be read.
    pub async fn sessions(&self) -> ConsumerResult<Vec<SessionSummary>> {
        self.core.wait_readable().await?;
        all(&self.core)
    }

    /// The sessions whose source meets a requirement or a predicate, by time of their first event, as
    /// [`SessionMetadata::capabilities`](crate::event::SessionMetadata::capabilities) states its capabilities. Cost as
    /// [`EventBus::sessions`], and a second look at the indexes.
    ///
    /// ```
    /// use tapeline::event::SessionMetadata;
    /// use tapeline::{EventBus, EventBusConfig, pred};
    ///
    /// # futures_lite::future::block_on(async {
    /// let bus = EventBus::new(EventBusConfig::default()).await?;
    /// let mut producer = bus.producer()?;
    /// producer.open_session_with("chat-1", &SessionMetadata::new().model("llama-7b"))?;
    /// producer.open_session_with("chat-2", &SessionMetadata::new().model("mistral-large"))?;
    /// let found = bus.sessions_where(pred!(prefix "software.model", "llama-")).await?;
    /// assert_eq!(found.iter().map(|session| session.name.as_deref()).collect::<Vec<_>>(), [Some("chat-1")]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`EventBus::sessions`].
    pub async fn sessions_where(&self, wanted: impl Into<RequiredCapability>) -> ConsumerResult<Vec<SessionSummary>> {
        let mut sessions = self.sessions().await?;
        let openings = last_openings(&views(&self.core), |each| self.core.readers().names.store().each(each));
        retain_meeting(&mut sessions, &openings, &wanted.into());
        Ok(sessions)
    }

    /// The summary of one session: whether it goes on, what it is about, how many events it has. `None`: the log holds
    /// no event of it. Reads on the calling thread: the indexes of the sealed segments that hold it, and blocks of the
    /// others that are not known to be without it.
    ///
    /// # Errors
    /// As [`EventBus::sessions`].
    pub async fn session(&self, session: impl IntoSession) -> ConsumerResult<Option<SessionSummary>> {
        let session = session.into_session();
        self.core.wait_readable().await?;
        one(&self.core, session)
    }

    /// The sessions that were opened and not closed, and that an earlier process wrote last: those that a crash has cut
    /// off. Cost as [`EventBus::sessions`].
    ///
    /// # Errors
    /// As [`EventBus::sessions`].
    pub async fn unfinished(&self) -> ConsumerResult<Vec<SessionSummary>> {
        let mut sessions = self.sessions().await?;
        sessions.retain(|summary| summary.was_opened && summary.state == SessionState::CutOff);
        Ok(sessions)
    }
}

/// All of them.
fn all(core: &BusCore) -> ConsumerResult<Vec<SessionSummary>> {
    let mut contents = Contents::default();
    views(core).iter().try_for_each(|view| contents.add_shard(view))?;
    Ok(finished(core, contents))
}

/// One of them.
fn one(core: &BusCore, session: SessionId) -> ConsumerResult<Option<SessionSummary>> {
    let mut contents = Contents::default();
    views(core).iter().try_for_each(|view| contents.add_session(view, session))?;
    Ok(finished(core, contents).pop())
}

/// Those of these sessions that are closed.
pub(super) fn closed(core: &BusCore, sessions: &[SessionId]) -> ConsumerResult<Vec<SessionId>> {
    let mut closed = Vec::new();
    for session in sessions {
        let is_closed = |summary: SessionSummary| matches!(summary.state, SessionState::Closed { .. });
        if one(core, *session)?.is_some_and(is_closed) {
            closed.push(*session);
        }
    }
    Ok(closed)
}

fn views(core: &BusCore) -> Vec<Arc<LogView>> {
    core.shards().views().collect()
}

/// The sessions with openings that stand nowhere but in the log's file of names, and with those that were cut off.
fn finished(core: &BusCore, mut contents: Contents) -> Vec<SessionSummary> {
    core.readers().names.store().each(|session, opening| contents.opened_before(session, opening));
    let mut sessions = contents.into_sessions();
    let written_before = core.producers().timestamp_floor();
    for summary in &mut sessions {
        if summary.state == SessionState::Open && summary.last_insertion_ts <= written_before {
            summary.state = SessionState::CutOff;
        }
    }
    sessions
}
