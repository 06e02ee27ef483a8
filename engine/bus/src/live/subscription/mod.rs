//! Subscriptions: a log from any position on, and then live, with no hole and no repeat.
//!
//! Replay and live are one reader: it walks its shard's log, and where it has caught up, the next block comes through a
//! [`Feed`](crate::feed) instead of a search. A reader that falls behind finds in the log what its feed had no room
//! for. So there is no hand-off between the two, in either direction.
//!
//! A subscription holds at most this of each shard: the block that it reads, and four in its feed, all of them among
//! the blocks that the shard lends; and the events copied out of one block. It never slows a producer.

mod batch;
mod batches;
mod blocking;
mod stint;
mod until;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use tapeline_reader::blocking::check_may_block;
use tapeline_reader::cursor::Cursor;
use tapeline_reader::page::{Found, copy_events};
use tapeline_reader::selection::Selection;
use tapeline_reader::source::{Next, Source, cursor_of, refuse_cursor, source};
use tapeline_reader::{AdapterError, ConsumerError, ConsumerResult, CursorFault, Gap, StoredEvent, order};
use tapeline_storage::format::{Eras, Sequence, SessionId};
use tapeline_storage::log::LogView;
use tapeline_storage::read::{Loading, Visibility};

pub use batch::{EventBatch, Events};
pub use batches::{Batch, Batches};
pub use blocking::BlockingSubscription;

use self::stint::Stint;
use super::request::{SlowReader, SubscribeRequest};
use crate::bus_core::BusCore;
use crate::core::config::BatchConfig;
use crate::feed::{Bell, feed};
use crate::routing::shard_of;
use until::{Until, Wait};

/// Events of a log from a position on, then live ones as they are ingested. Ends when the bus has ended and all of it
/// has been read.
///
/// Three ways to read, which may be mixed: as a [`Stream`] (or [`Subscription::try_next`] without waiting), each event
/// with a copy of its payload; by [`Subscription::next_batch`], borrowed and uncopied; and from a plain thread through
/// [`Subscription::blocking`]. Events of one shard, hence of one session from one producer, come in order; shards take
/// turns.
///
/// [`ConsumerError::Gap`] comes at its position and does not end the subscription. After any other error its shard is
/// left out, and the rest goes on: [`AdapterError::Poisoned`] comes after the last event of a shard that died or whose
/// writing failed.
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
    terms: Terms,
    bell: Arc<Bell>,
    /// Reads files elsewhere, where the bus has threads for that.
    loading: Option<Loading>,
    /// The work that it may still do before it lets other tasks run.
    stint: Stint,
    readers: Vec<Reader>,
    /// Shards that were there when it last looked for more.
    shard_count: usize,
    /// The reader whose turn it is.
    turn: usize,
    ready: Ready,
    /// The policy has ended it.
    has_lagged: bool,
    until: Until,
    /// Its sessions are closed, and what was ingested before is waited for.
    closing: Option<Wait>,
    /// The positions that it began at, and those of shards that are not read.
    cursor: Cursor,
}

/// The start of a subscription, if neither a cursor nor a [`Start`](tapeline_reader::Start) says.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// In each shard that was there.
    pub(crate) next: BTreeMap<u16, Sequence>,
    /// The items that its reader gets before anything else.
    pub(crate) lost: Option<Gap>,
}

/// The request of the reader, for as long as the subscription lives.
#[derive(Debug)]
struct Terms {
    selection: Arc<Selection>,
    visibility: Visibility,
    slow_reader: SlowReader,
}

/// One shard of a subscription.
#[derive(Debug)]
struct Reader {
    source: Source,
    /// It has caught up once.
    was_live: bool,
    /// It ended with an error.
    has_failed: bool,
}

/// Events of one block that wait to be handed out.
#[derive(Debug, Default)]
struct Ready {
    reader: usize,
    found: VecDeque<Found>,
}

impl Ready {
    /// The first sequence that was not handed out.
    fn next(&self) -> Option<Sequence> {
        self.found.front().map(|found| match found {
            Ok(event) => event.sequence,
            Err(gap) => gap.from,
        })
    }
}

