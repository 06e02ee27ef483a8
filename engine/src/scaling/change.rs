//! A change of the shards that take events, while events are being ingested.
//!
//! 1. Shards that are needed and not there yet are started.
//! 2. The route is changed, and every thread of the process executes a fence: from now on each producer goes by it, but
//!    for those that were about to publish, which have noted so.
//! 3. Each shard takes what goes by the old route out of its lanes and says where that ends. What goes by the new one
//!    waits in the lanes: producers do not notice.
//! 4. These places begin an era, which is kept and made known to readers. Readers read all of an era before the next, so
//!    that a session that moves stays in order.
//! 5. The shards go on.
//!
//! A shard that takes no new events any more stays, asleep: its events are read from it, and it is there at once when it
//! is needed again.

use std::sync::Arc;

use tapeline_storage::format::{Era, Sequence};

use crate::parts::BusParts;
use crate::route::Route;
use crate::shard::{ShardControl, all_threads_fence};

/// A change from step 2 on.
#[derive(Debug)]
pub(crate) struct Change {
    route: Route,
    shards: Arc<[Arc<ShardControl>]>,
}

impl Change {
    /// Changes the route so that shards 0 to `active - 1`, which have been started, take events. The one before has
    /// ended.
    pub(crate) fn begin(parts: &BusParts, active: u16) -> Self {
        let route = parts.route().get().next(active);
        parts.route().set(route);
        all_threads_fence();
        let shards = parts.shards();
        for shard in shards.iter() {
            shard.turnover().begin(route);
            shard.wake();
        }
        Self { route, shards }
    }

    /// The era that begins, once every shard has said where.
    pub(crate) fn era(&self) -> Option<Era> {
        let starts = self.shards.iter().map(|shard| self.start(shard)).collect::<Option<_>>()?;
        Some(Era { active: self.route.active(), starts })
    }

    fn start(&self, shard: &ShardControl) -> Option<Sequence> {
        // Asked first: what a shard appended before it ended is seen by the look after this.
        let has_ended = shard.is_stopped();
        shard.turnover().settled_at(self.route).or_else(|| has_ended.then(|| shard.view().appended()))
    }

    /// Waits for [`Change::era`], blocking the thread.
    pub(crate) fn wait(&self) -> Era {
        use event_listener::Listener;
        loop {
            for shard in self.shards.iter() {
                while self.start(shard).is_none() {
                    let listener = shard.next_move();
                    if self.start(shard).is_none() {
                        listener.wait();
                    }
                }
            }
            if let Some(era) = self.era() {
                return era;
            }
        }
    }

    /// Lets the shards go on. Readers know of the era.
    pub(crate) fn end(self) {
        for shard in self.shards.iter() {
            shard.set_active(shard.id() < self.route.active());
            shard.turnover().pass(self.route);
            shard.wake();
        }
    }
}
