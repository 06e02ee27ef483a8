//! A payload that is a server-sent event counts as its data.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::sse;

/// Returns whether payload terms of a filter can look into a payload: it is JSON, or one server-sent event whose data
/// is.
pub fn is_filterable(payload: &[u8]) -> bool {
    let json = data_of(payload).unwrap_or(Cow::Borrowed(payload));
    str::from_utf8(&json).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The data of the one server-sent event that a payload is, whole or broken off; `None` where it is anything else. A
/// payload that is JSON costs a look at its first byte.
#[inline]
pub(super) fn data_of(payload: &[u8]) -> Option<Cow<'_, [u8]>> {
    sse::sole_frame(payload)?.into_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_look_into_json_and_into_events_whose_data_is() {
        assert!(is_filterable(b"{}") && is_filterable(b"data: {}\n\n") && is_filterable(b"data: {\ndata: }"));
        assert!(!is_filterable(b"data: [DONE]\n\n") && !is_filterable(b"text") && !is_filterable(b"\xff"));
        // Bytes that are no UTF-8 are not replaced here: such data is no JSON.
        assert!(!is_filterable(b"data: \"\xff\"\n\n"));
    }
}
