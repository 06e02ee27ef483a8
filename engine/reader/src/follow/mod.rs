//! Following a log's directory that another process writes: what is there from a position on, then what comes.
//!
//! [`LogFollower`] looks at the files again and again, as often as its owner asks it to, and hands out events as they
//! become durable. It never writes, and the writer does not know of it.
//!
//! Order: each shard's own, whatever happens to the writer; all of an era before the next. Among the shards the
//! earliest of what can be read comes first, so that what was there at one look comes in order of time as far as the
//! shards hold it; what is found by a later look may be earlier than what was handed out.

mod back;
mod shard;
mod start;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tapeline_storage::format::{Eras, LogId, LogShard, SessionId};
use tapeline_storage::log::{DirectoryError, LogDirectory, LogView};
use tapeline_storage::read::{FollowedShard, Visibility};

use self::shard::Followed;
use self::start::Beginning;
pub use self::start::FollowStart;
use crate::error::{AdapterError, ConsumerError, ConsumerResult, Damage};
use crate::event::StoredEvent;
use crate::files::NamedBefore;
use crate::files::opening::{each_kept, learn};
use crate::filter::Selection;
use crate::named::{CursorStore, save_in};
use crate::replay::ReplayRequest;
use crate::replay::page::SCAN_BYTES;
use crate::session::SessionOpening;
use crate::source::{LogViews, Source};

/// After so many looks it asks whether shards have come, or can be opened after all.
const SHARD_LOOKS: u32 = 32;

/// A log that another process may write, from a position on, for as long as one likes.
///
/// Every event that is durable is handed out once, in the order of its shard. Damage and what is gone come in their
/// place as errors, and reading goes on after them. A shard that cannot be opened is reported once and tried again; so
/// is one whose files the kernel refuses to read, when they have changed.
///
/// Holds a descriptor for each segment, and the events of one block of each shard.
///
/// ```
/// use tapeline_reader::{FollowStart, LogFollower, LogRestore, ReplayRequest};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-follower-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// let mut follower = LogFollower::open(&directory, FollowStart::Earliest, &ReplayRequest::new())?;
/// // Again and again, as often as the program likes.
/// follower.look();
/// while let Some(event) = follower.try_next() {
///     println!("{}", event?.raw);
/// }
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogFollower {
    directory: LogDirectory,
    selection: Selection,
    beginning: Beginning,
    shards: Vec<Followed>,
    eras: Arc<Eras>,
    reports: Reports,
    looks: u32,
    lost: Option<LostLog>,
}

/// The reason for which a log that is followed will have nothing more.
///
/// ```
/// use tapeline_reader::{LogFollower, LostLog};
///
/// fn is_over(follower: &LogFollower) -> bool {
///     match follower.lost() {
///         Some(LostLog::Replaced) => {
///             println!("another log has its place: follow that one");
///             true
///         }
///         lost => lost.is_some(),
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostLog {
    /// Its directory has no log any more.
    Removed,
    /// Its directory has another log.
    Replaced,
}

/// Reports that are remembered.
const REPORTS_MAX: usize = 1024;

/// Errors to report before anything else. An error that says the same as one before it of the shard, or as the last of
/// the directory, is not reported again.
#[derive(Debug, Default)]
struct Reports {
    waiting: VecDeque<ConsumerError>,
    /// Reports on shards that cannot be followed. What is refused at one look is another call than at the next.
    shards: BTreeSet<(u16, String)>,
    /// The last report on the directory.
    directory: String,
}

/// The progress of the shards since the follower has read the eras.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Some have moved, or have come.
    Made,
    /// None that is known.
    None,
}

impl LogFollower {
    /// Follows the log at `path` from `start` on. `request` says which events.
    ///
    /// Costs what [`LogFiles::open`](super::LogFiles::open) does; [`FollowStart::Last`] reads backwards as far as it
    /// must.
    ///
    /// # Errors
    /// [`ConsumerError::Adapter`] where there is no log, [`ConsumerError::InvalidCursor`],
    /// [`ConsumerError::InvalidFilter`], [`ConsumerError::Read`] where a time is looked for in files that cannot be
    /// read.
    pub fn open(path: &Path, start: FollowStart, request: &ReplayRequest) -> ConsumerResult<Self> {
        let directory = LogDirectory::open_read_only(path).map_err(AdapterError::from)?;
        let mut follower = Self {
            beginning: Beginning::earliest(directory.meta().shards),
            directory,
            selection: request.selection()?,
            shards: Vec::new(),
            eras: Arc::default(),
            reports: Reports::default(),
            looks: 0,
            lost: None,
        };
        follower.adopt_shards();
        follower.catch_up(Progress::Made);
        follower.begin(start, request)?;
        Ok(follower)
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        self.directory.meta().log_id
    }

