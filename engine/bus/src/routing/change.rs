//! A change of the shards that take events, while events are being ingested.
//!
//! 1. Shards that are needed and not there yet are started.
//! 2. The route is changed, and every thread of the process executes a fence: from now on each producer uses it, but
//!    for those that were about to publish, which have noted so.
//! 3. Each shard takes the records of the old route out of its lanes and reports the boundary where they end. Records
//!    of the new one wait in the lanes: producers do not notice.
//! 4. Everything before these boundaries is made durable: whatever a crash takes, a session that moves keeps a prefix.
//! 5. The boundaries begin an era, which is kept and made known to readers. Readers read all of an era before the next,
//!    so that a session that moves stays in order.
//! 6. The shards go on.
//!
//! A shard that takes no new events any more stays, asleep: its events are read from it, and it is there at once when
//! it is needed again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tapeline_storage::format::{Era, Sequence};

use crate::core::fence;
use crate::routing::{Route, RouteInForce};
use crate::shard::ShardControl;

/// The time after which a change looks again whether the bus ends.
const LOOK: Duration = Duration::from_millis(100);

/// A change from step 2 on.
#[derive(Debug)]
pub(crate) struct Change {
    route: Route,
    shards: Arc<[Arc<ShardControl>]>,
}

impl Change {
    /// Changes the route so that shards 0 to `active - 1`, which have been started, take events. The one before has
    /// ended.
    pub(crate) fn begin(in_force: &RouteInForce, shards: Arc<[Arc<ShardControl>]>, active: u16) -> Self {
        let route = in_force.get().next(active);
        in_force.set(route);
        fence::all_threads();
        for shard in shards.iter() {
            shard.handover().begin(route.number());
            shard.inbox().wake();
        }
        Self { route, shards }
    }

    /// The era that begins, once every shard has said where, and has acknowledged what is before.
    #[cfg(test)]
    pub(crate) fn era(&self) -> Option<Era> {
        let starts = self.shards.iter().map(|shard| self.start(shard)).collect::<Option<_>>()?;
        Some(Era { active: self.route.active(), starts })
    }

    fn start(&self, shard: &ShardControl) -> Option<Sequence> {
        // Asked first: what a shard appended before it ended is seen by the look after this.
        let has_ended = shard.is_stopped();
        let view = shard.view();
        let boundary = shard.handover().boundary(self.route.number()).or_else(|| has_ended.then(|| view.appended()))?;
        let is_kept = view.durable() >= boundary || has_ended || view.poison().is_some();
        is_kept.then_some(boundary)
    }

    /// Waits, blocking the thread, for the era that begins, once every shard has reported its boundary, and has
    /// acknowledged what is before it. Where a log cannot write, that takes until it can; unless the bus ends, which
    /// leaves the shards where they are.
    pub(crate) fn wait(&self, is_ending: impl Fn() -> bool) -> Era {
        let gives_up = |shard: &ShardControl| is_ending() && !shard.can_write();
        let mut starts = Vec::with_capacity(self.shards.len());
        for shard in self.shards.iter() {
            starts.push(loop {
                let next_move = shard.next_move();
                if let Some(start) = self.start(shard) {
                    break start;
                }
                if gives_up(shard) {
                    break shard.view().appended();
                }
                next_move.wait(Some(Instant::now() + LOOK));
            });
        }
        Era { active: self.route.active(), starts }
    }

    /// Has the shards go on. Readers know of the era.
    pub(crate) fn end(self) {
        for shard in self.shards.iter() {
            shard.handover().note_active(shard.id(), self.route.active());
            shard.handover().pass(self.route.number());
            shard.inbox().wake();
        }
    }
}
