//! The text of a named cursor's file.

/// A named cursor as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedCursor {
    /// `None`: it was removed, and notes of the log before `since` do not bring it back.
    pub(super) cursor: Option<String>,
    /// The cursor of the end of the log when the file was written: notes before it are older. `None` in a log that had
    /// no notes of cursors.
    pub(super) since: Option<String>,
}

/// Stands for a cursor that was removed.
const REMOVED: &str = "-";

impl SavedCursor {
    /// The cursor and, after a space, where the log ended.
    pub(super) fn text(&self) -> String {
        let cursor = self.cursor.as_deref().unwrap_or(REMOVED);
        match &self.since {
            Some(since) => format!("{cursor} {since}"),
            None => cursor.to_owned(),
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        let (cursor, since) = match text.split_once(' ') {
            Some((cursor, since)) => (cursor, Some(since.to_owned())),
            None => (text, None),
        };
        Self { cursor: (cursor != REMOVED).then(|| cursor.to_owned()), since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_back() {
        let text = |text: &str| Some(text.to_owned());
        for (cursor, since) in [(text("02"), None), (text("02"), text("04")), (None, text("04"))] {
            let saved = SavedCursor { cursor, since };
            assert_eq!(SavedCursor::parse(&saved.text()), saved);
        }
    }
}
