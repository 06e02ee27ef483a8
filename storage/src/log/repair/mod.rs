//! Repair: what a damaged directory of a shard needs so that it opens again, and what is intact in it can be read.
//!
//! Nothing that is intact is destroyed: files are set aside under another name, `<name>.aside`, before anything takes their
//! place. Reading order: `survey` (what is there), [`RepairAction`] (what follows from it), `apply` (doing that).

mod action;
mod apply;
mod survey;

pub use action::RepairAction;
pub use apply::repair_shard;

use super::OpenError;
use crate::device::Directory;
use crate::format::LogId;

/// What a repair of a shard's directory would do, in order. Changes nothing. Reads every block.
///
/// # Errors
/// [`OpenError::Io`].
pub fn plan_repair(directory: &dyn Directory, log_id: LogId, shard: u16) -> Result<Vec<RepairAction>, OpenError> {
    Ok(action::plan(&survey::survey(directory, log_id, shard)?))
}
