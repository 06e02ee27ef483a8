//! Limits of a filter, so that neither its text nor its tree exhausts a reader.

use super::error::{FilterError, TermPath};
use super::{Filter, Node, path};

/// Levels of filters in filters, at most.
pub(super) const DEPTH_MAX: usize = 64;
/// Filters in a filter, itself included, at most.
pub(super) const NODES_MAX: usize = 1024;
/// Bytes of a filter's JSON, at most.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;
/// Segments of a path, at most: what is deeper no [`Value`](serde_json::Value) holds.
pub(super) const PATH_SEGMENTS_MAX: usize = 127;
/// Levels of arrays and objects in a value to compare with, at most.
pub(super) const VALUE_DEPTH_MAX: usize = 32;

/// Holds filters made by constructors to the limits, before anything else descends into them.
pub(super) fn check(filter: &Filter, depth: usize, nodes: &mut usize, at: TermPath<'_>) -> Result<(), FilterError> {
    enter(depth, nodes, &at)?;
    match &filter.0 {
        Node::And(filters) => check_list(filters, depth, nodes, at.key("$and")),
        Node::Or(filters) => check_list(filters, depth, nodes, at.key("$or")),
        Node::Not(filter) => check(filter, depth + 1, nodes, at.key("$not")),
        Node::Field(field) => check_path(&field.path, &at.key(field.test.key()).key("path")),
        Node::Session { .. } | Node::Kind(_) | Node::Source(_) | Node::Time(_) | Node::Size(_) => Ok(()),
    }
}

fn check_list(filters: &[Filter], depth: usize, nodes: &mut usize, at: TermPath<'_>) -> Result<(), FilterError> {
    let mut filters = filters.iter().enumerate();
    filters.try_for_each(|(index, filter)| check(filter, depth + 1, nodes, at.index(index)))
}

/// Counts a filter at a depth, the outermost being 1.
pub(super) fn enter(depth: usize, nodes: &mut usize, at: &TermPath<'_>) -> Result<(), FilterError> {
    *nodes += 1;
    if depth > DEPTH_MAX {
        return Err(FilterError::TooDeep { at: at.to_string(), max: DEPTH_MAX });
    }
    if *nodes > NODES_MAX {
        return Err(FilterError::TooLarge { at: at.to_string(), max: NODES_MAX });
    }
    Ok(())
}

pub(super) fn check_path(path: &str, at: &TermPath<'_>) -> Result<(), FilterError> {
    match path::segments(path).count() {
        0..=PATH_SEGMENTS_MAX => Ok(()),
        segments => Err(FilterError::PathTooLong { at: at.to_string(), segments, max: PATH_SEGMENTS_MAX }),
    }
}
