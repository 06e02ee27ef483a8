//! Blocking work of a log: the log describes it, the host runs it on another thread and brings the outcome.

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Segment;
use super::ending::write_ending;
use super::gaps::{self, GapsFile};
use super::merge::{MergeEnd, Merging};
use super::names::SPARE_NAME;
use super::permit::Permit;
use super::tidy::{Tidied, Tidying};
use crate::device::{Access, Directory, SegmentFile, errno_of, is_passing};
use crate::format::{Footer, PAGE_BYTES, Sequence};

/// The work of a chore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChoreKind {
    Prepare,
    Name,
    Seal,
    Tidy,
    Merge,
    Forget,
    Trim,
    Remove,
}

impl ChoreKind {
    /// In words, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare segment",
            Self::Name => "name segment",
            Self::Seal => "seal segment",
            Self::Tidy => "index segment",
            Self::Merge => "merge segments",
            Self::Forget => "remove merged segments",
            Self::Trim => "trim",
            Self::Remove => "remove segment",
        }
    }

    /// Returns whether no caller waits for it: work for a thread that has time, beside the one that runs the rest.
    fn is_tidying(self) -> bool {
        matches!(self, Self::Tidy | Self::Merge | Self::Forget)
    }

    /// Returns whether a log goes on where it fails for good: the next opening does the same work, or it is never
    /// missed.
    fn may_fail(self) -> bool {
        self.is_tidying() || matches!(self, Self::Trim | Self::Remove)
    }
}

/// One piece of blocking work of a log. It can be done again from wherever it failed.
#[derive(Debug, Clone)]
pub struct Chore(Work);

#[derive(Debug, Clone)]
enum Work {
    Prepare { directory: Arc<dyn Directory>, bytes: RangeInclusive<u64> },
    Name { directory: Arc<dyn Directory>, base: Sequence, written: Written },
    Seal { segment: Arc<Segment>, footer: Footer, written: Written, gaps: Arc<GapsFile> },
    Tidy(Tidying),
    Merge(Merging),
    Forget { directory: Arc<dyn Directory>, names: Vec<String>, permit: Arc<Permit> },
    Remove { directory: Arc<dyn Directory>, name: String, file: Arc<dyn SegmentFile> },
    Trim(Trimming),
}

/// The file or directory that holds the bytes to which a name or a footer points. They must get to the disk before
/// either.
#[derive(Debug, Clone)]
pub(super) enum Written {
    /// On the disk.
    Durably,
    /// Perhaps in the page cache alone, at levels that leave them there.
    ToCache(Arc<dyn SegmentFile>),
}

impl Written {
    fn sync(&self) -> io::Result<()> {
        match self {
            Self::Durably => Ok(()),
            Self::ToCache(file) => file.distrust_cache(),
        }
    }
}

/// Segments that are to go, the oldest first: one file for each chore, so that what the log waits for comes between.
#[derive(Debug, Clone)]
pub(super) struct Trimming {
    pub(super) directory: Arc<dyn Directory>,
    /// The record to write first, that everything below is trimmed; `None` once it is written.
    pub(super) gaps: Option<(Arc<GapsFile>, Sequence)>,
    pub(super) names: VecDeque<String>,
    pub(super) permit: Arc<Permit>,
}

impl Trimming {
    /// Returns what is left to do.
    fn step(mut self) -> io::Result<Option<Self>> {
        if let Some((gaps, to)) = self.gaps.take() {
            gaps.trim(to)?;
            self.permit.raise_floor(to);
        }
        if let Some(name) = self.names.pop_front() {
            gaps::remove(&*self.directory, &name)?;
        }
        Ok((!self.names.is_empty()).then_some(self))
    }
}

/// The work of a chore, in words for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoreLabel {
    pub(super) kind: ChoreKind,
    pub(super) place: String,
}

impl ChoreLabel {
    /// The outcome of a chore whose thread ended without one.
    pub fn lost(self) -> ChoreDone {
        let lost = io::Error::other("the thread that did it has ended");
        ChoreDone { label: self, result: Err(lost), again: None }
    }
}

/// The outcome of a [`Chore`].
#[derive(Debug)]
pub struct ChoreDone {
    pub(super) label: ChoreLabel,
    pub(super) result: io::Result<Outcome>,
    /// The chore, where it failed in a way that passes.
    pub(super) again: Option<Chore>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    /// A file, and its length in bytes.
    Prepared(Arc<dyn SegmentFile>, u64),
    Named,
    Removed,
    /// This is left to be removed.
    Trimmed(Option<Trimming>),
    Sealed(Arc<Segment>),
    Tidied(Tidied),
    Merged(MergeEnd),
}

