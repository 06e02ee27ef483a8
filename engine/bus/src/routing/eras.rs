//! The eras of a log as a bus opens it.

use std::sync::Arc;

use tapeline_reader::AdapterResult;
use tapeline_storage::format::{Era, Eras};
use tapeline_storage::log::LogView;

use crate::factory::Foundry;
use crate::shard::ShardControl;

/// The eras of the log, with one that begins now if this process sends sessions by another route than the one before
/// did.
pub(crate) fn open(foundry: &Foundry, shards: &[Arc<ShardControl>], archived: &[Arc<LogView>]) -> AdapterResult<Eras> {
    let mut eras = foundry.eras()?;
    let views = shards.iter().map(|shard| shard.view()).chain(archived);
    let ends: Vec<_> = views.map(|view| view.appended()).collect();
    let is_shortened = eras.shorten(&ends);
    let active = foundry.config().num_shards;
    // Until the first change all shards take events.
    let before = eras.active().or_else(|| foundry.shards_before());
    let is_moved = before.is_some_and(|before| before != active);
    if is_moved {
        eras.begin(Era { active, starts: ends });
    }
    if is_shortened || is_moved {
        foundry.save_eras(&eras)?;
    }
    Ok(eras)
}
