//! The questions about an event that take a nanosecond or two, inline: whether it is of one session, of a few kinds, or
//! both.
//!
//! The gate is a part of a conjunction, or all of it: an event that it refuses is no match, whatever else is asked.

use tapeline_storage::format::{Kind, SessionId};

use super::expression::{Expression, Junction};
use super::metadata::Metadata;
use super::subject::Subject;

/// Kinds of a gate, at most: so many are compared at once, without a branch for each.
const KINDS_MAX: usize = 16;

#[derive(Debug, Clone, Default)]
pub(super) struct Gate {
    session: Option<SessionId>,
    /// Filled up with repetitions.
    kinds: Option<[Kind; KINDS_MAX]>,
}

impl Gate {
    /// Takes out of the expression what a gate can ask in its place, and leaves the rest.
    pub(super) fn split(expression: Expression) -> (Self, Expression) {
        let mut gate = Self::default();
        let mut parts = match expression {
            Expression::All(parts) => parts,
            only => vec![only],
        };
        parts.retain(|part| !gate.takes(part));
        (gate, Expression::combine(parts, Junction::All))
    }

    /// False only where the event cannot match.
    #[inline]
    pub(super) fn admits(&self, event: &impl Subject) -> bool {
        self.session.is_none_or(|session| session == event.session())
            && self.kinds.as_ref().is_none_or(|kinds| any_equal(kinds, event.kind()))
    }

    fn takes(&mut self, part: &Expression) -> bool {
        match part {
            Expression::Metadata(Metadata::Sessions(sessions), true) if self.session.is_none() => {
                self.session = only(sessions);
                self.session.is_some()
            }
            Expression::Metadata(Metadata::Kinds(kinds), true) if self.kinds.is_none() => {
                self.kinds = repeated(kinds);
                self.kinds.is_some()
            }
            _ => false,
        }
    }
}

fn only(sessions: &[SessionId]) -> Option<SessionId> {
    if let [session] = sessions { Some(*session) } else { None }
}

fn repeated(kinds: &[Kind]) -> Option<[Kind; KINDS_MAX]> {
    let first = *kinds.first().filter(|_| kinds.len() <= KINDS_MAX)?;
    Some(std::array::from_fn(|at| kinds.get(at).copied().unwrap_or(first)))
}

#[inline]
fn any_equal(kinds: &[Kind; KINDS_MAX], kind: Kind) -> bool {
    // Without an early end, so that it becomes one comparison of vectors.
    kinds.iter().fold(false, |any, other| any | (*other == kind))
}
