//! Predicates over capabilities.

mod operand;
mod plan;
mod text;
mod trace;
mod walk;
mod wire;

use crate::facts::{Capabilities, Facts, Value};
use crate::tag_key::TagKey;
use crate::version::Version;

pub use operand::OperandError;
pub use plan::CompiledPredicate;
pub use text::PredicateTextError;
pub use trace::{ClauseStats, ClauseTrace, PredicateDebugReport};
pub use wire::{NodeWire, PredicateWire, PredicateWireError};

/// The most clauses of a predicate that is read from a document, `and`, `or` and `not` counted.
pub const NODES_MAX: usize = 1024;

/// The most clauses that may stand inside one another in a document.
pub const DEPTH_MAX: usize = 64;

/// The longest document that a predicate is read from, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 4096;

/// A condition on tags and metadata.
///
/// A clause on values of a key holds if *one* value of that very key satisfies it; a tag without a value satisfies
/// none. A value that does not parse as what the clause compares (a number, a version) does not satisfy it either.
///
/// A program may put as many clauses as it likes into one another: no method takes stack for them. What is written as
/// text or as a document is bounded by [`DEPTH_MAX`], [`NODES_MAX`] and [`DOCUMENT_BYTES_MAX`], compares with finite
/// numbers, and names the metadata entries that it asks for: else it is no text or document that can be read.
///
/// ```
/// use tapeline_capability::{CapabilitySet, Predicate, TagKey};
///
/// let gpu = TagKey::parse("hardware.gpu.vram_gb")?;
/// let wanted = Predicate::and([
///     Predicate::numeric_at_least(gpu, 48.0),
///     Predicate::not(Predicate::metadata_equals("state", "draining")),
/// ]);
/// let worker = CapabilitySet::parse(["hardware.gpu.vram_gb=80"])?;
/// assert!(wanted.evaluate(&worker));
/// assert!(!wanted.evaluate(&worker.with_metadata("state", "draining")));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[expect(missing_docs, reason = "the fields of a clause are its key and what its constructor says")]
pub enum Predicate {
    /// A tag of this key is there, with or without a value.
    Exists { key: TagKey },
    /// A value of the key is this text.
    Equals { key: TagKey, value: String },
    /// A value is a number of at least this.
    NumericAtLeast { key: TagKey, threshold: f64 },
    /// A value is a number of at most this.
    NumericAtMost { key: TagKey, threshold: f64 },
    /// A value is a number between these, both included.
    NumericInRange { key: TagKey, min: f64, max: f64 },
    /// A value is this version or a later one.
    SemverAtLeast { key: TagKey, version: String },
    /// A value is this version or an earlier one.
    SemverAtMost { key: TagKey, version: String },
    /// A value is a version that may stand in for this one: not earlier, and of the same major number; below 1.0 of the
    /// same minor number, below 0.1 the same version.
    SemverCompatible { key: TagKey, version: String },
    /// A value begins with this text.
    StringPrefix { key: TagKey, prefix: String },
    /// A value contains this text.
    StringMatches { key: TagKey, pattern: String },
    /// There is a metadata entry of this name.
    MetadataExists { key: String },
    /// The metadata entry is this text.
    MetadataEquals { key: String, value: String },
    /// The metadata entry contains this text.
    MetadataMatches { key: String, pattern: String },
    /// The metadata entry is a number of at least this.
    MetadataNumericAtLeast { key: String, threshold: f64 },
    /// All hold; true of none.
    And(Vec<Predicate>),
    /// One holds at least; false of none.
    Or(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
}

impl Predicate {
    /// [`Predicate::Exists`].
    pub fn exists(key: TagKey) -> Self {
        Self::Exists { key }
    }

    /// [`Predicate::Equals`].
    pub fn equals(key: TagKey, value: impl Into<String>) -> Self {
        Self::Equals { key, value: value.into() }
    }

