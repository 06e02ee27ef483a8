//! The sweep: the events of all shards in order of time, over any number of pages.
//!
//! A shard holds the events of its producers as they came in, so its log is almost, but not quite, in order of time.
//! The sweep is a queue of stretches of all shards, by the earliest time that each can hold: whole segments, blocks,
//! and the sorted events of blocks. The first in the queue is opened or handed out, so nothing is opened before its
//! time has come, and what is handed out is the earliest there is.
//!
//! Nothing is handed out from the horizon on: the time below which every event is readable (see `horizon`). So no event
//! can turn up that belongs into an earlier page. What earlier writer runs left is complete: it comes
//! first, also where its times are ahead of the clock. Should a time turn up all the same that lies before what was
//! handed out (a counter was set back, see `timestamp`), its event is handed out late: an event that was not read is
//! never passed over.
//!
//! The cursor between two pages is the last event handed out, and for each shard the first that was not. A page that
//! goes on where the one before ended finds the queue [`Parked`]; without it, the queue is made again from the cursor.

mod parked;
mod stretch;

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use tapeline_reader::cursor::{Cursor, Frontier, SweepPosition};
use tapeline_reader::opening::learn;
use tapeline_reader::page::{SCAN_BYTES, copy_events};
use tapeline_reader::selection::Selection;
use tapeline_reader::source::{LogViews, Next, Source};
use tapeline_reader::{ConsumerError, ConsumerResult, Gap, GapReason, StoredEvent};
use tapeline_storage::format::{LogId, Sequence};
use tapeline_storage::log::{Grain, LogView};
use tapeline_storage::read::Visibility;

pub(crate) use parked::Parked;
use stretch::{Age, BlockEvents, Key, ShardSpan, Stretch};

use super::request::{ConsumeRequest, ConsumeResponse, ShardFailure};
use crate::bus_core::BusCore;

/// A page in order of time, in the making, and the state between two pages.
#[derive(Debug)]
pub(crate) struct Sweep {
    log: LogId,
    visibility: Visibility,
    selection: Selection,
    shards: Vec<Swept>,
    queue: BinaryHeap<Stretch>,
    frontier: Option<Frontier>,
    /// Positions of shards that are not read.
    cursor: Cursor,
    scanned: usize,
}

/// One shard of a sweep.
#[derive(Debug)]
struct Swept {
    view: Arc<LogView>,
    /// Everything before has been put into the queue.
    queued_to: Sequence,
    /// After every event that was handed out.
    seen: Sequence,
    /// Events before it were written by earlier writer runs.
    written_from: Sequence,
    has_failed: bool,
}

impl Swept {
    fn end(&self, visibility: Visibility) -> Sequence {
        match visibility {
            Visibility::Appended => self.view.appended(),
            Visibility::Durable => self.view.durable(),
        }
    }

    fn age(&self, sequence: Sequence) -> Age {
        if sequence < self.written_from { Age::Earlier } else { Age::Present }
    }
}

