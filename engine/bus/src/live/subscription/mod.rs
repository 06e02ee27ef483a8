//! Subscriptions: a log from any position on, and then live, with no hole and no repeat.
//!
//! Replay and live are one reader: it walks its shard's log, and where it has caught up, the next block comes through a
//! [`Feed`](crate::feed) instead of a search. A reader that falls behind finds in the log what its feed had no room
//! for. So there is no hand-off between the two, in either direction.
//!
//! A subscription holds at most this of each shard: the block that it reads, and four in its feed, all of them among
//! the blocks that the shard lends; and the events copied out of one block. It never slows a producer.
//!
//! `shards` are its readers and whose turn it is, `ready` the events that wait to be handed out, `until` the end before
//! that of the bus, `stint` the work between two yields. [`Subscription`] has the calls of users, and how they wait.

mod batch;
mod batches;
mod blocking;
mod reader;
mod ready;
mod shards;
mod stint;
mod until;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use tapeline_reader::blocking::check_may_block;
use tapeline_reader::named::save_in;
use tapeline_reader::page::copy_events;
use tapeline_reader::source::{LogViews, Source};
use tapeline_reader::{ConsumerError, ConsumerResult, CursorFault, StoredEvent};
use tapeline_storage::format::{LogShard, Sequence, SessionId};
use tapeline_storage::log::LogView;
use tapeline_storage::read::{Block, Loading};

pub use batch::{EventBatch, Events};
pub use batches::{Batch, Batches, Delivery};
pub use blocking::BlockingSubscription;

use self::ready::Ready;
pub(crate) use self::shards::Beginning;
use self::shards::ShardReaders;
use self::stint::Stint;
use self::until::Until;
use super::request::SubscribeRequest;
use crate::bus_core::BusCore;
use crate::core::config::BatchConfig;

/// Events of a log from a position on, then live ones as they are ingested. Ends when the bus has ended and all of it
/// has been read.
///
/// Three ways to read, which may be mixed: as a [`Stream`] (or [`Subscription::try_next`] without waiting), each event
/// with a copy of its payload; by [`Subscription::next_batch`], borrowed and uncopied; and from a plain thread through
/// [`Subscription::blocking`]. Events of one shard, hence of one session from one producer, come in order; shards take
/// turns.
///
/// [`ConsumerError::Gap`] comes at its position and does not end the subscription. After any other error its shard is
/// left out, and the rest goes on: [`AdapterError::Poisoned`](crate::AdapterError::Poisoned) comes after the last event
/// of a shard that died or whose writing failed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tapeline::{Event, EventBus, EventBusConfig, SubscribeRequest};
///
/// let bus = EventBus::new(EventBusConfig::default()).await?;
/// for number in ["1", "2"] {
///     bus.ingest(Event::from_str(number)?)?;
/// }
/// let mut first = bus.subscribe(SubscribeRequest::new()).await?;
/// assert_eq!(first.next().await.unwrap()?.raw_str()?, "1");
/// // A later subscription continues from the cursor.
/// let mut second = bus.subscribe(SubscribeRequest::new().from(first.cursor())).await?;
/// assert_eq!(second.next().await.unwrap()?.raw_str()?, "2");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Subscription {
    core: Arc<BusCore>,
    shards: ShardReaders,
    ready: Ready,
    until: Until,
    /// Reads files elsewhere, where the bus has threads for that.
    loading: Option<Loading>,
    /// The work that it may still do before it lets other tasks run.
    stint: Stint,
}

impl Subscription {
    pub(crate) fn new(core: Arc<BusCore>, request: &SubscribeRequest) -> ConsumerResult<Self> {
        let views: Vec<_> = core.shards().views().collect();
        let log = LogViews::new(core.log_id(), &views);
        let cursor = log.cursor_of(request.cursor.as_deref())?;
        if cursor.as_ref().is_some_and(|cursor| cursor.sweep.is_some()) {
            return Err(log.refuse_cursor(CursorFault::OtherOrdering));
        }
        let mut first = |view: &Arc<LogView>| log.source(view, cursor.as_ref(), &request.start, request.visibility);
        let mut subscription = Self::begin(core, request, &views, &mut first)?;
        subscription.shards.begin_at(cursor);
        Ok(subscription)
    }

