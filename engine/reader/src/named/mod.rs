//! Named cursors: positions that the log keeps for readers, and how far each reader is behind.
//!
//! In a log with a directory each is a file below `cursors/`, replaced as a whole, so that a crash leaves the position
//! before or the position after. Without a directory they live as long as the bus.

mod files;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tapeline_storage::format::{LogId, Sequence};
use tapeline_storage::log::LogView;
use tapeline_storage::read::{LogReader, Step};

pub use store::CursorStore;

use crate::cursor::{Cursor, CursorFault};
use crate::error::{ConsumerError, ConsumerResult, DamageCause};
use crate::source::refuse_cursor;
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

/// Keeps a position under a name.
pub fn save_in(
    store: &CursorStore,
    log: LogId,
    views: &[Arc<LogView>],
    name: &str,
    cursor: &str,
) -> ConsumerResult<()> {
    Cursor::decode(cursor, log).map_err(|fault| refuse_cursor(fault, log, views))?;
    store.save(name, cursor)
}

/// All named cursors, by name.
pub fn list_in(store: &CursorStore, log: LogId, views: &[Arc<LogView>]) -> ConsumerResult<Vec<NamedCursor>> {
    let names = store.names()?;
    let mut named = Vec::with_capacity(names.len());
    for name in names {
        named.extend(match store.load(&name) {
            // One that was removed meanwhile is none.
            Ok(text) => text.map(|text| measure(log, views, name, text)).transpose()?,
            // What is wrong with one does not hide the others.
            Err(error) => {
                let unread = measure(log, views, name, String::new())?;
                Some(NamedCursor { fault: Some(cause(&error)), fault_cause: Some(party(&error)), ..unread })
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
pub fn pins(store: &CursorStore, log: LogId, views: &[Arc<LogView>]) -> ConsumerResult<Vec<Pin>> {
    let mut pins = Vec::new();
    for name in store.names()? {
        let (cursor, fault) = match read(store, &name, log) {
            // One that was removed meanwhile is none.
            Ok(None) => continue,
            Ok(Some(cursor)) => (cursor, None),
            Err(fault) => (Cursor::default(), Some(fault)),
        };
        for view in views {
            let next = match &fault {
                Some(_) => Sequence::ZERO,
                None => next_unread(&cursor, view).unwrap_or_default(),
            };
            pins.push(Pin { cursor: name.clone(), shard: view.shard(), next, fault: fault.clone() });
        }
    }
    Ok(pins)
}

/// The cursor of this name, if there is one and it is of this log.
///
/// # Errors
/// In words, why it cannot be read.
fn read(store: &CursorStore, name: &str, log: LogId) -> Result<Option<Cursor>, String> {
    let Some(text) = store.load(name).map_err(|error| cause(&error))? else { return Ok(None) };
    match Cursor::decode(&text, log) {
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

fn measure(log: LogId, views: &[Arc<LogView>], name: String, text: String) -> ConsumerResult<NamedCursor> {
    let (cursor, fault) = match Cursor::decode(&text, log) {
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
    for view in views {
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
