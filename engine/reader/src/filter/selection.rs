//! The events that a reader wants: its shards, and a choice among their events.

use std::sync::Arc;

use tapeline_storage::format::{Kind, SessionId};

use super::{CompiledFilter, Filter, FilterError};
use crate::event::EventView;
use crate::session::SessionOpening;
use crate::session::naming::{NameLookup, ReaderNames};

/// A reader's choice, ready to be asked of each event.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    shards: Option<Vec<u16>>,
    sessions: Option<Vec<SessionId>>,
    /// `None`: every event.
    filter: Option<CompiledFilter>,
    names: Arc<ReaderNames>,
}

impl Selection {
    /// The events of these shards that all of the others allow; `None` allows everything.
    pub fn new(
        shards: Option<&[u16]>,
        sessions: Option<&[SessionId]>,
        kinds: Option<&[Kind]>,
        filter: Option<&Filter>,
    ) -> Result<Self, FilterError> {
        let shards = shards.map(<[u16]>::to_vec);
        let known = sessions.map(<[SessionId]>::to_vec);
        let sessions = sessions.map(|sessions| Filter::sessions(sessions.iter().copied()));
        let kinds = kinds.map(|kinds| Filter::kinds(kinds.iter().copied()));
        let mut terms: Vec<Filter> = [sessions, kinds, filter.cloned()].into_iter().flatten().collect();
        let filter = match terms.len() {
            0 => None,
            1 => terms.pop(),
            _ => Some(Filter::and(terms)),
        };
        let filter = filter.as_ref().map(Filter::compile).transpose()?;
        Ok(Self { shards, sessions: known, filter, names: Arc::default() })
    }

    /// The same, with the names of sessions that were opened before the reader's start known to `lookup`.
    pub fn naming(mut self, lookup: Arc<dyn NameLookup>) -> Self {
        self.names = Arc::new(ReaderNames::new(lookup));
        self
    }

    /// The names of sessions that the reader knows.
    #[inline]
    pub fn names(&self) -> &ReaderNames {
        &self.names
    }

    /// The sessions that were asked for; `None`: all.
    pub fn sessions(&self) -> Option<&[SessionId]> {
        self.sessions.as_deref()
    }

    /// Returns whether something that is missing of this session may have been asked for.
    pub fn concerns(&self, session: SessionId) -> bool {
        self.sessions.as_ref().is_none_or(|sessions| sessions.contains(&session))
    }

    /// Returns whether events of the shard are wanted at all.
    pub fn has_shard(&self, shard: u16) -> bool {
        self.shards.as_ref().is_none_or(|shards| shards.contains(&shard))
    }

    /// Returns whether it leaves anything out of its shards.
    pub fn is_partial(&self) -> bool {
        self.filter.is_some()
    }

    /// The filter that decides about an event of its shards, if there is one.
    #[inline]
    pub fn filter(&self) -> Option<&CompiledFilter> {
        self.filter.as_ref()
    }

    /// Returns whether it asks about the sources of sessions: a reader states their openings before its start.
    pub fn needs_openings(&self) -> bool {
        self.filter.as_ref().is_some_and(CompiledFilter::needs_openings)
    }

    /// A session was opened so before the events that the reader will meet.
    pub fn know_opening(&self, session: SessionId, opening: &SessionOpening) {
        self.filter.iter().for_each(|filter| filter.know_opening(session, opening));
    }

    /// Returns whether the event is wanted.
    #[inline]
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(event))
    }
}