    /// A subscription that continues where a relay does.
    pub(crate) fn resumed(
        core: Arc<BusCore>,
        request: &SubscribeRequest,
        beginning: &Beginning,
    ) -> ConsumerResult<Self> {
        let views: Vec<_> = core.shards().views().collect();
        Self::begin(core, request, &views, &mut |view| Ok(beginning.source(view, request.visibility)))
    }

    /// A subscription that begins in each shard where `first` says.
    fn begin(
        core: Arc<BusCore>,
        request: &SubscribeRequest,
        views: &[Arc<LogView>],
        first: &mut dyn FnMut(&Arc<LogView>) -> ConsumerResult<Source>,
    ) -> ConsumerResult<Self> {
        let until = Until::of(request)?;
        let shards = ShardReaders::new(&core, request, views, first)?;
        let loading = core.loader().map(|loader| Loading { loader, waker: shards.bell().ringer() });
        Ok(Self { core, shards, ready: Ready::default(), until, loading, stint: Stint::default() })
    }

    /// Has it end where the shards end now, if it does not end before, and its sessions are closed then.
    pub(crate) fn end_at_present(&mut self) {
        self.until.end_at_present(&self.core);
        self.shards.follow_all(&self.core);
    }

    /// The same for one that begins after a close: it also ends there if it has handed out nothing.
    pub(crate) fn end_after_close(&mut self) {
        self.until.end_after_close(&self.core);
        self.shards.follow_all(&self.core);
    }

    /// These of its sessions are closed in the log, perhaps before its start.
    pub(crate) fn know_closed(&mut self, sessions: Vec<SessionId>) {
        self.until.know_closed(sessions);
    }

    /// Notes what is handed out, by this subscription or for it.
    pub(crate) fn hand_out<E>(&mut self, item: &Result<StoredEvent, E>) {
        if item.is_ok() {
            self.until.hand_out();
        }
    }

    /// Polls `look`, which reads beside it, with that which reads files elsewhere and the number of records that it may
    /// still look at before other tasks run. The number is 0 where it used them up.
    pub(crate) fn poll_beside<T>(
        &mut self,
        context: &Context<'_>,
        look: impl FnOnce(Option<&Loading>, &mut usize) -> Poll<T>,
    ) -> Poll<T> {
        if self.stint.is_over() {
            return self.let_others_run(context);
        }
        self.shards.bell().arm(context.waker());
        let polled = look(self.loading.as_ref(), self.stint.left());
        if polled.is_pending() && !self.stint.is_over() {
            return Poll::Pending;
        }
        self.shards.bell().disarm();
        if polled.is_pending() {
            return self.let_others_run(context);
        }
        self.stint.hand_out();
        polled
    }

    /// Returns whether its sessions were closed, and all of them up to there was handed out.
    pub(crate) fn has_met_close(&self) -> bool {
        self.until.is_reached(self.core.closed()) && self.ready.is_empty()
    }

    /// Returns whether a session's events of the era of this sequence may lie in its shard.
    pub(crate) fn may_hold(&self, session: SessionId, shard: u16, at: Sequence) -> bool {
        self.core.may_hold(session, shard, at)
    }

    /// Returns whether a session's events that were not read yet may lie in a shard, or will.
    pub(crate) fn may_have_more(&self, session: SessionId, shard: u16) -> bool {
        self.shards.of(shard).is_none_or(|reader| self.may_hold(session, shard, reader.source.next_sequence()))
    }

