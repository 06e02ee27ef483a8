//! Retention: how long the log of a bus keeps its events. Shards that run trim their own logs.
//!
//! Reading order: how the bus removes what a [`TrimPlan`] lists, here; `keeper` (the thread that looks once a second).

mod keeper;

use std::sync::Arc;

pub(crate) use keeper::Keeper;
use tapeline_reader::ConsumerResult;
use tapeline_reader::trim::plan_now;
pub use tapeline_reader::{KeptSegment, RetentionPolicy, TrimPlan, TrimReason, TrimmedSegment};

use crate::bus_core::BusCore;
use crate::factory::LogStore;

/// Lists what the policy would remove of a bus's log at present.
pub(crate) fn plan_for_bus(core: &BusCore, policy: &RetentionPolicy) -> ConsumerResult<TrimPlan> {
    core.check_fork()?;
    let views: Vec<_> = core.shards().views().collect();
    plan_now(&views, policy, &core.readers().cursors)
}

/// Carries the plan out: asks shards that run to trim their own logs, and trims the others.
pub(crate) fn carry_out(core: &BusCore, store: &LogStore, plan: &mut TrimPlan) -> ConsumerResult<()> {
    let views: Vec<_> = core.shards().views().collect();
    let names = &core.readers().names;
    plan.keep_names(names.store(), &views)?;
    names.forget_kept();
    plan.keep_cursors(&core.readers().cursors, &views)?;
    let archived: Vec<_> = core.shards().archived().iter().map(|view| (view.shard(), Arc::clone(view))).collect();
    for (shard, to) in plan.cuts() {
        if let Some(control) = core.shards().get(shard) {
            control.inbox().ask_to_trim(to);
        } else if let Some((_, view)) = archived.iter().find(|(archived, _)| *archived == shard) {
            store.trim_archived(view, to)?;
        }
    }
    Ok(())
}

/// Waits until readers get a gap for what the plan has removed. The shards remove the files when they have time.
pub(crate) async fn carried_out(core: &BusCore, plan: &TrimPlan) -> ConsumerResult<()> {
    for (shard, to) in plan.cuts() {
        if let Some(control) = core.shards().get(shard) {
            control.trimmed(to).await?;
        }
    }
    Ok(())
}
