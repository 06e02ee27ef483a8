//! Tags: what a model, a device or a process can do, as one line of text.
//!
//! | text | tag |
//! |---|---|
//! | `software.model` | [`Tag::AxisPresent`]: the axis and a key |
//! | `software.model:llama-7b`, `software.model=llama-7b` | [`Tag::AxisValue`]: a key with a value |
//! | `scope:tenant-4` | [`Tag::Reserved`]: one of [`RESERVED_PREFIXES`], and a body |
//! | anything else, as `gpu` | [`Tag::Legacy`]: text without structure |
//!
//! A key may have dots (`gpu.vram_gb`), a value may have `=` and `:`. Parsing trims nothing, and a tag is written as
//! the text that it was parsed from, byte for byte.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::axis::{TaxonomyAxis, UnknownAxis};

/// The beginnings of tags that have a meaning of their own, which users do not give.
pub const RESERVED_PREFIXES: [&str; 5] = ["causal:", "dataforts:", "fork-of:", "heat:", "scope:"];

/// A capability, as its text says it.
///
/// ```
/// use tapeline_capability::{Tag, TagKey};
///
/// let tag: Tag = "software.model:llama-7b".parse()?;
/// assert_eq!(tag.key(), Some(&TagKey::parse("software.model")?));
/// assert_eq!(tag.value(), Some("llama-7b"));
/// assert_eq!(tag.to_string(), "software.model:llama-7b");
/// assert!(tag.semantic_eq(&"software.model=llama-7b".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tag {
    /// A key that is there, without a value.
    AxisPresent {
        /// The axis and the key.
        key: TagKey,
    },
    /// A key with a value.
    AxisValue {
        /// The axis and the key.
        key: TagKey,
        /// The value; may be empty.
        value: String,
        /// The character between the two.
        separator: TagSeparator,
    },
    /// A tag with a meaning of its own.
    Reserved {
        /// One of [`RESERVED_PREFIXES`].
        prefix: &'static str,
        /// The text after it.
        body: String,
    },
    /// Any other text.
    Legacy(String),
}

/// The character between a key and its value.
///
/// ```
/// use tapeline_capability::{Tag, TagSeparator};
///
/// let tag = Tag::parse("software.model:llama-7b")?;
/// assert!(matches!(tag, Tag::AxisValue { separator: TagSeparator::Colon, .. }));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagSeparator {
    /// `=`
    Eq,
    /// `:`
    Colon,
}

/// A text that is no tag.
///
/// ```
/// use tapeline_capability::{CapabilityTagError, Tag};
///
/// assert_eq!(Tag::parse(""), Err(CapabilityTagError::Empty));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapabilityTagError {
    /// There is no text.
    #[error("an empty text is no tag")]
    Empty,
    /// A user gave a tag that only the system gives.
    #[error("tag {tag:?} begins with {prefix:?}, which is reserved")]
    ReservedPrefix {
        /// The prefix.
        prefix: &'static str,
        /// The tag.
        tag: String,
    },
}

impl Tag {
    /// Parses a tag of any kind.
    ///
    /// # Errors
    /// [`CapabilityTagError::Empty`].
    pub fn parse(text: &str) -> Result<Self, CapabilityTagError> {
        if text.is_empty() {
            return Err(CapabilityTagError::Empty);
        }
        if let Some(prefix) = reserved_prefix(text) {
            return Ok(Self::Reserved { prefix, body: text[prefix.len()..].to_owned() });
        }
        let on_axis = text.split_once('.').and_then(|(axis, rest)| Some((TaxonomyAxis::from_name(axis)?, rest)));
        let Some((axis, rest)) = on_axis else { return Ok(Self::Legacy(text.to_owned())) };
        Ok(match rest.find(['=', ':']) {
            None => Self::AxisPresent { key: TagKey::new(axis, rest) },
            Some(at) => Self::AxisValue {
                key: TagKey::new(axis, &rest[..at]),
                value: rest[at + 1..].to_owned(),
                separator: if rest.as_bytes()[at] == b'=' { TagSeparator::Eq } else { TagSeparator::Colon },
            },
        })
    }

