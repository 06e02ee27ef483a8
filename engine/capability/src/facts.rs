//! The facts that predicates are evaluated over.

use std::collections::BTreeMap;

use crate::tag::Tag;
use crate::tag_key::TagKey;
use crate::version::Version;

/// A source of facts: a [`CapabilitySet`](crate::CapabilitySet), or borrowed tags and metadata
/// ([`EvalContext`]). Implemented here alone.
///
/// ```
/// use tapeline_capability::{Capabilities, CapabilitySet, Predicate, TagKey};
///
/// fn sees(worker: &impl Capabilities) -> bool {
///     TagKey::parse("devices.camera").is_ok_and(|camera| Predicate::exists(camera).evaluate(worker))
/// }
/// assert!(sees(&CapabilitySet::parse(["devices.camera"])?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[expect(private_bounds, reason = "no other crate implements it")]
pub trait Capabilities: Facts {}

impl<F: Facts> Capabilities for F {}

/// The questions that predicates and requirements ask.
pub(crate) trait Facts {
    /// Returns whether there is a tag of this key, with or without a value.
    fn has_key(&self, key: &TagKey) -> bool;

    /// Returns whether a value of this key passes the test.
    fn any_value(&self, key: &TagKey, test: impl Fn(Value<'_>) -> bool) -> bool;

    /// Returns whether a tag passes the test.
    fn has_tag(&self, test: impl Fn(&Tag) -> bool) -> bool;

    /// The metadata entry of this name.
    fn metadata(&self, name: &str) -> Option<&str>;
}

/// The number and the version that a text is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    number: Option<f64>,
    version: Option<Version>,
}

impl Reading {
    pub(crate) fn of(text: &str) -> Self {
        Self { number: number(text), version: Version::parse(text) }
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A value of a tag.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'v> {
    Text(&'v str),
    /// One that was read before.
    Read(&'v str, &'v Reading),
}

impl<'v> Value<'v> {
    #[inline]
    pub(crate) fn text(self) -> &'v str {
        match self {
            Self::Text(text) | Self::Read(text, _) => text,
        }
    }

    #[inline]
    pub(crate) fn number(self) -> Option<f64> {
        match self {
            Self::Text(text) => number(text),
            Self::Read(_, reading) => reading.number,
        }
    }

    #[inline]
    pub(crate) fn version(self) -> Option<Version> {
        match self {
            Self::Text(text) => Version::parse(text),
            Self::Read(_, reading) => reading.version,
        }
    }
}

/// Borrowed tags and metadata. A look at a key visits each tag; [`CapabilitySet`](crate::CapabilitySet) is faster where
/// one set is asked often.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use tapeline_capability::{EvalContext, Predicate, Tag, TagKey};
///
/// let (tags, metadata) = ([Tag::parse("hardware.gpu.vram_gb=80")?], BTreeMap::new());
/// let large = Predicate::numeric_at_least(TagKey::parse("hardware.gpu.vram_gb")?, 48.0);
/// assert!(large.evaluate(&EvalContext { tags: &tags, metadata: &metadata }));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EvalContext<'c> {
    /// The tags.
    pub tags: &'c [Tag],
    /// The metadata.
    pub metadata: &'c BTreeMap<String, String>,
}

impl Facts for EvalContext<'_> {
    fn has_key(&self, key: &TagKey) -> bool {
        self.tags.iter().any(|tag| tag.key() == Some(key))
    }

    fn any_value(&self, key: &TagKey, test: impl Fn(Value<'_>) -> bool) -> bool {
        let values = self.tags.iter().filter(|tag| tag.key() == Some(key)).filter_map(Tag::value);
        values.map(Value::Text).any(test)
    }

    fn has_tag(&self, test: impl Fn(&Tag) -> bool) -> bool {
        self.tags.iter().any(test)
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }
}
