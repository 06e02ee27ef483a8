//! Repair of what a log's directory holds beside the shards: the meta file, the eras, the shards' directories.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::directory::{
    ERAS, LOCK, LogDirectory, META, NAMES, durable_mode, is_vacant, lock, read_meta, shard_path, write_meta,
};
use super::{RepairAction, set_aside};
use crate::device::fs::{self, FsDirectory, WriteMode, not_a_file_at};
use crate::device::{Access, Directory};
use crate::format::{Eras, LogId, Meta, PAGE_BYTES, PageError, SHARDS_MAX, SegmentHeader, counted};
use crate::log::DirectoryError;

impl LogDirectory {
    /// Opens a log whose own files may be missing or damaged, and says what is to be done about them. The meta file's
    /// words are then taken from the headers of the segments. Changes nothing.
    ///
    /// # Errors
    /// [`DirectoryError`]: no log, a file of a newer format, or a meta file that cannot be used where no segment has
    /// what it said.
    pub fn survey(path: &Path) -> Result<(Self, Vec<RepairAction>), DirectoryError> {
        let mut actions = Vec::new();
        let (meta, reason) = match read_meta(path) {
            Ok(meta) => contradicted(path, meta)?,
            Err(error) => {
                let Some(reason) = reason_to_replace(&error) else { return Err(error) };
                let FromSegments { meta: Some(meta), .. } = meta_of_segments(path)? else { return Err(error) };
                (meta, Some(reason))
            }
        };
        actions.extend(reason.map(|reason| RepairAction::ReplaceMeta {
            reason,
            log_id: meta.log_id,
            shards: meta.shards,
        }));
        let directory = Self::at_rest(path, meta);
        actions.extend(fault_of_lock(path).map(|reason| RepairAction::SetAside { file: LOCK.into(), reason }));
        let faults = [(ERAS, reason_to_set_aside(directory.eras())?), (NAMES, reason_to_set_aside(directory.names())?)];
        for (file, reason) in faults {
            actions.extend(reason.map(|reason| RepairAction::SetAside { file: file.into(), reason }));
        }
        for shard in 0..meta.shards {
            if is_vacant(&shard_path(path, shard))? {
                actions.push(RepairAction::MakeDirectory { shard_id: shard });
            }
        }
        Ok((directory, actions))
    }

    /// As [`LogDirectory::survey`], holding the log's lock, and does what is to be done.
    ///
    /// # Errors
    /// [`DirectoryError`]; the repair may be begun again.
    pub fn repair(path: &Path) -> Result<(Self, Vec<RepairAction>), DirectoryError> {
        // Says that there is no log before it makes a lock in what is none.
        Self::survey(path)?;
        let files = FsDirectory::open(path, WriteMode::BufferedSync).map_err(DirectoryError::io("open", path))?;
        // The lock comes before all that it is to keep others from.
        let bad_lock = fault_of_lock(path);
        if bad_lock.is_some() {
            set_aside(&files, LOCK).map_err(DirectoryError::io("set aside", &path.join(LOCK)))?;
        }
        let lock = lock(path)?;
        let (mut directory, mut actions) = Self::survey(path)?;
        for action in &actions {
            match action {
                RepairAction::MakeDirectory { shard_id: shard } => {
                    let path = shard_path(path, *shard);
                    fs::create_directory(&path).map_err(DirectoryError::io("create", &path))?;
                }
                RepairAction::ReplaceMeta { .. } => directory.replace_meta(&files)?,
                RepairAction::SetAside { file, .. } => {
                    set_aside(&files, file).map_err(DirectoryError::io("set aside", &path.join(file)))?;
                    // Without names there are those that the log's events give.
                    if file == ERAS {
                        directory.save_eras(&Eras::of_unknown_route())?;
                    }
                }
                // A shard's.
                _ => {}
            }
        }
        actions.splice(0..0, bad_lock.map(|reason| RepairAction::SetAside { file: LOCK.into(), reason }));
        (directory.mode, directory.lock) = (durable_mode(path)?, Some(Arc::new(lock)));
        Ok((directory, actions))
    }

    fn replace_meta(&self, files: &FsDirectory) -> Result<(), DirectoryError> {
        match set_aside(files, META) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DirectoryError::io("set aside", &self.path().join(META))(error))
            }
            _ => write_meta(self.path(), META, self.meta()),
        }
    }
}

/// The reason to set aside what has the name of the lock: it is no file, so no process has locked it.
fn fault_of_lock(path: &Path) -> Option<String> {
    not_a_file_at(&path.join(LOCK)).map(|error| error.to_string())
}

/// The reason to replace a meta file; `None` if it is to stay.
fn reason_to_replace(error: &DirectoryError) -> Option<String> {
    match error {
        // The segments of a log in another version may well say less than its meta file.
        DirectoryError::Meta { source: PageError::Version { .. }, .. } => None,
        DirectoryError::Meta { source, .. } => Some(source.to_string()),
        DirectoryError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Some("it is missing".into()),
        DirectoryError::Io { source, .. } if fs::is_no_file(source) => Some(source.to_string()),
        _ => None,
    }
}

