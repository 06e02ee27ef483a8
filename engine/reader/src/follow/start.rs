//! The start of following.

use std::sync::Arc;

use tapeline_storage::format::LogId;
use tapeline_storage::log::LogView;
use tapeline_storage::read::Visibility;

use crate::cursor::{Cursor, CursorFault};
use crate::error::ConsumerResult;
use crate::source::{Source, Start, cursor_of, refuse_cursor, source};

/// The start of a [`LogFollower`](super::LogFollower).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FollowStart {
    /// At the earliest event there is.
    Earliest,
    /// After the last event that is durable.
    #[default]
    Latest,
    /// In each shard at the first event that was ingested at this time or later: nanoseconds since the Unix epoch.
    Time(u64),
    /// Before the last so many events of those that were asked for, not counting events of kind
    /// [`kinds::SESSION`](crate::kinds::SESSION). Where parts of the log cannot be read they are of what can.
    Last(usize),
    /// At [`LogFollower::cursor`](super::LogFollower::cursor), or a cursor of a subscription or a page.
    Cursor(String),
}

impl FollowStart {
    /// The cursor that it goes on from.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidCursor`](crate::ConsumerError::InvalidCursor).
    pub(super) fn cursor(&self, log: LogId, views: &[Arc<LogView>]) -> ConsumerResult<Cursor> {
        let Self::Cursor(text) = self else { return Ok(Cursor::default()) };
        let cursor = cursor_of(log, views, Some(text))?.unwrap_or_default();
        match cursor.sweep {
            None => Ok(cursor),
            Some(_) => Err(refuse_cursor(CursorFault::OtherOrdering, log, views)),
        }
    }

    /// A reader of a shard that is there at the start.
    pub(super) fn source(
        &self,
        log: LogId,
        views: &[Arc<LogView>],
        view: &Arc<LogView>,
        cursor: &Cursor,
    ) -> ConsumerResult<Source> {
        let start = match self {
            Self::Earliest | Self::Cursor(_) => Start::Earliest,
            Self::Latest | Self::Last(_) => Start::Latest,
            Self::Time(time) => Start::Time(*time),
        };
        let cursor = matches!(self, Self::Cursor(_)).then_some(cursor);
        source(log, views, view, cursor, &start, Visibility::Appended)
    }

    /// A reader of a shard that is opened later: one that is new from its beginning, one that could not be opened at
    /// the start as if it had been; and where the cursor stands, if it knows the shard.
    pub(super) fn late_source(&self, view: &Arc<LogView>, cursor: &Cursor, is_new: bool) -> Source {
        let visibility = Visibility::Appended;
        let from_beginning = || Source::at(view, view.trimmed(), visibility);
        let source = match (self, is_new) {
            (Self::Cursor(_), _) => {
                let position = cursor.positions.get(&view.shard()).copied().unwrap_or_default();
                Source::resume(view, position, visibility).ok()
            }
            (Self::Latest | Self::Last(_), false) => Some(Source::at(view, view.appended(), visibility)),
            (Self::Time(time), _) => Source::start(view, &Start::Time(*time), visibility).ok(),
            (Self::Earliest | Self::Latest | Self::Last(_), _) => None,
        };
        source.unwrap_or_else(from_beginning)
    }
}
