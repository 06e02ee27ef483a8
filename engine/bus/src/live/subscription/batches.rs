//! Events in batches, each of one shard: what an adapter is handed.
//!
//! No timer runs: where a batch waits for others, a shard keeps its deadline, as it does for long polls, and of each
//! [`Batches`] one at a time.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use tapeline_reader::blocking::check_may_block;
use tapeline_reader::timestamp::Clock;
use tapeline_reader::{AdapterError, ConsumerError, ConsumerResult, StoredEvent};
use tapeline_storage::format::Sequence;
use tapeline_storage::log::{BatchOptions, BatchTarget};

use super::Subscription;
use crate::core::config::BatchConfig;
use crate::core::park;
use crate::feed::{Bell, Follower};

/// Events of one shard, in order.
///
/// ```
/// use tapeline::Batch;
/// use tapeline::adapter::Delivery;
///
/// let batch = Batch::new(0, Vec::new());
/// assert!(batch.is_empty() && batch.delivery == Delivery::InOrder);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Batch {
    /// The shard.
    pub shard_id: u16,
    /// The events. At least one.
    pub events: Vec<StoredEvent>,
    /// Sequence of the first. The others follow, but for those that were not asked for.
    pub sequence_start: Sequence,
    /// The time of its delivery: later events of the shard may have been delivered before.
    pub delivery: Delivery,
}

/// The time at which a batch is delivered.
///
/// ```
/// use tapeline::Batch;
/// use tapeline::adapter::Delivery;
///
/// assert_eq!(Batch::new(0, Vec::new()).redriven().delivery, Delivery::Redriven);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// After all earlier events of its shard.
    #[default]
    InOrder,
    /// After an adapter had refused its events, and an operator asked for another try: later events of the shard were
    /// delivered before. The events may be of several logs.
    Redriven,
}

impl Batch {
    /// A batch of these events of one shard, in their order.
    pub fn new(shard_id: u16, events: Vec<StoredEvent>) -> Self {
        let sequence_start = events.first().map_or(Sequence::ZERO, |first| first.sequence);
        Self { shard_id, events, sequence_start, delivery: Delivery::InOrder }
    }

    /// The same, as events that were refused before.
    #[must_use]
    pub fn redriven(self) -> Self {
        Self { delivery: Delivery::Redriven, ..self }
    }

    /// The same with a part of its events.
    pub(crate) fn with_events(&self, events: Vec<StoredEvent>) -> Self {
        Self { delivery: self.delivery, ..Self::new(self.shard_id, events) }
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// A [`Subscription`] whose events come in batches, each of one shard.
///
/// A batch is handed out when it holds as many events as its [`BatchConfig`] wants, never more than
/// [`max_size`](BatchConfig::max_size); when its first event was taken up [`max_delay`](BatchConfig::max_delay) ago; at
/// once, where its shard has had none for that long; or when the subscription has ended.
///
/// A gap comes at its position: after the batch of what comes before it in its shard. Before any other error all that
/// was collected is handed out. Holds at most `max_size` events of each shard, and none after 16 MiB, beside what
/// the subscription holds.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{Event, EventBus, EventBusConfig, SubscribeRequest};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// bus.ingest_batch(vec![Event::from_str("1")?, Event::from_str("2")?]);
/// let mut batches = bus.batches(SubscribeRequest::new()).await?;
/// let batch = batches.next().await.unwrap()?;
/// // Confirmed elsewhere, then stored here: nothing that was confirmed is sent again.
/// println!("{} events from shard {}, sequence {}", batch.len(), batch.shard_id, batch.sequence_start);
/// bus.save_cursor("relay", &batches.cursor())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Batches {
    subscription: Subscription,
    options: BatchOptions,
    /// For each reader of the subscription that has had an event.
    collected: Vec<Collected>,
    /// Returned when what comes before it has been handed out.
    error: Option<ConsumerError>,
    /// Rung by the shard that keeps a deadline; connected while one does.
    timer: Arc<Bell>,
}

/// Bytes of payloads that complete a batch, however few events they are.
const BATCH_BYTES: usize = 16 << 20;

/// Events of one shard that wait for others.
#[derive(Debug)]
struct Collected {
    events: Vec<StoredEvent>,
    /// Of their payloads.
    bytes: usize,
    /// The time at which the first was taken up, in nanoseconds.
    since: u64,
    /// The time for which they wait for more once there is nothing to read.
    patience: u64,
    /// The time at which the last batch was handed out.
    handed_at: u64,
    /// Events taken up so far.
    total: u64,
    target: BatchTarget,
}

impl Collected {
    fn new(options: BatchOptions) -> Self {
        Self {
            events: Vec::new(),
            bytes: 0,
            since: 0,
            patience: 0,
            handed_at: 0,
            total: 0,
            target: BatchTarget::new(options),
        }
    }

