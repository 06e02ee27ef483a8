//! Retention carried out on a bus, whose shards trim their own logs.

use std::sync::Arc;

use tapeline_reader::trim::plan_now;
use tapeline_reader::{ConsumerResult, RetentionPolicy, TrimPlan};

use crate::bus_core::BusParts;
use crate::factory::Foundry;

/// What the policy would have go of a bus's log at present.
pub(crate) fn plan_for_bus(parts: &BusParts, policy: &RetentionPolicy) -> ConsumerResult<TrimPlan> {
    parts.check_fork()?;
    let views: Vec<_> = parts.views().collect();
    plan_now(&views, policy, &parts.readers().cursors)
}

/// Has the plan carried out: shards that run trim their own logs, the rest is done here.
pub(crate) fn carry_out(parts: &BusParts, foundry: &Foundry, plan: &mut TrimPlan) -> ConsumerResult<()> {
    let views: Vec<_> = parts.views().collect();
    plan.keep_names(&parts.readers().names, &views)?;
    let archived: Vec<_> = parts.archived().iter().map(|view| (view.shard(), Arc::clone(view))).collect();
    for (shard, to) in plan.cuts() {
        if let Some(control) = parts.shard(shard) {
            control.ask_to_trim(to);
        } else if let Some((_, view)) = archived.iter().find(|(archived, _)| *archived == shard) {
            foundry.trim_archived(view, to)?;
        }
    }
    Ok(())
}

/// Waits until readers are told of what the plan has removed. The files go when the shards have time.
pub(crate) async fn carried_out(parts: &BusParts, plan: &TrimPlan) -> ConsumerResult<()> {
    for (shard, to) in plan.cuts() {
        if let Some(control) = parts.shard(shard) {
            control.trimmed(to).await?;
        }
    }
    Ok(())
}