    /// Looks for what has come, then or since the last look. Returns whether there is anything to read.
    ///
    /// Costs two system calls for each shard where nothing has come, now and then some more.
    pub fn look(&mut self) -> bool {
        self.looks = self.looks.wrapping_add(1);
        let has_come = self.looks.is_multiple_of(SHARD_LOOKS) && self.look_for_shards();
        self.catch_up(if has_come { Progress::Made } else { Progress::None });
        self.has_more()
    }

    /// The reason for which nothing more will come, if a look has found that the log is not there any more. What was
    /// found before can be read. Notices it within 32 looks.
    pub fn lost(&self) -> Option<LostLog> {
        self.lost
    }

    /// Returns whether the last look found anything that is still to read, even if the request leaves it out.
    pub fn has_more(&self) -> bool {
        !self.reports.waiting.is_empty() || self.shards.iter().any(Followed::has_more)
    }

    /// Events that the last look has found and that were not handed out, those that the request leaves out included.
    pub fn lag(&self) -> u64 {
        self.shards.iter().map(Followed::lag).sum()
    }

    /// The next event of what the last look has found.
    ///
    /// `None` where there is none, and after 16 MiB of events that were not asked for: then [`LogFollower::has_more`]
    /// says that there is more to read.
    pub fn try_next(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        let mut scannable = SCAN_BYTES;
        let log = self.log_id();
        for shard in &mut self.shards {
            if let Err(error) = shard.fill(log, &self.selection, &self.eras, &mut scannable) {
                self.reports.waiting.push_back(error.into());
            }
        }
        if let Some(trouble) = self.reports.waiting.pop_front() {
            return Some(Err(trouble));
        }
        if let Some(gap) = self.shards.iter_mut().find_map(Followed::next_gap) {
            return Some(Err(ConsumerError::Gap(gap)));
        }
        // What comes first is unknown while one has not said what it has.
        if self.shards.iter().any(Followed::is_unknown) {
            return None;
        }
        self.shards.iter_mut().min_by_key(|shard| shard.key())?.next_event().map(Ok)
    }

    /// The cursor after the events that were handed out: for [`FollowStart::Cursor`], and for the consumers of a bus.
    pub fn cursor(&self) -> String {
        let mut cursor = self.beginning.cursor().clone();
        cursor.positions.extend(self.shards.iter().map(|shard| (shard.id(), shard.position())));
        cursor.encode(self.log_id())
    }

    /// Keeps a cursor in the log under a name, as [`LogFiles::save_cursor`](super::LogFiles::save_cursor) does; durable
    /// when it returns.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidCursor`], [`ConsumerError::CursorName`], [`ConsumerError::CursorStore`].
    pub fn save_cursor(&self, name: &str, cursor: &str) -> ConsumerResult<()> {
        let views: Vec<_> = self.shards.iter().map(|shard| Arc::clone(shard.view())).collect();
        save_in(&CursorStore::new(Some(self.directory.path())), LogViews::new(self.log_id(), &views), name, cursor)
    }

    /// Takes in what the shards have, until what is known of eras is as new as that, and the shards go as far as the
    /// eras say: everything that comes before an era that is known can be read, unless a crash took it.
    fn catch_up(&mut self, progress: Progress) {
        let mut has_moved = progress == Progress::Made;
        loop {
            let mut is_damaged = false;
            for shard in &mut self.shards {
                match shard.look(&self.eras, &self.selection) {
                    Ok(moved) => has_moved |= moved,
                    Err(error) => {
                        is_damaged = true;
                        self.reports.damage(Damage::of_open(shard.id(), &error));
                    }
                }
            }
            if is_damaged {
                // The reader of the report can ask whether the log is gone.
                self.look_for_shards();
            }
            if !std::mem::take(&mut has_moved) {
                return;
            }
            match self.directory.eras() {
                Ok(eras) if eras == *self.eras => return,
                Ok(eras) => {
                    self.eras = Arc::new(eras);
                    // An era may be one of more shards.
                    self.look_for_shards();
                    has_moved = true;
                }
                Err(error) => return self.reports.directory(error),
            }
        }
    }

