//! One shard of a subscription: its source, and the policy for a reader that is slow.
//!
//! 1. A reader whose shard runs is fed by it, and its bell is rung by it. A reader of sessions is handed no
//!    blocks, and rung for what they get: it lags while others' events come, which a policy for slow readers would
//!    count.
//! 2. A reader that has failed returned its error once. It returns nothing more, keeps no other reader waiting, and
//!    counts as read to the end.
//! 3. The policy for slow readers holds from the first time on that the reader has caught up.

use std::sync::Arc;
use std::task::Poll;

use tapeline_reader::source::{Next, Source};
use tapeline_reader::{AdapterError, ConsumerError, ConsumerResult};
use tapeline_storage::format::Sequence;
use tapeline_storage::read::{Block, Loading};

use super::shards::Terms;
use crate::bus_core::BusCore;
use crate::feed::{Bell, feed, session_feed};
use crate::live::request::SlowReader;

/// One shard of a subscription.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) source: Source,
    /// It has caught up once.
    was_live: bool,
    /// It ended with an error.
    pub(super) has_failed: bool,
}

impl Reader {
    /// A reader that follows its shard, if that runs.
    pub(super) fn new(core: &BusCore, bell: &Arc<Bell>, terms: &Terms, source: Source) -> Self {
        let source = match (core.shards().get(source.shard_id()), terms.sessions_to_wait_for()) {
            (None, _) => source,
            (Some(shard), Some(sessions)) => {
                let survey = shard.inbox().surveys().of(terms.visibility());
                let (follower, feed) = session_feed(bell, terms.visibility(), survey, sessions);
                shard.inbox().follow(follower);
                source.fed(Box::new(feed))
            }
            (Some(shard), None) => {
                let (follower, feed) = feed(bell, terms.visibility());
                shard.inbox().follow(follower);
                source.fed(Box::new(feed))
            }
        };
        Self { source, was_live: false, has_failed: false }
    }

    /// The next block, or the gap or error in its place. `None`: there is none at present.
    pub(super) fn step(&mut self, slow_reader: SlowReader, loading: Option<&Loading>) -> Option<ConsumerResult<Block>> {
        if self.has_failed {
            return None;
        }
        if let Err(error) = self.keep_up(slow_reader) {
            return Some(Err(error));
        }
        match self.source.poll_step(loading) {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(Next::Block(block))) => Some(Ok(block)),
            Ok(Poll::Ready(Next::Gap(gap))) => Some(Err(ConsumerError::Gap(gap))),
            Ok(Poll::Ready(Next::End)) => {
                self.was_live = true;
                let poison = self.source.poison()?.clone();
                self.has_failed = true;
                Some(Err(AdapterError::Poisoned(Box::new(poison)).into()))
            }
            Err(error) => {
                self.has_failed = true;
                Some(Err(error.into()))
            }
        }
    }

    /// Its shard, and how far it has been read; to the end, where it cannot be read any more.
    pub(super) fn reached(&self) -> (u16, Sequence) {
        let next = if self.has_failed { Sequence::new(u64::MAX) } else { self.source.next_sequence() };
        (self.source.shard_id(), next)
    }

    /// Returns whether there is something to hand out, or to report.
    pub(super) fn has_more(&self) -> bool {
        !self.has_failed && (self.source.has_more() || self.source.is_over())
    }

    /// # Errors
    /// The gap, or the end of the subscription, that the policy has for a reader that is too far behind.
    fn keep_up(&mut self, slow_reader: SlowReader) -> ConsumerResult<()> {
        let lag = self.source.lag();
        match slow_reader {
            SlowReader::Drop { lag_events } if self.was_live && lag > lag_events => {
                let next = self.source.next_sequence().plus(lag - lag_events / 2);
                Err(ConsumerError::Gap(self.source.drop_to(next)))
            }
            SlowReader::Fail { lag_events } if self.was_live && lag > lag_events => {
                self.has_failed = true;
                Err(ConsumerError::Lagged { shard_id: self.source.shard_id(), lag_events: lag })
            }
            _ => Ok(()),
        }
    }
}