impl Chore {
    /// Makes a spare of so many bytes: fewer where space is short.
    pub(super) fn prepare(directory: &Arc<dyn Directory>, bytes: RangeInclusive<u64>) -> Self {
        Self(Work::Prepare { directory: Arc::clone(directory), bytes })
    }

    /// `written`: of the spare.
    pub(super) fn name_spare(directory: &Arc<dyn Directory>, base: Sequence, written: Written) -> Self {
        Self(Work::Name { directory: Arc::clone(directory), base, written })
    }

    /// `written`: of the segment. Its end is written down in `gaps`.
    pub(super) fn seal(segment: Arc<Segment>, footer: Footer, written: Written, gaps: &Arc<GapsFile>) -> Self {
        Self(Work::Seal { segment, footer, written, gaps: Arc::clone(gaps) })
    }

    /// Gives a sealed segment its index, or a dense copy in its place.
    pub(super) fn tidy(tidying: Tidying) -> Self {
        Self(Work::Tidy(tidying))
    }

    /// Makes one segment of several.
    pub(super) fn merge(merging: Merging) -> Self {
        Self(Work::Merge(merging))
    }

    /// Removes the files of segments that were merged. One that stays is removed by the next opening.
    pub(super) fn forget(directory: &Arc<dyn Directory>, names: Vec<String>, permit: &Arc<Permit>) -> Self {
        Self(Work::Forget { directory: Arc::clone(directory), names, permit: Arc::clone(permit) })
    }

    /// Removes segments once it is written down that they are gone.
    pub(super) fn trim(trimming: Trimming) -> Self {
        Self(Work::Trim(trimming))
    }

    /// Removes the file from under the name, if it still has it.
    pub(super) fn remove(directory: &Arc<dyn Directory>, name: String, file: &Arc<dyn SegmentFile>) -> Self {
        Self(Work::Remove { directory: Arc::clone(directory), name, file: Arc::clone(file) })
    }

    /// Returns whether no caller waits for it: work for a thread that has time, beside the one that runs the rest.
    pub fn is_tidying(&self) -> bool {
        self.kind().is_tidying()
    }

    /// Returns whether the next opening of the log does it just as well.
    pub(super) fn may_be_left(&self) -> bool {
        matches!(&self.0, Work::Trim(trimming) if trimming.gaps.is_none())
    }

    /// Returns whether it is for a segment that begins before `to`.
    pub(super) fn is_tidying_below(&self, to: Sequence) -> bool {
        matches!(&self.0, Work::Tidy(tidying) if tidying.segment.base() < to)
    }

    fn kind(&self) -> ChoreKind {
        match &self.0 {
            Work::Prepare { .. } => ChoreKind::Prepare,
            Work::Name { .. } => ChoreKind::Name,
            Work::Seal { .. } => ChoreKind::Seal,
            Work::Tidy(_) => ChoreKind::Tidy,
            Work::Merge(_) => ChoreKind::Merge,
            Work::Forget { .. } => ChoreKind::Forget,
            Work::Trim(_) => ChoreKind::Trim,
            Work::Remove { .. } => ChoreKind::Remove,
        }
    }

    /// The words for its work, for [`ChoreLabel::lost`].
    pub fn label(&self) -> ChoreLabel {
        let within = |directory: &Arc<dyn Directory>, name: &str| format!("{}/{name}", directory.path());
        let place = match &self.0 {
            Work::Prepare { directory, .. } => within(directory, SPARE_NAME),
            Work::Name { directory, base, .. } => within(directory, &Segment::file_name(*base)),
            Work::Seal { segment, .. } => Segment::file_name(segment.base()),
            Work::Tidy(Tidying { directory, segment, .. }) => within(directory, &Segment::file_name(segment.base())),
            Work::Merge(merging) => within(merging.files.directory(), &merging.name()),
            Work::Forget { directory, names, .. } => within(directory, names.first().map_or("", String::as_str)),
            Work::Trim(Trimming { directory, names, .. }) => {
                within(directory, names.front().map_or("", String::as_str))
            }
            Work::Remove { directory, name, .. } => within(directory, name),
        };
        ChoreLabel { kind: self.kind(), place }
    }

    /// Does the work. Blocks for as long as the file system takes. A panic is an error of the outcome.
    pub fn run(self) -> ChoreDone {
        self.run_while(|| true)
    }

