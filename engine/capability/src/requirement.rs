//! Requirements: what an event, a task or a daemon needs, as one line.
//!
//! | text | requirement |
//! |---|---|
//! | `software.model` | a tag like this one, whatever its separator |
//! | `software.model=llama-7b` | a tag like this one |
//! | `software.model == llama-7b` | a value of the key that is this text; quotes around it are left out |
//! | `hardware.gpu.vram_gb >= 48`, `<=` | a value of the key that is a number so large, so small |
//!
//! Anything else that has the form of a comparison, or begins as a tag on an axis that there is not, is refused: a
//! typing error never becomes a tag.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::axis::{TaxonomyAxis, UnknownAxis};
use crate::facts::Capabilities;
use crate::predicate::{Predicate, PredicateTextError};
use crate::tag::{CapabilityTagError, Tag, TagKey, TagKeyError};

/// A requirement on the capabilities of what is to do something.
///
/// ```
/// use tapeline_capability::{CapabilitySet, RequiredCapability};
///
/// let worker = CapabilitySet::parse(["software.model:llama-7b", "hardware.gpu.vram_gb=80"])?;
/// for met in ["software.model=llama-7b", "software.model == llama-7b", "hardware.gpu.vram_gb >= 48"] {
///     assert!(RequiredCapability::parse(met)?.evaluate(&worker), "{met}");
/// }
/// assert!(RequiredCapability::axis_key("software", "model")?.evaluate(&worker));
/// assert!(!RequiredCapability::axis_any("devices")?.evaluate(&worker));
/// assert!(RequiredCapability::parse("hardware.cpu > 8").is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequiredCapability {
    /// A tag that means the same.
    Tag(Tag),
    /// The condition of a predicate.
    Predicate(Predicate),
    /// Any tag on the axis.
    AxisAny(TaxonomyAxis),
    /// Any tag of the key, with or without a value.
    AxisKey(TagKey),
}

/// The reason why a text is no requirement.
///
/// ```
/// use tapeline_capability::{RequiredCapability, RequirementError};
///
/// let error = RequiredCapability::parse("hardware.cpu > 8").unwrap_err();
/// assert!(matches!(error, RequirementError::UnknownOperator { .. }), "{error}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequirementError {
    /// There is no text.
    #[error("an empty requirement")]
    Empty,
    /// The text before the comparison is no key.
    #[error(transparent)]
    InvalidKey(#[from] TagKeyError),
    /// A key has a character that keys do not have.
    #[error("key {key:?} has {character:?} in it, which no key has")]
    KeyCharacter {
        /// The key.
        key: String,
        /// The first such character.
        character: char,
    },
    /// A comparison with what is no finite number.
    #[error("{key} is compared with {value:?}, which is no finite number")]
    NumericParse {
        /// The key.
        key: String,
        /// The text after the operator.
        value: String,
    },
    /// There is no such comparison.
    #[error("there is no operator {operator:?} in requirements; there are ==, >= and <=")]
    UnknownOperator {
        /// The operator.
        operator: String,
    },
    /// There is no such axis.
    #[error(transparent)]
    InvalidAxis(#[from] UnknownAxis),
    /// The tag is none that a user may ask for.
    #[error(transparent)]
    Tag(#[from] CapabilityTagError),
    /// The text begins as a predicate and is none.
    #[error(transparent)]
    Predicate(#[from] PredicateTextError),
}

impl RequiredCapability {
    /// Parses a requirement, as `require!` does. White space around the text, the key and the operand is left out.
    ///
    /// # Errors
    /// [`RequirementError`].
    pub fn parse(text: &str) -> Result<Self, RequirementError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RequirementError::Empty);
        }
        if let Some((key, value)) = text.split_once("==") {
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            check_operand(value, "==")?;
            return Ok(Self::Predicate(Predicate::equals(compared(key)?, bare)));
        }
        if let Some((key, value)) = text.split_once(">=") {
            let key = compared(key)?;
            let threshold = threshold(&key, value)?;
            return Ok(Self::Predicate(Predicate::numeric_at_least(key, threshold)));
        }
        if let Some((key, value)) = text.split_once("<=") {
            let key = compared(key)?;
            let threshold = threshold(&key, value)?;
            return Ok(Self::Predicate(Predicate::numeric_at_most(key, threshold)));
        }
        tag(text).map(Self::Tag)
    }

    /// Any tag on this axis, as `require_axis!` has it. White space around the name is left out.
    ///
    /// # Errors
    /// [`RequirementError::InvalidAxis`].
    pub fn axis_any(axis: &str) -> Result<Self, RequirementError> {
        Ok(Self::AxisAny(axis.trim().parse()?))
    }

    /// Any tag of this key, as `require_axis_value!` has it. White space around the two is left out.
    ///
    /// # Errors
    /// [`RequirementError::InvalidAxis`], [`RequirementError::InvalidKey`], [`RequirementError::KeyCharacter`].
    pub fn axis_key(axis: &str, key: &str) -> Result<Self, RequirementError> {
        let axis: TaxonomyAxis = axis.trim().parse()?;
        let key = TagKey::parse(&format!("{axis}.{}", key.trim()))?;
        check_key(key.name())?;
        Ok(Self::AxisKey(key))
    }

    /// Returns whether the capabilities meet the requirement.
    pub fn evaluate(&self, of: &impl Capabilities) -> bool {
        match self {
            Self::Tag(tag) => of.has_tag(|other| tag.semantic_eq(other)),
            Self::Predicate(predicate) => predicate.evaluate(of),
            Self::AxisAny(axis) => of.has_tag(|tag| tag.axis() == Some(*axis)),
            Self::AxisKey(key) => of.has_key(key),
        }
    }
}

