//! Keys of tags, and the one rule that says which texts are keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::axis::{TaxonomyAxis, UnknownAxis};
use crate::tag::ends_a_line;

/// An axis and a key on it: the part of a tag that predicates ask for. Written `software.model`.
///
/// A key has one or more parts with dots between them. A part is not empty; it has no white space, no control character
/// and none of `" = : < > ! ~ & | ,`. That is so of every key, whether a tag, a predicate, a requirement, a macro or a
/// document has it.
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
    /// There is nothing before, between or after its dots.
    #[error("key {key:?} has nothing on one side of a dot; a key with parts is written as gpu.vram_gb")]
    EmptyPart {
        /// The key's name.
        key: String,
    },
    /// It has a character that keys do not have.
    #[error("key {key:?} has {character:?} in it; keys have no white space and none of \" = : < > ! ~ & | ,")]
    Character {
        /// The key's name.
        key: String,
        /// The first such character.
        character: char,
    },
}

/// The characters of comparisons, of lists and of tags, which keys do not have.
const NOT_IN_KEYS: [char; 10] = ['"', '=', ':', '<', '>', '!', '~', '&', '|', ','];

/// Checks the name of a key: the one rule for tags, predicates, requirements, macros and documents.
fn check_name(axis: TaxonomyAxis, name: &str) -> Result<(), TagKeyError> {
    if name.is_empty() {
        return Err(TagKeyError::Empty { axis });
    }
    let is_foreign =
        |character: &char| character.is_whitespace() || ends_a_line(character) || NOT_IN_KEYS.contains(character);
    if let Some(character) = name.chars().find(is_foreign) {
        return Err(TagKeyError::Character { key: name.to_owned(), character });
    }
    if name.split('.').any(str::is_empty) {
        return Err(TagKeyError::EmptyPart { key: name.to_owned() });
    }
    Ok(())
}

impl TagKey {
    /// A key on an axis.
    ///
    /// # Errors
    /// [`TagKeyError`].
    pub fn new(axis: TaxonomyAxis, name: &str) -> Result<Self, TagKeyError> {
        check_name(axis, name)?;
        Ok(Self::of_literal(axis, name))
    }

    /// A key that a macro has checked.
    #[doc(hidden)]
    pub fn of_literal(axis: TaxonomyAxis, name: &str) -> Self {
        Self { hash: xxh3_64_with_seed(name.as_bytes(), axis as u64), axis, key: name.to_owned() }
    }

    /// Parses `AXIS.NAME`. Trims nothing.
    ///
    /// # Errors
    /// [`TagKeyError`].
    pub fn parse(text: &str) -> Result<Self, TagKeyError> {
        let (axis, key) = text.split_once('.').ok_or_else(|| TagKeyError::NoAxis { key: text.to_owned() })?;
        Self::new(axis.parse()?, key)
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
        Self::new(axis, &key).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_none_are_refused_by_their_reason() {
        assert!(matches!(TagKey::parse("model"), Err(TagKeyError::NoAxis { .. })));
        assert!(matches!(TagKey::parse("hardwre.gpu"), Err(TagKeyError::UnknownAxis(_))));
        assert!(matches!(TagKey::parse("hardware."), Err(TagKeyError::Empty { axis: TaxonomyAxis::Hardware })));
        for text in ["hardware..gpu", "hardware.gpu.", "hardware.gpu..vram_gb"] {
            assert!(matches!(TagKey::parse(text), Err(TagKeyError::EmptyPart { .. })), "{text}");
        }
        for character in [' ', '\n', '\u{a0}', '"', '=', ':', '<', '>', '!', '~', '&', '|', ','] {
            let name = format!("mo{character}del");
            let expected = TagKeyError::Character { key: name.clone(), character };
            assert_eq!(TagKey::new(TaxonomyAxis::Hardware, &name), Err(expected));
            let document = serde_json::json!({ "axis": "hardware", "key": name }).to_string();
            assert!(serde_json::from_str::<TagKey>(&document).is_err(), "{document}");
        }
    }
}
