//! Requirements: what an event, a task or a daemon needs, as one line.
//!
//! | text | requirement |
//! |---|---|
//! | `software.model` | a tag like this one, whatever its separator |
//! | `software.model=llama-7b` | a tag like this one |
//! | `software.model == llama-7b` | a value of the key that is this text; quotes around it are left out |
//! | `hardware.gpu.vram_gb >= 48`, `<=` | a value of the key that is a number so large, so small |
//!
//! Anything else that has the form of a comparison, an axis without a key, a sign without a value, or a tag on an axis
//! that there is not, is refused: a typing error never becomes a tag.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::axis::{TaxonomyAxis, UnknownAxis};
use crate::facts::Capabilities;
use crate::predicate::{OperandError, Predicate, PredicateTextError};
use crate::tag::{CapabilityTagError, Tag, ends_a_line};
use crate::tag_key::{TagKey, TagKeyError};

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
    #[error("an empty requirement; one is written as software.model=llama-7b or hardware.gpu.vram_gb >= 48")]
    Empty,
    /// The text before the comparison is no key.
    #[error(transparent)]
    InvalidKey(#[from] TagKeyError),
    /// It is an axis, without a key.
    #[error("{axis} is an axis without a key; write {axis}.NAME, or require_axis!(\"{axis}\") for any tag on the axis")]
    AxisAlone {
        /// The axis.
        axis: TaxonomyAxis,
    },
    /// There is nothing after the sign.
    #[error("a value is missing after {sign} in {line:?}; the empty one is written == \"\"")]
    NoValue {
        /// The requirement.
        line: String,
        /// The sign.
        sign: String,
    },
    /// A tag with white space beside its sign, which would be a part of key or value.
    #[error("white space beside {sign:?} in {line:?} would be a part of the tag; write none, or compare with ==")]
    Spaced {
        /// The requirement.
        line: String,
        /// The sign.
        sign: char,
    },
    /// Quotes that are not around a value after `==`.
    #[error("the quotes of {value} are not a pair around a value after ==; write == \"llama-7b\" or == llama-7b")]
    Quotes {
        /// The text with the quotes.
        value: String,
    },
    /// A tag without an axis has white space or a sign of comparisons or lists in it.
    #[error("{tag:?} has {character:?} in it, which a tag without an axis has not in a requirement")]
    Character {
        /// The text.
        tag: String,
        /// The first such character.
        character: char,
    },
    /// A comparison with what is no finite number.
    #[error("{key} is compared with {value:?}, which is no finite number as 48 or 0.5")]
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
            check_operand(value, "==")?;
            let key = compared(key)?;
            return Ok(Self::Predicate(Predicate::equals(key, operand(text, value)?)));
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
    /// [`RequirementError::InvalidAxis`], [`RequirementError::InvalidKey`].
    pub fn axis_key(axis: &str, key: &str) -> Result<Self, RequirementError> {
        Ok(Self::AxisKey(TagKey::new(axis.trim().parse()?, key.trim())?))
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
    check_operator(key, key.len())?;
    if let Some(axis) = TaxonomyAxis::from_name(key) {
        return Err(RequirementError::AxisAlone { axis });
    }
    let (axis, name) = key.split_once('.').ok_or_else(|| TagKeyError::NoAxis { key: key.to_owned() })?;
    Ok(TagKey::new(axis.trim().parse()?, name.trim())?)
}

/// The value after `==`, without the quotes around it.
fn operand<'v>(line: &str, value: &'v str) -> Result<&'v str, RequirementError> {
    if value.is_empty() {
        return Err(no_value(line, "=="));
    }
    if let Some(character) = value.chars().find(ends_a_line) {
        return Err(CapabilityTagError::Character { tag: line.to_owned(), character }.into());
    }
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let is_bare = inner.is_none() && !is_quoted(value);
    match inner.filter(|inner| !inner.contains('"')) {
        Some(inner) => Ok(inner),
        None if is_bare => Ok(value),
        None => Err(RequirementError::Quotes { value: value.to_owned() }),
    }
}

/// Returns whether a value begins or ends as one in quotes, which those of a shell are, too.
fn is_quoted(value: &str) -> bool {
    value.starts_with(['"', '\'']) || value.ends_with('"')
}

fn no_value(line: &str, sign: impl Into<String>) -> RequirementError {
    RequirementError::NoValue { line: line.to_owned(), sign: sign.into() }
}

fn threshold(key: &TagKey, value: &str) -> Result<f64, RequirementError> {
    let value = value.trim();
    let number = value.parse().ok().and_then(|number| OperandError::of_number(number).ok());
    number.ok_or_else(|| RequirementError::NumericParse { key: key.to_string(), value: value.to_owned() })
}

