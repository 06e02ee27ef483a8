//! A term over the payload: a path, and a test of the value found there.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// A test of the value at a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) path: String,
    pub(super) test: Test,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Equal(Value),
    NotEqual(Value),
    Order(Relation, Value),
    In(Vec<Value>),
    Exists(bool),
    Prefix(String),
    Contains(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Gt,
    Gte,
    Lt,
    Lte,
}

/// The value at the end of a path, as far as it was read.
#[derive(Debug, Clone)]
pub(super) enum Found<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'a str),
    /// An array or object that no test of this path wants to see.
    Unread,
    /// An array or object.
    Whole(&'a Value),
}

impl<'a> Found<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(text),
            Value::Array(_) | Value::Object(_) => Self::Whole(value),
        }
    }

    fn equals(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null) => true,
            (Self::Bool(found), Value::Bool(wanted)) => found == wanted,
            (Self::Number(found), Value::Number(wanted)) => found == wanted,
            (Self::Text(found), Value::String(wanted)) => found == wanted,
            (Self::Whole(found), wanted) => *found == wanted,
            _ => false,
        }
    }

    fn compare(&self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Number(found), Value::Number(wanted)) => compare_numbers(found, wanted),
            (Self::Text(found), Value::String(wanted)) => Some((*found).cmp(wanted.as_str())),
            _ => None,
        }
    }

    fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(found), Value::String(part)) => found.contains(part.as_str()),
            (Self::Whole(Value::Array(elements)), element) => elements.contains(element),
            _ => false,
        }
    }
}

impl Test {
    /// The term's key in the grammar.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Equal(_) => "$eq",
            Self::NotEqual(_) => "$ne",
            Self::Order(Relation::Gt, _) => "$gt",
            Self::Order(Relation::Gte, _) => "$gte",
            Self::Order(Relation::Lt, _) => "$lt",
            Self::Order(Relation::Lte, _) => "$lte",
            Self::In(_) => "$in",
            Self::Exists(_) => "$exists",
            Self::Prefix(_) => "$prefix",
            Self::Contains(_) => "$contains",
        }
    }

    /// Returns whether the value passes. Of a pair of opposite tests, the answer for a missing value follows from
    /// `holds` being false for it, see [`Test::is_negative`].
    pub(super) fn holds(&self, found: &Found<'_>) -> bool {
        match self {
            Self::Equal(value) | Self::NotEqual(value) => found.equals(value),
            Self::Order(relation, value) => found.compare(value).is_some_and(|order| relation.holds(order)),
            Self::In(values) => values.iter().any(|value| found.equals(value)),
            Self::Exists(_) => true,
            Self::Prefix(prefix) => matches!(found, Found::Text(text) if text.starts_with(prefix.as_str())),
            Self::Contains(value) => found.contains(value),
        }
    }

    /// Returns whether the term is true exactly where [`Test::holds`] is false or there is no value.
    pub(super) fn is_negative(&self) -> bool {
        matches!(self, Self::NotEqual(_) | Self::Exists(false))
    }

    /// Returns whether the test looks into arrays and objects.
    pub(super) fn wants_whole(&self) -> bool {
        match self {
            Self::Equal(value) | Self::NotEqual(value) => is_nested(value),
            Self::In(values) => values.iter().any(is_nested),
            Self::Contains(_) => true,
            Self::Order(..) | Self::Exists(_) | Self::Prefix(_) => false,
        }
    }
}

impl Relation {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Gt => order.is_gt(),
            Self::Gte => order.is_ge(),
            Self::Lt => order.is_lt(),
            Self::Lte => order.is_le(),
        }
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

/// Exact, also between integers and floats that round to each other.
fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        (Some(left), None) => compare_mixed(left, right.as_f64()?),
        (None, Some(right)) => compare_mixed(right, left.as_f64()?).map(Ordering::reverse),
        (None, None) => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn compare_mixed(integer: i128, float: f64) -> Option<Ordering> {
    let floor = float.floor();
    // The cast saturates far beyond any integer of 64 bits.
    let order = integer.cmp(&(floor as i128));
    if order.is_eq() { floor.partial_cmp(&float) } else { Some(order) }
}
