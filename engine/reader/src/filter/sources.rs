//! The sessions whose opening answers a question, as far as a filter knows their openings: whether their source meets a
//! requirement, or whether capabilities meet theirs.
//!
//! A reader that begins in the middle of a log states the openings before its start ([`Sources::amend`]); those after
//! it pass through the filter as events. So the answer about an event hangs on its session's last opening before it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tapeline_capability::{CapabilitySet, RequiredCapability};
use tapeline_storage::format::SessionId;

use super::subject::Subject;
use crate::kinds;
use crate::session::SessionOpening;

/// The question that a term asks of a session's opening.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    /// Does the session's source meet this?
    Meets(RequiredCapability),
    /// Do these meet the session's requirement?
    Suits(CapabilitySet),
}

impl Question {
    pub(super) fn holds(&self, opening: &SessionOpening) -> bool {
        match self {
            Self::Meets(wanted) => wanted.evaluate(&opening.metadata.capabilities()),
            Self::Suits(capabilities) => opening.metadata.suits(capabilities),
        }
    }
}

/// A question and the openings that it is asked of. Clones share what they know.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    question: Question,
    known: Arc<RwLock<HashMap<SessionId, Known>>>,
    /// The answer about a session without an opening.
    of_none: bool,
}

#[derive(Debug)]
struct Known {
    opening: SessionOpening,
    holds: bool,
}

impl Sources {
    pub(super) fn new(question: &Question) -> Self {
        let of_none = question.holds(&SessionOpening::default());
        Self { question: question.clone(), known: Arc::default(), of_none }
    }

    /// Takes in what the event says, if it opens a session.
    pub(super) fn meet(&self, event: &impl Subject) {
        if event.kind() == kinds::SESSION {
            self.amend(event.session(), SessionOpening::parse(event.payload()));
        }
    }

    /// Returns whether it holds of the event's session.
    pub(super) fn holds(&self, event: &impl Subject) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&event.session()).map_or(self.of_none, |known| known.holds)
    }

    /// A session was opened so; what is stated or met later amends it.
    pub(super) fn amend(&self, session: SessionId, later: SessionOpening) {
        if later == SessionOpening::default() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(session).or_insert_with(|| Known { opening: SessionOpening::default(), holds: false });
        entry.opening.amend(later);
        entry.holds = self.question.holds(&entry.opening);
    }
}