/// A tag that a user asks for.
fn tag(line: &str) -> Result<Tag, RequirementError> {
    let sign = line.find(['=', ':']);
    check_operator(line, sign.unwrap_or(line.len()))?;
    let (head, value) = (&line[..sign.unwrap_or(line.len())], sign.map(|sign| &line[sign + 1..]));
    if let Some(axis) = TaxonomyAxis::from_name(head.trim()) {
        return Err(RequirementError::AxisAlone { axis });
    }
    let is_on_axis = head.split_once('.').is_some_and(|(axis, _)| TaxonomyAxis::from_name(axis).is_some());
    let sign = line[head.len()..].chars().next().unwrap_or_default();
    if is_on_axis && let Some(value) = value {
        if sign == '=' {
            check_operand(value, "=")?;
        }
        if head.ends_with(char::is_whitespace) || value.starts_with(char::is_whitespace) {
            return Err(RequirementError::Spaced { line: line.to_owned(), sign });
        }
        if is_quoted(value) {
            return Err(RequirementError::Quotes { value: value.to_owned() });
        }
    }
    let tag = Tag::parse_user(line)?;
    match &tag {
        Tag::AxisValue { value, .. } if value.is_empty() => Err(no_value(line, sign)),
        Tag::Legacy(text) => check_legacy(text).map(|()| tag),
        _ => Ok(tag),
    }
}

/// Refuses what looks like a tag on an axis, or like more than a tag.
fn check_legacy(text: &str) -> Result<(), RequirementError> {
    let key = text.split(['=', ':']).next().unwrap_or_default();
    if let Some((axis, _)) = key.split_once('.') {
        return Err(UnknownAxis { axis: axis.to_owned() }.into());
    }
    if text[key.len()..].starts_with('=') {
        return Err(TagKeyError::NoAxis { key: key.to_owned() }.into());
    }
    check_operator(text, text.len())?;
    let is_foreign = |character: &char| character.is_whitespace() || ['"', '&', '|', ','].contains(character);
    match text.chars().find(is_foreign) {
        Some(character) => Err(RequirementError::Character { tag: text.to_owned(), character }),
        None => Ok(()),
    }
}

/// The characters of comparisons.
const OPERATORS: [char; 5] = ['<', '>', '!', '~', '='];

/// Refuses a comparison that there is not, which begins before `end`.
fn check_operator(text: &str, end: usize) -> Result<(), RequirementError> {
    let Some(start) = text[..end].find(OPERATORS) else { return Ok(()) };
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

/// A comparison as [`RequiredCapability::parse`] reads it, if it reads one that is this predicate.
fn line_of(predicate: &Predicate) -> Option<String> {
    let number = |number: f64| format!("{number:?}").trim_end_matches(".0").to_owned();
    let line = match predicate {
        Predicate::NumericAtLeast { key, threshold } => format!("{key} >= {}", number(*threshold)),
        Predicate::NumericAtMost { key, threshold } => format!("{key} <= {}", number(*threshold)),
        Predicate::Equals { key, value } if value.is_empty() => format!("{key} == \"\""),
        Predicate::Equals { key, value } => format!("{key} == {value}"),
        _ => return None,
    };
    let is_same = |read| matches!(read, RequiredCapability::Predicate(read) if read == *predicate);
    RequiredCapability::parse(&line).is_ok_and(is_same).then_some(line)
}

/// The line that is parsed as this requirement; a predicate that no line says is written in its text form.
impl fmt::Display for RequiredCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Predicate(predicate) => match line_of(predicate) {
                Some(line) => f.write_str(&line),
                None => predicate.fmt(f),
            },
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
        let cases: [(&str, RequiredCapability); 11] = [
            ("software.model", Tag::parse("software.model").expect("a tag").into()),
            (" software.model=x ", Tag::parse("software.model=x").expect("a tag").into()),
            ("software.model:a>b", Tag::parse("software.model:a>b").expect("a tag").into()),
            ("gpu", Tag::Legacy("gpu".into()).into()),
            ("team:red", Tag::Legacy("team:red".into()).into()),
            ("software.model==x", Predicate::equals(model(), "x").into()),
            (" software . model == \"a b\" ", Predicate::equals(model(), "a b").into()),
            ("software.model == \"\"", Predicate::equals(model(), "").into()),
            ("hardware.gpu.vram_gb>=48", Predicate::numeric_at_least(gpu(), 48.0).into()),
            ("hardware.gpu.vram_gb <= 1e3", Predicate::numeric_at_most(gpu(), 1000.0).into()),
            ("hardware.gpu.vram_gb >= -0.5", Predicate::numeric_at_least(gpu(), -0.5).into()),
        ];
        for (text, expected) in cases {
            assert_eq!(RequiredCapability::parse(text), Ok(expected), "{text}");
        }
        assert!(matches!(RequiredCapability::axis_any("softwar"), Err(RequirementError::InvalidAxis(_))));
        for (axis, key) in [("software", " "), ("software", "a b"), ("software", "mo=del"), ("software", ".model")] {
            assert!(matches!(RequiredCapability::axis_key(axis, key), Err(RequirementError::InvalidKey(_))), "{key}");
        }
    }

    #[test]
    fn texts_give_the_requirement_back() {
        let texts = [
            "software.model=x",
            "gpu",
            "hardware.gpu.vram_gb >= 48",
            "hardware.gpu.vram_gb <= 0.5",
            "hardware.gpu.vram_gb >= 1e300",
            "software.model == llama 7b",
            "software.model == \"\"",
            "equals \"software.model\", \" x\"",
            "prefix \"software.model\", \"llama-\"",
            "and [exists \"devices.camera\", not metadata_exists \"zone\"]",
            "any of devices",
            "any of software.model",
        ];
        for text in texts {
            let requirement: RequiredCapability = text.parse().expect(text);
            assert_eq!(requirement.to_string(), text);
        }
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
