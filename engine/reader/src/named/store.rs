//! The store of named cursors.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use tapeline_storage::device::fs;

use super::saved::SavedCursor;
use crate::error::{ConsumerError, ConsumerResult};
use crate::process::lock;

/// Bytes of a cursor's text, at most: twice that of all shards there can be.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Name of the directory.
const DIRECTORY: &str = "cursors";

/// Name of the file with the end of the log whose notes are in the cursors' files: no cursor can have it.
const NOTED: &str = ".noted";

/// Names and cursors: files of a log's directory, or memory.
#[derive(Debug)]
pub struct CursorStore {
    place: Place,
    /// Held while what is decided by the files is written to them.
    changes: Mutex<()>,
}

#[derive(Debug)]
enum Place {
    Files(PathBuf),
    Memory(Mutex<BTreeMap<String, SavedCursor>>),
}

impl CursorStore {
    /// The store of a log at `path`, or in memory.
    pub fn new(path: Option<&Path>) -> Self {
        let place = match path {
            Some(path) => Place::Files(path.join(DIRECTORY)),
            None => Place::Memory(Mutex::default()),
        };
        Self { place, changes: Mutex::default() }
    }

    /// The store of a log that is opened for writing: what crashes have left in it goes.
    pub fn cleared(self) -> Self {
        if let Place::Files(directory) = &self.place {
            // What stays takes some space until the next time.
            let _ = fs::remove_temporary_files(directory);
        }
        self
    }

    /// Returns whether the cursors live as long as the bus.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    /// Keeps others of this process from changing what is there.
    pub(super) fn changes(&self) -> MutexGuard<'_, ()> {
        lock(&self.changes)
    }

    /// Durable when it returns.
    pub(super) fn save(&self, name: &str, saved: SavedCursor) -> ConsumerResult<()> {
        check_name(name)?;
        match &self.place {
            Place::Memory(cursors) => {
                lock(cursors).insert(name.to_owned(), saved);
                Ok(())
            }
            Place::Files(directory) => write(directory, name, &saved.text()),
        }
    }

    pub(super) fn load(&self, name: &str) -> ConsumerResult<Option<SavedCursor>> {
        check_name(name)?;
        match &self.place {
            Place::Memory(cursors) => Ok(lock(cursors).get(name).cloned()),
            Place::Files(directory) => Ok(read(directory, name)?.map(|text| SavedCursor::parse(&text))),
        }
    }

    /// Removes the file. Returns whether there was one.
    pub(super) fn remove(&self, name: &str) -> ConsumerResult<bool> {
        check_name(name)?;
        match &self.place {
            Place::Memory(cursors) => Ok(lock(cursors).remove(name).is_some()),
            Place::Files(directory) => match fs::remove_file_durably(directory, name) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(failed("remove", name, error)),
            },
        }
    }

    /// Of all files, those of removed cursors included. Sorted.
    pub(super) fn names(&self) -> ConsumerResult<Vec<String>> {
        let directory = match &self.place {
            Place::Memory(cursors) => return Ok(lock(cursors).keys().cloned().collect()),
            Place::Files(directory) => directory,
        };
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| failed("list", "cursors", source))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|source| failed("list", "cursors", source))?.file_name();
            // What has no name of a cursor is left by a crash, or not ours.
            names.extend(name.into_string().ok().filter(|name| check_name(name).is_ok()));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The cursor of the end of the log whose notes are in the files. `None`: the log has no notes of cursors.
    pub(super) fn noted(&self) -> ConsumerResult<Option<String>> {
        match &self.place {
            Place::Memory(_) => Ok(None),
            // A plain file in its place holds no cursors: the call that needs the directory says so.
            Place::Files(directory) if directory.is_file() => Ok(None),
            Place::Files(directory) => match read(directory, NOTED) {
                // A file that is no text is damaged. It stands for the beginning of the log.
                Err(ConsumerError::CursorStore { source, .. }) if source.kind() == io::ErrorKind::InvalidData => {
                    Ok(Some(String::new()))
                }
                noted => noted,
            },
        }
    }

    /// Durable when it returns.
    pub(super) fn save_noted(&self, end: &str) -> ConsumerResult<()> {
        match &self.place {
            Place::Memory(_) => Ok(()),
            Place::Files(directory) => write(directory, NOTED, end),
        }
    }
}

fn write(directory: &Path, name: &str, text: &str) -> ConsumerResult<()> {
    fs::create_directory(directory)
        .and_then(|()| fs::write_shared_file_durably(directory, name, text.as_bytes()))
        .map_err(|source| failed("save", name, source))
}

fn read(directory: &Path, name: &str) -> ConsumerResult<Option<String>> {
    let is_no_text = |_| io::Error::new(io::ErrorKind::InvalidData, "the file is not text");
    match fs::read_small_file(directory, name, TEXT_BYTES_MAX) {
        Ok(bytes) => {
            String::from_utf8(bytes).map(Some).map_err(is_no_text).map_err(|error| failed("read", name, error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", name, error)),
    }
}

/// Refuses a name that no cursor can have.
///
/// # Errors
/// [`ConsumerError::CursorName`].
pub fn check_name(name: &str) -> ConsumerResult<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('.')
        && !name.ends_with(".tmp");
    if is_name { Ok(()) } else { Err(ConsumerError::CursorName(name.to_owned())) }
}

fn failed(operation: &'static str, name: &str, source: io::Error) -> ConsumerError {
    ConsumerError::CursorStore { name: name.to_owned(), operation, source }
}