/// The key before a comparison.
fn compared(key: &str) -> Result<TagKey, RequirementError> {
    let key = key.trim();
    // The rest of a longer operator, as of `!==` and `>==`.
    check_operator(key)?;
    let (axis, name) = key.split_once('.').ok_or_else(|| TagKeyError::NoAxis { key: key.to_owned() })?;
    let key = TagKey::parse(&format!("{}.{}", axis.trim(), name.trim()))?;
    check_key(key.name())?;
    Ok(key)
}

fn threshold(key: &TagKey, value: &str) -> Result<f64, RequirementError> {
    let value = value.trim();
    let number: Option<f64> = value.parse().ok();
    let number = number.filter(|number| number.is_finite());
    number.ok_or_else(|| RequirementError::NumericParse { key: key.to_string(), value: value.to_owned() })
}

/// A tag that a user asks for.
fn tag(text: &str) -> Result<Tag, RequirementError> {
    let tag = Tag::parse_user(text)?;
    match &tag {
        Tag::AxisPresent { key } => {
            check_operator(key.name())?;
            check_key(key.name())?;
            require_name(key)?;
        }
        Tag::AxisValue { key, value, .. } => {
            // `!=` and `~=` are cut at their second sign.
            let sign = text.as_bytes().get(text.len() - value.len() - 1).copied().map(char::from);
            if let Some(operator) = operator_at_end(key.name()) {
                return Err(RequirementError::UnknownOperator {
                    operator: format!("{operator}{}", sign.unwrap_or('=')),
                });
            }
            check_operator(key.name())?;
            check_operand(value, "=")?;
            check_key(key.name())?;
            require_name(key)?;
        }
        Tag::Legacy(text) => {
            check_operator(text)?;
            if let Some((axis, _)) = text.split_once('.') {
                return Err(UnknownAxis { axis: axis.to_owned() }.into());
            }
        }
        Tag::Reserved { .. } => {}
    }
    Ok(tag)
}

fn require_name(key: &TagKey) -> Result<(), RequirementError> {
    match key.name() {
        "" => Err(TagKeyError::Empty { axis: key.axis() }.into()),
        _ => Ok(()),
    }
}

/// The characters of comparisons.
const OPERATORS: [char; 5] = ['<', '>', '!', '~', '='];

fn operator_at_end(key: &str) -> Option<&str> {
    let before = key.trim_end_matches(OPERATORS);
    (before.len() < key.len()).then(|| &key[before.len()..])
}

/// Refuses a comparison that there is not.
fn check_operator(text: &str) -> Result<(), RequirementError> {
    let Some(start) = text.find(OPERATORS) else { return Ok(()) };
    let rest = &text[start..];
    let end = rest.find(|sign| !OPERATORS.contains(&sign)).unwrap_or(rest.len());
    Err(RequirementError::UnknownOperator { operator: rest[..end].to_owned() })
}

/// Refuses the rest of a longer operator, as of `=>` and `===`.
fn check_operand(operand: &str, operator: &str) -> Result<(), RequirementError> {
    match operand.chars().next().filter(|sign| OPERATORS.contains(sign)) {
        Some(sign) => Err(RequirementError::UnknownOperator { operator: format!("{operator}{sign}") }),
        None => Ok(()),
    }
}

fn check_key(key: &str) -> Result<(), RequirementError> {
    let is_foreign =
        |character: &char| character.is_whitespace() || character.is_control() || ['"', ':'].contains(character);
    match key.chars().find(is_foreign) {
        Some(character) => Err(RequirementError::KeyCharacter { key: key.to_owned(), character }),
        None => Ok(()),
    }
}

impl fmt::Display for RequiredCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Predicate(predicate) => predicate.fmt(f),
            Self::AxisAny(axis) => write!(f, "any of {axis}"),
            Self::AxisKey(key) => write!(f, "any of {key}"),
        }
    }
}

/// Reads a line as [`RequiredCapability::parse`] does, a predicate in its text form, and `any of` an axis or a key: all
/// that `Display` writes, but tags that no line asks for.
impl FromStr for RequiredCapability {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, RequirementError> {
        let text = text.trim();
        if let Some(of) = text.strip_prefix("any of ") {
            return match of.split_once('.') {
                Some((axis, key)) => Self::axis_key(axis, key),
                None => Self::axis_any(of),
            };
        }
        if Predicate::begins(text) { Ok(Self::Predicate(text.parse()?)) } else { Self::parse(text) }
    }
}

