//! A filter as `all`, `any` and terms that are wanted true or false.
//!
//! Negations are pushed down to the terms, terms with the same answer for every event are folded away, `all` in `all`
//! and `any` in `any` are one, and the cheap parts come first.

use super::field::Field;
use super::held::Held;
use super::metadata::Metadata;
use super::prefilter::Demand;
use super::sources::Sources;
use super::subject::Subject;
use super::{Filter, Node};

#[derive(Debug, Clone)]
pub(super) enum Expression {
    Constant(bool),
    Metadata(Metadata, bool),
    /// A test by its number in the lookup, and whether it must hold or must not.
    Payload(usize, bool),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

impl Expression {
    /// The filter if `wanted`, else its opposite.
    pub(super) fn new<'a>(filter: &'a Filter, wanted: bool, fields: &mut Vec<&'a Field>) -> Self {
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
            Node::Source(question) => metadata(Metadata::Source(Sources::new(question))),
            Node::Time(interval) => metadata(Metadata::Time(*interval)),
            Node::Size(interval) => metadata(Metadata::Size(*interval)),
        }
    }

    /// All of the filters if `all`, any of them if not.
    fn join<'a>(filters: &'a [Filter], all: bool, wanted: bool, fields: &mut Vec<&'a Field>) -> Self {
        Self::combine(filters.iter().map(|filter| Self::new(filter, wanted, fields)).collect(), all)
    }

    /// All of the parts if `all`, any of them if not; what no parts say is what changes nothing.
    pub(super) fn combine(parts: Vec<Self>, all: bool) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                // `false` decides "all", `true` decides "any"; the other changes nothing.
                Self::Constant(value) if value != all => return Self::Constant(value),
                Self::Constant(_) => {}
                Self::All(parts) if all => flat.extend(parts),
                Self::Any(parts) if !all => flat.extend(parts),
                part => flat.push(part),
            }
        }
        flat.sort_by_key(Self::cost);
        match flat.len() {
            0 => Self::Constant(all),
            1 => flat.remove(0),
            _ if all => Self::All(flat),
            _ => Self::Any(flat),
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

    pub(super) fn needs_payload(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Metadata(..) => false,
            Self::Payload(..) => true,
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::needs_payload),
        }
    }

    /// The answer, `None` where it hangs on tests of a payload that was not read.
    pub(super) fn decide(&self, event: &impl Subject, held: Option<&Held>) -> Option<bool> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Metadata(term, wanted) => Some(term.holds(event) == *wanted),
            Self::Payload(test, wanted) => held.map(|held| held.has(*test) == *wanted),
            Self::All(parts) => decide(parts, false, event, held),
            Self::Any(parts) => decide(parts, true, event, held),
        }
    }

    /// Adds the sources that its terms ask about.
    pub(super) fn list_sources(&self, sources: &mut Vec<Sources>) {
        match self {
            Self::Metadata(Metadata::Source(source), _) => sources.push(source.clone()),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.list_sources(sources)),
            Self::Constant(_) | Self::Metadata(..) | Self::Payload(..) => {}
        }
    }

    /// The demand that a match must meet, `None` where none is known beforehand.
    pub(super) fn demand(&self, fields: &[&Field]) -> Option<Demand> {
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

/// `decisive` if a part answers so; open if a part is; else the opposite.
fn decide(parts: &[Expression], decisive: bool, event: &impl Subject, held: Option<&Held>) -> Option<bool> {
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
