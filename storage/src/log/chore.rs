//! What a log needs done that blocks: it describes the work, the host runs it on another thread and brings the outcome.

use std::io;
use std::sync::Arc;

use super::Segment;
use super::roll::SPARE_NAME;
use crate::device::{Directory, SegmentFile};
use crate::format::{Footer, PAGE_BYTES, Sequence};

/// One piece of blocking work of a log.
#[derive(Debug)]
pub struct Chore(Work);

#[derive(Debug)]
enum Work {
    Prepare { directory: Arc<dyn Directory>, bytes: u64 },
    Name { directory: Arc<dyn Directory>, base: Sequence, unsynced: Option<Arc<dyn SegmentFile>> },
    Seal { segment: Arc<Segment>, footer: Footer, unsynced: Option<Arc<dyn SegmentFile>> },
    Remove { directory: Arc<dyn Directory>, name: String },
}

/// The outcome of a [`Chore`].
#[derive(Debug)]
pub struct ChoreDone {
    pub(super) operation: &'static str,
    pub(super) place: String,
    pub(super) is_prepare: bool,
    pub(super) result: io::Result<Outcome>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Prepared(Arc<dyn SegmentFile>),
    Named,
    Sealed,
}

impl Chore {
    pub(super) fn prepare(directory: &Arc<dyn Directory>, bytes: u64) -> Self {
        Self(Work::Prepare { directory: Arc::clone(directory), bytes })
    }

    /// `unsynced`: the spare's file, if the page cache may hold what the disk does not. A name must not get there before
    /// what it stands for, and neither must a footer.
    pub(super) fn name_spare(
        directory: &Arc<dyn Directory>,
        base: Sequence,
        unsynced: Option<Arc<dyn SegmentFile>>,
    ) -> Self {
        Self(Work::Name { directory: Arc::clone(directory), base, unsynced })
    }

    /// `unsynced` as for [`Chore::name_spare`], of the segment.
    pub(super) fn seal(segment: Arc<Segment>, footer: Footer, unsynced: Option<Arc<dyn SegmentFile>>) -> Self {
        Self(Work::Seal { segment, footer, unsynced })
    }

    pub(super) fn remove(directory: &Arc<dyn Directory>, name: String) -> Self {
        Self(Work::Remove { directory: Arc::clone(directory), name })
    }

    /// Does the work. Blocks for as long as the file system takes.
    pub fn run(self) -> ChoreDone {
        match self.0 {
            Work::Prepare { directory, bytes } => {
                let result = directory.create(SPARE_NAME, bytes).map(Outcome::Prepared);
                ChoreDone::new("prepare segment", &*directory, SPARE_NAME, result)
            }
            Work::Name { directory, base, unsynced } => {
                let name = Segment::file_name(base);
                let synced = unsynced.map_or(Ok(()), |file| file.distrust_cache());
                let result = synced.and_then(|()| directory.rename(SPARE_NAME, &name)).map(|()| Outcome::Named);
                ChoreDone::new("name segment", &*directory, &name, result)
            }
            Work::Seal { segment, footer, unsynced } => {
                let synced = unsynced.map_or(Ok(()), |file| file.distrust_cache());
                let result = synced.and_then(|()| write_footer(&segment, footer)).map(|()| Outcome::Sealed);
                let place = Segment::file_name(segment.base());
                ChoreDone { operation: "seal segment", place, is_prepare: false, result }
            }
            Work::Remove { directory, name } => {
                let result = directory.remove(&name).map(|()| Outcome::Sealed);
                ChoreDone::new("remove segment", &*directory, &name, result)
            }
        }
    }
}

impl ChoreDone {
    fn new(operation: &'static str, directory: &dyn Directory, name: &str, result: io::Result<Outcome>) -> Self {
        let place = format!("{}/{name}", directory.path());
        Self { operation, place, is_prepare: operation == "prepare segment", result }
    }
}

/// Writes the footer behind the last block, then cuts the file behind the footer. A crash between leaves a footer where
/// the next block would be, which recovery takes for the end.
pub(super) fn write_footer(segment: &Segment, footer: Footer) -> io::Result<()> {
    segment.file().write_at(&footer.encode(), footer.data_end)?;
    segment.file().truncate(footer.data_end + PAGE_BYTES as u64)?;
    segment.seal(footer);
    Ok(())
}