    /// As [`Chore::run`]; a tidying chore ends early once `goes_on` is false, which it asks for each block.
    pub fn run_while(self, mut goes_on: impl FnMut() -> bool) -> ChoreDone {
        let (label, again) = (self.label(), self.clone());
        let result = catch_unwind(AssertUnwindSafe(|| self.work(&mut goes_on))).unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(io::Error::other(format!("panicked: {message}")))
        });
        let passes = result.as_ref().is_err_and(is_passing);
        ChoreDone { label, result, again: passes.then_some(again) }
    }

    fn work(self, goes_on: &mut dyn FnMut() -> bool) -> io::Result<Outcome> {
        match self.0 {
            Work::Prepare { directory, bytes } => prepare(&*directory, &bytes),
            Work::Name { directory, base, written } => {
                written.sync()?;
                name_spare(&*directory, &Segment::file_name(base)).map(|()| Outcome::Named)
            }
            Work::Seal { segment, footer, written, gaps } => {
                written.sync()?;
                // An attempt that failed after this may have let trimming remove the file.
                if segment.footer().is_none() {
                    let file = segment.file_to_write()?;
                    let (footer, filter) = write_ending(&*file, segment.epoch(), footer, None)?;
                    segment.seal(footer, filter);
                }
                gaps.seal(footer.end_sequence).map(|()| Outcome::Sealed(segment))
            }
            Work::Tidy(tidying) => tidying.run(goes_on).map(Outcome::Tidied),
            Work::Merge(merging) => Ok(Outcome::Merged(merging.run(goes_on))),
            Work::Forget { directory, names, permit } => {
                let wanted = names.iter().take_while(|_| !permit.is_withdrawn() && goes_on());
                wanted.for_each(|name| drop(gaps::remove(&*directory, name)));
                Ok(Outcome::Removed)
            }
            Work::Trim(trimming) => trimming.step().map(Outcome::Trimmed),
            Work::Remove { directory, name, file } => match directory.remove_own(&name, &*file) {
                // An attempt that failed has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Outcome::Removed),
                removed => removed.map(|()| Outcome::Removed),
            },
        }
    }
}

/// Makes a spare. Where space is short it takes a quarter of what there is, so that a log on a small volume has several
/// segments, of which the oldest can be trimmed; nothing is allocated to find out how much that is.
fn prepare(directory: &dyn Directory, bytes: &RangeInclusive<u64>) -> io::Result<Outcome> {
    let (least, most) = (*bytes.start(), *bytes.end());
    let available = directory.space()?.available();
    if available < least {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let whole = |length: u64| (length / PAGE_BYTES as u64 * PAGE_BYTES as u64).clamp(least, most);
    // Sealing and trimming write to it, on a full disk, too.
    gaps::create(directory)?;
    let mut length = whole(available / 4);
    let file = loop {
        match create_spare(directory, length) {
            // A quota leaves less than there is.
            Err(error) if error.kind() == io::ErrorKind::StorageFull && length > least => length = whole(length / 2),
            created => break created?,
        }
    };
    Ok(Outcome::Prepared(file, length))
}

/// Creates the spare, also where an attempt that failed has left one.
fn create_spare(directory: &dyn Directory, length: u64) -> io::Result<Arc<dyn SegmentFile>> {
    match directory.create(SPARE_NAME, length) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            directory.remove(SPARE_NAME)?;
            directory.create(SPARE_NAME, length)
        }
        created => created,
    }
}

/// Gives the spare its name, also where an attempt that failed has done so.
fn name_spare(directory: &dyn Directory, name: &str) -> io::Result<()> {
    let refused = match directory.rename(SPARE_NAME, name) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => error,
        renamed => return renamed,
    };
    match directory.open(SPARE_NAME, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => directory.open(name, Access::Read)?,
        // The name is another file's.
        opened => return opened.and(Err(refused)),
    };
    directory.sync()
}

impl ChoreDone {
    /// Returns whether it is an error of the kernel that the log goes on without: the next opening does the same work,
    /// or it is never missed.
    pub(super) fn may_be_left(&self) -> bool {
        let is_kernels = self.result.as_ref().is_err_and(|error| errno_of(error).is_some());
        is_kernels && self.label.kind.may_fail()
    }

    pub(super) fn is_trimming(&self) -> bool {
        self.label.kind == ChoreKind::Trim
    }

    /// Returns whether the chore was a tidying one.
    pub fn is_tidying(&self) -> bool {
        self.label.kind.is_tidying()
    }
}
