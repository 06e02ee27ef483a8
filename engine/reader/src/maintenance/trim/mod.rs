//! Trimming: which events a log no longer keeps, and how a log at rest gives them up.
//!
//! Reading order: [`RetentionPolicy`] (what is to be kept), `plan` (which segments go, and why), [`trim_log`] (how they
//! go from a log that no process has open), `names` (what is kept of openings that go).

mod names;
mod plan;
mod policy;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::{io, iter};

use crate::source::LogViews;
use tapeline_storage::format::Meta;
use tapeline_storage::log::{LogDirectory, LogView, trim_at_rest};

pub use names::NameStore;
pub(crate) use names::save as save_names;
pub use plan::plan;
pub use plan::{KeptSegment, TrimPlan, TrimReason, TrimmedSegment};
pub use policy::RetentionPolicy;

use crate::error::{AdapterError, ConsumerError, ConsumerResult};
use crate::files::LogFiles;
use crate::named::{CursorStore, fold_notes, pins};
use crate::timestamp::Clock;

/// Plans what the policy removes from these shards at present.
///
/// # Errors
/// A policy without limits, a cursor that cannot be read.
pub fn plan_now(views: &[Arc<LogView>], policy: &RetentionPolicy, cursors: &CursorStore) -> ConsumerResult<TrimPlan> {
    policy.validate().map_err(AdapterError::from)?;
    let pins = match (policy.keep_for_cursors, views.first()) {
        (true, Some(view)) => pins(cursors, LogViews::new(view.log_id(), views))?,
        _ => Vec::new(),
    };
    Ok(plan(views, policy, &pins, Clock::global().now()))
}

impl TrimPlan {
    /// Keeps what the openings say that go, before they go.
    ///
    /// # Errors
    /// If an error passes, as a lack of descriptors does: then no segment is to go yet. A file that cannot be written
    /// for another reason, such as a full disk, holds no space: a log that is being written goes on without the names.
    #[doc(hidden)]
    pub fn keep_names(&mut self, names: &NameStore, views: &[Arc<LogView>]) -> ConsumerResult<()> {
        match names.keep(views, self) {
            Ok(()) => Ok(()),
            Err(error) if is_passing(&error) => Err(error.into()),
            Err(error) => {
                self.names_lost = Some(error.to_string());
                Ok(())
            }
        }
    }
}

impl TrimPlan {
    /// Keeps the positions of named cursors that go with the segments, before they go.
    ///
    /// # Errors
    /// [`ConsumerError`], where they cannot be kept: then no segment is to go.
    #[doc(hidden)]
    pub fn keep_cursors(&self, cursors: &CursorStore, views: &[Arc<LogView>]) -> ConsumerResult<()> {
        match views.first() {
            Some(view) if !self.removed.is_empty() => fold_notes(cursors, LogViews::new(view.log_id(), views)),
            _ => Ok(()),
        }
    }
}

/// Returns whether the same may succeed in a moment.
fn is_passing(error: &AdapterError) -> bool {
    let kernel = iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>());
    matches!(
        kernel.and_then(io::Error::raw_os_error),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EINTR | libc::EAGAIN)
    )
}

impl LogFiles {
    /// Plans what [`trim_log`] would remove at present. Changes nothing, and may be asked while another process writes
    /// the log.
    ///
    /// # Errors
    /// [`ConsumerError`]: a shard that cannot be opened, a policy without limits, a cursor that cannot be read.
    pub fn plan_trim(&self, policy: &RetentionPolicy) -> ConsumerResult<TrimPlan> {
        if let Some(damage) = self.damage().first() {
            return Err(ConsumerError::Damaged(damage.clone()));
        }
        plan_now(self.views(), policy, &CursorStore::new(Some(self.path())))
    }
}

/// Removes from the log at `path`, which no process has open for writing, what `policy` does not keep. Returns what
/// went.
///
/// # Errors
/// [`ConsumerError`]: no log, one that is open elsewhere or damaged, a policy without limits, a file that cannot be
/// removed. [`ConsumerError::NamesLost`]: the names of sessions that go on cannot be written, as on a full disk; then
/// nothing is removed.
pub fn trim_log(path: &Path, policy: &RetentionPolicy) -> ConsumerResult<TrimPlan> {
    trim_with(path, policy, Names::Required)
}

/// As [`trim_log`], also where the names of sessions that go on cannot be written: these are lost then, and
/// [`TrimPlan::names_lost`] says why.
///
/// # Errors
/// As [`trim_log`], but for the names.
pub fn trim_log_without_names(path: &Path, policy: &RetentionPolicy) -> ConsumerResult<TrimPlan> {
    trim_with(path, policy, Names::Wanted)
}

/// The names of sessions that were opened in what is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Without room for them nothing is removed.
    Required,
    /// They are kept if there is room.
    Wanted,
}

fn trim_with(path: &Path, policy: &RetentionPolicy, names: Names) -> ConsumerResult<TrimPlan> {
    let shards = LogDirectory::open_read_only(path).map_err(AdapterError::from)?.meta().shards;
    let log = LogFiles::open(path)?;
    let meta = Meta { log_id: log.log_id(), shards, created: log.created() };
    let directory = LogDirectory::open(path, meta).map_err(AdapterError::from)?;
    // No thread changes it any more.
    let log = LogFiles::open(path)?;
    let mut plan = log.plan_trim(policy)?;
    plan.keep_names(&NameStore::at_rest(path), log.views())?;
    if let Some(reason) = plan.names_lost.clone().filter(|_| names == Names::Required) {
        return Err(ConsumerError::NamesLost { reason });
    }
    plan.keep_cursors(&CursorStore::new(Some(path)), log.views())?;
    let cuts = plan.cuts();
    for view in log.views() {
        if let Some(to) = cuts.get(&view.shard()) {
            let files = directory.shard(view.shard()).map_err(AdapterError::from)?;
            trim_at_rest(&*files, view, *to).map_err(AdapterError::from)?;
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use tapeline_storage::log::DirectoryError;

    use super::*;

    #[test]
    fn a_lack_of_descriptors_passes_and_a_full_disk_does_not() {
        let refused = |code| {
            let source = io::Error::from_raw_os_error(code);
            is_passing(&DirectoryError::Io { operation: "write", path: "names".into(), source }.into())
        };
        assert!([libc::EMFILE, libc::ENFILE, libc::ENOMEM].into_iter().all(refused));
        assert!(![libc::ENOSPC, libc::EDQUOT, libc::EROFS, libc::EIO].into_iter().any(refused));
    }
}
