//! The sessions whose source meets a requirement, as far as a filter knows their openings.
//!
//! A reader that begins in the middle of a log states the openings before its start ([`Sources::amend`]); those after
//! it pass through the filter as events. So the answer about an event hangs on its session's last opening before it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tapeline_capability::RequiredCapability;
use tapeline_storage::format::SessionId;

use super::subject::Subject;
use crate::kinds;
use crate::session::SessionOpening;

/// A requirement and the openings that it is asked of. Clones share what they know.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    wanted: RequiredCapability,
    known: Arc<RwLock<HashMap<SessionId, Known>>>,
    /// The answer about a session without an opening.
    of_none: bool,
}

#[derive(Debug)]
struct Known {
    opening: SessionOpening,
    meets: bool,
}

impl Sources {
    pub(super) fn new(wanted: &RequiredCapability) -> Self {
        let of_none = wanted.evaluate(&SessionOpening::default().metadata.capabilities());
        Self { wanted: wanted.clone(), known: Arc::default(), of_none }
    }

    /// Takes in what the event says, if it opens a session.
    pub(super) fn meet(&self, event: &impl Subject) {
        if event.kind() == kinds::SESSION {
            self.amend(event.session(), SessionOpening::parse(event.payload()));
        }
    }

    /// Returns whether the source of the event's session meets the requirement.
    pub(super) fn holds(&self, event: &impl Subject) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&event.session()).map_or(self.of_none, |known| known.meets)
    }

    /// A session was opened so; what is stated or met later amends it.
    pub(super) fn amend(&self, session: SessionId, later: SessionOpening) {
        if later == SessionOpening::default() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(session).or_insert_with(|| Known { opening: SessionOpening::default(), meets: false });
        entry.opening.amend(later);
        entry.meets = self.wanted.evaluate(&entry.opening.metadata.capabilities());
    }
}
