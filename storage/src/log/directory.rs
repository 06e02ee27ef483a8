//! The directory of a log: a meta file, a lock, and one directory for each shard.
//!
//! ```text
//! <dir>/            0700
//!   meta            identity, format, shard count
//!   meta.restore    the same of a log that is being restored, and is none yet
//!   lock            held by the one process that writes
//!   eras            where in each shard the log's eras begin, once sessions have moved between shards
//!   names           names of sessions whose opening was trimmed
//!   cursors/        cursors of readers, by name
//!   shard-0000/     the segments of shard 0, named by first sequence
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::device::fs::{self, DirectoryLock, FsDirectory, WriteMode};
use crate::device::{Directory, advice};
use crate::format::{ERAS_BYTES_MAX, Eras, META_BYTES, Meta, NAMES_BYTES_MAX, PageError, SHARDS_MAX, SessionNames};

pub(super) const META: &str = "meta";
/// The meta file of a log that is restored, until the log is complete.
const RESTORED_META: &str = "meta.restore";
pub(super) const LOCK: &str = "lock";
pub(super) const ERAS: &str = "eras";
pub(super) const NAMES: &str = "names";

/// Longest wait for the lock: the ring of a process that was killed holds it until the disk has done its writes.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The reason for which a log directory cannot be opened.
///
/// ```
/// # use std::path::Path;
/// # use tapeline_storage::log::{DirectoryError, LogDirectory};
/// match LogDirectory::open_read_only(Path::new("/no/such/log")) {
///     Err(DirectoryError::Locked { path }) => println!("{} is another process's at present", path.display()),
///     Err(error) => println!("{error}"),
///     Ok(log) => println!("{} shards", log.meta().shards),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The file system refused.
    #[error("{operation} {path}: {source}{}", advice(source))]
    Io {
        /// The call that failed.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// Another process, or another bus of this one, has the log open for writing; or the disk has not done the last
    /// writes of a process that was killed.
    #[error("{path}: the log is open in another process or bus; close that first, or read without writing")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds files, and no log.
    #[error("{path}: not a log, and not empty; choose another directory")]
    NotALog {
        /// The directory.
        path: PathBuf,
    },
    /// There is a log already where a new one is to be made.
    #[error("{path}: a log already; choose another directory")]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The meta file cannot be used.
    #[error("{path}: meta file: {source}; {}", source.remedy("put back the file from a copy of this log, or repair the log"))]
    Meta {
        /// The meta file.
        path: PathBuf,
        /// The fault of the page.
        source: PageError,
    },
    /// The file of the log's eras cannot be used.
    #[error(
        "{path}: {source}; {}",
        source.remedy("put back the file from a copy of this log, or remove it: then sessions that moved between shards may be read out of order")
    )]
    Eras {
        /// The file.
        path: PathBuf,
        /// The fault of the page.
        source: PageError,
    },
    /// The file of names cannot be used.
    #[error(
        "{path}: {source}; {}",
        source.remedy("sessions whose opening event was trimmed are called by their ids; the file may be removed")
    )]
    Names {
        /// The file.
        path: PathBuf,
        /// The fault of the page.
        source: PageError,
    },
    /// The directory of a shard that the log has is missing, with the shard's events.
    #[error("{path}: the shard's directory is missing; put it back from a copy of this log, or repair the log")]
    NoShard {
        /// The directory.
        path: PathBuf,
    },
    /// A segment that a repair must not touch: what its format promises is not known here.
    #[error("{path}: {source}; repair the log with the program that wrote it, or a newer one")]
    Newer {
        /// The segment.
        path: PathBuf,
        /// The version that it states.
        source: PageError,
    },
}

impl DirectoryError {
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

/// An open log directory. The lock is held for as long as it lives, or a [`LogDirectory::hold`] of it.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    meta: Meta,
    /// The name of the file that has it.
    meta_file: &'static str,
    /// Shards that it had before it was opened for writing; `None` for a new log.
    shards_before: Option<u16>,
    pub(super) mode: WriteMode,
    pub(super) lock: Option<Arc<DirectoryLock>>,
}

