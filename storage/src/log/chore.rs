//! What a log needs done that blocks: it describes the work, the host runs it on another thread and brings the outcome.

use std::io;
use std::sync::Arc;

use super::roll::SPARE_NAME;
use super::{Segment, gaps, seal};
use crate::device::{Directory, SegmentFile};
use crate::format::{Footer, Gaps, LogId, Sequence};

const PREPARE: &str = "prepare segment";
const TIDY: &str = "index segment";
const TRIM: &str = "trim";

/// One piece of blocking work of a log.
#[derive(Debug)]
pub struct Chore(Work);

#[derive(Debug)]
enum Work {
    Prepare { directory: Arc<dyn Directory>, bytes: u64 },
    Name { directory: Arc<dyn Directory>, base: Sequence, unsynced: Option<Arc<dyn SegmentFile>> },
    Seal { segment: Arc<Segment>, footer: Footer, unsynced: Option<Arc<dyn SegmentFile>> },
    Tidy { directory: Arc<dyn Directory>, segment: Arc<Segment>, repack_saves_bytes: u64 },
    Remove { directory: Arc<dyn Directory>, name: String, file: Arc<dyn SegmentFile> },
    Trim { directory: Arc<dyn Directory>, log_id: LogId, shard: u16, gaps: Gaps, names: Vec<String> },
}

/// The outcome of a [`Chore`].
#[derive(Debug)]
pub struct ChoreDone {
    pub(super) operation: &'static str,
    pub(super) place: String,
    pub(super) result: io::Result<Outcome>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Prepared(Arc<dyn SegmentFile>),
    Named,
    Removed,
    Sealed(Arc<Segment>),
    /// This segment, if any, takes the place of the one with its base.
    Tidied(Option<Arc<Segment>>),
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

    /// Gives a sealed segment its index, or a dense copy in its place.
    pub(super) fn tidy(directory: &Arc<dyn Directory>, segment: Arc<Segment>, repack_saves_bytes: u64) -> Self {
        Self(Work::Tidy { directory: Arc::clone(directory), segment, repack_saves_bytes })
    }

    /// Removes segments, the oldest first, once it is written down that they are gone.
    pub(super) fn trim(
        directory: &Arc<dyn Directory>,
        log_id: LogId,
        shard: u16,
        gaps: Gaps,
        names: Vec<String>,
    ) -> Self {
        Self(Work::Trim { directory: Arc::clone(directory), log_id, shard, gaps, names })
    }

    /// Whether nothing waits for it: work for a thread that has time, beside the one that runs the rest.
    pub fn is_tidying(&self) -> bool {
        matches!(self.0, Work::Tidy { .. } | Work::Trim { .. })
    }

    /// Removes the file from under the name, if it still has it.
    pub(super) fn remove(directory: &Arc<dyn Directory>, name: String, file: &Arc<dyn SegmentFile>) -> Self {
        Self(Work::Remove { directory: Arc::clone(directory), name, file: Arc::clone(file) })
    }

    pub(super) fn is_trimming(&self) -> bool {
        matches!(self.0, Work::Trim { .. })
    }

    /// Whether it is for a segment that begins before `to`.
    pub(super) fn is_tidying_below(&self, to: Sequence) -> bool {
        matches!(&self.0, Work::Tidy { segment, .. } if segment.base() < to)
    }

    /// Does the work. Blocks for as long as the file system takes.
    pub fn run(self) -> ChoreDone {
        match self.0 {
            Work::Prepare { directory, bytes } => {
                let result = directory.create(SPARE_NAME, bytes).map(Outcome::Prepared);
                ChoreDone::new(PREPARE, &*directory, SPARE_NAME, result)
            }
            Work::Name { directory, base, unsynced } => {
                let name = Segment::file_name(base);
                let synced = unsynced.map_or(Ok(()), |file| file.distrust_cache());
                let result = synced.and_then(|()| directory.rename(SPARE_NAME, &name)).map(|()| Outcome::Named);
                ChoreDone::new("name segment", &*directory, &name, result)
            }
            Work::Seal { segment, footer, unsynced } => {
                let synced = unsynced.map_or(Ok(()), |file| file.distrust_cache());
                let result = synced.and_then(|()| seal::seal(&segment, footer));
                let place = Segment::file_name(segment.base());
                ChoreDone { operation: "seal segment", place, result: result.map(|()| Outcome::Sealed(segment)) }
            }
            Work::Tidy { directory, segment, repack_saves_bytes } => {
                let result = seal::tidy(&segment, &*directory, repack_saves_bytes).map(Outcome::Tidied);
                ChoreDone::new(TIDY, &*directory, &Segment::file_name(segment.base()), result)
            }
            Work::Trim { directory, log_id, shard, mut gaps, names } => {
                let removed = gaps::write(&*directory, log_id, shard, &mut gaps)
                    .and_then(|()| names.iter().try_for_each(|name| gaps::remove(&*directory, name)));
                ChoreDone::new(
                    TRIM,
                    &*directory,
                    names.first().map_or("", String::as_str),
                    removed.map(|()| Outcome::Removed),
                )
            }
            Work::Remove { directory, name, file } => {
                let result = directory.remove_own(&name, &*file).map(|()| Outcome::Removed);
                ChoreDone::new("remove segment", &*directory, &name, result)
            }
        }
    }
}

impl ChoreDone {
    fn new(operation: &'static str, directory: &dyn Directory, name: &str, result: io::Result<Outcome>) -> Self {
        let place = format!("{}/{name}", directory.path());
        Self { operation, place, result }
    }

    pub(super) fn is_prepare(&self) -> bool {
        self.operation == PREPARE
    }

    /// Whether the chore was a tidying one.
    pub fn is_tidying(&self) -> bool {
        [TIDY, TRIM].contains(&self.operation)
    }
}
