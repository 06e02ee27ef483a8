//! Text and values in HTML.

use std::borrow::Cow;

use serde_json::Value;

use crate::harness::table::plain;

/// Text, for between tags and for attributes in double quotes.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// A value as text, not yet escaped; whole numbers with their thousands apart.
pub(super) fn shown(value: &Value) -> String {
    let text = plain(value);
    if !value.is_u64() || text.len() <= 4 {
        return text;
    }
    let mut grouped = String::with_capacity(text.len() + text.len() / 3);
    for (at, digit) in text.char_indices() {
        if at > 0 && (text.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