impl Subscription {
    pub(crate) fn new(core: Arc<BusCore>, request: &SubscribeRequest) -> ConsumerResult<Self> {
        let (log, views): (_, Vec<_>) = (core.log_id(), core.shards().views().collect());
        let cursor = cursor_of(log, &views, request.cursor.as_deref())?;
        if cursor.as_ref().is_some_and(|cursor| cursor.sweep.is_some()) {
            return Err(refuse_cursor(CursorFault::OtherOrdering, log, &views));
        }
        let mut first =
            |view: &Arc<LogView>| source(log, &views, view, cursor.as_ref(), &request.start, request.visibility);
        let mut subscription = Self::begin(core, request, &views, &mut first)?;
        subscription.cursor.positions = cursor.unwrap_or_default().positions;
        let readers = subscription.readers.iter();
        let positions =
            readers.map(|Reader { source, .. }| (source.shard_id(), source.position(source.next_sequence())));
        subscription.cursor.positions.extend(positions);
        Ok(subscription)
    }

    /// A subscription that continues where a relay does.
    pub(crate) fn resumed(
        core: Arc<BusCore>,
        request: &SubscribeRequest,
        beginning: &Beginning,
    ) -> ConsumerResult<Self> {
        let views: Vec<_> = core.shards().views().collect();
        let mut first = |view: &Arc<LogView>| {
            let next = beginning.next.get(&view.shard()).copied().unwrap_or_else(|| view.trimmed());
            let source = Source::at(view, next, request.visibility);
            Ok(match &beginning.lost {
                Some(gap) if gap.shard_id == view.shard() => source.after_gap(gap.clone()),
                _ => source,
            })
        };
        Self::begin(core, request, &views, &mut first)
    }

    /// A subscription that begins in each shard where `first` says.
    fn begin(
        core: Arc<BusCore>,
        request: &SubscribeRequest,
        views: &[Arc<LogView>],
        first: &mut dyn FnMut(&Arc<LogView>) -> ConsumerResult<Source>,
    ) -> ConsumerResult<Self> {
        let SubscribeRequest { shards, sessions, kinds, filter, visibility, .. } = request;
        let selection = Selection::new(shards.as_deref(), sessions.as_deref(), kinds.as_deref(), filter.as_ref())?;
        let until = Until::of(request)?;
        let bell = Arc::new(Bell::new());
        core.readers().watch(&bell);
        let mut readers = Vec::new();
        for view in views.iter().filter(|view| selection.has_shard(view.shard())) {
            readers.push(Reader::new(&core, &bell, *visibility, first(view)?.seeking(&selection)));
        }
        Ok(Self {
            terms: Terms { selection: Arc::new(selection), visibility: *visibility, slow_reader: request.slow_reader },
            // Shards that came since the views were listed are taken in by the first look.
            shard_count: 0,
            loading: core.loader().map(|loader| Loading { loader, waker: bell.ringer() }),
            stint: Stint::default(),
            core,
            bell,
            readers,
            turn: 0,
            ready: Ready::default(),
            has_lagged: false,
            until,
            closing: None,
            cursor: Cursor::default(),
        })
    }

    /// Has it end where the shards end now, if it does not end before, and its sessions are closed then.
    /// `is_after_close`: it also ends there if it has handed out nothing, since it begins after a close.
    pub(crate) fn end_at_present(&mut self, is_after_close: bool) {
        let ends = self.core.shards().views().map(|view| (view.shard(), view.appended())).collect();
        self.until.end_at(ends, is_after_close);
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
        self.bell.arm(context.waker());
        let polled = look(self.loading.as_ref(), self.stint.left());
        if polled.is_pending() && !self.stint.is_over() {
            return Poll::Pending;
        }
        self.bell.disarm();
        if polled.is_pending() {
            return self.let_others_run(context);
        }
        self.stint.hand_out();
        polled
    }

    /// Returns whether its sessions were closed, and all of them up to there was handed out.
    pub(crate) fn has_met_close(&self) -> bool {
        self.until.is_reached(self.core.closed()) && self.ready.found.is_empty()
    }

