//! The names of sessions outlive the events that gave them: before segments are removed, names that stand nowhere else
//! go into a file of the log.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tapeline_storage::format::{Sequence, SessionId, SessionNames};
use tapeline_storage::log::{DirectoryError, LogDirectory, LogView};

use super::TrimPlan;
use crate::error::AdapterResult;
use crate::names::{Openings, find_sessions};

/// Names below this number are kept without a look whether their sessions have events left.
const LOOK_COUNT: usize = 1024;

/// The names that a log keeps.
#[derive(Debug)]
pub struct NameStore {
    /// `None`: the log is in memory, and trims nothing.
    path: Option<PathBuf>,
    /// The number of names at which they are looked at again. Held while the file is replaced.
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

    /// Has `each` called with the names that are kept. A file that cannot be read has none.
    pub fn each(&self, mut each: impl FnMut(SessionId, &str)) {
        let Some(path) = &self.path else { return };
        let names = LogDirectory::open_read_only(path).and_then(|directory| directory.names());
        names.iter().flat_map(SessionNames::iter).for_each(|(session, name)| each(session, name));
    }

    /// Keeps the names that are given in what `plan` removes, durably when it returns. Reads the indexes of the
    /// segments that go, and now and then the sessions of all that stays, to drop the names of those that have gone
    /// with all their events.
    ///
    /// # Errors
    /// [`AdapterError`](crate::AdapterError), where the file cannot be read or written: the log has the names that it
    /// had.
    pub fn keep(&self, views: &[Arc<LogView>], plan: &TrimPlan) -> AdapterResult<()> {
        let Some(path) = self.path.as_deref().filter(|_| !plan.removed.is_empty()) else { return Ok(()) };
        let mut most = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        let cuts = plan.cuts();
        let mut openings = Openings::default();
        for view in views {
            if let Some(to) = cuts.get(&view.shard()) {
                openings.add(view, view.trimmed()..*to);
            }
        }
        let directory = LogDirectory::open_read_only(path)?;
        let known = match directory.names() {
            // A file that does not check is replaced: what it said is lost already.
            Err(DirectoryError::Names { .. }) => None,
            known => Some(known?),
        };
        let mut names = known.clone().unwrap_or_default();
        names.extend(openings.into_names());
        if names.len() > *most {
            if let Some(left) = sessions_left(views, plan, &names) {
                names.retain(|session| left.contains(&session));
            }
            *most = if *most == 0 { 0 } else { LOOK_COUNT.max(2 * names.len()) };
        }
        names.shorten();
        if known.as_ref() != Some(&names) {
            directory.save_names(&names)?;
        }
        Ok(())
    }
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

/// Names that a log is made with.
pub(crate) fn save(directory: &LogDirectory, names: Openings) -> AdapterResult<()> {
    let mut kept = SessionNames::default();
    let mut names: Vec<_> = names.into_names().into_iter().collect();
    names.sort_unstable();
    kept.extend(names);
    kept.shorten();
    match kept.is_empty() {
        true => Ok(()),
        false => Ok(directory.save_names(&kept)?),
    }
}
