//! Tags: what a model, a device or a process can do, as one line of text.
//!
//! | text | tag |
//! |---|---|
//! | `software.model` | [`Tag::AxisPresent`]: the axis and a key |
//! | `software.model:llama-7b`, `software.model=llama-7b` | [`Tag::AxisValue`]: a key with a value |
//! | `scope:tenant-4` | [`Tag::Reserved`]: one of [`RESERVED_PREFIXES`], and a body |
//! | anything else, as `gpu` | [`Tag::Legacy`]: text without structure |
//!
//! A tag is one line: UTF-8 without control characters and line separators. A key may have dots (`gpu.vram_gb`), a
//! value may have `=` and `:`. Parsing trims nothing, and a tag is written as the text that it was parsed from, byte
//! for byte.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::axis::TaxonomyAxis;
use crate::tag_key::{TagKey, TagKeyError};

/// The beginnings of tags that have a meaning of their own, which users do not give.
pub const RESERVED_PREFIXES: [&str; 5] = ["causal:", "dataforts:", "fork-of:", "heat:", "scope:"];

/// A capability, as its text says it. Parsing checks it; one that is built of its parts is not checked, and readers of
/// logs and documents leave out or refuse what is no tag.
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
    #[error("an empty text is no tag; a tag is written as software.model or software.model=llama-7b")]
    Empty,
    /// It has a control character or a line separator: a tag is one line.
    #[error("tag {tag:?} has {character:?} in it; a tag is one line, without control characters")]
    Character {
        /// The text.
        tag: String,
        /// The first such character.
        character: char,
    },
    /// It lies on an axis, and its key is none.
    #[error("tag {tag:?}: {fault}")]
    Key {
        /// The text.
        tag: String,
        /// The fault of the key.
        fault: TagKeyError,
    },
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
    /// [`CapabilityTagError`]: there is no text, it is not one line, or it begins with an axis and a dot, after which
    /// there is no key.
    pub fn parse(text: &str) -> Result<Self, CapabilityTagError> {
        if text.is_empty() {
            return Err(CapabilityTagError::Empty);
        }
        if let Some(character) = text.chars().find(ends_a_line) {
            return Err(CapabilityTagError::Character { tag: text.to_owned(), character });
        }
        if let Some(prefix) = reserved_prefix(text) {
            return Ok(Self::Reserved { prefix, body: text[prefix.len()..].to_owned() });
        }
        let on_axis = text.split_once('.').and_then(|(axis, rest)| Some((TaxonomyAxis::from_name(axis)?, rest)));
        let Some((axis, rest)) = on_axis else { return Ok(Self::Legacy(text.to_owned())) };
        let key =
            |name| TagKey::new(axis, name).map_err(|fault| CapabilityTagError::Key { tag: text.to_owned(), fault });
        Ok(match rest.find(['=', ':']) {
            None => Self::AxisPresent { key: key(rest)? },
            Some(at) => Self::AxisValue {
                key: key(&rest[..at])?,
                value: rest[at + 1..].to_owned(),
                separator: if rest.as_bytes()[at] == b'=' { TagSeparator::Eq } else { TagSeparator::Colon },
            },
        })
    }

    /// Parses a tag that a user gave.
    ///
    /// # Errors
    /// [`CapabilityTagError`]: as of [`Tag::parse`], or a reserved prefix.
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

/// Returns whether a character is a control character or a line separator, which a line cannot have in it.
pub(crate) fn ends_a_line(character: &char) -> bool {
    character.is_control() || ['\u{2028}', '\u{2029}'].contains(character)
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
    fn tags_are_lines_with_keys_that_are_some() {
        for character in ['\0', '\n', '\r', '\t', '\u{1b}', '\u{7f}', '\u{85}', '\u{2028}', '\u{2029}'] {
            for text in ["gpu", "software.model", "software.model=x", "scope:tenant"] {
                let text = format!("{text}{character}");
                assert_eq!(Tag::parse(&text), Err(CapabilityTagError::Character { tag: text, character }));
            }
        }
        for text in ["software.", "software.=x", "software..model", "software.model.", "software.a b=x", "software.!=x"]
        {
            assert!(matches!(Tag::parse(text), Err(CapabilityTagError::Key { .. })), "{text}");
            let document = serde_json::to_string(text).expect("a document");
            assert!(serde_json::from_str::<Tag>(&document).is_err(), "{document}");
        }
    }
}
