//! The file of a shard's gaps.

use std::io;
use std::sync::{Arc, Mutex};

use super::OpenError;
use super::names::GAPS_NAME;
use crate::device::{Access, Directory};
use crate::format::{GAPS_FILE_BYTES, Gaps, LogShard, Sequence};
use crate::lock::lock;

/// The gaps of a shard; none where there is no file.
pub(super) fn read(directory: &dyn Directory, shard: LogShard) -> Result<Gaps, OpenError> {
    find(directory, shard).map(Option::unwrap_or_default)
}

/// The gaps of a shard. `None` where there is no file: then the shard has had no segment, because the file is made
/// before the first.
pub(super) fn find(directory: &dyn Directory, shard: LogShard) -> Result<Option<Gaps>, OpenError> {
    let path = || format!("{}/{GAPS_NAME}", directory.path());
    let file = match directory.open(GAPS_NAME, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(OpenError::io("open", path()))?,
    };
    let mut bytes = vec![0; GAPS_FILE_BYTES];
    let read = file.read_at(&mut bytes, 0).map_err(OpenError::io("read", path()))?;
    Gaps::decode(&bytes[..read], shard).map(Some).map_err(|source| OpenError::Gaps { path: path(), source })
}

/// Makes the file where there is none, before the first segment: that it is missing later shows that it was removed,
/// and a full disk is not in the way of trimming.
pub(super) fn create(directory: &dyn Directory) -> io::Result<()> {
    match directory.create(GAPS_NAME, GAPS_FILE_BYTES as u64) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

/// The file of an open log, which its chores change one after the other.
#[derive(Debug)]
pub(super) struct GapsFile {
    directory: Arc<dyn Directory>,
    shard: LogShard,
    /// As the file has them.
    gaps: Mutex<Gaps>,
}

impl GapsFile {
    /// Of a file that has these gaps.
    pub(super) fn new(directory: Arc<dyn Directory>, shard: LogShard, gaps: Gaps) -> Self {
        Self { directory, shard, gaps: Mutex::new(gaps) }
    }

    /// Writes down that every event below `to` is in a sealed segment.
    ///
    /// # Errors
    /// The kernel's: the file is as it was, and may be changed again.
    pub(super) fn seal(&self, to: Sequence) -> io::Result<()> {
        self.change(|gaps| gaps.seal(to))
    }

    /// Writes down that every event below `to` is trimmed.
    ///
    /// # Errors
    /// As [`GapsFile::seal`].
    pub(super) fn trim(&self, to: Sequence) -> io::Result<()> {
        self.change(|gaps| gaps.trim(to))
    }

    fn change(&self, change: impl FnOnce(&mut Gaps)) -> io::Result<()> {
        let mut known = lock(&self.gaps);
        let mut gaps = known.clone();
        change(&mut gaps);
        if gaps != *known {
            write(&*self.directory, self.shard, &mut gaps)?;
            *known = gaps;
        }
        Ok(())
    }
}

/// Writes the gaps down. They hold when this returns.
pub(super) fn write(directory: &dyn Directory, shard: LogShard, gaps: &mut Gaps) -> io::Result<()> {
    let file = match directory.open(GAPS_NAME, Access::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => directory.create(GAPS_NAME, GAPS_FILE_BYTES as u64)?,
        opened => opened?,
    };
    gaps.advance();
    let (page, offset) = gaps.encode(shard);
    file.write_at(&page, offset)
}

/// Removes a segment that the gaps record as gone; one that is gone already is no error.
pub(super) fn remove(directory: &dyn Directory, name: &str) -> io::Result<()> {
    match directory.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