    /// The next event, if there is one now. Costs some loads a shard where there is none. Unlike the stream it reads
    /// files on the calling thread, and never lets other tasks run.
    pub fn try_next(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        self.try_now(Self::next_within)
    }

    /// The next events as they lie in the log, if there are any now: those of one block, uncopied. A batch may hold
    /// none that was asked for.
    pub fn try_next_batch(&mut self) -> Option<ConsumerResult<EventBatch>> {
        self.try_now(Self::next_batch_within)
    }

    /// Looks as long as it takes to find something, or that there is nothing, and reads files on this thread.
    fn try_now<T>(&mut self, look: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        let loading = self.loading.take();
        let found = self.find(look);
        self.loading = loading;
        found
    }

    /// Looks as long as it takes to find something, or that there is nothing that is not being read elsewhere.
    fn find<T>(&mut self, mut look: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        loop {
            self.stint = Stint::default();
            let found = look(self);
            if found.is_some() {
                return found;
            }
            if !self.stint.is_over() && !self.poll_missed_closes(&mut Context::from_waker(Waker::noop())) {
                return None;
            }
        }
    }

    /// As [`Subscription::try_next`], with files read elsewhere.
    fn try_next_loading(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        self.find(Self::next_within)
    }

    /// The next event, if it is found within the stint.
    fn next_within(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        loop {
            if let Some(found) = self.ready.found.pop_front() {
                self.stint.hand_out();
                self.hand_out(&found);
                return Some(found.map_err(ConsumerError::Gap));
            }
            if self.stint.is_over() {
                return None;
            }
            match self.advance()? {
                Ok((reader, block)) => {
                    self.stint.look_at(block.count());
                    let shard = LogShard::new(self.core.log_id(), self.shards.shard_id(reader));
                    self.ready.reader = reader;
                    copy_events(shard, &block, self.shards.selection(), &mut self.ready.found);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next batch.
    fn next_batch_within(&mut self) -> Option<ConsumerResult<EventBatch>> {
        self.return_ready();
        Some(self.advance()?.map(|(reader, block)| {
            self.stint.look_at(block.count());
            let shard_id = self.shards.shard_id(reader);
            EventBatch::new(shard_id, block.detached(), Arc::clone(self.shards.selection()))
        }))
    }

    /// Waits for the next events; see [`Subscription::try_next_batch`]. `None`: the subscription has ended.
    pub async fn next_batch(&mut self) -> Option<ConsumerResult<EventBatch>> {
        poll_fn(|context| self.poll_with(context, Self::next_batch_within)).await
    }

    /// Waits for the next event. `None`: the subscription has ended.
    pub async fn next(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        poll_fn(|context| self.poll_with(context, Self::next_within)).await
    }

    /// The same for a plain thread: an iterator that blocks.
    pub fn blocking(self) -> BlockingSubscription {
        BlockingSubscription::new(self)
    }

    /// The same in batches. What was handed out before does not come again.
    ///
    /// # Errors
    /// A setting out of range, as [`BatchConfig::validate`] finds it.
    pub fn batches(self, config: &BatchConfig) -> ConsumerResult<Batches> {
        Batches::new(self, config)
    }

    /// The cursor after what was handed out. Costs a lock and some text a shard. In a forked child, where a thread of
    /// the parent may hold that lock for ever, the cursor that the subscription began at.
    pub fn cursor(&self) -> String {
        self.cursor_before(|_, _| None)
    }

    /// The cursor after what was handed out, in some shards before an event that was: by reader and shard.
    fn cursor_before(&self, first_kept: impl Fn(usize, u16) -> Option<Sequence>) -> String {
        if self.core.is_forked() {
            return self.shards.cursor_at_begin().encode(self.core.log_id());
        }
        let cursor = self.shards.cursor(|at, shard_id| first_kept(at, shard_id).or_else(|| self.ready.next_of(at)));
        cursor.encode(self.core.log_id())
    }

    /// Keeps a cursor in the log under a name; durable when it returns.
    pub(crate) fn save_cursor(&self, name: &str, cursor: &str) -> ConsumerResult<()> {
        self.core.check_fork()?;
        let views: Vec<_> = self.core.shards().views().collect();
        save_in(&self.core.readers().cursors, LogViews::new(self.core.log_id(), &views), name, cursor)
    }

    /// Events that can be read and were not handed out, those that the selection leaves out included.
    pub fn lag(&self) -> u64 {
        self.shards.lag() + self.ready.found.len() as u64
    }

    /// Returns whether nothing more will come: the bus has ended, and all of it was read.
    pub fn has_ended(&self) -> bool {
        // Asked first: what a shard published before it ended is seen by the look after this.
        let is_over = !self.shards.bell().is_connected();
        let has_more = !self.ready.is_empty() || self.shards.have_more();
        if self.until.is_reached(self.core.closed()) {
            self.ready.is_empty()
        } else {
            !has_more && (is_over || self.shards.have_lagged())
        }
    }

    /// Polls with `look`. On a shard's thread, which would wait for itself, an error takes the place of waiting.
    fn poll_with<T>(
        &mut self,
        context: &mut Context<'_>,
        mut look: impl FnMut(&mut Self) -> Option<ConsumerResult<T>>,
    ) -> Poll<Option<ConsumerResult<T>>> {
        if self.stint.is_over() {
            return self.let_others_run(context);
        }
        if let Some(item) = look(self) {
            return Poll::Ready(Some(item));
        }
        if self.stint.is_over() {
            return self.let_others_run(context);
        }
        if self.has_ended() {
            return Poll::Ready(None);
        }
        self.stint = Stint::default();
        self.shards.bell().arm(context.waker());
        let mut item = look(self);
        if item.is_none() && self.stint.is_over() {
            self.shards.bell().disarm();
            return self.let_others_run(context);
        }
        if item.is_none() && !self.has_ended() {
            match check_may_block("waiting for events") {
                Ok(()) if self.poll_missed_closes(context) => {
                    self.shards.bell().disarm();
                    return self.poll_with(context, look);
                }
                Ok(()) => return Poll::Pending,
                Err(refused) => item = Some(Err(refused.into())),
            }
        }
        self.shards.bell().disarm();
        Poll::Ready(item)
    }

    /// Has it end at the present once its sessions are closed, and their closes were not met. Returns whether it has
    /// another end now.
    fn poll_missed_closes(&mut self, context: &mut Context<'_>) -> bool {
        let has_other_end = self.until.poll_missed_closes(&self.core, context);
        if has_other_end {
            self.shards.follow_all(&self.core);
        }
        has_other_end
    }

    /// Yields once: the reader's task is polled again after the others.
    fn let_others_run<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        self.stint = Stint::default();
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next block of the reader whose turn it is, with its number.
    fn advance(&mut self) -> Option<ConsumerResult<(usize, Block)>> {
        if let Err(error) = self.core.check_fork() {
            return Some(Err(error.into()));
        }
        self.shards.adopt(&self.core);
        self.until.look_at_ends(self.shards.reached(), self.core.closed());
        if self.until.is_reached(self.core.closed()) {
            return None;
        }
        let mut next = self.shards.next_block(&self.core, self.loading.as_ref())?;
        if let Ok((at, block)) = &mut next
            && let Some(end) = self.until.look(block)
        {
            block.end_at(end);
            self.shards.return_to(*at, end);
        }
        Some(next)
    }

    /// Takes back what was copied and not handed out.
    fn return_ready(&mut self) {
        if let Some(next) = self.ready.next() {
            self.shards.return_to(self.ready.reader, next);
            self.ready.found.clear();
            self.until.return_to(next);
        }
    }
}

impl Stream for Subscription {
    type Item = ConsumerResult<StoredEvent>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_with(context, Self::next_within)
    }
}