    /// [`Predicate::NumericAtLeast`]. NaN holds of nothing.
    pub fn numeric_at_least(key: TagKey, threshold: f64) -> Self {
        Self::NumericAtLeast { key, threshold }
    }

    /// [`Predicate::NumericAtMost`]. NaN holds of nothing.
    pub fn numeric_at_most(key: TagKey, threshold: f64) -> Self {
        Self::NumericAtMost { key, threshold }
    }

    /// [`Predicate::NumericInRange`].
    pub fn numeric_in_range(key: TagKey, min: f64, max: f64) -> Self {
        Self::NumericInRange { key, min, max }
    }

    /// [`Predicate::SemverAtLeast`]. A text that is no version holds of nothing.
    pub fn semver_at_least(key: TagKey, version: impl Into<String>) -> Self {
        Self::SemverAtLeast { key, version: version.into() }
    }

    /// [`Predicate::SemverAtMost`].
    pub fn semver_at_most(key: TagKey, version: impl Into<String>) -> Self {
        Self::SemverAtMost { key, version: version.into() }
    }

    /// [`Predicate::SemverCompatible`].
    pub fn semver_compatible(key: TagKey, version: impl Into<String>) -> Self {
        Self::SemverCompatible { key, version: version.into() }
    }

    /// [`Predicate::StringPrefix`].
    pub fn string_prefix(key: TagKey, prefix: impl Into<String>) -> Self {
        Self::StringPrefix { key, prefix: prefix.into() }
    }

    /// [`Predicate::StringMatches`].
    pub fn string_matches(key: TagKey, pattern: impl Into<String>) -> Self {
        Self::StringMatches { key, pattern: pattern.into() }
    }

    /// [`Predicate::MetadataExists`].
    pub fn metadata_exists(key: impl Into<String>) -> Self {
        Self::MetadataExists { key: key.into() }
    }

    /// [`Predicate::MetadataEquals`].
    pub fn metadata_equals(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::MetadataEquals { key: key.into(), value: value.into() }
    }

    /// [`Predicate::MetadataMatches`].
    pub fn metadata_matches(key: impl Into<String>, pattern: impl Into<String>) -> Self {
        Self::MetadataMatches { key: key.into(), pattern: pattern.into() }
    }

    /// [`Predicate::MetadataNumericAtLeast`].
    pub fn metadata_numeric_at_least(key: impl Into<String>, threshold: f64) -> Self {
        Self::MetadataNumericAtLeast { key: key.into(), threshold }
    }

    /// [`Predicate::And`].
    pub fn and(clauses: impl IntoIterator<Item = Self>) -> Self {
        Self::And(clauses.into_iter().collect())
    }

    /// [`Predicate::Or`].
    pub fn or(clauses: impl IntoIterator<Item = Self>) -> Self {
        Self::Or(clauses.into_iter().collect())
    }

    /// [`Predicate::Not`].
    #[expect(clippy::should_implement_trait, reason = "a constructor like the others")]
    pub fn not(clause: Self) -> Self {
        Self::Not(Box::new(clause))
    }

    /// Returns whether a text is a version: one to three numbers, perhaps with a pre-release or a build after them.
    pub fn is_version(text: &str) -> bool {
        Version::parse(text).is_some()
    }

    /// Returns whether the predicate holds, and looks at cheap clauses first. The result is that of
    /// [`Predicate::evaluate_unplanned`]. Plans anew each time: [`Predicate::compile`] does so once for many sets.
    pub fn evaluate(&self, of: &impl Capabilities) -> bool {
        self.compile().evaluate(of)
    }

    /// Returns whether the predicate holds, clause by clause in the order in which they were written.
    pub fn evaluate_unplanned(&self, of: &impl Capabilities) -> bool {
        self.holds(DEPTH_MAX, of)
    }

