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

/// The way in which parts make a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Junction {
    /// All must hold.
    All,
    /// One must hold.
    Any,
}

impl Junction {
    /// The answer of a part that decides the whole: false for "all", true for "any". The other changes nothing.
    fn decisive(self) -> bool {
        self == Self::Any
    }

    /// The way of the opposite.
    fn negated(self) -> Self {
        match self {
            Self::All => Self::Any,
            Self::Any => Self::All,
        }
    }
}

/// A filter, or its opposite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sense {
    Itself,
    Opposite,
}

impl Sense {
    fn negated(self) -> Self {
        match self {
            Self::Itself => Self::Opposite,
            Self::Opposite => Self::Itself,
        }
    }
}

impl Expression {
    /// The filter. Adds the fields that it tests.
    pub(super) fn new<'a>(filter: &'a Filter, fields: &mut Vec<&'a Field>) -> Self {
        Self::of(filter, Sense::Itself, fields)
    }

    /// The filter in this sense.
    fn of<'a>(filter: &'a Filter, sense: Sense, fields: &mut Vec<&'a Field>) -> Self {
        let wanted = sense == Sense::Itself;
        let metadata = |term| Self::Metadata(term, wanted);
        match &filter.0 {
            // Against logic, but `{"$and":[]}` must not be the way to everything.
            Node::And(filters) | Node::Or(filters) if filters.is_empty() => Self::Constant(!wanted),
            Node::And(filters) => Self::join(filters, Junction::All, sense, fields),
            Node::Or(filters) => Self::join(filters, Junction::Any, sense, fields),
            Node::Not(filter) => Self::of(filter, sense.negated(), fields),
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

    /// The filters together in this sense.
    fn join<'a>(filters: &'a [Filter], junction: Junction, sense: Sense, fields: &mut Vec<&'a Field>) -> Self {
        let parts = filters.iter().map(|filter| Self::of(filter, sense, fields)).collect();
        Self::combine(
            parts,
            match sense {
                Sense::Itself => junction,
                Sense::Opposite => junction.negated(),
            },
        )
    }

    /// The parts together; what no parts say is what changes nothing.
    pub(super) fn combine(parts: Vec<Self>, junction: Junction) -> Self {
        let decisive = junction.decisive();
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::Constant(value) if value == decisive => return Self::Constant(value),
                Self::Constant(_) => {}
                Self::All(parts) if junction == Junction::All => flat.extend(parts),
                Self::Any(parts) if junction == Junction::Any => flat.extend(parts),
                part => flat.push(part),
            }
        }
        flat.sort_by_key(Self::cost);
        match flat.len() {
            0 => Self::Constant(!decisive),
            1 => flat.remove(0),
            _ => match junction {
                Junction::All => Self::All(flat),
                Junction::Any => Self::Any(flat),
            },
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
            Self::All(parts) => decide(parts, Junction::All, event, held),
            Self::Any(parts) => decide(parts, Junction::Any, event, held),
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

/// The decisive answer if a part gives it; open if a part is; else the opposite.
fn decide(parts: &[Expression], junction: Junction, event: &impl Subject, held: Option<&Held>) -> Option<bool> {
    let (decisive, mut open) = (junction.decisive(), false);
    for part in parts {
        match part.decide(event, held) {
            Some(answer) if answer == decisive => return Some(decisive),
            Some(_) => {}
            None => open = true,
        }
    }
    (!open).then_some(!decisive)
}
