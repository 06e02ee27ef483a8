//! Predicates as text, in the grammar of `pred!`.
//!
//! ```text
//! clause := exists KEY | equals KEY, TEXT
//!         | num_at_least KEY, NUMBER | num_at_most KEY, NUMBER | num_in_range KEY, NUMBER, NUMBER
//!         | semver_at_least KEY, TEXT | semver_at_most KEY, TEXT | semver_compatible KEY, TEXT
//!         | prefix KEY, TEXT | matches KEY, TEXT
//!         | metadata_exists TEXT | metadata_equals TEXT, TEXT | metadata_matches TEXT, TEXT
//!         | metadata_num_at_least TEXT, NUMBER
//!         | and [clause, ..] | or [clause, ..] | not clause
//! ```
//! KEY is a TEXT as `"software.model"`; TEXT is a string as JSON writes it.

use std::fmt;
use std::str::FromStr;

use crate::tag_key::{TagKey, TagKeyError};

use super::walk::Step;
use super::{DEPTH_MAX, DOCUMENT_BYTES_MAX, NODES_MAX, OperandError, Predicate};

/// The reason why a text is no predicate, and the byte where that shows.
///
/// ```
/// use tapeline_capability::Predicate;
///
/// let error = "exists".parse::<Predicate>().unwrap_err();
/// assert_eq!(error.at, 6, "{error}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {reason}")]
pub struct PredicateTextError {
    /// Offset in bytes.
    pub at: usize,
    /// The reason, with what would be understood there.
    pub reason: String,
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for step in self.steps() {
            separator = match step {
                Step::End(Self::Not(_)) => ", ",
                Step::End(_) => {
                    f.write_str("]")?;
                    ", "
                }
                Step::Begin(clause) => {
                    write!(f, "{separator}{}", clause.joined_by())?;
                    f.write_str(if let Self::Not(_) = clause { " " } else { " [" })?;
                    ""
                }
                Step::Leaf(clause) => {
                    f.write_str(separator)?;
                    clause.fmt_leaf(f)?;
                    ", "
                }
            };
        }
        Ok(())
    }
}

impl Predicate {
    /// The name of a clause that has clauses; empty of another.
    pub(super) fn joined_by(&self) -> &'static str {
        match self {
            Self::And(_) => "and",
            Self::Or(_) => "or",
            Self::Not(_) => "not",
            _ => "",
        }
    }

    fn fmt_leaf(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists { key } => write!(f, "exists {}", Text(key)),
            Self::Equals { key, value } => write!(f, "equals {}, {}", Text(key), Text(value)),
            Self::NumericAtLeast { key, threshold } => write!(f, "num_at_least {}, {threshold:?}", Text(key)),
            Self::NumericAtMost { key, threshold } => write!(f, "num_at_most {}, {threshold:?}", Text(key)),
            Self::NumericInRange { key, min, max } => write!(f, "num_in_range {}, {min:?}, {max:?}", Text(key)),
            Self::SemverAtLeast { key, version } => write!(f, "semver_at_least {}, {}", Text(key), Text(version)),
            Self::SemverAtMost { key, version } => write!(f, "semver_at_most {}, {}", Text(key), Text(version)),
            Self::SemverCompatible { key, version } => write!(f, "semver_compatible {}, {}", Text(key), Text(version)),
            Self::StringPrefix { key, prefix } => write!(f, "prefix {}, {}", Text(key), Text(prefix)),
            Self::StringMatches { key, pattern } => write!(f, "matches {}, {}", Text(key), Text(pattern)),
            Self::MetadataExists { key } => write!(f, "metadata_exists {}", Text(key)),
            Self::MetadataEquals { key, value } => write!(f, "metadata_equals {}, {}", Text(key), Text(value)),
            Self::MetadataMatches { key, pattern } => write!(f, "metadata_matches {}, {}", Text(key), Text(pattern)),
            Self::MetadataNumericAtLeast { key, threshold } => {
                write!(f, "metadata_num_at_least {}, {threshold:?}", Text(key))
            }
            Self::And(_) | Self::Or(_) | Self::Not(_) => Ok(()),
        }
    }
}

/// Written as a string of JSON.
struct Text<T>(T);

impl<T: ToString> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&self.0.to_string()).map_err(|_| fmt::Error)?)
    }
}

/// The names of clauses.
const CLAUSES: [&str; 17] = [
    "exists",
    "equals",
    "num_at_least",
    "num_at_most",
    "num_in_range",
    "semver_at_least",
    "semver_at_most",
    "semver_compatible",
    "prefix",
    "matches",
    "metadata_exists",
    "metadata_equals",
    "metadata_matches",
    "metadata_num_at_least",
    "and",
    "or",
    "not",
];

impl Predicate {
    /// Returns whether a text begins as a predicate: with the name of a clause and what may follow it.
    pub(crate) fn begins(text: &str) -> bool {
        let end = text.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(text.len());
        CLAUSES.contains(&&text[..end]) && text[end..].starts_with([' ', '\t', '\n', '\r', '"', '['])
    }
}

impl FromStr for Predicate {
    type Err = PredicateTextError;