/// The reason to set a file aside that the log can do without; `None` if it is to stay.
///
/// # Errors
/// That of a file in a newer format.
fn reason_to_set_aside<T>(read: Result<T, DirectoryError>) -> Result<Option<String>, DirectoryError> {
    match read {
        Err(
            error @ (DirectoryError::Eras { source: PageError::Version { .. }, .. }
            | DirectoryError::Names { source: PageError::Version { .. }, .. }),
        ) => Err(error),
        Err(DirectoryError::Eras { source, .. } | DirectoryError::Names { source, .. }) => Ok(Some(source.to_string())),
        Err(DirectoryError::Io { source, .. }) if fs::is_no_file(&source) => Ok(Some(source.to_string())),
        _ => Ok(None),
    }
}

/// The meta file that the segments ask for in place of one that can be read, and why; else that one. They ask for
/// another where they all belong to another log, or lie in shards that it does not count.
///
/// # Errors
/// [`DirectoryError::Newer`].
fn contradicted(path: &Path, meta: Meta) -> Result<(Meta, Option<String>), DirectoryError> {
    let FromSegments { meta: Some(told), logs, held } = (match meta_of_segments(path) {
        Err(error @ DirectoryError::Newer { .. }) => return Err(error),
        // The survey of its shard reports what cannot be read.
        Err(_) => return Ok((meta, None)),
        Ok(told) => told,
    }) else {
        return Ok((meta, None));
    };
    if !logs.contains(&meta.log_id) {
        let reason = format!("it is that of log {}, and every segment belongs to another", meta.log_id);
        return Ok((told, Some(reason)));
    }
    if told.log_id != meta.log_id {
        return Ok((meta, None));
    }
    if held > meta.shards {
        let reason = format!("it counts {}, and there are segments of more", counted(u64::from(meta.shards), "shard"));
        return Ok((Meta { created: meta.created, ..told }, Some(reason)));
    }
    Ok((meta, None))
}

/// The identity of the log, as its segments state it.
struct FromSegments {
    /// Of the log that most of them belong to.
    meta: Option<Meta>,
    /// Logs that they belong to.
    logs: Vec<LogId>,
    /// The number after that of the last directory that holds one of that log.
    held: u16,
}

/// The segments of one log.
struct Tally {
    segments: u64,
    /// The time at which the first of them was created.
    created: u64,
    /// The number after that of the last directory that holds one.
    shards: u16,
}

fn meta_of_segments(path: &Path) -> Result<FromSegments, DirectoryError> {
    let mut logs: BTreeMap<LogId, Tally> = BTreeMap::new();
    for shard in shards_of(path)? {
        let path = shard_path(path, shard);
        for (name, header) in headers(&path).map_err(DirectoryError::io("read", &path))? {
            let header = match header {
                Err(source @ PageError::Version { .. }) => {
                    return Err(DirectoryError::Newer { path: path.join(name), source });
                }
                Err(_) => continue,
                Ok(header) => header,
            };
            let none = Tally { segments: 0, created: u64::MAX, shards: 0 };
            let tally = logs.entry(header.log_id).or_insert(none);
            tally.segments += 1;
            tally.created = tally.created.min(header.created);
            // One that lies in another shard's directory says nothing of how many there are.
            if header.shard == shard {
                tally.shards = tally.shards.max(shard + 1);
            }
        }
    }
    let found = logs.keys().copied().collect();
    let most = logs.into_iter().max_by_key(|(_, tally)| tally.segments);
    let held = most.as_ref().map_or(0, |(_, tally)| tally.shards);
    let meta = most.map(|(log_id, Tally { created, shards, .. })| {
        // A log makes directories in order, and a shard may have no segment yet.
        let shards = (shards.max(1)..SHARDS_MAX).find(|&shard| !shard_path(path, shard).is_dir()).unwrap_or(SHARDS_MAX);
        Meta { log_id, shards, created }
    });
    Ok(FromSegments { meta, logs: found, held })
}

/// Shards that a log may have and that there are directories of.
fn shards_of(path: &Path) -> Result<Vec<u16>, DirectoryError> {
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(path).map_err(DirectoryError::io("list", path))? {
        let name = entry.map_err(DirectoryError::io("list", path))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("shard-")).and_then(|number| number.parse().ok());
        let is_shard = |&number: &u16| number < SHARDS_MAX && shard_path(path, number).file_name() == Some(&*name);
        shards.extend(number.filter(is_shard));
    }
    Ok(shards)
}

/// The header of each segment, by name.
fn headers(path: &Path) -> io::Result<Vec<(String, Result<SegmentHeader, PageError>)>> {
    let directory = FsDirectory::open(path, WriteMode::Direct)?;
    let mut headers = Vec::new();
    for name in directory.list()?.into_iter().filter(|name| name.ends_with(".seg")) {
        let mut page = [0; PAGE_BYTES];
        let read = match directory.open(&name, Access::Read).and_then(|file| file.read_at(&mut page, 0)) {
            // The survey of its shard sets it aside.
            Err(error) if fs::is_no_file(&error) => continue,
            read => read?,
        };
        headers.push((name, SegmentHeader::decode(&page[..read]).map(|(header, _)| header)));
    }
    Ok(headers)
}
