//! A term over what an event carries beside its payload.

use std::ops::RangeBounds;

use tapeline_storage::format::{Kind, SessionId};

use super::Interval;
use super::sources::Sources;
use super::subject::Subject;
use crate::session::session_id;

#[derive(Debug, Clone)]
pub(super) enum Metadata {
    /// Sorted.
    Sessions(Vec<SessionId>),
    /// Sorted.
    Kinds(Vec<Kind>),
    Source(Sources),
    Time(Interval),
    Size(Interval),
}

impl Metadata {
    pub(super) fn sessions(names: &[String], ids: &[SessionId]) -> Self {
        let mut sessions: Vec<_> = names.iter().map(|name| session_id(name)).chain(ids.iter().copied()).collect();
        sessions.sort_unstable();
        Self::Sessions(sessions)
    }

    pub(super) fn kinds(kinds: &[Kind]) -> Self {
        let mut kinds = kinds.to_vec();
        kinds.sort_unstable();
        Self::Kinds(kinds)
    }

    #[inline]
    pub(super) fn holds(&self, event: &impl Subject) -> bool {
        match self {
            Self::Sessions(sessions) => sessions.binary_search(&event.session()).is_ok(),
            Self::Kinds(kinds) => kinds.binary_search(&event.kind()).is_ok(),
            Self::Source(sources) => sources.holds(event),
            Self::Time(interval) => interval.contains(&event.insertion_ts()),
            Self::Size(interval) => interval.contains(&(event.payload().len() as u64)),
        }
    }
}