    /// Looks whether there are more shards, or those that could not be opened can be now. Returns whether there are
    /// any.
    fn look_for_shards(&mut self) -> bool {
        match LogDirectory::open_read_only(self.directory.path()) {
            Ok(directory) if directory.meta().log_id == self.log_id() => {
                self.directory = directory;
                self.lost = None;
                self.adopt_shards()
            }
            Ok(_) => {
                self.lost = Some(LostLog::Replaced);
                let source = io::Error::other("another log has taken its place");
                let path = self.directory.path().to_owned();
                self.reports.directory(DirectoryError::Io { operation: "follow", path, source });
                false
            }
            Err(error) => {
                let is_gone =
                    matches!(&error, DirectoryError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
                self.lost = is_gone.then_some(LostLog::Removed);
                self.reports.directory(error);
                false
            }
        }
    }

    fn adopt_shards(&mut self) -> bool {
        let before = self.shards.len();
        for shard in 0..self.directory.meta().shards {
            if self.shards.iter().any(|followed| followed.id() == shard) {
                continue;
            }
            match self.open_shard(shard) {
                Ok(Ok(followed)) => self.shards.push(followed),
                Ok(Err(damage)) => self.reports.damage(damage),
                Err(error) => self.reports.directory(error),
            }
        }
        self.shards.sort_by_key(Followed::id);
        self.shards.len() > before
    }

    fn open_shard(&self, shard: u16) -> Result<Result<Followed, Damage>, DirectoryError> {
        let files = self.directory.shard(shard)?;
        let opened = FollowedShard::open(files, LogShard::new(self.log_id(), shard));
        Ok(opened.map_err(|error| Damage::of_open(shard, &error)).map(|files| {
            let source = self.beginning.late_source(files.view());
            Followed::new(files, source.seeking(&self.selection))
        }))
    }

    /// Puts the readers where they are to start. Shards that come later begin as `start` has it for them.
    fn begin(&mut self, start: FollowStart, request: &ReplayRequest) -> ConsumerResult<()> {
        let views: Vec<Arc<LogView>> = self.shards.iter().map(|shard| Arc::clone(shard.view())).collect();
        let path = self.directory.path().to_owned();
        let kept = |each: &mut dyn FnMut(SessionId, SessionOpening)| each_kept(&path, each);
        let log = LogViews::new(self.log_id(), &views);
        self.beginning = self.beginning.with_start(start, log)?;
        let sources: Vec<Source> = match self.beginning.last() {
            Some(count) => {
                // It asks about events backwards, which mixes up what a filter knows of openings.
                let selection = request.selection()?;
                let ends: Vec<_> = views.iter().map(|view| (Arc::clone(view), view.appended())).collect();
                learn(&selection, &ends, kept);
                let starts = back::last(&views, &selection, &self.eras, count);
                views.iter().zip(starts).map(|(view, next)| Source::at(view, next, Visibility::Appended)).collect()
            }
            None => {
                let source = |view| self.beginning.source(log, view);
                views.iter().map(source).collect::<ConsumerResult<_>>()?
            }
        };
        let positions: Vec<_> = views.into_iter().zip(sources.iter().map(Source::next_sequence)).collect();
        learn(&self.selection, &positions, kept);
        self.selection = self.selection.clone().naming(NamedBefore::new(&path, positions));
        self.shards.iter_mut().zip(sources).for_each(|(shard, source)| shard.start(source.seeking(&self.selection)));
        Ok(())
    }
}

impl Reports {
    fn damage(&mut self, damage: Damage) {
        if self.shards.len() >= REPORTS_MAX {
            self.shards.clear();
        }
        if self.shards.insert((damage.shard_id, damage.reason.clone())) {
            self.waiting.push_back(ConsumerError::Damaged(damage));
        }
    }

    fn directory(&mut self, error: DirectoryError) {
        let before = std::mem::replace(&mut self.directory, error.to_string());
        if before != self.directory {
            self.waiting.push_back(AdapterError::from(error).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use tapeline_storage::log::OpenError;

    use super::*;

    #[test]
    fn refusals_that_take_turns_are_reported_once_each() {
        let refused = |path: &str| {
            let source = io::Error::from_raw_os_error(libc::EACCES);
            Damage::of_open(0, &OpenError::Io { operation: "open", path: path.into(), source })
        };
        let mut reports = Reports::default();
        for _ in 0..100 {
            reports.damage(refused("shard-0000"));
            reports.damage(refused("shard-0000/gaps"));
        }
        assert_eq!(reports.waiting.len(), 2);
        // However many there are, they take bounded memory.
        (0..10 * REPORTS_MAX).for_each(|number| reports.damage(refused(&number.to_string())));
        assert!(reports.shards.len() <= REPORTS_MAX);
    }
}
