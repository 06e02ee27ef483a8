//! Events in batches, each of one shard, as a [`BatchConfig`] says.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::task::{Context, Poll};

use tapeline_storage::log::BatchTarget;

use super::Subscription;
use crate::batch::{Batch, BatchConfig};
use crate::error::{ConsumerError, ConsumerResult};
use crate::event::StoredEvent;
use crate::feed::Follower;
use crate::park;
use crate::timestamp::Clock;

/// A subscription whose events come in batches.
///
/// An error, such as a gap, comes in its place: behind the events of its shard that come before it.
#[derive(Debug)]
pub struct Batches {
    subscription: Subscription,
    target: BatchTarget,
    gathered: BTreeMap<u16, Gathered>,
    /// Behind the batches that were handed out.
    errors: VecDeque<ConsumerError>,
    /// Events that were gathered so far.
    total: u64,
    /// When the last batch was handed out.
    handed_at: u64,
}

/// Events of one shard.
#[derive(Debug)]
struct Gathered {
    events: Vec<StoredEvent>,
    /// When they are due, in nanoseconds.
    due: u64,
}

impl Batches {
    pub(super) fn new(subscription: Subscription, config: &BatchConfig) -> Self {
        Self {
            subscription,
            target: BatchTarget::new(config.options()),
            gathered: BTreeMap::new(),
            errors: VecDeque::new(),
            total: 0,
            handed_at: 0,
        }
    }

    /// Waits for the next batch. `None`: the subscription has ended.
    pub async fn next(&mut self) -> Option<ConsumerResult<Batch>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Batches::next`], blocking the thread.
    pub fn blocking_next(&mut self) -> Option<ConsumerResult<Batch>> {
        park::block_on(self.next())
    }

    /// The cursor behind the batches that were handed out.
    pub fn cursor(&self) -> String {
        self.subscription.cursor_before(|shard| Some(self.gathered.get(&shard)?.events.first()?.sequence))
    }

    fn poll_next(&mut self, context: &Context<'_>) -> Poll<Option<ConsumerResult<Batch>>> {
        if let Some(item) = self.look() {
            return Poll::Ready(Some(item));
        }
        loop {
            // Something may have come between the look and this.
            match self.subscription.poll_with(context, Subscription::try_next) {
                Poll::Ready(Some(item)) => self.take(item),
                // All that is left goes, whether it is due or not.
                Poll::Ready(None) => return Poll::Ready(self.hand_out(|_| true)),
                Poll::Pending => {}
            }
            match self.look() {
                Some(item) => return Poll::Ready(Some(item)),
                None if self.subscription.bell.is_armed() => return Poll::Pending,
                None => {}
            }
        }
    }

    /// What can be handed out now.
    fn look(&mut self) -> Option<ConsumerResult<Batch>> {
        loop {
            if let Some(item) = self.hand_out(|_| false) {
                return Some(item);
            }
            match self.subscription.try_next() {
                Some(item) => self.take(item),
                None => break,
            }
        }
        let now = Clock::global().now();
        self.target.note(now, self.total);
        self.hand_out(|gathered| gathered.due <= now)
    }

    fn take(&mut self, item: ConsumerResult<StoredEvent>) {
        match item {
            Ok(event) => {
                self.total += 1;
                let shard = event.shard_id;
                let gathered = self.gathered.entry(shard);
                let gathered = gathered.or_insert_with(|| {
                    let now = Clock::global().now();
                    let delay = self.target.options().delay_ns;
                    // After a pause there is nobody to wait for.
                    let due = self.handed_at.saturating_add(delay).max(now).min(now.saturating_add(delay));
                    self.subscription.wake_at(shard, due);
                    Gathered { events: Vec::new(), due }
                });
                gathered.events.push(event);
            }
            Err(error) => self.errors.push_back(error),
        }
    }

    /// The batch of a shard that has enough, or is due, or comes before an error; then the error.
    fn hand_out(&mut self, is_due: impl Fn(&Gathered) -> bool) -> Option<ConsumerResult<Batch>> {
        let enough = self.target.events().min(self.target.options().events_max);
        let has_error = !self.errors.is_empty();
        let found =
            self.gathered.iter().find(|(_, gathered)| has_error || gathered.events.len() >= enough || is_due(gathered));
        if let Some(shard) = found.map(|(shard, _)| *shard) {
            let gathered = self.gathered.remove(&shard)?;
            self.handed_at = Clock::global().now();
            self.target.note(self.handed_at, self.total);
            return Some(Ok(Batch::new(shard, gathered.events)));
        }
        self.errors.pop_front().map(Err)
    }
}

impl Subscription {
    /// The same events in batches.
    ///
    /// # Errors
    /// A setting out of range.
    pub fn batches(self, config: &BatchConfig) -> ConsumerResult<Batches> {
        config.validate().map_err(crate::error::AdapterError::from)?;
        Ok(Batches::new(self, config))
    }

    /// Has this subscription woken at a time, in nanoseconds, by a shard.
    fn wake_at(&self, shard: u16, time: u64) {
        if let Some(shard) = self.parts.shard(shard) {
            shard.follow(Follower::waiting(&self.bell, self.visibility, time));
        }
    }
}
