//! Filters: which events a reader wants, said once, compiled once, asked of every event.
//!
//! A [`Filter`] is a tree. `and`, `or` and `not` combine terms; a term looks at the event's metadata (session, kind,
//! time, size) or at one path of its payload. [`Filter::compile`] makes a [`CompiledFilter`]. [`Filter`]'s own page has
//! the grammar, its meaning and its cost.

mod builder;
mod compiled;
mod error;
mod expression;
mod field;
mod frame;
mod gate;
mod grammar;
mod held;
mod limits;
mod lookup;
mod members;
mod metadata;
mod path;
mod prefilter;
mod reading;
pub mod selection;
mod sources;
mod subject;
#[cfg(test)]
mod tests;

use std::ops::{Bound, RangeBounds};

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use tapeline_capability::{CapabilitySet, RequiredCapability};
use tapeline_storage::format::{Kind, SessionId};

pub use builder::FilterBuilder;
pub use compiled::CompiledFilter;
pub use error::FilterError;
use field::{Field, Relation, Test};
pub use frame::is_filterable;
pub use path::json_path_get;
pub(crate) use selection::Selection;
use sources::Question;
use subject::Document;

/// The choice of events that a reader wants. Immutable.
///
/// The constructors check nothing; [`Filter::compile`] refuses what is beyond the limits.
///
/// ```
/// # extern crate tapeline_reader as tapeline;
/// use tapeline::Filter;
///
/// let filter = Filter::from_json(r#"{"$and":[{"$session":"run-7"},{"path":"tool.name","value":"search"}]}"#)?;
/// assert_eq!(filter, Filter::and([Filter::session("run-7"), Filter::eq("tool.name", "search")]));
/// # Ok::<(), tapeline::FilterError>(())
/// ```
///
/// # Grammar
#[doc = include_str!("grammar.md")]
///
/// # Cost
/// | what decides | expected |
/// |---|---|
/// | one session, up to 16 kinds, or both, alone or in a conjunction that has more terms | 1-2 ns, inline |
/// | other metadata | 5-20 ns |
/// | the opening of its session | 50 ns, and a lock that only openings hold up |
/// | bytes that a match must have, and the payload has not | 15-30 ns for 100-200 bytes |
/// | the payload, read once for all terms, nothing built or copied | 1-2 ns a byte |
///
/// Strings with escapes are copied to be compared; an array or object is built where its inside is looked at. A list of
/// `$in` is tried one by one, longer lists of sessions and kinds by halving.
/// Not here: reading events, and which blocks a filter lets a reader skip.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Field(Field),
    Session { names: Vec<String>, ids: Vec<SessionId> },
    Kind(Vec<Kind>),
    Source(Question),
    Time(Interval),
    Size(Interval),
}

/// Serialises as its grammar, in any format.
impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        grammar::write(self).serialize(serializer)
    }
}

/// Reads what [`Filter::from_json`] reads, with its errors.
impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value.to_string()).map_err(D::Error::custom)
    }
}

/// Lower and upper bound.
type Interval = (Bound<u64>, Bound<u64>);

impl Filter {
    /// The grammar of a filter's JSON, as Markdown: the table above, examples, and what is read of a payload.
    pub const GRAMMAR: &str = include_str!("grammar.md");

    /// All of them; none at all match nothing.
    pub fn and(filters: impl IntoIterator<Item = Filter>) -> Self {
        Self(Node::And(filters.into_iter().collect()))
    }

    /// At least one of them.
    pub fn or(filters: impl IntoIterator<Item = Filter>) -> Self {
        Self(Node::Or(filters.into_iter().collect()))
    }

    /// Matches the events that the filter does not match.
    #[allow(clippy::should_implement_trait, reason = "one of the constructors, named as in the grammar")]
    pub fn not(filter: Filter) -> Self {
        Self(Node::Not(Box::new(filter)))
    }

    /// The value at the path is there and equal.
    pub fn eq(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::field(path, Test::Equal(value.into()))
    }

    /// The value at the path is not there, or not equal.
    pub fn ne(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::field(path, Test::NotEqual(value.into()))
    }

    /// A larger number, or a string that sorts after this one.
    pub fn gt(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::field(path, Test::Order(Relation::Gt, value.into()))
    }

    /// A number as large or larger, or this string or one that sorts after it.
    pub fn gte(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::field(path, Test::Order(Relation::Gte, value.into()))
    }

    /// A smaller number, or a string before this one.
    pub fn lt(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::field(path, Test::Order(Relation::Lt, value.into()))
    }

    /// A number as small or smaller, or this string or one before it.
    pub fn lte(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::field(path, Test::Order(Relation::Lte, value.into()))
    }

    /// Equal to one of the values.
    pub fn is_in<V: Into<Value>>(path: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::field(path, Test::In(values.into_iter().map(Into::into).collect()))
    }

    /// Something is at the path, null included.
    pub fn exists(path: impl Into<String>) -> Self {
        Self::field(path, Test::Exists(true))
    }