    /// Returns whether a session's events of the era of this sequence may lie in its shard.
    pub(crate) fn may_hold(&self, session: SessionId, shard: u16, at: Sequence) -> bool {
        // Read before the eras: the first one, where there are none.
        let route = self.core.route().get();
        let eras = self.core.eras();
        let is_first = eras.is_empty() && route.is_first();
        let active = eras.route_of(eras.of(shard, at)).or_else(|| is_first.then(|| route.active()));
        active.is_none_or(|active| shard_of(session, active) == shard)
    }

    /// Returns whether a session's events that were not read yet may lie in a shard, or will.
    pub(crate) fn may_have_more(&self, session: SessionId, shard: u16) -> bool {
        let reader = self.readers.iter().find(|reader| reader.source.shard_id() == shard);
        reader.is_none_or(|reader| self.may_hold(session, shard, reader.source.next_sequence()))
    }

    /// Has it end at the present once its sessions are closed, should it not meet their closes. Returns whether its end
    /// is another one now.
    fn poll_closing(&mut self, context: &mut Context<'_>) -> bool {
        if self.closing.is_none() && self.until.has_missed_closes(self.core.closed()) {
            let core = Arc::clone(&self.core);
            self.closing = Some(Wait::new(async move { core.wait_readable().await.is_ok() }));
        }
        let Some(Poll::Ready(is_readable)) = self.closing.as_mut().map(|wait| wait.poll(context)) else {
            return false;
        };
        self.closing = None;
        if is_readable {
            self.end_at_present(false);
        }
        is_readable
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
            if !self.stint.is_over() && !self.poll_closing(&mut Context::from_waker(Waker::noop())) {
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
                    let (log, shard) = (self.core.log_id(), self.readers[reader].source.shard_id());
                    self.ready.reader = reader;
                    copy_events(log, shard, &block, &self.terms.selection, usize::MAX, &mut self.ready.found);
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
            let shard_id = self.readers[reader].source.shard_id();
            EventBatch::new(shard_id, block.detached(), Arc::clone(&self.terms.selection))
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
        let mut cursor = self.cursor.clone();
        if self.core.is_forked() {
            return cursor.encode(self.core.log_id());
        }
        for (at, reader) in self.readers.iter().enumerate() {
            let ready = self.ready.next().filter(|_| at == self.ready.reader);
            let next = first_kept(at, reader.source.shard_id()).or(ready);
            let next = next.unwrap_or_else(|| reader.source.next_sequence());
            cursor.positions.insert(reader.source.shard_id(), reader.source.position(next));
        }
        cursor.encode(self.core.log_id())
    }

    /// Events that can be read and were not handed out, those that the selection leaves out included.
    pub fn lag(&self) -> u64 {
        self.readers.iter().map(|reader| reader.source.lag()).sum::<u64>() + self.ready.found.len() as u64
    }

    /// Returns whether nothing more will come: the bus has ended, and all of it was read.
    pub fn has_ended(&self) -> bool {
        // Asked first: what a shard published before it ended is seen by the look after this.
        let is_over = !self.bell.is_connected();
        let mut present = self.readers.iter().filter(|reader| !reader.has_failed);
        let has_more = !self.ready.found.is_empty() || present.any(Reader::has_more);
        match self.until.is_reached(self.core.closed()) {
            true => self.ready.found.is_empty(),
            false => !has_more && (is_over || self.has_lagged),
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
        self.bell.arm(context.waker());
        let mut item = look(self);
        if item.is_none() && self.stint.is_over() {
            self.bell.disarm();
            return self.let_others_run(context);
        }
        if item.is_none() && !self.has_ended() {
            match check_may_block("waiting for events") {
                Ok(()) if self.poll_closing(context) => {
                    self.bell.disarm();
                    return self.poll_with(context, look);
                }
                Ok(()) => return Poll::Pending,
                Err(refused) => item = Some(Err(refused.into())),
            }
        }
        self.bell.disarm();
        Poll::Ready(item)
    }

    /// Yields once: the reader's task is polled again after the others.
    fn let_others_run<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        self.stint = Stint::default();
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next block of the reader whose turn it is, with its number.
    fn advance(&mut self) -> Option<ConsumerResult<(usize, tapeline_storage::read::Block)>> {
        if let Err(error) = self.core.check_fork() {
            return Some(Err(error.into()));
        }
        self.adopt();
        self.until.look_at_ends(self.readers.iter().map(Reader::reached), self.core.closed());
        if self.until.is_reached(self.core.closed()) {
            return None;
        }
        for _ in 0..self.readers.len() {
            let at = self.turn;
            self.turn = (at + 1) % self.readers.len();
            if let Some(next) = self.step(at) {
                if matches!(next, Err(ConsumerError::Lagged { .. })) {
                    self.has_lagged = true;
                    self.readers.iter_mut().for_each(|reader| reader.has_failed = true);
                }
                return Some(next.map(|block| (at, block)));
            }
        }
        None
    }

    /// The next block of one reader, unless another has to read first.
    fn step(&mut self, at: usize) -> Option<ConsumerResult<tapeline_storage::read::Block>> {
        let mut next = self.readers[at].step(self.terms.slow_reader, self.loading.as_ref());
        match &mut next {
            Some(Ok(block)) => {
                let (eras, others) = self.others(at);
                if !order::admit(&eras, others, &mut self.readers[at].source, block) {
                    return None;
                }
                if let Some(end) = self.until.look(block) {
                    block.end_at(end);
                    self.readers[at].source.return_to(end);
                }
            }
            Some(Err(ConsumerError::Gap(gap))) if gap.reason.is_of_log() => {
                let (eras, others) = self.others(at);
                if !order::admit_gap(&eras, others, &mut self.readers[at].source, gap) {
                    return None;
                }
            }
            _ => {}
        }
        next
    }

    /// The eras, and that of the reader, but for one, that is furthest behind.
    fn others(&mut self, at: usize) -> (Arc<Eras>, Option<usize>) {
        // Read after the watermark that the reader's item is below; and so are the shards.
        let eras = self.core.eras();
        self.adopt();
        let others = self.readers.iter().enumerate().filter(|(other, reader)| *other != at && !reader.has_failed);
        let others = order::earliest(&eras, others.map(|(_, reader)| &reader.source));
        (eras, others)
    }

    /// Takes in the shards that have come meanwhile. One load where there are none.
    fn adopt(&mut self) {
        let count = self.core.shards().count();
        if std::mem::replace(&mut self.shard_count, count) == count {
            return;
        }
        for view in self.core.shards().views().filter(|view| self.terms.selection.has_shard(view.shard())) {
            if self.readers.iter().all(|reader| reader.source.shard_id() != view.shard()) {
                // All of it came after the subscription began: what is trimmed by now is a gap.
                let source = Source::at(&view, Sequence::ZERO, self.terms.visibility).seeking(&self.terms.selection);
                self.readers.push(Reader::new(&self.core, &self.bell, self.terms.visibility, source));
            }
        }
    }

    /// Takes back what was copied and not handed out.
    fn return_ready(&mut self) {
        if let Some(next) = self.ready.next() {
            self.readers[self.ready.reader].source.return_to(next);
            self.ready.found.clear();
            self.until.return_to(next);
        }
    }
}

impl Reader {
    /// A reader that is fed by its shard, if that runs.
    fn new(core: &BusCore, bell: &Arc<Bell>, visibility: Visibility, source: Source) -> Self {
        let source = match core.shards().get(source.shard_id()) {
            Some(shard) => {
                let (follower, feed) = feed(bell, visibility);
                shard.inbox().follow(follower);
                source.fed(Box::new(feed))
            }
            None => source,
        };
        Self { source, was_live: false, has_failed: false }
    }

    fn step(
        &mut self,
        slow_reader: SlowReader,
        loading: Option<&Loading>,
    ) -> Option<ConsumerResult<tapeline_storage::read::Block>> {
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
    fn reached(&self) -> (u16, Sequence) {
        let next = if self.has_failed { Sequence::new(u64::MAX) } else { self.source.next_sequence() };
        (self.source.shard_id(), next)
    }

    /// Returns whether there is something to hand out, or to report.
    fn has_more(&self) -> bool {
        self.source.has_more() || self.source.is_over()
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

impl Stream for Subscription {
    type Item = ConsumerResult<StoredEvent>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_with(context, Self::next_within)
    }
}