    /// Some 10 ns a clause over a [`CapabilitySet`](crate::CapabilitySet). Recurses `room` clauses deep.
    fn holds(&self, room: usize, of: &impl Facts) -> bool {
        let Some(room) = room.checked_sub(1) else { return self.holds_in_all(of) };
        match self {
            Self::And(clauses) => clauses.iter().all(|clause| clause.holds(room, of)),
            Self::Or(clauses) => clauses.iter().any(|clause| clause.holds(room, of)),
            Self::Not(clause) => !clause.holds(room, of),
            leaf => leaf.leaf_holds(of),
        }
    }

    /// The same without recursion, by the results of all clauses in it.
    fn holds_in_all(&self, of: &impl Facts) -> bool {
        self.fold(|clause, results: Vec<bool>| match clause {
            Self::And(_) => !results.contains(&false),
            Self::Or(_) => results.contains(&true),
            Self::Not(_) => !results.contains(&true),
            leaf => leaf.leaf_holds(of),
        })
    }

    #[inline]
    fn leaf_holds(&self, of: &impl Facts) -> bool {
        match self {
            Self::Exists { key } => of.has_key(key),
            Self::MetadataExists { .. }
            | Self::MetadataEquals { .. }
            | Self::MetadataMatches { .. }
            | Self::MetadataNumericAtLeast { .. } => {
                self.metadata_key().and_then(|key| of.metadata(key)).is_some_and(|text| self.accepts(Value::Text(text)))
            }
            _ => self.tag_key().is_some_and(|key| of.any_value(key, |value| self.accepts(value))),
        }
    }

    /// The key of a clause on tags.
    pub(crate) fn tag_key(&self) -> Option<&TagKey> {
        match self {
            Self::Exists { key }
            | Self::Equals { key, .. }
            | Self::NumericAtLeast { key, .. }
            | Self::NumericAtMost { key, .. }
            | Self::NumericInRange { key, .. }
            | Self::SemverAtLeast { key, .. }
            | Self::SemverAtMost { key, .. }
            | Self::SemverCompatible { key, .. }
            | Self::StringPrefix { key, .. }
            | Self::StringMatches { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The name of the entry of a clause on metadata.
    pub(crate) fn metadata_key(&self) -> Option<&str> {
        match self {
            Self::MetadataExists { key }
            | Self::MetadataEquals { key, .. }
            | Self::MetadataMatches { key, .. }
            | Self::MetadataNumericAtLeast { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Returns whether one value satisfies a clause on values. `false` of the clauses that have clauses.
    pub(crate) fn accepts(&self, value: Value<'_>) -> bool {
        match self {
            Self::Exists { .. } | Self::MetadataExists { .. } => true,
            Self::Equals { value: wanted, .. } | Self::MetadataEquals { value: wanted, .. } => value.text() == wanted,
            Self::NumericAtLeast { threshold, .. } | Self::MetadataNumericAtLeast { threshold, .. } => {
                value.number().is_some_and(|number| number >= *threshold)
            }
            Self::NumericAtMost { threshold, .. } => value.number().is_some_and(|number| number <= *threshold),
            Self::NumericInRange { min, max, .. } => {
                value.number().is_some_and(|number| *min <= number && number <= *max)
            }
            Self::SemverAtLeast { version, .. } => compare(value, version, |have, wanted| have >= wanted),
            Self::SemverAtMost { version, .. } => compare(value, version, |have, wanted| have <= wanted),
            Self::SemverCompatible { version, .. } => compare(value, version, Version::is_compatible_with),
            Self::StringPrefix { prefix, .. } => value.text().starts_with(prefix.as_str()),
            Self::StringMatches { pattern, .. } | Self::MetadataMatches { pattern, .. } => {
                value.text().contains(pattern.as_str())
            }
            Self::And(_) | Self::Or(_) | Self::Not(_) => false,
        }
    }
}

fn compare(value: Value<'_>, wanted: &str, holds: impl Fn(Version, Version) -> bool) -> bool {
    match (value.version(), Version::parse(wanted)) {
        (Some(have), Some(wanted)) => holds(have, wanted),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
