//! Named cursors: positions that the log keeps for readers, and how far each reader is behind.
//!
//! In a log with a directory each is a file below `cursors/`, replaced as a whole, so that a crash leaves the position
//! before or the position after; `noted` are the positions that producers publish together with events, which are in
//! the log first. Without a directory they live as long as the bus.

mod files;
mod noted;
mod saved;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tapeline_storage::format::{LogId, Sequence};
use tapeline_storage::log::LogView;
use tapeline_storage::read::{LogReader, Step};

pub(crate) use noted::{are_forgotten, expect_all_notes};
use noted::{durable_end, newest};
pub use noted::{expect_notes, fold_notes};
use saved::SavedCursor;
pub use store::{CursorStore, check_name};

use crate::cursor::{Cursor, CursorFault};
use crate::error::{ConsumerError, ConsumerResult, DamageCause};
use crate::source::LogViews;
use crate::timestamp::Clock;

/// A named cursor, and how far it is behind what can be read.
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore, Start};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-cursors-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// let log = LogFiles::open(&directory)?;
/// log.save_cursor("indexer", &log.cursor_at(&Start::Earliest)?)?;
/// for cursor in log.cursors()? {
///     println!("{} lags {} events, {:?}", cursor.name, cursor.lag_events, cursor.lag);
/// }
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedCursor {
    /// Its name.
    pub name: String,
    /// The cursor, to go on with. One that cannot be used any more is listed, too: using it says why.
    pub cursor: String,
    /// Events that the reader is behind. Those of a log in order of time are counted from the first that may not have
    /// been read.
    pub lag_events: u64,
    /// Bytes of the log that the reader is behind, whole blocks counted.
    pub lag_bytes: u64,
    /// Time since the ingestion of the first event that the reader is behind. Zero where there is none.
    pub lag: Duration,
    /// The reason for which it cannot be used, if it cannot: then it counts as behind everything.
    pub fault: Option<String>,
    /// The party at fault where its file cannot be read, or does not hold what was written to it. A cursor of another
    /// log is intact.
    pub fault_cause: Option<DamageCause>,
}

/// Refuses a name or a text that are none of a cursor of this log.
///
/// # Errors
/// [`ConsumerError::CursorName`], [`ConsumerError::InvalidCursor`].
pub fn check_in(log: LogViews<'_>, name: &str, cursor: &str) -> ConsumerResult<()> {
    check_name(name)?;
    Cursor::decode(cursor, log.id).map_err(|fault| log.refuse_cursor(fault))?;
    Ok(())
}

/// Keeps a position under a name.
pub fn save_in(store: &CursorStore, log: LogViews<'_>, name: &str, cursor: &str) -> ConsumerResult<()> {
    check_in(log, name, cursor)?;
    let _changes = store.changes();
    store.save(name, SavedCursor { cursor: Some(cursor.to_owned()), since: since_now(store, log)? })
}

/// The end of a log that has notes of cursors.
fn since_now(store: &CursorStore, log: LogViews<'_>) -> ConsumerResult<Option<String>> {
    Ok(store.noted()?.map(|_| durable_end(log)))
}

/// The cursor of this name, if there is one: of its file, or a newer one of what can be read of the log.
pub fn load_in(store: &CursorStore, log: LogViews<'_>, name: &str) -> ConsumerResult<Option<String>> {
    let saved = store.load(name)?;
    let noted = newest(store, log, |view| view.appended())?.remove(name);
    let noted = noted.filter(|note| note.is_newer(saved.as_ref(), log)).map(|note| note.cursor);
    Ok(noted.or(saved.and_then(|saved| saved.cursor)))
}

/// Keeps a cursor that was published with a batch, of a log that no crash leaves.
pub fn keep_in_memory(store: &CursorStore, name: &str, cursor: &str) -> ConsumerResult<()> {
    if store.is_in_memory() {
        store.save(name, SavedCursor { cursor: Some(cursor.to_owned()), since: None })
    } else {
        Ok(())
    }
}

/// Forgets a cursor. Returns whether there was one.
pub fn remove_in(store: &CursorStore, log: LogViews<'_>, name: &str) -> ConsumerResult<bool> {
    let is_there = load_in(store, log, name)?.is_some();
    let _changes = store.changes();
    match since_now(store, log)? {
        None => store.remove(name),
        // Its notes stay in the log.
        since if is_there => store.save(name, SavedCursor { cursor: None, since }).map(|()| true),
        _ => Ok(false),
    }
}

