//! A filter prepared for many events.
//!
//! Negations are pushed down to the terms, so that what remains is `all`, `any` and terms that are wanted true or
//! false; what is settled for every event is folded away. An event is asked in three steps, each only if the one before
//! left it open: metadata, bytes that a match must have, the parsed payload.

use super::error::{FilterError, Place};
use super::field::Field;
use super::lookup::{Held, Lookup};
use super::metadata::Metadata;
use super::prefilter::{Demand, Prefilter};
use super::{DEPTH_MAX, Filter, NODES_MAX, Node, PATH_SEGMENTS_MAX, path};
use crate::EventView;

/// A filter prepared by [`Filter::compile`]: asked of an event by reference, from any thread, without locks. Allocates
/// only for strings with escapes, and for arrays and objects that are compared as a whole.
#[derive(Debug, Clone)]
pub struct CompiledFilter {
    expression: Expression,
    prefilter: Option<Prefilter>,
    lookup: Lookup,
}

#[derive(Debug, Clone)]
enum Expression {
    Constant(bool),
    Metadata(Metadata, bool),
    /// A test by its number in the lookup, and whether it must hold or must not.
    Payload(usize, bool),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

impl CompiledFilter {
    pub(super) fn new(filter: &Filter) -> Result<Self, FilterError> {
        check(filter, 1, &mut 0, Place::ROOT)?;
        let mut fields = Vec::new();
        let expression = Expression::new(filter, true, &mut fields);
        let prefilter = Prefilter::new(expression.demand(&fields));
        Ok(Self { prefilter, lookup: Lookup::new(fields), expression })
    }

    /// Whether the event is wanted. The module's page says what that means and costs.
    #[inline]
    pub fn matches(&self, event: &EventView<'_>) -> bool {
        match &self.expression {
            Expression::Metadata(term, wanted) => term.holds(event) == *wanted,
            Expression::All(parts) if rejects(parts.first(), event) => false,
            _ => self.decide(event),
        }
    }

    fn decide(&self, event: &EventView<'_>) -> bool {
        match self.expression.decide(event, None) {
            Some(answer) => answer,
            None => self.prefilter.as_ref().is_none_or(|prefilter| prefilter.may_match(event)) && self.parse(event),
        }
    }

    /// Whether there are events whose payload has to be read; if not, metadata settles every answer.
    pub fn needs_payload(&self) -> bool {
        self.expression.needs_payload()
    }

    fn parse(&self, event: &EventView<'_>) -> bool {
        let held = self.lookup.read(event.payload());
        held.is_some_and(|held| self.expression.decide(event, Some(&held)) == Some(true))
    }
}

impl Expression {
    /// The filter if `wanted`, else its opposite.
    fn new<'a>(filter: &'a Filter, wanted: bool, fields: &mut Vec<&'a Field>) -> Self {
        let metadata = |term| Self::Metadata(term, wanted);
        match &filter.0 {
            // Against logic, but `{"$and":[]}` must not be the way to everything.
            Node::And(filters) | Node::Or(filters) if filters.is_empty() => Self::Constant(!wanted),
            Node::And(filters) => Self::join(filters, wanted, wanted, fields),
            Node::Or(filters) => Self::join(filters, !wanted, wanted, fields),
            Node::Not(filter) => Self::new(filter, !wanted, fields),
            Node::Field(field) => {
                fields.push(field);
                Self::Payload(fields.len() - 1, wanted != field.test.is_negative())
            }
            Node::Session { names, ids } => metadata(Metadata::sessions(names, ids)),
            Node::Kind(kinds) => metadata(Metadata::kinds(kinds)),
            Node::Time(interval) => metadata(Metadata::Time(*interval)),
            Node::Size(interval) => metadata(Metadata::Size(*interval)),
        }
    }

