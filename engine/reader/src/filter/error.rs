//! What is wrong with a filter, and where.

use std::fmt;

/// Why a filter cannot be used. Places read like `$and[2].$eq.path`; that of the filter itself is empty.
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
    #[error("{}: {message}", shown(.place))]
    Invalid {
        /// Where.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// Filters in filters, or arrays and objects in a value, are too deep.
    #[error("{}: nested deeper than {max} levels", shown(.place))]
    TooDeep {
        /// Where the first level too many is.
        place: String,
        /// Most levels.
        max: usize,
    },
    /// The filter has too many parts.
    #[error("{}: more than {max} filters in one", shown(.place))]
    TooLarge {
        /// Where the first part too many is.
        place: String,
        /// Most parts.
        max: usize,
    },
    /// The path has too many segments.
    #[error("{}: path of {segments} segments; at most {max} can lead anywhere", shown(.place))]
    PathTooLong {
        /// Where the path is.
        place: String,
        /// Its segments.
        segments: usize,
        /// Most segments.
        max: usize,
    },
}

fn shown(place: &str) -> &str {
    if place.is_empty() { "filter" } else { place }
}

/// A place in a filter, built on the way down for nothing and made text only for an error.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    pub(super) const ROOT: Place<'static> = Place { parent: None, step: Step::Root };

    pub(super) fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    pub(super) fn invalid(&self, message: impl Into<String>) -> FilterError {
        FilterError::Invalid { place: self.to_string(), message: message.into() }
    }
}

impl fmt::Display for Place<'_> {
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
