//! Waiting for a shard to move: the patience of a poll.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tapeline_reader::AdapterResult;
use tapeline_reader::selection::Selection;
use tapeline_reader::timestamp::Clock;
use tapeline_storage::format::Sequence;
use tapeline_storage::read::Visibility;

use crate::bus_core::BusCore;
use crate::core::foreign;
use crate::feed::{Bell, Follower};

/// Waits for shards to move, until a deadline that the shards keep.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    core: &'a BusCore,
    visibility: Visibility,
    bell: Arc<Bell>,
    deadline: u64,
    /// Shards that know of it.
    followed: usize,
    /// The ends of the shards at the last look.
    seen: Vec<Sequence>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(core: &'a BusCore, visibility: Visibility, wait: Duration) -> Self {
        let bell = Arc::new(Bell::new());
        core.readers().watch(&bell);
        let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let deadline = Clock::global().now().saturating_add(wait_ns);
        Self { core, visibility, bell, deadline, followed: 0, seen: Vec::new() }
    }

    /// The caller reads what is readable of the selection now: the next wait is for later events.
    pub(super) fn look(&mut self, selection: &Selection) {
        let shards = self.core.shards().all();
        for shard in shards.iter().skip(self.followed).filter(|shard| selection.has_shard(shard.id())) {
            shard.inbox().follow(Follower::waiting(&self.bell, self.visibility, self.deadline));
        }
        self.followed = shards.len();
        self.seen = self.ends();
    }

    /// Waits for something to have moved since the last look. Returns whether anything may still come.
    ///
    /// # Errors
    /// [`AdapterError::OnShard`](tapeline_reader::AdapterError::OnShard), where a shard's thread would have to wait.
    pub(super) async fn wait(&self) -> AdapterResult<bool> {
        let moved = poll_fn(|context| {
            self.bell.arm(context.waker());
            // Asked first: what a shard published before it left is seen by the look after this.
            let is_over = !self.bell.is_connected();
            if self.ends() != self.seen || is_over { Poll::Ready(!is_over) } else { Poll::Pending }
        });
        foreign::awaited_off_shard("poll", moved).await
    }

    fn ends(&self) -> Vec<Sequence> {
        let views = self.core.shards().views();
        match self.visibility {
            Visibility::Appended => views.map(|view| view.appended()).collect(),
            Visibility::Durable => views.map(|view| view.durable()).collect(),
        }
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        self.bell.silence();
    }
}
