//! The openings of sessions, whatever part of a log a command selects.
//!
//! An opening says in which format its session was recorded, and of which model it is. A command that needs it asks for
//! all openings in its range of time, selected or not; those from before its first event it looks up, once.

use std::collections::{HashMap, HashSet};

use tapeline_reader::{Filter, SessionId, SessionOpening, StoredEvent, kinds};

/// Hands out the openings that a command does not meet.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    /// Sessions of which an event was met.
    met: HashSet<SessionId>,
    /// The session of the last event: streams come in runs.
    recent: Option<SessionId>,
    /// Openings from before the first event that needed one.
    earlier: Option<HashMap<SessionId, SessionOpening>>,
}

impl Openings {
    /// The last opening of an event's session before it, if the event is the first of it and opens no session itself.
    /// `look_up` finds the openings of all sessions before a time; it is called at most once. Costs one look at a set
    /// where the session changes.
    pub(crate) fn before(
        &mut self,
        event: &StoredEvent,
        look_up: impl FnOnce(u64) -> HashMap<SessionId, SessionOpening>,
    ) -> Option<SessionOpening> {
        let session = event.session;
        if session == SessionId::NONE || self.recent.replace(session) == Some(session) || !self.met.insert(session) {
            return None;
        }
        if event.kind == kinds::SESSION && SessionOpening::parse(&event.raw).name.is_some() {
            return None;
        }
        self.earlier.get_or_insert_with(|| look_up(event.insertion_ts)).remove(&session)
    }
}

/// The filter with the events that open sessions.
pub(crate) fn let_through(filter: Filter) -> Filter {
    Filter::or([Filter::kind(kinds::SESSION), filter])
}
