//! The facts that predicates are evaluated over.

use std::collections::BTreeMap;

use crate::tag::{Tag, TagKey};
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
    fn metadata(&self, name: &str) -> Option<Value<'_>>;
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

/// A value of a tag or a metadata entry.
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

    /// Returns whether it is this text.
    #[inline]
    pub(crate) fn is(self, text: &str) -> bool {
        is_same(self.text(), text)
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

/// A value as that of each key and of each entry.
impl Facts for Value<'_> {
    fn has_key(&self, _: &TagKey) -> bool {
        true
    }

    #[inline]
    fn any_value(&self, _: &TagKey, test: impl Fn(Value<'_>) -> bool) -> bool {
        test(*self)
    }

    fn has_tag(&self, _: impl Fn(&Tag) -> bool) -> bool {
        false
    }

    fn metadata(&self, _: &str) -> Option<Value<'_>> {
        Some(*self)
    }
}

/// Returns whether two texts are equal; costs no call where they are short.
#[inline]
pub(crate) fn is_same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    match left.len() {
        length if length != right.len() => false,
        4..8 => has_same_ends::<4>(left, right),
        8..=16 => has_same_ends::<8>(left, right),
        _ => left == right,
    }
}

/// Returns whether the first and the last `N` bytes are the same: all of them, of up to twice as many.
#[inline]
fn has_same_ends<const N: usize>(left: &[u8], right: &[u8]) -> bool {
    left.first_chunk::<N>() == right.first_chunk() && left.last_chunk::<N>() == right.last_chunk()
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

    fn metadata(&self, name: &str) -> Option<Value<'_>> {
        self.metadata.get(name).map(|text| Value::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_byte_for_byte() {
        for length in 1..40 {
            let text = "x".repeat(length);
            assert!(is_same(&text, &text) && !is_same(&text, &text[1..]));
            for at in 0..length {
                let mut other = text.clone();
                other.replace_range(at..=at, "y");
                assert!(!is_same(&text, &other), "byte {at} of {length}");
            }
        }
    }
}
