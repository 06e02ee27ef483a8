//! Cursors in the log: the notes that producers publish together with events.
//!
//! A note is newer than what the cursor's file has if it comes after the end of the log that the file names. Of two
//! notes of one shard the later counts, of notes in several shards the one of the later time: a producer publishes a
//! cursor in another shard once the one before is durable.
//!
//! The file `.noted` names an end of the log: every note before it is in the files, so that those after it are all that
//! has to be read. A log without that file has no notes, unless the file is gone: the opening of the log finds that in
//! the indexes of its segments, a repair by reading. One that cannot be used stands for the beginning.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapeline_storage::format::{ArchivedSegmentIndex, LogId, Sequence, SessionId};
use tapeline_storage::log::{LogView, SessionSeek};
use tapeline_storage::read::{LogReader, ReadError, Step};

use super::saved::SavedCursor;
use super::store::CursorStore;
use crate::cursor::Cursor;
use crate::error::ConsumerResult;
use crate::note::CursorNote;
use crate::source::LogViews;

/// A cursor in the log.
#[derive(Debug, Clone)]
pub(super) struct NotedCursor {
    pub(super) cursor: String,
    shard: u16,
    sequence: Sequence,
    time: u64,
}

impl NotedCursor {
    /// Returns whether it is newer than what the cursor's file has.
    pub(super) fn is_newer(&self, saved: Option<&SavedCursor>, log: LogViews<'_>) -> bool {
        let since = saved.and_then(|saved| saved.since.as_deref()).map(|since| decode(since, log.id));
        let Some(view) = log.views.iter().find(|view| view.shard() == self.shard) else { return true };
        since.is_none_or(|since| self.sequence >= sequence_in(&since, view))
    }
}

/// The end of the log that is durable, as text.
pub(super) fn durable_end(log: LogViews<'_>) -> String {
    let positions = log.views.iter().map(|view| (view.shard(), view.position(view.durable()))).collect();
    Cursor { positions, sweep: None }.encode(log.id)
}

/// Has the log expect notes from here on, unless it does. Durable when it returns.
pub fn expect_notes(store: &CursorStore, log: LogViews<'_>) -> ConsumerResult<()> {
    let _changes = store.changes();
    match store.noted()? {
        Some(_) => Ok(()),
        None => store.save_noted(&durable_end(log)),
    }
}

/// The newest note of each name that the files may not have, among those that can be read.
pub(super) fn newest(
    store: &CursorStore,
    log: LogViews<'_>,
    end_of: impl Fn(&LogView) -> Sequence,
) -> ConsumerResult<BTreeMap<String, NotedCursor>> {
    let mut newest = BTreeMap::new();
    let Some(noted) = store.noted()?.map(|noted| decode(&noted, log.id)) else { return Ok(newest) };
    for view in log.views {
        each_note(view, sequence_in(&noted, view), end_of(view), |name, found: NotedCursor| {
            let is_newer = |known: &NotedCursor| {
                if known.shard == found.shard { found.sequence > known.sequence } else { found.time > known.time }
            };
            if newest.get(&name).is_none_or(is_newer) {
                let _ = newest.insert(name, found);
            }
        })?;
    }
    Ok(newest)
}

/// Writes the cursors of durable notes to their files, so that neither a reader nor a trim needs those notes any more.
/// Costs a look at what the log has got since the last time, and a durable file for each cursor that has moved.
pub fn fold_notes(store: &CursorStore, log: LogViews<'_>) -> ConsumerResult<()> {
    let _changes = store.changes();
    let before = match store.noted()? {
        Some(before) => before,
        // It is gone.
        None if are_indexed(log.views) => {
            expect_all_notes(store, log.id)?;
            String::new()
        }
        None => return Ok(()),
    };
    let end = durable_end(log);
    if before == end {
        return Ok(());
    }
    let reached = decode(&end, log.id);
    for (name, note) in newest(store, log, |view| sequence_in(&reached, view))? {
        if note.is_newer(store.load(&name)?.as_ref(), log) {
            store.save(&name, SavedCursor { cursor: Some(note.cursor), since: Some(end.clone()) })?;
        }
    }
    store.save_noted(&end)?;
    forget_removed(store, log, &reached)
}

/// Returns whether an index lists notes.
fn are_indexed(views: &[Arc<LogView>]) -> bool {
    let mut segments = views.iter().flat_map(|view| view.segments());
    segments.any(|segment| {
        let lists = |index: &ArchivedSegmentIndex| index.session(SessionId::CURSORS).is_some();
        segment.footer().is_some_and(|footer| footer.index.is_some())
            && segment.may_hold_any(&[SessionId::CURSORS])
            && segment.with_index(lists).ok().flatten() == Some(true)
    })
}

/// Returns whether the log has notes but not the file that says so. Reads what no index covers.
pub(crate) fn are_forgotten(store: &CursorStore, views: &[Arc<LogView>]) -> ConsumerResult<bool> {
    let mut are_there = false;
    if store.noted()?.is_none() {
        for view in views.iter().filter(|_| !store.is_in_memory()) {
            each_note(view, view.trimmed(), view.appended(), |_, _| are_there = true)?;
        }
    }
    Ok(are_there)
}

/// Has the log expect notes from its beginning on. Durable when it returns.
pub(crate) fn expect_all_notes(store: &CursorStore, log: LogId) -> ConsumerResult<()> {
    store.save_noted(&Cursor::default().encode(log))
}

/// Removes the files of removed cursors, which keep notes from bringing them back, where those notes are not looked at
/// any more.
fn forget_removed(store: &CursorStore, log: LogViews<'_>, reached: &Cursor) -> ConsumerResult<()> {
    for name in store.names()? {
        if let Some(SavedCursor { cursor: None, since }) = store.load(&name)? {
            let since = since.map(|since| decode(&since, log.id)).unwrap_or_default();
            if log.views.iter().all(|view| sequence_in(&since, view) <= sequence_in(reached, view)) {
                let _ = store.remove(&name)?;
            }
        }
    }
    Ok(())
}

/// The position, or the beginning.
fn decode(text: &str, log: LogId) -> Cursor {
    Cursor::decode(text, log).unwrap_or_default()
}

fn sequence_in(cursor: &Cursor, view: &LogView) -> Sequence {
    let position = cursor.positions.get(&view.shard());
    position.and_then(|position| view.resume(*position).ok()).unwrap_or_default().max(view.trimmed())
}

/// Shows the notes of cursors in a part of a shard. What does not check has none.
fn each_note(
    view: &Arc<LogView>,
    from: Sequence,
    end: Sequence,
    mut each: impl FnMut(String, NotedCursor),
) -> ConsumerResult<()> {
    let mut seek = SessionSeek::new(vec![SessionId::CURSORS]);
    let mut reader = LogReader::new(Arc::clone(view), from);
    loop {
        let next = seek.next(view, reader.next_sequence()).max(reader.next_sequence());
        if next >= end {
            return Ok(());
        }
        reader.return_to(next);
        let block = match reader.step() {
            Ok(Step::Block(block)) => block,
            Ok(Step::Gap(_)) => continue,
            Ok(Step::End) => return Ok(()),
            Err(ReadError::Corrupt { .. }) => {
                let _ = reader.pass_damage();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for (at, record) in block.records().enumerate() {
            let sequence = block.first_sequence().plus(at as u64);
            let Some(record) = record.ok().filter(|_| sequence < end) else { continue };
            if let Some(CursorNote { name, cursor }) = CursorNote::read(&record) {
                each(name, NotedCursor { cursor, shard: view.shard(), sequence, time: record.timestamp() });
            }
        }
    }
}