    /// Nothing is at the path.
    pub fn absent(path: impl Into<String>) -> Self {
        Self::field(path, Test::Exists(false))
    }

    /// A string that begins with this one.
    pub fn prefix(path: impl Into<String>, value: impl Into<String>) -> Self {
        Self::field(path, Test::Prefix(value.into()))
    }

    /// A string that has this string in it, or an array that has this value.
    pub fn contains(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::field(path, Test::Contains(value.into()))
    }

    /// Events of the session of this name. Hashed when the filter is compiled.
    pub fn session(name: impl Into<String>) -> Self {
        Self(Node::Session { names: vec![name.into()], ids: Vec::new() })
    }

    /// Events of these sessions.
    pub fn sessions(ids: impl IntoIterator<Item = SessionId>) -> Self {
        Self(Node::Session { names: Vec::new(), ids: ids.into_iter().collect() })
    }

    /// Events of this kind.
    pub fn kind(kind: Kind) -> Self {
        Self::kinds([kind])
    }

    /// Events of these kinds.
    pub fn kinds(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self(Node::Kind(kinds.into_iter().collect()))
    }

    /// Events of the sessions whose source meets a requirement, as the last opening before the event states its
    /// capabilities ([`SessionMetadata::capabilities`](crate::SessionMetadata::capabilities)). A session that was never
    /// opened has none.
    ///
    /// A reader of a log looks up the openings before its start: the cost is that of
    /// [`LogFiles::openings_before`](crate::LogFiles::openings_before), for each page of a `poll`. It keeps the opening
    /// of each session. A filter that is compiled by itself knows the openings that it was asked about, and those of
    /// [`CompiledFilter::know_opening`].
    ///
    /// ```
    /// use tapeline_reader::Filter;
    ///
    /// let filter = Filter::source("prefix \"software.model\", \"llama-\"".parse::<tapeline_capability::Predicate>()?);
    /// assert_eq!(Filter::from_json(&filter.to_json())?, filter);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn source(wanted: impl Into<RequiredCapability>) -> Self {
        Self(Node::Source(Question::Meets(wanted.into())))
    }

    /// Events that a consumer with these capabilities can process: of the sessions that require nothing
    /// ([`SessionMetadata::requires`](crate::SessionMetadata::requires)), and of those whose requirement it meets, as
    /// the last opening before the event states it. Costs as [`Filter::source`].
    ///
    /// ```
    /// use tapeline_capability::CapabilitySet;
    /// use tapeline_reader::Filter;
    ///
    /// let filter = Filter::suits(CapabilitySet::parse(["software.model=llama-7b"])?);
    /// assert_eq!(filter.to_json(), r#"{"$suits":["software.model=llama-7b"]}"#);
    /// assert_eq!(Filter::from_json(&filter.to_json())?, filter);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn suits(capabilities: CapabilitySet) -> Self {
        Self(Node::Source(Question::Suits(capabilities)))
    }

    /// Events ingested in this range of nanoseconds since the Unix epoch.
    pub fn time(range: impl RangeBounds<u64>) -> Self {
        Self(Node::Time((range.start_bound().cloned(), range.end_bound().cloned())))
    }

    /// Events whose payload length in bytes is in this range.
    pub fn size(range: impl RangeBounds<u64>) -> Self {
        Self(Node::Size((range.start_bound().cloned(), range.end_bound().cloned())))
    }

    /// Reads the grammar above. Never recurses deeper than the limits, whatever the text.
    ///
    /// # Errors
    /// [`FilterError`], which names the term: text over 64 KiB or not JSON, a term that is unknown or malformed, more
    /// than 64 levels or 1,024 filters, a path of more than 127 segments, a value of more than 32 levels.
    pub fn from_json(json: &str) -> Result<Self, FilterError> {
        grammar::read(json)
    }

    /// The filter as JSON, which [`Filter::from_json`] reads to an equal filter, provided that it is within the limits.
    pub fn to_json(&self) -> String {
        grammar::write(self).to_string()
    }

    /// Prepares the filter for many events: splits paths, hashes names, orders terms by cost, finds bytes to look for.
    ///
    /// # Errors
    /// [`FilterError`] where the filter is beyond the limits of [`Filter::from_json`], those on text and values apart.
    pub fn compile(&self) -> Result<CompiledFilter, FilterError> {
        CompiledFilter::new(self)
    }

    /// Returns whether a JSON value matches that is no event: it is in no session, of no kind, of time 0, and as large
    /// as its shortest text. A filter beyond the limits matches nothing. Compiles the filter: for many values or events
    /// use [`Filter::compile`].
    pub fn matches(&self, value: &Value) -> bool {
        self.compile().is_ok_and(|filter| filter.holds(&Document(value.to_string())))
    }

    fn field(path: impl Into<String>, test: Test) -> Self {
        Self(Node::Field(Field { path: path.into(), test }))
    }
}