/// The sequence at which a shard's events begin; `None`, and a failure on the page, where it cannot be read.
fn begin(
    source: ConsumerResult<Source>,
    shard_id: u16,
    page: &mut ConsumeResponse,
) -> ConsumerResult<Option<Sequence>> {
    match source {
        Ok(mut source) => {
            page.gaps.extend(source.take_lost());
            Ok(Some(source.next_sequence()))
        }
        Err(ConsumerError::Read(error)) => {
            page.failed_shards.push(ShardFailure { shard_id, message: error.to_string() });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Sweep {
    pub(super) fn new(
        core: &BusCore,
        request: &ConsumeRequest,
        selection: Selection,
        page: &mut ConsumeResponse,
    ) -> ConsumerResult<Self> {
        let views: Vec<_> = core.shards().views().collect();
        let log = LogViews::new(core.log_id(), &views);
        let cursor = log.cursor_of(request.from_id.as_deref())?;
        let mut shards = Vec::new();
        for view in views.iter().filter(|view| selection.has_shard(view.shard())) {
            let source = log.source(view, cursor.as_ref(), &request.start, request.visibility);
            let begin = begin(source, view.shard(), page)?;
            let (seen, has_failed) = (begin.unwrap_or(view.trimmed()), begin.is_none());
            let unread = cursor.as_ref().and_then(|cursor| cursor.first_unread(view.shard()));
            let queued_to = unread.map_or(seen, |unread| unread.min(seen));
            let written_from = Sequence::ZERO;
            shards.push(Swept { view: Arc::clone(view), queued_to, seen, written_from, has_failed });
        }
        let starts: Vec<_> = shards.iter().map(|shard: &Swept| (Arc::clone(&shard.view), shard.queued_to)).collect();
        learn(&selection, &starts, |each| core.readers().names.store().each(each));
        let frontier = cursor.as_ref().and_then(|cursor| Some(cursor.sweep.as_ref()?.frontier));
        Ok(Self {
            log: log.id,
            visibility: request.visibility,
            selection,
            shards,
            queue: BinaryHeap::new(),
            frontier,
            cursor: cursor.unwrap_or_default(),
            scanned: 0,
        })
    }

    /// Takes in the shards that have come since it was made. Before a read up to a horizon that knows of them.
    pub(super) fn adopt(&mut self, core: &BusCore) {
        for view in core.shards().views().filter(|view| self.selection.has_shard(view.shard())) {
            let written_from = core.shards().written_from(view.shard());
            match self.shards.iter_mut().find(|shard| shard.view.shard() == view.shard()) {
                Some(shard) => shard.written_from = written_from,
                None => {
                    let begin = view.trimmed();
                    self.shards.push(Swept { view, queued_to: begin, seen: begin, written_from, has_failed: false });
                }
            }
        }
    }

    pub(super) fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Begins another page.
    fn renew(&mut self) {
        self.scanned = 0;
        self.shards.iter_mut().for_each(|shard| shard.has_failed = false);
    }

    /// Returns whether the page takes no more.
    pub(super) fn is_full(&self, page: &ConsumeResponse, limit: usize) -> bool {
        page.events.len() >= limit || self.scanned >= SCAN_BYTES
    }

    /// Returns whether there is something to read, be it after the horizon.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty()
            || self.shards.iter().any(|shard| !shard.has_failed && shard.queued_to < shard.end(self.visibility))
    }

    /// Moves events that are earlier than `horizon` into the page, until it has `limit`.
    pub(super) fn read(&mut self, horizon: u64, limit: usize, page: &mut ConsumeResponse) {
        for at in 0..self.shards.len() {
            if let Err(message) = self.queue_up(at, page) {
                self.fail(at, message, page);
            }
        }
        while !self.is_full(page, limit) {
            let Some(first) = self.queue.peek_mut() else { return };
            if !first.earliest().is_due(horizon) {
                return;
            }
            match PeekMut::pop(first) {
                Stretch::Span { at, span } if span.is_block => self.open_block(at, span.first, span.end, page),
                Stretch::Span { at, span } => {
                    if let Err(message) = self.split(at, span.first, span.end) {
                        self.queue.push(Stretch::Span { at, span });
                        self.fail(at, message, page);
                        return;
                    }
                }
                Stretch::Events(events) => self.hand_out(events, horizon, limit, page),
            }
        }
    }

    /// Puts what has become readable of a shard into the queue.
    fn queue_up(&mut self, at: usize, page: &mut ConsumeResponse) -> Result<(), String> {
        let shard = &mut self.shards[at];
        let (trimmed, end) = (shard.view.trimmed(), shard.end(self.visibility));
        if shard.queued_to < trimmed {
            let (from, to) = (shard.queued_to, trimmed);
            page.gaps.push(Gap { shard_id: shard.view.shard(), from, to, reason: GapReason::Trimmed, token: None });
            shard.queued_to = trimmed;
        }
        while !shard.has_failed
            && let Some(span) =
                shard.view.span(shard.queued_to, end, Grain::Segment).map_err(|error| error.to_string())?
        {
            shard.queued_to = span.end;
            self.queue
                .push(Stretch::Span { at, span: ShardSpan::new(shard.view.shard(), span, shard.age(span.first)) });
        }
        Ok(())
    }

    /// A segment's turn has come: its blocks take its place.
    fn split(&mut self, at: usize, first: Sequence, end: Sequence) -> Result<(), String> {
        let shard = &self.shards[at];
        let view = &shard.view;
        let mut next = first;
        let mut blocks = Vec::new();
        while let Some(span) = view.span(next, end, Grain::Block).map_err(|error| error.to_string())? {
            next = span.end;
            blocks.push(Stretch::Span { at, span: ShardSpan::new(view.shard(), span, shard.age(span.first)) });
        }
        if next < end {
            // Gone meanwhile: opening it reports that.
            blocks.push(Stretch::unknown(at, view.shard(), next, end));
        }
        self.queue.extend(blocks);
        Ok(())
    }

    /// A block's turn has come: its events take its place.
    fn open_block(&mut self, at: usize, first: Sequence, end: Sequence, page: &mut ConsumeResponse) {
        let view = &self.shards[at].view;
        let shard = view.log_shard();
        let mut source = Source::at(view, first, self.visibility);
        let mut found = Vec::new();
        while source.next_sequence() < end {
            match source.step() {
                Ok(Next::Block(mut block)) => {
                    block.end_at(end);
                    let looked = copy_events(shard, &block, &self.selection, &mut found);
                    self.scanned += if self.selection.is_partial() { looked.bytes } else { 0 };
                }
                Ok(Next::Gap(gap)) => found.push(Err(Gap { to: gap.to.min(end), ..gap })),
                Ok(Next::End) => break,
                Err(error) => {
                    let rest = source.next_sequence();
                    self.queue.push(Stretch::unknown(at, view.shard(), rest, end));
                    self.fail(at, error.to_string(), page);
                    break;
                }
            }
        }
        let (mut earlier, mut present) = (Vec::new(), Vec::with_capacity(found.len()));
        for found in found {
            match found {
                Ok(event) if self.was_handed_out(at, &event) => {}
                Ok(event) if self.shards[at].age(event.sequence) == Age::Earlier => earlier.push(event),
                Ok(event) => present.push(event),
                Err(gap) => page.gaps.push(gap),
            }
        }
        self.queue.extend(BlockEvents::new(at, Age::Earlier, earlier).map(Stretch::Events));
        self.queue.extend(BlockEvents::new(at, Age::Present, present).map(Stretch::Events));
    }

    /// Returns whether a page before had the event: it is not after the last one of its shard, nor of them all.
    fn was_handed_out(&self, at: usize, event: &StoredEvent) -> bool {
        let Some(frontier) = self.frontier else { return false };
        let shard = &self.shards[at];
        let last = self.shards.iter().find(|shard| shard.view.shard() == frontier.shard);
        let last = Key { age: last.map_or(Age::Earlier, |shard| shard.age(frontier.sequence)), position: frontier };
        event.sequence < shard.seen && Key { age: shard.age(event.sequence), position: Frontier::of(event) } <= last
    }

    /// Hands out those of the events that come before everything else in the queue.
    fn hand_out(&mut self, mut events: BlockEvents, horizon: u64, limit: usize, page: &mut ConsumeResponse) {
        let bound = self.queue.peek().map(Stretch::earliest);
        let age = events.age;
        let is_next = |position: Frontier| {
            let key = Key { age, position };
            key.is_due(horizon) && bound.is_none_or(|bound| key < bound)
        };
        while page.events.len() < limit
            && let Some(event) = events.next_if(is_next)
        {
            self.frontier = Some(Frontier::of(&event));
            let seen = &mut self.shards[events.at].seen;
            *seen = event.sequence.plus(1).max(*seen);
            page.events.push(event);
        }
        if !events.is_empty() {
            self.queue.push(Stretch::Events(events));
        }
    }

    /// The rest of the page is without this shard.
    fn fail(&mut self, at: usize, message: String, page: &mut ConsumeResponse) {
        let shard_id = self.shards[at].view.shard();
        // Its stretches leave the queue: the cursor stands before them.
        let lowest = self.lowest(at);
        self.queue.retain(|stretch| stretch.shard() != shard_id);
        self.shards[at].queued_to = lowest;
        self.shards[at].has_failed = true;
        page.failed_shards.push(ShardFailure { shard_id, message });
    }

    /// Lists the shards of which all was read, and no more comes.
    pub(super) fn report_poison(&self, page: &mut ConsumeResponse) {
        for (at, shard) in self.shards.iter().enumerate().filter(|(_, shard)| !shard.has_failed) {
            if let Some(poison) = shard.view.poison()
                && self.lowest(at) == shard.end(self.visibility)
            {
                page.failed_shards.push(ShardFailure { shard_id: poison.shard_id, message: poison.to_string() });
            }
        }
    }

    /// The first sequence of a shard that has not been handed out.
    fn lowest(&self, at: usize) -> Sequence {
        let shard = &self.shards[at];
        let queued = self.queue.iter().filter(|stretch| stretch.shard() == shard.view.shard());
        queued.map(Stretch::lowest).fold(shard.queued_to, Sequence::min)
    }

    /// The cursor after what was handed out.
    pub(super) fn cursor(&self) -> String {
        let mut cursor = self.cursor.clone();
        let mut unread = cursor.sweep.take().map(|sweep| sweep.unread).unwrap_or_default();
        for (at, shard) in self.shards.iter().enumerate() {
            let shard_id = shard.view.shard();
            cursor.positions.insert(shard_id, shard.view.position(shard.seen));
            unread.insert(shard_id, self.lowest(at));
        }
        cursor.sweep = Some(SweepPosition { frontier: self.frontier.unwrap_or(Frontier::BEGINNING), unread });
        cursor.encode(self.log)
    }
}
