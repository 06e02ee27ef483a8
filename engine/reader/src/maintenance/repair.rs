//! Repair of a log that does not open, or not to its end, and that no process has open for writing.

use std::io;
use std::path::Path;

use tapeline_storage::format::LogShard;
use tapeline_storage::log::{DirectoryError, LogDirectory, RepairAction, plan_shard_repair, repair_shard};

use crate::error::AdapterResult;
use crate::files::LogFiles;
use crate::named::{CursorStore, are_forgotten, expect_all_notes};
use crate::process::random::random;

/// One step of a repair.
///
/// ```
/// use tapeline_reader::{LogRestore, plan_repair};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-repair-step-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// for step in plan_repair(&directory, |_bytes| ())? {
///     println!("shard {:?}: {}", step.shard_id, step.action);
/// }
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairStep {
    /// The shard that it concerns; `None` for the log's own files.
    pub shard_id: Option<u16>,
    /// The action.
    pub action: RepairAction,
}

/// Plans the repair of the log at `path`: the steps that [`repair_log`] would take at present, in order; none where the
/// log is sound. Changes nothing. Reads every block; `progress` gets the bytes of each step.
///
/// The remains of a crash need no repair: opening the log cuts them.
///
/// # Errors
/// [`AdapterError`](crate::AdapterError): no log, one of a newer format, a file that cannot be read; steps that would be
/// taken, while the log is open in another process or bus.
pub fn plan_repair(path: &Path, mut progress: impl FnMut(u64)) -> AdapterResult<Vec<RepairStep>> {
    let (directory, actions) = LogDirectory::survey(path)?;
    let mut steps = steps(None, actions);
    for shard in 0..directory.meta().shards {
        steps.extend(plan_of(&directory, shard, &mut progress)?);
    }
    steps.extend(plan_cursors(path));
    // Blocks that another process writes meanwhile look like damage.
    if !steps.is_empty() {
        directory.check_unused()?;
    }
    Ok(steps)
}

/// Makes the log at `path` open again and everything intact in it readable. Readers get lost events reported as a gap
/// ([`GapReason::Lost`](crate::GapReason)).
///
/// Nothing is destroyed: a file that something else takes the place of is kept as `<name>.aside`. A repair that is
/// interrupted may be begun again. Costs a read of the log, and a write of the segments that are damaged, which need
/// their space a second time. Returns what was done.
///
/// # Errors
/// As [`plan_repair`]; the log is open in another process or bus; a file that cannot be written.
pub fn repair_log(path: &Path, mut progress: impl FnMut(u64)) -> AdapterResult<Vec<RepairStep>> {
    let (directory, actions) = LogDirectory::repair(path)?;
    let log_id = directory.meta().log_id;
    let mut done = steps(None, actions);
    for shard in 0..directory.meta().shards {
        let steps = plan_of(&directory, shard, &mut progress)?;
        let actions: Vec<_> = steps.iter().map(|step| step.action.clone()).collect();
        if !actions.is_empty() {
            repair_shard(
                &*directory.shard(shard)?,
                LogShard::new(log_id, shard),
                &actions,
                u64::from_le_bytes(random()),
            )?;
        }
        done.extend(steps);
    }
    if let Some(step) = plan_cursors(path) {
        expect_all_notes(&CursorStore::new(Some(path)), log_id).map_err(|error| {
            let source = io::Error::other(error.to_string());
            DirectoryError::Io { operation: "write", path: path.join("cursors"), source }
        })?;
        done.push(step);
    }
    Ok(done)
}

/// The step for a log that has lost the file which says that its records hold cursors. A log that does not open, or
/// cannot be read, has none as yet.
fn plan_cursors(path: &Path) -> Option<RepairStep> {
    let log = LogFiles::open(path).ok()?;
    let are_forgotten = are_forgotten(&CursorStore::new(Some(path)), log.views()).ok()?;
    are_forgotten.then_some(RepairStep { shard_id: None, action: RepairAction::ExpectCursors })
}

fn plan_of(directory: &LogDirectory, shard: u16, progress: &mut impl FnMut(u64)) -> AdapterResult<Vec<RepairStep>> {
    let files = match directory.shard(shard) {
        // A step of the log's own makes it.
        Err(DirectoryError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    Ok(steps(Some(shard), plan_shard_repair(&*files, LogShard::new(directory.meta().log_id, shard), progress)?))
}

fn steps(shard: Option<u16>, actions: Vec<RepairAction>) -> Vec<RepairStep> {
    actions.into_iter().map(|action| RepairStep { shard_id: shard, action }).collect()
}
