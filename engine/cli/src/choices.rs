//! The choices of an answer: a model that is asked for several (`n`) gives them in one stream, each piece with its
//! index. Each is a text of its own, with a beginning and an end of its own.

use serde_json::Value;

/// Some of an answer's choices, by index. Those from 127 on count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Choices(u128);

impl Choices {
    /// The choice of an answer that does not number them.
    pub(crate) const FIRST: Self = Self(1);

    /// The choices in an object that `is_one_of_them`.
    pub(crate) fn of(object: &Value, is_one_of_them: impl Fn(&Value) -> bool) -> Self {
        let set = |choices: Self, (place, choice): (usize, &Value)| {
            if is_one_of_them(choice) {
                choices.with(Self::at(choice["index"].as_u64().unwrap_or(place as u64)))
            } else {
                choices
            }
        };
        list(object).into_iter().flatten().enumerate().fold(Self::default(), set)
    }

    fn at(index: u64) -> Self {
        Self(1 << index.min(127))
    }

    pub(crate) fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if these are all of `others`, and perhaps more.
    pub(crate) fn has_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Their indexes, the lowest first.
    pub(crate) fn indexes(self) -> impl Iterator<Item = u8> {
        (0..128u8).filter(move |&index| self.0 >> index & 1 == 1)
    }
}

/// The pieces of choices in an object: OpenAI's `choices`, Gemini's `candidates`.
pub(crate) fn list(object: &Value) -> Option<&Vec<Value>> {
    object["choices"].as_array().or_else(|| object["candidates"].as_array())
}

/// True if the choice ends with this piece.
pub(crate) fn finishes(choice: &Value) -> bool {
    // Some servers send an empty one with each piece.
    let reasons = [&choice["finish_reason"], &choice["finishReason"]];
    reasons.into_iter().any(|reason| !reason.is_null() && reason != "")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn choices_are_told_apart_by_their_index() {
        let of = |object: Value| Choices::of(&object, |choice| choice["text"] != "").indexes().collect::<Vec<_>>();
        assert_eq!(of(json!({"choices": [{"index": 2}, {"index": 0, "text": ""}, {"index": 5}]})), [2, 5]);
        assert_eq!(of(json!({"candidates": [{}, {}]})), [0, 1]);
        assert_eq!(of(json!({"choices": [{"index": 500}, {"index": 127}, {"index": -1}]})), [2, 127]);
        assert_eq!(of(json!({"choices": [{"index": u64::MAX}]})), [127]);
        assert!(of(json!({"choices": []})).is_empty() && of(json!({"choices": "a"})).is_empty());
        assert!(Choices::default().is_empty() && !Choices::FIRST.is_empty());
        assert!(Choices::FIRST.with(Choices(4)).has_all(Choices(4)) && !Choices::FIRST.has_all(Choices(4)));
    }
}
