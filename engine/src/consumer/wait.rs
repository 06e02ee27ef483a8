//! Waiting for a shard to move: the patience of a poll.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tapeline_storage::format::Sequence;
use tapeline_storage::read::Visibility;

use super::selection::Selection;
use crate::feed::{Bell, Follower};
use crate::parts::BusParts;
use crate::timestamp::Clock;

/// Waits for shards to move, until a deadline that the shards keep.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    parts: &'a BusParts,
    visibility: Visibility,
    bell: Arc<Bell>,
    /// How far the shards had come at the last look.
    seen: Vec<Sequence>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(parts: &'a BusParts, selection: &Selection, visibility: Visibility, wait: Duration) -> Self {
        let bell = Arc::new(Bell::new());
        let wait_ns = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let deadline = Clock::global().now().saturating_add(wait_ns);
        for shard in parts.shards().iter().filter(|shard| selection.has_shard(shard.id())) {
            shard.follow(Follower::waiting(&bell, visibility, deadline));
        }
        Self { parts, visibility, bell, seen: Vec::new() }
    }

    /// What is readable now is being read: the next wait is for something else.
    pub(super) fn look(&mut self) {
        self.seen = self.ends();
    }

    /// Waits for something to have moved since the last look. Returns whether anything may still come.
    pub(super) async fn wait(&self) -> bool {
        poll_fn(|context| {
            self.bell.arm(context.waker());
            // Asked first: what a shard published before it left is seen by the look after this.
            let is_over = !self.bell.is_connected();
            match self.ends() != self.seen || is_over {
                true => Poll::Ready(!is_over),
                false => Poll::Pending,
            }
        })
        .await
    }

    fn ends(&self) -> Vec<Sequence> {
        let views = self.parts.views();
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
