//! The errors of a filter, and the term that each names.

use std::fmt;

/// The reason for which a filter cannot be used. `at` names the term, like `$and[2].$eq.path`; it is empty for the
/// filter as a whole.
///
/// ```
/// use tapeline_reader::{Filter, FilterError};
///
/// let error = Filter::from_json(r#"{"$and": [{"$kind": 1}, {"$eq": ["a", 1, 2]}]}"#).unwrap_err();
/// assert!(matches!(&error, FilterError::Invalid { at, .. } if at == "$and[1].$eq"), "{error}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The text is too long.
    #[error("filter of {bytes} bytes; at most {max} are read")]
    TooLong {
        /// Bytes of the text.
        bytes: usize,
        /// Most bytes that are read.
        max: usize,
    },
    /// The text is not JSON.
    #[error("filter is not JSON: {message}")]
    Syntax {
        /// The parser's words, with line and column.
        message: String,
    },
    /// A part of the filter is not one that the grammar knows.
    #[error("{}: {message}", shown(.at))]
    Invalid {
        /// The term.
        at: String,
        /// The fault.
        message: String,
    },
    /// Filters in filters, or arrays and objects in a value, are too deep.
    #[error("{}: nested deeper than {max} levels", shown(.at))]
    TooDeep {
        /// The first term that is too deep.
        at: String,
        /// Most levels.
        max: usize,
    },
    /// The filter has too many parts.
    #[error("{}: more than {max} filters in one", shown(.at))]
    TooLarge {
        /// The first term that is too many.
        at: String,
        /// Most parts.
        max: usize,
    },
    /// The path has too many segments.
    #[error("{}: path of {segments} segments; at most {max} can lead anywhere", shown(.at))]
    PathTooLong {
        /// The term that has the path.
        at: String,
        /// Its segments.
        segments: usize,
        /// Most segments.
        max: usize,
    },
}

fn shown(at: &str) -> &str {
    if at.is_empty() { "filter" } else { at }
}

/// The keys and indexes that lead to a term of a filter. Costs nothing on the way down; only an error makes text of it.
#[derive(Clone, Copy)]
pub(super) struct TermPath<'a> {
    parent: Option<&'a TermPath<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> TermPath<'a> {
    pub(super) const ROOT: TermPath<'static> = TermPath { parent: None, step: Step::Root };

    pub(super) fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    pub(super) fn invalid(&self, message: impl Into<String>) -> FilterError {
        FilterError::Invalid { at: self.to_string(), message: message.into() }
    }
}

impl fmt::Display for TermPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.step, self.parent.map(|parent| parent.step)) {
            (Step::Root, _) => Ok(()),
            (Step::Index(index), _) => write!(f, "[{index}]"),
            (Step::Key(key), None | Some(Step::Root)) => f.write_str(key),
            (Step::Key(key), _) => write!(f, ".{key}"),
        }
    }
}
