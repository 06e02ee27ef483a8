//! The text by which an adapter of a server goes on reading a shard: `ID`, or `ID+ID` with that of events out of order.

use std::fmt::Display;

use tapeline_reader::{AdapterError, AdapterResult};

/// The last entries that were read of a shard, each by its id on the server.
#[derive(Debug, Clone)]
pub(super) struct Position<I> {
    pub(super) in_order: Option<I>,
    /// Of the events that were delivered out of order.
    pub(super) late: Option<I>,
}

impl<I: Display> Position<I> {
    /// The position that a text names; before everything without one.
    ///
    /// # Errors
    /// [`AdapterError::Denied`], where the text names none.
    pub(super) fn parse(text: Option<&str>, id: impl Fn(&str) -> Option<I>) -> AdapterResult<Self> {
        let Some(text) = text else { return Ok(Self { in_order: None, late: None }) };
        let refused =
            || AdapterError::Denied(format!("{text:?} is no place to go on from: give a next_id of this adapter"));
        let (in_order, late) = match text.split_once('+') {
            None => (text, None),
            Some((in_order, late)) => (in_order, Some(id(late).ok_or_else(refused)?)),
        };
        let has_none = in_order.is_empty() && late.is_some();
        let in_order = if has_none { None } else { Some(id(in_order).ok_or_else(refused)?) };
        Ok(Self { in_order, late })
    }

    /// The text of it. `None`: before everything.
    pub(super) fn text(&self) -> Option<String> {
        match (&self.in_order, &self.late) {
            (None, None) => None,
            (Some(in_order), None) => Some(in_order.to_string()),
            (None, Some(late)) => Some(format!("+{late}")),
            (Some(in_order), Some(late)) => Some(format!("{in_order}+{late}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_back_from_their_text_and_others_are_refused() {
        let parse = |text| Position::<u64>::parse(text, |id| id.parse().ok());
        for text in [None, Some("7"), Some("+8"), Some("7+8")] {
            assert_eq!(parse(text).expect("a position").text().as_deref(), text);
        }
        for broken in ["", "+", "7+", "x", "7+x", "7+8+9"] {
            assert!(matches!(parse(Some(broken)), Err(AdapterError::Denied(_))), "{broken}");
        }
    }
}
