//! A filter prepared for many events.
//!
//! An event is asked in four steps, each only if the one before left it open: the gate, which is inlined where the
//! filter is used; other metadata; bytes that a match must have; the parsed payload.

use super::error::{FilterError, TermPath};
use super::expression::Expression;
use super::gate::Gate;
use super::lookup::Lookup;
use super::prefilter::Prefilter;
use super::sources::Sources;
use super::subject::Subject;
use super::{Filter, limits, reading};
use crate::session::SessionOpening;
use crate::{EventView, StoredEvent};
use tapeline_storage::format::SessionId;

/// A filter prepared by [`Filter::compile`]: asked of an event by reference, from any thread; without locks, but where
/// a term asks about sources. Allocates only for strings with escapes, for arrays and objects that are compared as a
/// whole, and for openings of sessions.
///
/// ```
/// use tapeline_reader::{Filter, kinds};
///
/// // A filter by kind and session is decided without a look at the payload.
/// assert!(!Filter::kind(kinds::TOKEN).compile()?.needs_payload());
/// assert!(Filter::eq("tool.name", "search").compile()?.needs_payload());
/// # Ok::<(), tapeline_reader::FilterError>(())
/// ```
#[derive(Debug, Clone)]
pub struct CompiledFilter {
    gate: Gate,
    /// True if an event that the gate admits is a match.
    gate_decides: bool,
    /// The terms that the gate leaves to ask.
    expression: Expression,
    prefilter: Option<Prefilter>,
    lookup: Lookup,
    /// All that its terms ask about: each takes in every opening, whatever decides about the event.
    sources: Vec<Sources>,
}

impl CompiledFilter {
    pub(super) fn new(filter: &Filter) -> Result<Self, FilterError> {
        limits::check(filter, 1, &mut 0, TermPath::ROOT)?;
        let mut fields = Vec::new();
        let (gate, expression) = Gate::split(Expression::new(filter, &mut fields));
        let mut sources = Vec::new();
        expression.list_sources(&mut sources);
        Ok(Self {
            gate,
            gate_decides: matches!(expression, Expression::Constant(true)),
            prefilter: Prefilter::new(expression.demand(&fields)),
            lookup: Lookup::new(fields),
            expression,
            sources,
        })
    }

    /// Returns whether the event is wanted. [`Filter`](super::Filter) says what that means and costs.
    #[inline]
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        self.holds(event)
    }

    /// The same for an event that a page holds.
    pub fn matches_stored(&self, event: &StoredEvent) -> bool {
        self.holds(event)
    }

    #[inline]
    pub(super) fn holds(&self, event: &impl Subject) -> bool {
        if !self.sources.is_empty() {
            self.sources.iter().for_each(|sources| sources.meet(event));
        }
        self.gate.admits(event) && (self.gate_decides || self.decide(event))
    }

    /// Returns whether it asks about the sources of sessions.
    pub fn needs_openings(&self) -> bool {
        !self.sources.is_empty()
    }

    /// States how a session was opened before every event that the filter will be asked about. Openings that are asked
    /// about are later ones.
    ///
    /// ```
    /// use tapeline_reader::{Filter, SessionId, SessionOpening};
    ///
    /// let wanted: tapeline_capability::RequiredCapability = "software.model=small".parse()?;
    /// let filter = Filter::source(wanted).compile()?;
    /// assert!(filter.needs_openings());
    /// filter.know_opening(SessionId(7), &SessionOpening::parse(br#"{"name":"chat","model":"small"}"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn know_opening(&self, session: SessionId, opening: &SessionOpening) {
        self.sources.iter().for_each(|sources| sources.amend(session, opening.clone()));
    }

    /// Returns whether a payload may have to be read; if not, metadata decides every answer.
    pub fn needs_payload(&self) -> bool {
        self.expression.needs_payload()
    }

    #[inline(never)]
    fn decide(&self, event: &impl Subject) -> bool {
        match self.expression.decide(event, None) {
            Some(answer) => answer,
            None => self.prefilter.as_ref().is_none_or(|prefilter| prefilter.may_match(event)) && self.parse(event),
        }
    }

    fn parse(&self, event: &impl Subject) -> bool {
        let held = reading::read(&self.lookup, event.payload());
        held.is_some_and(|held| self.expression.decide(event, Some(&held)) == Some(true))
    }
}