/// The text of every cursor that a crash leaves, by name; an error stands for one that cannot be read.
fn durable_in(store: &CursorStore, log: LogViews<'_>) -> ConsumerResult<BTreeMap<String, ConsumerResult<String>>> {
    let mut noted = newest(store, log, |view| view.durable())?;
    let mut texts = BTreeMap::new();
    for name in store.names()? {
        let note = noted.remove(&name);
        let text = match store.load(&name) {
            Ok(saved) => {
                let note = note.filter(|note| note.is_newer(saved.as_ref(), log)).map(|note| note.cursor);
                // One that was removed meanwhile is none.
                let Some(text) = note.or(saved.and_then(|saved| saved.cursor)) else { continue };
                Ok(text)
            }
            Err(error) => Err(error),
        };
        let _ = texts.insert(name, text);
    }
    texts.extend(noted.into_iter().map(|(name, note)| (name, Ok(note.cursor))));
    Ok(texts)
}

/// All named cursors, by name.
pub fn list_in(store: &CursorStore, log: LogViews<'_>) -> ConsumerResult<Vec<NamedCursor>> {
    let mut named = Vec::new();
    for (name, text) in durable_in(store, log)? {
        named.push(match text {
            Ok(text) => measure(log, name, text)?,
            // What is wrong with one does not hide the others.
            Err(error) => {
                let unread = measure(log, name, String::new())?;
                NamedCursor { fault: Some(cause(&error)), fault_cause: Some(party(&error)), ..unread }
            }
        });
    }
    Ok(named)
}

/// The fault, without the words that name the cursor.
fn cause(error: &ConsumerError) -> String {
    match error {
        ConsumerError::CursorStore { source, .. } => source.to_string(),
        error => error.to_string(),
    }
}

/// The party at fault where a cursor's file cannot be read.
fn party(error: &ConsumerError) -> DamageCause {
    match error {
        ConsumerError::CursorStore { source, .. } => DamageCause::of(source),
        _ => DamageCause::Log,
    }
}

/// A named cursor, and where it stands in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    pub cursor: String,
    pub shard: u16,
    pub next: Sequence,
    /// The reason for which the cursor cannot be read.
    pub fault: Option<String>,
}

/// The position of each named cursor in each shard. One that cannot be read holds everything, since it may be anywhere;
/// one of another log holds nothing.
pub fn pins(store: &CursorStore, log: LogViews<'_>) -> ConsumerResult<Vec<Pin>> {
    let mut pins = Vec::new();
    for (name, text) in durable_in(store, log)? {
        let (cursor, fault) = match read(text, log.id) {
            Ok(None) => continue,
            Ok(Some(cursor)) => (cursor, None),
            Err(fault) => (Cursor::default(), Some(fault)),
        };
        for view in log.views {
            let next = match &fault {
                Some(_) => Sequence::ZERO,
                None => next_unread(&cursor, view).unwrap_or_default(),
            };
            pins.push(Pin { cursor: name.clone(), shard: view.shard(), next, fault: fault.clone() });
        }
    }
    Ok(pins)
}

/// The cursor of this text, if it is of this log.
///
/// # Errors
/// In words, why it cannot be read.
fn read(text: ConsumerResult<String>, log: LogId) -> Result<Option<Cursor>, String> {
    match Cursor::decode(&text.map_err(|error| cause(&error))?, log) {
        Err(CursorFault::Foreign(_)) => Ok(None),
        decoded => decoded.map(Some).map_err(|fault| fault.to_string()),
    }
}

/// The first event of a shard that a reader at the cursor has not read. `None` where the log no longer knows.
fn next_unread(cursor: &Cursor, view: &LogView) -> Option<Sequence> {
    let position = cursor.positions.get(&view.shard()).copied().unwrap_or_default();
    let unread = cursor.first_unread(view.shard()).unwrap_or_default();
    view.resume(position).ok().map(|next| next.min(unread))
}

fn measure(log: LogViews<'_>, name: String, text: String) -> ConsumerResult<NamedCursor> {
    let (cursor, fault) = match Cursor::decode(&text, log.id) {
        Ok(cursor) => (cursor, None),
        // What cannot be used any more is behind everything.
        Err(fault) => (Cursor::default(), Some(fault)),
    };
    let mut named = NamedCursor {
        name,
        cursor: text,
        lag_events: 0,
        lag_bytes: 0,
        lag: Duration::ZERO,
        fault_cause: fault
            .as_ref()
            .and_then(|fault| (!matches!(fault, CursorFault::Foreign(_))).then_some(DamageCause::Log)),
        fault: fault.map(|fault| fault.to_string()),
    };
    for view in log.views {
        let next = next_unread(&cursor, view).unwrap_or_default().max(view.trimmed());
        named.lag_events += view.appended().since(next);
        named.lag_bytes += view.bytes_since(next).map_err(|error| ConsumerError::CursorStore {
            name: named.name.clone(),
            operation: "measure the lag of",
            source: error,
        })?;
        if let Ok(Step::Block(block)) = LogReader::new(Arc::clone(view), next).step()
            && let Some(Ok(record)) = block.records().next()
        {
            let age = Clock::global().now().saturating_sub(record.timestamp());
            named.lag = named.lag.max(Duration::from_nanos(age));
        }
    }
    Ok(named)
}