impl LogDirectory {
    /// Opens a log for writing, or creates it as `wanted`. `wanted.shards` directories exist afterwards, or more if the
    /// log had more.
    ///
    /// Waits up to a second for the lock.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn open(path: &Path, wanted: Meta) -> Result<Self, DirectoryError> {
        Self::open_with(path, wanted, durable_mode)
    }

    /// As [`LogDirectory::open`], for level `PageCache`.
    ///
    /// # Errors
    /// As [`LogDirectory::open`].
    pub fn open_cached(path: &Path, wanted: Meta) -> Result<Self, DirectoryError> {
        Self::open_with(path, wanted, |_| Ok(WriteMode::Buffered))
    }

    fn open_with(
        path: &Path,
        wanted: Meta,
        mode: impl FnOnce(&Path) -> Result<WriteMode, DirectoryError>,
    ) -> Result<Self, DirectoryError> {
        check_shards(path, wanted.shards)?;
        fs::create_directory(path).map_err(DirectoryError::io("create", path))?;
        // A directory that is refused is left as it was: without a lock file.
        known_meta(path)?;
        let lock = lock(path)?;
        let known = known_meta(path)?;
        let before = known.unwrap_or(wanted);
        let meta = Meta { shards: before.shards.max(wanted.shards), ..before };
        let promised = known.map_or(0, |known| known.shards);
        for path in (0..promised).map(|shard| shard_path(path, shard)) {
            if is_vacant(&path)? {
                return Err(DirectoryError::NoShard { path });
            }
        }
        for shard in 0..meta.shards {
            let directory = shard_path(path, shard);
            fs::create_directory(&directory).map_err(DirectoryError::io("create", &directory))?;
        }
        for leftover in [META, RESTORED_META, ERAS, NAMES].map(|name| format!("{name}{LEFTOVER}")) {
            remove_leftover(path, &leftover)?;
        }
        remove_leftover(path, RESTORED_META)?;
        // The meta file comes after the directories it promises.
        if known != Some(meta) {
            write_meta(path, META, &meta)?;
        }
        let mode = mode(path)?;
        let shards_before = known.map(|known| known.shards);
        let path = path.to_owned();
        Ok(Self { path, meta, meta_file: META, shards_before, mode, lock: Some(Arc::new(lock)) })
    }

    /// Begins a new log, which is one once it is [complete](LogDirectory::complete): until
    /// then nothing opens it. Removes what one leaves that was begun and not completed.
    ///
    /// # Errors
    /// As [`LogDirectory::open`]; [`DirectoryError::Exists`].
    pub fn create(path: &Path, wanted: Meta) -> Result<Self, DirectoryError> {
        check_shards(path, wanted.shards)?;
        Self::check_vacant(path)?;
        fs::create_directory(path).map_err(DirectoryError::io("create", path))?;
        let lock = lock(path)?;
        // Another process may have made one meanwhile.
        Self::check_vacant(path)?;
        if is_unfinished(path)? {
            remove_unfinished(path)?;
        }
        let (mode, path) = (durable_mode(path)?, path.to_owned());
        let (meta, lock) = (Meta { shards: 0, ..wanted }, Some(Arc::new(lock)));
        let mut directory = Self { path, meta, meta_file: RESTORED_META, shards_before: None, mode, lock };
        directory.grow(wanted.shards)?;
        Ok(directory)
    }

    /// Completes a log that was begun by [`LogDirectory::create`], durably.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: it is not complete.
    pub fn complete(&mut self) -> Result<(), DirectoryError> {
        let failed = || DirectoryError::io("complete", &self.path);
        let files = FsDirectory::open(&self.path, WriteMode::BufferedSync).map_err(failed())?;
        files.rename(self.meta_file, META).map_err(failed())?;
        self.meta_file = META;
        Ok(())
    }

    /// Checks that a new log can be made there. Changes nothing.
    ///
    /// # Errors
    /// As [`LogDirectory::create`].
    pub fn check_vacant(path: &Path) -> Result<(), DirectoryError> {
        if !is_vacant(path)? && !is_unfinished(path)? && known_meta(path)?.is_some() {
            return Err(DirectoryError::Exists { path: path.to_owned() });
        }
        Ok(())
    }

    /// Opens a log for reading, also while another process writes it.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn open_read_only(path: &Path) -> Result<Self, DirectoryError> {
        Ok(Self::at_rest(path, read_meta(path)?))
    }

    pub(super) fn at_rest(path: &Path, meta: Meta) -> Self {
        let shards_before = Some(meta.shards);
        let (path, mode) = (path.to_owned(), WriteMode::Direct);
        Self { path, meta, meta_file: META, shards_before, mode, lock: None }
    }

    /// The contents of the file `meta`.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Shards that the log had before it was opened for writing. `None` for one that was new.
    pub fn shards_before(&self) -> Option<u16> {
        self.shards_before
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The way in which segment files are written here.
    pub fn mode(&self) -> WriteMode {
        self.mode
    }

    /// Checks that no other process or bus has the log open for writing. Waits up to a second for the lock, and lets go
    /// of it. A lock that this process may not take is taken for a free one.
    ///
    /// # Errors
    /// [`DirectoryError::Locked`].
    pub fn check_unused(&self) -> Result<(), DirectoryError> {
        match self.path.join(LOCK).exists().then(|| lock(&self.path)) {
            Some(Err(error @ DirectoryError::Locked { .. })) => Err(error),
            _ => Ok(()),
        }
    }

    /// The lock of a directory that is open for writing. A thread that may change the directory holds it for its life:
    /// so the lock is free only when no such thread is left. Readers need none.
    pub fn hold(&self) -> Option<Arc<DirectoryLock>> {
        self.lock.clone()
    }

    /// Makes room for shards 0 to `shards - 1`.
    ///
    /// # Errors
    /// [`DirectoryError::Io`].
    pub fn grow(&mut self, shards: u16) -> Result<(), DirectoryError> {
        check_shards(&self.path, shards)?;
        let meta = Meta { shards: self.meta.shards.max(shards), ..self.meta };
        for shard in self.meta.shards..meta.shards {
            let directory = shard_path(&self.path, shard);
            fs::create_directory(&directory).map_err(DirectoryError::io("create", &directory))?;
        }
        if self.meta != meta {
            write_meta(&self.path, self.meta_file, &meta)?;
            self.meta = meta;
        }
        Ok(())
    }

    /// The eras of the log.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn eras(&self) -> Result<Eras, DirectoryError> {
        match read_page(&self.path, ERAS, ERAS_BYTES_MAX, Eras::decode) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Eras::default()),
            read => {
                let path = self.path.join(ERAS);
                let read = read.map_err(DirectoryError::io("read", &path))?;
                read.map_err(|source| DirectoryError::Eras { path, source })
            }
        }
    }

    /// Keeps the eras of the log, durably.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: the log has the eras that it had.
    pub fn save_eras(&self, eras: &Eras) -> Result<(), DirectoryError> {
        fs::write_file_durably(&self.path, ERAS, &eras.encode())
            .map_err(DirectoryError::io("write", &self.path.join(ERAS)))
    }

    /// The names of sessions whose opening events were trimmed.
    ///
    /// # Errors
    /// [`DirectoryError`]; the log can be used without them.
    pub fn names(&self) -> Result<SessionNames, DirectoryError> {
        match read_page(&self.path, NAMES, NAMES_BYTES_MAX, SessionNames::decode) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(SessionNames::default()),
            read => {
                let path = self.path.join(NAMES);
                let read = read.map_err(DirectoryError::io("read", &path))?;
                read.map_err(|source| DirectoryError::Names { path, source })
            }
        }
    }

    /// Keeps names of sessions durably, in place of those that were kept.
    ///
    /// # Errors
    /// [`DirectoryError::Io`]: the log has the names that it had.
    pub fn save_names(&self, names: &SessionNames) -> Result<(), DirectoryError> {
        fs::write_file_durably(&self.path, NAMES, &names.encode())
            .map_err(DirectoryError::io("write", &self.path.join(NAMES)))
    }

    /// The directory of one shard.
    ///
    /// # Errors
    /// [`DirectoryError::Io`].
    pub fn shard(&self, shard: u16) -> Result<Arc<dyn Directory>, DirectoryError> {
        let path = shard_path(&self.path, shard);
        let directory = FsDirectory::open(&path, self.mode).map_err(DirectoryError::io("open", &path))?;
        Ok(Arc::new(directory))
    }
}

