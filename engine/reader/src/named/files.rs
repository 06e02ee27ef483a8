//! The named cursors of a log that this process has not open for writing.
//!
//! A cursor's file is replaced as a whole, so that setting or removing one is safe beside a process that has the log
//! open: readers that are running keep their position, and write it over what was set when they next save it.

use tapeline_storage::read::Visibility;

use super::{CursorStore, NamedCursor, list_in, load_in, remove_in, save_in};
use crate::cursor::Cursor;
use crate::error::{ConsumerError, ConsumerResult};
use crate::files::LogFiles;
use crate::source::{Source, Start};

impl LogFiles {
    /// The named cursors of the log, by name, and how far each is behind what was durable when the log was opened.
    /// Costs some microseconds for each and each shard.
    ///
    /// # Errors
    /// [`ConsumerError::CursorStore`](crate::ConsumerError::CursorStore).
    pub fn cursors(&self) -> ConsumerResult<Vec<NamedCursor>> {
        list_in(&self.cursor_store(), self.log_views())
    }

    /// The cursor of this name, if there is one.
    ///
    /// # Errors
    /// [`ConsumerError::CursorName`](crate::ConsumerError::CursorName),
    /// [`ConsumerError::CursorStore`](crate::ConsumerError::CursorStore).
    pub fn load_cursor(&self, name: &str) -> ConsumerResult<Option<String>> {
        load_in(&self.cursor_store(), self.log_views(), name)
    }

    /// Keeps a cursor under a name; durable when it returns. The one that had the name is replaced.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidCursor`](crate::ConsumerError::InvalidCursor), and as [`LogFiles::load_cursor`].
    pub fn save_cursor(&self, name: &str, cursor: &str) -> ConsumerResult<()> {
        save_in(&self.cursor_store(), self.log_views(), name, cursor)
    }

    /// Removes a named cursor. Returns whether there was one.
    ///
    /// # Errors
    /// As [`LogFiles::load_cursor`].
    pub fn remove_cursor(&self, name: &str) -> ConsumerResult<bool> {
        remove_in(&self.cursor_store(), self.log_views(), name)
    }

    /// The cursor of a reader that has read nothing yet and starts here.
    ///
    /// # Errors
    /// [`ConsumerError::Damaged`](crate::ConsumerError::Damaged) where a shard cannot be opened,
    /// [`ConsumerError::Read`](crate::ConsumerError::Read) where a time is looked for in files that cannot be read.
    pub fn cursor_at(&self, start: &Start) -> ConsumerResult<String> {
        if let Some(damage) = self.damage().first() {
            return Err(ConsumerError::Damaged(damage.clone()));
        }
        let mut cursor = Cursor::default();
        for view in self.views() {
            let source = Source::start(view, start, Visibility::Durable)?;
            cursor.positions.insert(view.shard(), source.position(source.next_sequence()));
        }
        Ok(cursor.encode(self.log_id()))
    }

    fn cursor_store(&self) -> CursorStore {
        CursorStore::new(Some(self.path()))
    }
}