    /// Parses a tag that a user gave.
    ///
    /// # Errors
    /// [`CapabilityTagError`]: there is no text, or a reserved prefix.
    pub fn parse_user(text: &str) -> Result<Self, CapabilityTagError> {
        match reserved_prefix(text) {
            Some(prefix) => Err(CapabilityTagError::ReservedPrefix { prefix, tag: text.to_owned() }),
            None => Self::parse(text),
        }
    }

    /// The axis and the key, of a tag that lies on an axis.
    pub fn key(&self) -> Option<&TagKey> {
        match self {
            Self::AxisPresent { key } | Self::AxisValue { key, .. } => Some(key),
            Self::Reserved { .. } | Self::Legacy(_) => None,
        }
    }

    /// The axis that the tag lies on.
    pub fn axis(&self) -> Option<TaxonomyAxis> {
        self.key().map(TagKey::axis)
    }

    /// The value, of a tag that has one.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::AxisValue { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Returns whether two tags mean the same: as `==`, but for the separator.
    pub fn semantic_eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AxisValue { key, value, .. }, Self::AxisValue { key: other_key, value: other_value, .. }) => {
                key == other_key && value == other_value
            }
            _ => self == other,
        }
    }
}

fn reserved_prefix(text: &str) -> Option<&'static str> {
    RESERVED_PREFIXES.into_iter().find(|prefix| text.starts_with(prefix))
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AxisPresent { key } => key.fmt(f),
            Self::AxisValue { key, value, separator: TagSeparator::Eq } => write!(f, "{key}={value}"),
            Self::AxisValue { key, value, separator: TagSeparator::Colon } => write!(f, "{key}:{value}"),
            Self::Reserved { prefix, body } => write!(f, "{prefix}{body}"),
            Self::Legacy(text) => f.write_str(text),
        }
    }
}

impl FromStr for Tag {
    type Err = CapabilityTagError;

    fn from_str(text: &str) -> Result<Self, CapabilityTagError> {
        Self::parse(text)
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// An axis and a key on it: the part of a tag that predicates ask for. Written `software.model`.
///
/// ```
/// use tapeline_capability::{TagKey, TaxonomyAxis};
///
/// let key = TagKey::parse("software.model")?;
/// assert_eq!((key.axis(), key.name()), (TaxonomyAxis::Software, "model"));
/// assert!(TagKey::parse("model").is_err(), "it has no axis");
/// # Ok::<_, tapeline_capability::TagKeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagKey {
    /// Of both other fields; first, so that a comparison mostly ends with it.
    hash: u64,
    axis: TaxonomyAxis,
    key: String,
}

/// A text that is no key of a tag.
///
/// ```
/// use tapeline_capability::{TagKey, TagKeyError};
///
/// assert_eq!(TagKey::parse("model"), Err(TagKeyError::NoAxis { key: "model".into() }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagKeyError {
    /// There is no dot after an axis.
    #[error("{key:?} is no key of a tag; a key is written AXIS.NAME, as software.model")]
    NoAxis {
        /// The text.
        key: String,
    },
    /// The text before the first dot is no axis.
    #[error(transparent)]
    UnknownAxis(#[from] UnknownAxis),
    /// There is nothing after the axis.
    #[error("a key is missing after \"{axis}.\"; a key is written AXIS.NAME, as software.model")]
    Empty {
        /// The axis.
        axis: TaxonomyAxis,
    },
}

impl TagKey {
    /// A key on an axis.
    pub fn new(axis: TaxonomyAxis, key: &str) -> Self {
        Self { hash: xxh3_64_with_seed(key.as_bytes(), axis as u64), axis, key: key.to_owned() }
    }

    /// Parses `AXIS.NAME`. Trims nothing.
    ///
    /// # Errors
    /// [`TagKeyError`].
    pub fn parse(text: &str) -> Result<Self, TagKeyError> {
        let (axis, key) = text.split_once('.').ok_or_else(|| TagKeyError::NoAxis { key: text.to_owned() })?;
        let axis: TaxonomyAxis = axis.parse()?;
        if key.is_empty() { Err(TagKeyError::Empty { axis }) } else { Ok(Self::new(axis, key)) }
    }

    /// The axis.
    pub fn axis(&self) -> TaxonomyAxis {
        self.axis
    }