/// A log that has more shards could not be opened again.
fn check_shards(path: &Path, shards: u16) -> Result<(), DirectoryError> {
    if shards <= SHARDS_MAX {
        return Ok(());
    }
    let reason = format!("{shards} shards; a log has at most {SHARDS_MAX}");
    Err(DirectoryError::io("make shards in", path)(io::Error::new(io::ErrorKind::InvalidInput, reason)))
}

pub(super) fn shard_path(path: &Path, shard: u16) -> PathBuf {
    path.join(format!("shard-{shard:04}"))
}

/// Returns whether there is nothing of this name, not even a symbolic link that leads nowhere.
pub(super) fn is_vacant(path: &Path) -> Result<bool, DirectoryError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        found => found.map(|_| false).map_err(DirectoryError::io("look at", path)),
    }
}

/// Finds the way in which files are written here so that they are durable at once.
pub(super) fn durable_mode(path: &Path) -> Result<WriteMode, DirectoryError> {
    let direct = fs::probe_direct(path).map_err(DirectoryError::io("probe", path))?;
    Ok(if direct { WriteMode::Direct } else { WriteMode::BufferedSync })
}

pub(super) fn lock(path: &Path) -> Result<DirectoryLock, DirectoryError> {
    let file = path.join(LOCK);
    let locked = fs::not_a_file_at(&file).map_or_else(|| fs::lock_exclusive(path, LOCK, LOCK_PATIENCE), Err);
    locked.map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => DirectoryError::Locked { path: path.to_owned() },
        _ => DirectoryError::io("lock", &file)(source),
    })
}