    fn from_str(text: &str) -> Result<Self, PredicateTextError> {
        let mut parser = Parser { text, at: 0, clauses: 0 };
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(parser.error(format!("{} bytes; at most {DOCUMENT_BYTES_MAX} are read", text.len())));
        }
        let predicate = parser.clause(1)?;
        parser.skip_space();
        if parser.at < text.len() { Err(parser.error("the predicate has ended; use and [..]")) } else { Ok(predicate) }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    /// Clauses so far.
    clauses: usize,
}

type Parsed<T> = Result<T, PredicateTextError>;

impl Parser<'_> {
    fn error(&self, reason: impl Into<String>) -> PredicateTextError {
        PredicateTextError { at: self.at, reason: reason.into() }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn clause(&mut self, depth: usize) -> Parsed<Predicate> {
        self.skip_space();
        self.clauses += 1;
        if self.clauses > NODES_MAX || depth > DEPTH_MAX {
            return Err(self.error(format!("more than {NODES_MAX} clauses, or {DEPTH_MAX} inside one another")));
        }
        let start = self.at;
        let name = self.name();
        Ok(match name.as_str() {
            "exists" => Predicate::exists(self.key()?),
            "equals" => Predicate::equals(self.key()?, self.next_text()?),
            "num_at_least" => Predicate::numeric_at_least(self.key()?, self.next_number()?),
            "num_at_most" => Predicate::numeric_at_most(self.key()?, self.next_number()?),
            "num_in_range" => Predicate::numeric_in_range(self.key()?, self.next_number()?, self.next_number()?),
            "semver_at_least" => Predicate::semver_at_least(self.key()?, self.next_text()?),
            "semver_at_most" => Predicate::semver_at_most(self.key()?, self.next_text()?),
            "semver_compatible" => Predicate::semver_compatible(self.key()?, self.next_text()?),
            "prefix" => Predicate::string_prefix(self.key()?, self.next_text()?),
            "matches" => Predicate::string_matches(self.key()?, self.next_text()?),
            "metadata_exists" => Predicate::metadata_exists(self.metadata_name()?),
            "metadata_equals" => Predicate::metadata_equals(self.metadata_name()?, self.next_text()?),
            "metadata_matches" => Predicate::metadata_matches(self.metadata_name()?, self.next_text()?),
            "metadata_num_at_least" => Predicate::metadata_numeric_at_least(self.metadata_name()?, self.next_number()?),
            "and" => Predicate::And(self.list(depth)?),
            "or" => Predicate::Or(self.list(depth)?),
            "not" => Predicate::not(self.clause(depth + 1)?),
            _ => {
                self.at = start;
                return Err(self.error(format!("{name:?} is no clause; as exists \"software.model\"")));
            }
        })
    }

    /// The letters and underscores from here on.
    fn name(&mut self) -> String {
        let rest = self.rest();
        let end = rest.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        name
    }

    fn list(&mut self, depth: usize) -> Parsed<Vec<Predicate>> {
        self.expect('[')?;
        let mut clauses = Vec::new();
        loop {
            self.skip_space();
            if self.accept(']') {
                return Ok(clauses);
            }
            clauses.push(self.clause(depth + 1)?);
            self.skip_space();
            if !self.accept(',') {
                self.expect(']')?;
                return Ok(clauses);
            }
        }
    }

    fn accept(&mut self, sign: char) -> bool {
        let accepted = self.rest().starts_with(sign);
        self.at += if accepted { sign.len_utf8() } else { 0 };
        accepted
    }

    fn expect(&mut self, sign: char) -> Parsed<()> {
        self.skip_space();
        if self.accept(sign) { Ok(()) } else { Err(self.error(format!("{sign:?} is missing"))) }
    }

    fn key(&mut self) -> Parsed<TagKey> {
        self.skip_space();
        let start = self.at;
        let text = self.string()?;
        TagKey::parse(&text).map_err(|error: TagKeyError| PredicateTextError { at: start, reason: error.to_string() })
    }

    /// The name of a metadata entry.
    fn metadata_name(&mut self) -> Parsed<String> {
        self.skip_space();
        let start = self.at;
        let name = self.string()?;
        OperandError::of_name(name).map_err(|error| PredicateTextError { at: start, reason: error.to_string() })
    }

    fn next_text(&mut self) -> Parsed<String> {
        self.expect(',')?;
        self.string()
    }

    /// A string of JSON.
    fn string(&mut self) -> Parsed<String> {
        self.skip_space();
        let mut strings = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        let read = strings.next();
        let length = strings.byte_offset();
        match read {
            Some(Ok(text)) => {
                self.at += length;
                Ok(text)
            }
            _ => Err(self.error("a text in double quotes is missing")),
        }
    }

    fn next_number(&mut self) -> Parsed<f64> {
        self.expect(',')?;
        self.skip_space();
        let rest = self.rest();
        let end = rest.find([',', ']', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        let number = rest[..end].parse().map_err(|_| {
            self.error(format!("{:?} is no number; a clause compares with one as 48 or 0.5", &rest[..end]))
        })?;
        let number = OperandError::of_number(number).map_err(|error| self.error(error.to_string()))?;
        self.at += end;
        Ok(number)
    }
}
