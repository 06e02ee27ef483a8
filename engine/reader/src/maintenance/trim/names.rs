//! The openings of sessions outlive their events: before segments are removed, names of sessions and the other facts
//! that their openings state go into a file of the log.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tapeline_storage::format::{Sequence, SessionId, SessionNames};
use tapeline_storage::log::{DirectoryError, LogDirectory, LogView, Segment};

use super::TrimPlan;
use crate::error::AdapterResult;
use crate::files::OpeningSearch;
use crate::files::find_sessions;
use crate::files::opening::{each_kept, kept_at};
use crate::session::SessionOpening;

/// Openings below this number are kept without a look whether their sessions have events left.
const LOOK_COUNT: usize = 1024;

/// Segments whose openings are in memory at once.
const SEGMENTS_AT_ONCE: usize = 8;

/// The openings that a log keeps.
#[derive(Debug)]
pub struct NameStore {
    /// `None`: the log is in memory, and trims nothing.
    path: Option<PathBuf>,
    /// The number of openings at which they are looked at again. Held while the file is replaced.
    most: Mutex<usize>,
}

impl NameStore {
    /// The names of a log at `path`, written by this process.
    pub fn new(path: Option<&Path>) -> Self {
        Self { path: path.map(Path::to_owned), most: Mutex::new(LOOK_COUNT) }
    }

    /// The names of a log at `path` that no producer writes: what stays in the file is looked at each time.
    pub fn at_rest(path: &Path) -> Self {
        Self { path: Some(path.to_owned()), most: Mutex::new(0) }
    }

    /// The openings that are kept. A file that cannot be read has none.
    pub fn read(&self) -> SessionNames {
        self.path.as_deref().map(kept_at).unwrap_or_default()
    }

    /// Has `each` called with the openings that are kept. A file that cannot be read has none.
    pub fn each(&self, mut each: impl FnMut(SessionId, SessionOpening)) {
        self.path.iter().for_each(|path| each_kept(path, &mut each));
    }

    /// Keeps the openings in what `plan` removes, durably when it returns. Reads the indexes of the segments that go,
    /// the blocks of those with more openings than an index repeats, and now and then the sessions of all that stays,
    /// to drop the openings of those that have gone with all their events.
    ///
    /// # Errors
    /// [`AdapterError`](crate::AdapterError), where the file cannot be read or written: the log has the names that it
    /// had.
    pub fn keep(&self, views: &[Arc<LogView>], plan: &TrimPlan) -> AdapterResult<()> {
        let Some(path) = self.path.as_deref().filter(|_| !plan.removed.is_empty()) else { return Ok(()) };
        let mut most = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = LogDirectory::open_read_only(path)?;
        let known = match directory.names() {
            // A file that does not check is replaced: what it said is lost already.
            Err(DirectoryError::Names { .. }) => None,
            known => Some(known?),
        };
        let mut names = known.clone().unwrap_or_default();
        let going = segments_going(views, plan);
        let parts = going.chunks(SEGMENTS_AT_ONCE);
        let last = parts.len().saturating_sub(1);
        for (number, part) in parts.enumerate() {
            let mut search = OpeningSearch::new(u64::MAX, None);
            part.iter().for_each(|(view, segment)| search.add_between(view, segment.base()..segment.end_sequence()));
            add(&mut names, search.into_openings());
            if names.len() > if number == last { *most } else { LOOK_COUNT.max(*most) } {
                if let Some(left) = sessions_left(views, plan, &names) {
                    names.retain(|session| left.contains(&session));
                }
                *most = if *most == 0 { 0 } else { LOOK_COUNT.max(2 * names.len()) };
            }
            names.shorten();
        }
        if known.as_ref() != Some(&names) {
            directory.save_names(&names)?;
        }
        Ok(())
    }
}

/// The segments that a plan removes, in order of time: a session that moved between shards was opened in both.
fn segments_going<'v>(views: &'v [Arc<LogView>], plan: &TrimPlan) -> Vec<(&'v Arc<LogView>, Arc<Segment>)> {
    let (cuts, mut going) = (plan.cuts(), Vec::new());
    for view in views {
        let end = cuts.get(&view.shard()).copied().unwrap_or_default();
        let segments = view.segments().into_iter().filter(|segment| segment.end_sequence() <= end);
        going.extend(segments.map(|segment| (view, segment)));
    }
    going.sort_by_key(|(_, segment)| segment.footer().map(|footer| footer.first_timestamp));
    going
}

/// The named sessions that have events in what the plan leaves. `None` where not all of that can be read.
fn sessions_left(views: &[Arc<LogView>], plan: &TrimPlan, names: &SessionNames) -> Option<HashSet<SessionId>> {
    let cuts = plan.cuts();
    let named = names.iter().map(|(session, _)| session).collect();
    let mut left = HashSet::new();
    for view in views {
        let from = cuts.get(&view.shard()).copied().unwrap_or_default().max(view.trimmed());
        find_sessions(view, from..Sequence::new(u64::MAX), &named, &mut left).ok()?;
    }
    Some(left)
}

/// Adds what later events say of sessions.
fn add(names: &mut SessionNames, openings: HashMap<SessionId, SessionOpening>) {
    let says_something = |opening: &SessionOpening| *opening != SessionOpening::default();
    let openings = openings.into_iter().filter(|(_, opening)| says_something(opening));
    let mut openings: Vec<_> = openings.map(|(session, opening)| (session, opening.payload())).collect();
    openings.sort_unstable();
    names.extend(openings, |earlier, later| {
        let mut opening = SessionOpening::parse(earlier.as_bytes());
        opening.amend(SessionOpening::parse(later.as_bytes()));
        opening.payload()
    });
}

/// Openings that a log is made with.
pub(crate) fn save(directory: &LogDirectory, openings: HashMap<SessionId, SessionOpening>) -> AdapterResult<()> {
    let mut kept = SessionNames::default();
    add(&mut kept, openings);
    kept.shorten();
    if kept.is_empty() { Ok(()) } else { Ok(directory.save_names(&kept)?) }
}