    /// The key's name on its axis.
    pub fn name(&self) -> &str {
        &self.key
    }

    /// A number that equal keys share.
    pub(crate) fn hash_number(&self) -> u64 {
        self.hash
    }
}

impl std::hash::Hash for TagKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Display for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.axis, self.key)
    }
}

impl FromStr for TagKey {
    type Err = TagKeyError;

    fn from_str(text: &str) -> Result<Self, TagKeyError> {
        Self::parse(text)
    }
}

/// A key as documents have it.
#[derive(Serialize, Deserialize)]
struct KeyDocument<'a> {
    axis: TaxonomyAxis,
    key: std::borrow::Cow<'a, str>,
}

impl Serialize for TagKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        KeyDocument { axis: self.axis, key: self.key.as_str().into() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TagKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let KeyDocument { axis, key } = KeyDocument::deserialize(deserializer)?;
        Ok(Self::new(axis, &key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> TagKey {
        TagKey::parse(text).expect("a key")
    }

    #[test]
    fn grammar() {
        let cases = [
            ("software.model", Tag::AxisPresent { key: key("software.model") }),
            (
                "software.model:llama-7b",
                Tag::AxisValue { key: key("software.model"), value: "llama-7b".into(), separator: TagSeparator::Colon },
            ),
            (
                "hardware.gpu.vram_gb=80",
                Tag::AxisValue { key: key("hardware.gpu.vram_gb"), value: "80".into(), separator: TagSeparator::Eq },
            ),
            (
                "software.model=a:b=c",
                Tag::AxisValue { key: key("software.model"), value: "a:b=c".into(), separator: TagSeparator::Eq },
            ),
            (
                "devices.camera:",
                Tag::AxisValue { key: key("devices.camera"), value: String::new(), separator: TagSeparator::Colon },
            ),
            ("software.", Tag::AxisPresent { key: TagKey::new(TaxonomyAxis::Software, "") }),
            ("scope:tenant-4", Tag::Reserved { prefix: "scope:", body: "tenant-4".into() }),
            ("dataforts:x", Tag::Reserved { prefix: "dataforts:", body: "x".into() }),
            ("dataforts.x", Tag::AxisPresent { key: key("dataforts.x") }),
            ("Software.model", Tag::Legacy("Software.model".into())),
            (" software.model", Tag::Legacy(" software.model".into())),
            ("gpu", Tag::Legacy("gpu".into())),
            ("software", Tag::Legacy("software".into())),
            ("software:x", Tag::Legacy("software:x".into())),
        ];
        for (text, tag) in cases {
            assert_eq!(Tag::parse(text).as_ref(), Ok(&tag), "{text}");
            assert_eq!(tag.to_string(), text);
            let document = serde_json::to_string(&tag).expect("a document");
            assert_eq!(serde_json::from_str::<Tag>(&document).expect("a tag"), tag, "{document}");
        }
        assert_eq!(Tag::parse(""), Err(CapabilityTagError::Empty));
        assert!(matches!(Tag::parse_user("heat:3"), Err(CapabilityTagError::ReservedPrefix { prefix: "heat:", .. })));
        assert!(matches!(Tag::parse_user(""), Err(CapabilityTagError::Empty)));
    }

    #[test]
    fn meaning_ignores_the_separator_alone() {
        let (eq, colon): (Tag, Tag) =
            ("software.model=x".parse().expect("a tag"), "software.model:x".parse().expect("a tag"));
        assert!(eq != colon && eq.semantic_eq(&colon));
        assert!(!eq.semantic_eq(&"software.model".parse().expect("a tag")));
        assert!(!eq.semantic_eq(&"software.model=y".parse().expect("a tag")));
    }

    #[test]
    fn keys_that_are_none_are_refused_by_their_reason() {
        assert!(matches!(TagKey::parse("model"), Err(TagKeyError::NoAxis { .. })));
        assert!(matches!(TagKey::parse("hardwre.gpu"), Err(TagKeyError::UnknownAxis(_))));
        assert!(matches!(TagKey::parse("hardware."), Err(TagKeyError::Empty { axis: TaxonomyAxis::Hardware })));
    }
}
