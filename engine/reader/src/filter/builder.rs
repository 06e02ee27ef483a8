//! Filters said in a row.

use std::ops::RangeBounds;

use serde_json::Value;
use tapeline_storage::format::Kind;

use super::Filter;

/// Collects conditions for one [`Filter`].
///
/// ```
/// # extern crate tapeline_reader as tapeline;
/// use tapeline::{FilterBuilder, kinds};
///
/// let filter = FilterBuilder::new().session("run-7").kind(kinds::TOOL_CALL).eq("tool", "search").gt("ms", 50).build();
/// assert!(filter.compile()?.needs_payload());
/// # Ok::<(), tapeline::FilterError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct FilterBuilder {
    filters: Vec<Filter>,
}

impl FilterBuilder {
    /// No conditions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds any filter.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Adds [`Filter::eq`].
    #[must_use]
    pub fn eq(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(Filter::eq(path, value))
    }

    /// Adds [`Filter::ne`].
    #[must_use]
    pub fn ne(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(Filter::ne(path, value))
    }

    /// Adds [`Filter::gt`].
    #[must_use]
    pub fn gt(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(Filter::gt(path, value))
    }

    /// Adds [`Filter::gte`].
    #[must_use]
    pub fn gte(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(Filter::gte(path, value))
    }

    /// Adds [`Filter::lt`].
    #[must_use]
    pub fn lt(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(Filter::lt(path, value))
    }

    /// Adds [`Filter::lte`].
    #[must_use]
    pub fn lte(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(Filter::lte(path, value))
    }

    /// Adds [`Filter::is_in`].
    #[must_use]
    pub fn is_in<V: Into<Value>>(self, path: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        self.filter(Filter::is_in(path, values))
    }

    /// Adds [`Filter::exists`].
    #[must_use]
    pub fn exists(self, path: impl Into<String>) -> Self {
        self.filter(Filter::exists(path))
    }

    /// Adds [`Filter::prefix`].
    #[must_use]
    pub fn prefix(self, path: impl Into<String>, value: impl Into<String>) -> Self {
        self.filter(Filter::prefix(path, value))
    }

    /// Adds [`Filter::contains`].
    #[must_use]
    pub fn contains(self, path: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filter(Filter::contains(path, value))
    }

    /// Adds [`Filter::session`].
    #[must_use]
    pub fn session(self, name: impl Into<String>) -> Self {
        self.filter(Filter::session(name))
    }

    /// Adds [`Filter::kind`].
    #[must_use]
    pub fn kind(self, kind: Kind) -> Self {
        self.filter(Filter::kind(kind))
    }

    /// Adds [`Filter::time`].
    #[must_use]
    pub fn time(self, range: impl RangeBounds<u64>) -> Self {
        self.filter(Filter::time(range))
    }

    /// Adds [`Filter::size`].
    #[must_use]
    pub fn size(self, range: impl RangeBounds<u64>) -> Self {
        self.filter(Filter::size(range))
    }

    /// All conditions at once; without any, a filter that matches nothing.
    pub fn build(self) -> Filter {
        self.build_with(Filter::and)
    }

    /// The same as [`FilterBuilder::build`].
    pub fn build_and(self) -> Filter {
        self.build()
    }

    /// At least one of the conditions.
    pub fn build_or(self) -> Filter {
        self.build_with(Filter::or)
    }

    fn build_with(self, combine: fn(Vec<Filter>) -> Filter) -> Filter {
        match <[Filter; 1]>::try_from(self.filters) {
            Ok([only]) => only,
            Err(filters) => combine(filters),
        }
    }
}