impl From<Predicate> for RequiredCapability {
    fn from(predicate: Predicate) -> Self {
        Self::Predicate(predicate)
    }
}

impl From<Tag> for RequiredCapability {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
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
        let gpu = || key("hardware.gpu.vram_gb");
        let model = || key("software.model");
        let cases: [(&str, RequiredCapability); 10] = [
            ("software.model", Tag::parse("software.model").expect("a tag").into()),
            (" software.model=x ", Tag::parse("software.model=x").expect("a tag").into()),
            ("software.model:a>b", Tag::parse("software.model:a>b").expect("a tag").into()),
            ("gpu", Tag::Legacy("gpu".into()).into()),
            ("software.model==x", Predicate::equals(model(), "x").into()),
            (" software . model == \"a b\" ", Predicate::equals(model(), "a b").into()),
            ("software.model == ", Predicate::equals(model(), "").into()),
            ("hardware.gpu.vram_gb>=48", Predicate::numeric_at_least(gpu(), 48.0).into()),
            ("hardware.gpu.vram_gb <= 1e3", Predicate::numeric_at_most(gpu(), 1000.0).into()),
            ("hardware.gpu.vram_gb >= -0.5", Predicate::numeric_at_least(gpu(), -0.5).into()),
        ];
        for (text, expected) in cases {
            assert_eq!(RequiredCapability::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn typing_errors_never_become_tags() {
        let cases = [
            ("", "an empty requirement"),
            ("  ", "an empty requirement"),
            ("hardware.cpu > 8", "operator \">\""),
            ("hardware.cpu < 8", "operator \"<\""),
            ("hardware.cpu != 8", "operator \"!=\""),
            ("hardware.cpu !== 8", "operator \"!\""),
            ("hardware.cpu === 8", "operator \"===\""),
            ("hardware.cpu => 8", "operator \"=>\""),
            ("hardware.cpu =< 8", "operator \"=<\""),
            ("hardware.cpu ~= 8", "operator \"~=\""),
            ("hardware.cpu =~ 8", "operator \"=~\""),
            ("hardware.cpu >= eight", "\"eight\", which is no finite number"),
            ("hardware.cpu >= nan", "no finite number"),
            ("hardware.cpu <= inf", "no finite number"),
            ("hardware.cpu >=", "no finite number"),
            ("hardwre.gpu", "\"hardwre\" is no axis"),
            ("hardwre.gpu >= 8", "\"hardwre\" is no axis"),
            ("Hardware.gpu", "\"Hardware\" is no axis"),
            ("gpu >= 8", "\"gpu\" is no key"),
            ("gpu > 8", "operator \">\""),
            ("software.", "a key is missing"),
            ("software.=x", "a key is missing"),
            ("software. == x", "a key is missing"),
            ("software.model = x", "has ' ' in it"),
            ("software.my model", "has ' ' in it"),
            ("software.model:a >= 8", "has ':' in it"),
            ("scope:tenant", "reserved"),
        ];
        for (text, reason) in cases {
            let error = RequiredCapability::parse(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(matches!(RequiredCapability::axis_any("softwar"), Err(RequirementError::InvalidAxis(_))));
        assert!(matches!(RequiredCapability::axis_key("software", " "), Err(RequirementError::InvalidKey(_))));
        assert!(matches!(RequiredCapability::axis_key("software", "a b"), Err(RequirementError::KeyCharacter { .. })));
    }

    #[test]
    fn texts_give_the_requirement_back() {
        let texts = [
            "software.model=x",
            "gpu",
            "prefix \"software.model\", \"llama-\"",
            "and [exists \"devices.camera\", not metadata_exists \"zone\"]",
            "any of devices",
            "any of software.model",
        ];
        for text in texts {
            let requirement: RequiredCapability = text.parse().expect(text);
            assert_eq!(requirement.to_string(), text);
        }
        let compared: RequiredCapability = "hardware.gpu.vram_gb >= 48".parse().expect("a line");
        assert_eq!(compared.to_string().parse(), Ok(compared));
        assert!(matches!(
            "equals \"software.model\"".parse::<RequiredCapability>(),
            Err(RequirementError::Predicate(_))
        ));
        assert!(matches!("any of softwar".parse::<RequiredCapability>(), Err(RequirementError::InvalidAxis(_))));
    }

    #[test]
    fn documents_give_the_requirement_back() {
        for text in ["software.model=x", "hardware.gpu >= 2", "software.model == x"] {
            let requirement = RequiredCapability::parse(text).expect("one");
            let document = serde_json::to_string(&requirement).expect("a document");
            assert_eq!(serde_json::from_str::<RequiredCapability>(&document).expect("one"), requirement, "{document}");
        }
        let axis = RequiredCapability::axis_any(" software ").expect("one");
        assert_eq!(serde_json::to_string(&axis).expect("a document"), r#"{"axis_any":"software"}"#);
    }
}
