//! The store of named cursors.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tapeline_storage::device::fs;

use crate::error::{ConsumerError, ConsumerResult};

/// Bytes of a cursor's text, at most: that of all shards there can be.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Name of the directory.
const DIRECTORY: &str = "cursors";

/// Names and cursors: files of a log's directory, or memory.
#[derive(Debug)]
pub enum CursorStore {
    Files(PathBuf),
    Memory(Mutex<BTreeMap<String, String>>),
}

impl CursorStore {
    /// The store of a log at `path`, or in memory.
    pub fn new(path: Option<&Path>) -> Self {
        match path {
            Some(path) => Self::Files(path.join(DIRECTORY)),
            None => Self::Memory(Mutex::default()),
        }
    }

    /// The store of a log that is opened for writing: what crashes have left in it goes.
    pub fn cleared(self) -> Self {
        if let Self::Files(directory) = &self {
            // What stays takes some space until the next time.
            let _ = fs::remove_temporary_files(directory);
        }
        self
    }

    /// Durable when it returns.
    pub fn save(&self, name: &str, cursor: &str) -> ConsumerResult<()> {
        check(name)?;
        match self {
            Self::Memory(cursors) => {
                lock(cursors).insert(name.to_owned(), cursor.to_owned());
                Ok(())
            }
            Self::Files(directory) => fs::create_directory(directory)
                .and_then(|()| fs::write_shared_file_durably(directory, name, cursor.as_bytes()))
                .map_err(|source| failed("save", name, source)),
        }
    }

    pub fn load(&self, name: &str) -> ConsumerResult<Option<String>> {
        check(name)?;
        match self {
            Self::Memory(cursors) => Ok(lock(cursors).get(name).cloned()),
            Self::Files(directory) => match fs::read_small_file(directory, name, TEXT_BYTES_MAX) {
                Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| {
                    failed("read", name, io::Error::new(io::ErrorKind::InvalidData, "the file is not text"))
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed("read", name, error)),
            },
        }
    }

    /// Returns whether there was one.
    pub fn remove(&self, name: &str) -> ConsumerResult<bool> {
        check(name)?;
        match self {
            Self::Memory(cursors) => Ok(lock(cursors).remove(name).is_some()),
            Self::Files(directory) => match fs::remove_file_durably(directory, name) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(failed("remove", name, error)),
            },
        }
    }

    /// Sorted.
    pub fn names(&self) -> ConsumerResult<Vec<String>> {
        let directory = match self {
            Self::Memory(cursors) => return Ok(lock(cursors).keys().cloned().collect()),
            Self::Files(directory) => directory,
        };
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| failed("list", "cursors", source))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|source| failed("list", "cursors", source))?.file_name();
            // What has no name of a cursor is left by a crash, or not ours.
            names.extend(name.into_string().ok().filter(|name| check(name).is_ok()));
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn check(name: &str) -> ConsumerResult<()> {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