    /// All of the filters if `all`, any of them if not.
    fn join<'a>(filters: &'a [Filter], all: bool, wanted: bool, fields: &mut Vec<&'a Field>) -> Self {
        let mut parts: Vec<_> = filters.iter().map(|filter| Self::new(filter, wanted, fields)).collect();
        // `false` settles "all", `true` settles "any"; the other changes nothing.
        if parts.iter().any(|part| matches!(part, Self::Constant(value) if *value != all)) {
            return Self::Constant(!all);
        }
        parts.retain(|part| !matches!(part, Self::Constant(_)));
        parts.sort_by_key(Self::cost);
        match parts.len() {
            0 => Self::Constant(all),
            1 => parts.remove(0),
            _ if all => Self::All(parts),
            _ => Self::Any(parts),
        }
    }

    fn cost(&self) -> u8 {
        match self {
            Self::Constant(_) | Self::Metadata(..) => 0,
            Self::All(_) | Self::Any(_) if !self.needs_payload() => 1,
            Self::Payload(..) => 2,
            Self::All(_) | Self::Any(_) => 3,
        }
    }

    fn needs_payload(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Metadata(..) => false,
            Self::Payload(..) => true,
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::needs_payload),
        }
    }

    /// The answer, `None` where it hangs on tests of a payload that was not read.
    fn decide(&self, event: &EventView<'_>, held: Option<&Held>) -> Option<bool> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Metadata(term, wanted) => Some(term.holds(event) == *wanted),
            Self::Payload(test, wanted) => held.map(|held| held.has(*test) == *wanted),
            Self::All(parts) => settle(parts, false, event, held),
            Self::Any(parts) => settle(parts, true, event, held),
        }
    }

    /// What a match must have, `None` for nothing that could be told beforehand.
    fn demand(&self, fields: &[&Field]) -> Option<Demand> {
        match self {
            Self::Constant(_) => None,
            Self::Metadata(term, wanted) => Some(Demand::Metadata(term.clone(), *wanted)),
            Self::Payload(test, true) => Demand::of_field(fields[*test]),
            Self::Payload(_, false) => None,
            Self::All(parts) => {
                let demands: Vec<_> = parts.iter().filter_map(|part| part.demand(fields)).collect();
                (!demands.is_empty()).then_some(Demand::All(demands))
            }
            Self::Any(parts) => parts.iter().map(|part| part.demand(fields)).collect::<Option<_>>().map(Demand::Any),
        }
    }
}

/// Whether the first of several conditions is one over metadata that does not hold.
#[inline]
fn rejects(first: Option<&Expression>, event: &EventView<'_>) -> bool {
    matches!(first, Some(Expression::Metadata(term, wanted)) if term.holds(event) != *wanted)
}

/// `decisive` if a part answers so; open if a part is; else the opposite.
fn settle(parts: &[Expression], decisive: bool, event: &EventView<'_>, held: Option<&Held>) -> Option<bool> {
    let mut open = false;
    for part in parts {
        match part.decide(event, held) {
            Some(answer) if answer == decisive => return Some(decisive),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(!decisive)
}

/// Holds filters made by constructors to the limits, before anything else descends into them.
fn check(filter: &Filter, depth: usize, nodes: &mut usize, place: Place<'_>) -> Result<(), FilterError> {
    enter(depth, nodes, &place)?;
    match &filter.0 {
        Node::And(filters) => check_list(filters, depth, nodes, place.key("$and")),
        Node::Or(filters) => check_list(filters, depth, nodes, place.key("$or")),
        Node::Not(filter) => check(filter, depth + 1, nodes, place.key("$not")),
        Node::Field(field) => check_path(&field.path, &place),
        Node::Session { .. } | Node::Kind(_) | Node::Time(_) | Node::Size(_) => Ok(()),
    }
}

fn check_list(filters: &[Filter], depth: usize, nodes: &mut usize, place: Place<'_>) -> Result<(), FilterError> {
    let mut filters = filters.iter().enumerate();
    filters.try_for_each(|(index, filter)| check(filter, depth + 1, nodes, place.index(index)))
}

/// Counts a filter at a depth, the outermost being 1.
pub(super) fn enter(depth: usize, nodes: &mut usize, place: &Place<'_>) -> Result<(), FilterError> {
    *nodes += 1;
    if depth > DEPTH_MAX {
        return Err(FilterError::TooDeep { place: place.to_string(), max: DEPTH_MAX });
    }
    if *nodes > NODES_MAX {
        return Err(FilterError::TooLarge { place: place.to_string(), max: NODES_MAX });
    }
    Ok(())
}

pub(super) fn check_path(path: &str, place: &Place<'_>) -> Result<(), FilterError> {
    match path::segments(path).count() {
        0..=PATH_SEGMENTS_MAX => Ok(()),
        segments => Err(FilterError::PathTooLong { place: place.to_string(), segments, max: PATH_SEGMENTS_MAX }),
    }
}
