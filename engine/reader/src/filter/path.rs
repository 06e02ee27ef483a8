//! Dotted paths into JSON.

use serde_json::Value;

/// The value at a dotted path, `None` where there is none. Segments are keys of objects and, where they are numbers,
/// indexes of arrays; the empty path is the value itself.
///
/// ```
/// # extern crate tapeline_reader as tapeline;
/// use serde_json::json;
/// use tapeline::json_path_get;
///
/// let value = json!({"user": {"tags": ["a", "b"]}});
/// assert_eq!(json_path_get(&value, "user.tags.1"), Some(&json!("b")));
/// assert_eq!(json_path_get(&value, "user.name"), None);
/// ```
pub fn json_path_get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    segments(path).try_fold(value, step)
}

/// The value that one segment leads to.
pub(super) fn step<'a>(value: &'a Value, segment: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(segment),
        Value::Array(array) => array.get(index_of(segment)?),
        _ => None,
    }
}

/// The segments; none for the empty path.
pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').take(if path.is_empty() { 0 } else { usize::MAX })
}

/// The index of an array that a segment names.
pub(super) fn index_of(segment: &str) -> Option<usize> {
    segment.parse().ok()
}
