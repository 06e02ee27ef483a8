//! Bytes that a matching payload must have: a look that rejects most payloads before they are parsed.
//!
//! Sound only for a payload without a backslash. Its strings lie in it byte for byte, so one that is equal to `abc` is
//! `"abc"`, one that begins with it has `"abc`, and a path through the key `abc` needs `"abc"`. With a backslash
//! anything may be written in another way, and the look is not taken. A payload that is not JSON is rejected either
//! way. Nothing is demanded for a term under `$not`; what is said of the tree is what must hold of a match.

use memchr::memchr;
use memchr::memmem::Finder;
use serde_json::Value;

use super::field::{Field, Test};
use super::metadata::Metadata;
use super::path;
use super::subject::Subject;

/// Needles searched in one payload, at most: each costs about 10 ns, and parsing 100-400 ns.
const NEEDLES_MAX: usize = 8;

/// A condition that every match meets.
#[derive(Debug, Clone)]
pub(super) struct Prefilter {
    demand: Demand,
}

/// The demand that a match must meet.
#[derive(Debug, Clone)]
pub(super) enum Demand {
    Metadata(Metadata, bool),
    Needle(Box<Finder<'static>>),
    All(Vec<Demand>),
    Any(Vec<Demand>),
}

impl Prefilter {
    /// `None` where no bytes are demanded, or too many to be worth the search.
    pub(super) fn new(demand: Option<Demand>) -> Option<Self> {
        let demand = demand?;
        (1..=NEEDLES_MAX).contains(&demand.needles()).then_some(Self { demand })
    }

    /// False only where the event cannot match.
    #[inline]
    pub(super) fn may_match(&self, event: &impl Subject) -> bool {
        memchr(b'\\', event.payload()).is_some() || self.demand.is_met(event)
    }
}

impl Demand {
    /// The demand of the term, `None` if it has none.
    pub(super) fn of_field(field: &Field) -> Option<Self> {
        match &field.test {
            Test::Equal(Value::String(text)) | Test::NotEqual(Value::String(text)) => {
                Some(Self::needle(format!("\"{text}\"")))
            }
            Test::Prefix(text) if !text.is_empty() => Some(Self::needle(format!("\"{text}"))),
            Test::Contains(Value::String(text)) if !text.is_empty() => Some(Self::needle(text.clone())),
            Test::In(values) if !values.is_empty() && values.iter().all(Value::is_string) => {
                let texts = values.iter().filter_map(Value::as_str);
                Some(Self::Any(texts.map(|text| Self::needle(format!("\"{text}\""))).collect()))
            }
            _ => Self::of_path(&field.path),
        }
    }

    /// Every segment that is no index of an array is a key; the longest is the rarest.
    fn of_path(path: &str) -> Option<Self> {
        let keys = path::segments(path).filter(|segment| path::index_of(segment).is_none());
        keys.max_by_key(|key| key.len()).map(|key| Self::needle(format!("\"{key}\"")))
    }

    fn needle(text: String) -> Self {
        Self::Needle(Box::new(Finder::new(text.as_bytes()).into_owned()))
    }

    fn needles(&self) -> usize {
        match self {
            Self::Metadata(..) => 0,
            Self::Needle(_) => 1,
            Self::All(demands) | Self::Any(demands) => demands.iter().map(Self::needles).sum(),
        }
    }

    fn is_met(&self, event: &impl Subject) -> bool {
        match self {
            Self::Metadata(term, wanted) => term.holds(event) == *wanted,
            Self::Needle(finder) => finder.find(event.payload()).is_some(),
            Self::All(demands) => demands.iter().all(|demand| demand.is_met(event)),
            Self::Any(demands) => demands.iter().any(|demand| demand.is_met(event)),
        }
    }
}