pub(super) fn write_meta(path: &Path, name: &str, meta: &Meta) -> Result<(), DirectoryError> {
    fs::write_file_durably(path, name, &meta.encode()).map_err(DirectoryError::io("write", &path.join(name)))
}

pub(super) fn read_meta(path: &Path) -> Result<Meta, DirectoryError> {
    let file = path.join(META);
    let read = read_page(path, META, 2 * META_BYTES, Meta::decode).map_err(DirectoryError::io("read", &file))?;
    read.map_err(|source| DirectoryError::Meta { path: file, source })
}

/// The meta file of the log that is there; `None` where one may begin.
fn known_meta(path: &Path) -> Result<Option<Meta>, DirectoryError> {
    match read_meta(path) {
        Err(DirectoryError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            refuse_foreign(path).map(|()| None)
        }
        read => read.map(Some),
    }
}

/// Reads a file of at most so many bytes, and what they say.
fn read_page<T>(
    path: &Path,
    name: &str,
    most: usize,
    decode: impl FnOnce(&[u8]) -> Result<T, PageError>,
) -> io::Result<Result<T, PageError>> {
    match fs::read_small_file(path, name, most) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Err(PageError::Long { most })),
        read => read.map(|bytes| decode(&bytes)),
    }
}

/// Returns whether a log was begun there by [`LogDirectory::create`] and not completed.
fn is_unfinished(path: &Path) -> Result<bool, DirectoryError> {
    Ok(is_vacant(&path.join(META))? && !is_vacant(&path.join(RESTORED_META))?)
}

/// Removes the files of a log that was not completed; last of all the one that says so, which a new one replaces.
fn remove_unfinished(path: &Path) -> Result<(), DirectoryError> {
    for entry in std::fs::read_dir(path).map_err(DirectoryError::io("list", path))? {
        let name = entry.map_err(DirectoryError::io("list", path))?.file_name();
        if is_shard_name(&name.to_string_lossy()) {
            let shard = path.join(name);
            std::fs::remove_dir_all(&shard).map_err(DirectoryError::io("remove", &shard))?;
        }
    }
    [ERAS, NAMES].into_iter().try_for_each(|name| remove_leftover(path, name))
}

/// A log begins in an empty directory, or in one where its own creation was interrupted.
fn refuse_foreign(path: &Path) -> Result<(), DirectoryError> {
    let entries = std::fs::read_dir(path).map_err(DirectoryError::io("list", path))?;
    for entry in entries {
        let name = entry.map_err(DirectoryError::io("list", path))?.file_name();
        let name = name.to_string_lossy();
        let is_leftover = matches!(name.strip_suffix(LEFTOVER), Some(META | RESTORED_META));
        let own = name == LOCK || is_leftover || (is_shard_name(&name) && is_empty(&path.join(&*name)));
        if !own {
            return Err(DirectoryError::NotALog { path: path.to_owned() });
        }
    }
    Ok(())
}

/// The suffix of a small file until it is complete.
const LEFTOVER: &str = ".tmp";

/// Removes what a crash left of a small file.
fn remove_leftover(path: &Path, name: &str) -> Result<(), DirectoryError> {
    let file = path.join(name);
    match file.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(_) => fs::remove_file_durably(path, name).map_err(DirectoryError::io("remove", &file)),
    }
}

fn is_shard_name(name: &str) -> bool {
    let number = name.strip_prefix("shard-").and_then(|digits| digits.parse().ok());
    number.is_some_and(|number| shard_path(Path::new(""), number) == Path::new(name))
}

fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}
