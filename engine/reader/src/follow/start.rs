//! The start of following.

use std::sync::Arc;

use tapeline_storage::log::LogView;
use tapeline_storage::read::Visibility;

use crate::cursor::{Cursor, CursorFault};
use crate::error::ConsumerResult;
use crate::source::{LogViews, Source, Start};

/// The start of a [`LogFollower`](super::LogFollower).
///
/// ```
/// use tapeline_reader::FollowStart;
///
/// fn start(cursor: Option<String>) -> FollowStart {
///     cursor.map_or(FollowStart::Earliest, FollowStart::Cursor)
/// }
/// assert_eq!(start(None), FollowStart::Earliest);
/// assert_eq!(FollowStart::default(), FollowStart::Latest);
/// ```
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

/// The beginning of a follower: in the shards that there are, and in those that are opened later.
///
/// A shard that is opened later is read from the cursor's position, where the start is a cursor; from the beginning of
/// the shard, if it is new since the start; else as if it could have been opened at the start.
#[derive(Debug)]
pub(super) struct Beginning {
    start: FollowStart,
    /// The cursor that it goes on from; without positions where the start is none.
    cursor: Cursor,
    /// Shards that there were at the start.
    shards: u16,
}

impl Beginning {
    /// At the earliest event of a log that has so many shards.
    pub(super) fn earliest(shards: u16) -> Self {
        Self { start: FollowStart::Earliest, cursor: Cursor::default(), shards }
    }

    /// The same log, begun elsewhere.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidCursor`](crate::ConsumerError::InvalidCursor).
    pub(super) fn with_start(&self, start: FollowStart, log: LogViews<'_>) -> ConsumerResult<Self> {
        let cursor = match &start {
            FollowStart::Cursor(text) => log.cursor_of(Some(text))?.unwrap_or_default(),
            _ => Cursor::default(),
        };
        match cursor.sweep {
            None => Ok(Self { start, cursor, shards: self.shards }),
            Some(_) => Err(log.refuse_cursor(CursorFault::OtherOrdering)),
        }
    }

    /// The number of events that are wanted from before the start, where it is a number.
    pub(super) fn last(&self) -> Option<usize> {
        match self.start {
            FollowStart::Last(count) => Some(count),
            _ => None,
        }
    }

    /// The positions of the cursor that it goes on from.
    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// A reader of a shard that is there at the start.
    pub(super) fn source(&self, log: LogViews<'_>, view: &Arc<LogView>) -> ConsumerResult<Source> {
        let start = match self.start {
            FollowStart::Earliest | FollowStart::Cursor(_) => Start::Earliest,
            FollowStart::Latest | FollowStart::Last(_) => Start::Latest,
            FollowStart::Time(time) => Start::Time(time),
        };
        let cursor = matches!(self.start, FollowStart::Cursor(_)).then_some(&self.cursor);
        log.source(view, cursor, &start, Visibility::Appended)
    }

    /// A reader of a shard that is opened later.
    pub(super) fn late_source(&self, view: &Arc<LogView>) -> Source {
        let visibility = Visibility::Appended;
        let is_new = view.shard() >= self.shards;
        let source = match (&self.start, is_new) {
            (FollowStart::Cursor(_), _) => {
                let position = self.cursor.positions.get(&view.shard()).copied().unwrap_or_default();
                Source::resume(view, position, visibility).ok()
            }
            (FollowStart::Latest | FollowStart::Last(_), false) => Some(Source::at(view, view.appended(), visibility)),
            (FollowStart::Time(time), _) => Source::start(view, &Start::Time(*time), visibility).ok(),
            (FollowStart::Earliest | FollowStart::Latest | FollowStart::Last(_), _) => None,
        };
        source.unwrap_or_else(|| Source::at(view, view.trimmed(), visibility))
    }
}