    /// Takes an event up. Returns whether it completes a batch.
    fn take(&mut self, event: StoredEvent) -> bool {
        if self.events.is_empty() {
            let (now, delay) = (Clock::global().now(), self.target.options().delay_ns);
            self.target.note(now, self.total);
            // After a pause there is nothing to wait for.
            self.patience = if now.saturating_sub(self.handed_at) >= delay { 0 } else { delay };
            self.since = now;
        }
        self.total += 1;
        self.bytes = if self.events.is_empty() { 0 } else { self.bytes } + event.raw.len();
        self.events.push(event);
        self.events.len() >= self.target.events() || self.bytes >= BATCH_BYTES
    }
}

impl Batches {
    /// # Errors
    /// A setting out of range, as [`BatchConfig::validate`] finds it.
    pub(super) fn new(subscription: Subscription, config: &BatchConfig) -> ConsumerResult<Self> {
        config.validate().map_err(AdapterError::from)?;
        let (options, timer) = (config.options(), Arc::new(Bell::new()));
        Ok(Self { subscription, options, collected: Vec::new(), error: None, timer })
    }

    /// Waits for the next batch. `None`: the subscription has ended, and all was handed out. May be dropped while it
    /// waits: what was collected stays.
    pub async fn next(&mut self) -> Option<ConsumerResult<Batch>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Batches::next`], blocking the thread.
    pub fn blocking_next(&mut self) -> Option<ConsumerResult<Batch>> {
        park::block_on(self.next())
    }

    /// The next batch, if one is to be handed out now.
    pub fn try_next(&mut self) -> Option<ConsumerResult<Batch>> {
        self.look(Subscription::try_next)
    }

    fn look(
        &mut self,
        mut next: impl FnMut(&mut Subscription) -> Option<ConsumerResult<StoredEvent>>,
    ) -> Option<ConsumerResult<Batch>> {
        loop {
            if let Some(error) = self.error.take() {
                let Some(at) = self.collected_before(&error) else { return Some(Err(error)) };
                self.error = Some(error);
                return Some(Ok(self.hand_out(at)));
            }
            // Between two blocks: the clock costs more than an event.
            if self.subscription.ready.is_empty()
                && let Some(at) = self.find_due(|collected| collected.target.options().delay_ns)
            {
                return Some(Ok(self.hand_out(at)));
            }
            match next(&mut self.subscription) {
                Some(Ok(event)) => {
                    let at = self.subscription.ready.reader;
                    if self.collected.len() <= at {
                        self.collected.resize_with(at + 1, || Collected::new(self.options));
                    }
                    if self.collected[at].take(event) {
                        return Some(Ok(self.hand_out(at)));
                    }
                }
                Some(Err(error)) => self.error = Some(error),
                None => {
                    let has_ended = self.subscription.has_ended();
                    let at = self.find_due(|collected| if has_ended { 0 } else { collected.patience })?;
                    return Some(Ok(self.hand_out(at)));
                }
            }
        }
    }

    /// The cursor after the last batch, or gap, that was handed out: what is collected comes again to a reader that
    /// goes on from it. Costs a lock and some text a shard. In a forked child as [`Subscription::cursor`].
    pub fn cursor(&self) -> String {
        self.subscription.cursor_before(|at, shard_id| {
            let first = self.collected.get(at).and_then(|collected| collected.events.first());
            first.map(|event| event.sequence).or(match &self.error {
                Some(ConsumerError::Gap(gap)) if gap.shard_id == shard_id => Some(gap.from),
                _ => None,
            })
        })
    }

    /// Events that can be read and were not handed out, those that the selection leaves out included.
    pub fn lag(&self) -> u64 {
        let collected: usize = self.collected.iter().map(|collected| collected.events.len()).sum();
        self.subscription.lag() + collected as u64
    }

    /// Returns whether nothing more will come.
    pub fn has_ended(&self) -> bool {
        let is_empty = self.error.is_none() && self.collected.iter().all(|collected| collected.events.is_empty());
        is_empty && self.subscription.has_ended()
    }

    fn poll_next(&mut self, context: &Context<'_>) -> Poll<Option<ConsumerResult<Batch>>> {
        if let Some(batch) = self.look(Subscription::try_next_loading) {
            return Poll::Ready(Some(batch));
        }
        self.subscription.shards.bell().arm(context.waker());
        self.timer.arm(context.waker());
        let mut batch = self.look(Subscription::try_next_loading);
        if batch.is_none() && !self.has_ended() {
            match check_may_block("waiting for events") {
                Ok(()) => {
                    self.keep_time();
                    return Poll::Pending;
                }
                Err(refused) => batch = Some(Err(refused.into())),
            }
        }
        self.subscription.shards.bell().disarm();
        self.timer.disarm();
        Poll::Ready(batch)
    }

    /// Has a shard ring the timer when the first of what is collected is due.
    fn keep_time(&self) {
        let Some((due, at)) = self.first_due(|collected| collected.patience) else { return };
        // Delays are equal, so a deadline that is kept belongs to an earlier event: it comes first, and then this one
        // is looked at.
        if self.timer.is_connected() {
            return;
        }
        let (core, shard_id) = (&self.subscription.core, self.subscription.shards.shard_id(at));
        let others = core.shards().all();
        let mut shards = core.shards().get(shard_id).into_iter().chain(others.iter().cloned());
        // Where no shard runs, the subscription's own bell is rung for its end.
        if let Some(shard) = shards.find(|shard| shard.handover().is_active() && !shard.is_stopped()) {
            shard.inbox().follow(Follower::timer(&self.timer, due));
        }
    }

    fn find_due(&self, patience: impl Fn(&Collected) -> u64) -> Option<usize> {
        let (due, at) = self.first_due(patience)?;
        (due <= Clock::global().now()).then_some(at)
    }

    /// The reader whose events are due first, after the time when they are.
    fn first_due(&self, patience: impl Fn(&Collected) -> u64) -> Option<(u64, usize)> {
        let waiting = self.collected.iter().enumerate().filter(|(_, collected)| !collected.events.is_empty());
        waiting.map(|(at, collected)| (collected.since.saturating_add(patience(collected)), at)).min()
    }

    /// A reader whose events come before the error.
    fn collected_before(&self, error: &ConsumerError) -> Option<usize> {
        let shard_id = match error {
            ConsumerError::Gap(gap) => Some(gap.shard_id),
            _ => None,
        };
        let is_of = |at| shard_id.is_none_or(|shard_id| shard_id == self.subscription.shards.shard_id(at));
        (0..self.collected.len()).find(|at| !self.collected[*at].events.is_empty() && is_of(*at))
    }

    fn hand_out(&mut self, at: usize) -> Batch {
        let collected = &mut self.collected[at];
        collected.handed_at = Clock::global().now();
        Batch::new(self.subscription.shards.shard_id(at), std::mem::take(&mut collected.events))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.timer.silence();
    }
}
