//! Poll: a page of events. Here in the shards' own order, each shard with a fair share; in order of time by a `sweep`.

use std::sync::Arc;

use tapeline_reader::cursor::Cursor;
use tapeline_reader::opening::learn;
use tapeline_reader::page::{SCAN_BYTES, first_events};
use tapeline_reader::selection::Selection;
use tapeline_reader::source::{LogViews, Next, Source};
use tapeline_reader::{ConsumerError, ConsumerResult, CursorFault, Start, order};
use tapeline_storage::format::LogShard;
use tapeline_storage::log::Poison;
use tapeline_storage::read::Visibility;

use super::request::{ConsumeRequest, ConsumeResponse, Ordering, ShardFailure};
use super::sweep::{Parked, Sweep};
use super::wait::Patience;
use crate::bus_core::BusCore;

/// The pages of one bus.
#[derive(Debug)]
pub(crate) struct Pages {
    core: Arc<BusCore>,
    parked: Parked,
}

impl Pages {
    pub(crate) fn new(core: Arc<BusCore>) -> Self {
        Self { core, parked: Parked::default() }
    }

    /// Reads a page. Where what is readable does not fill it, waits for what was ingested before the call to be
    /// readable, and where there is nothing at all, as long as the request says.
    pub(crate) async fn poll(&self, request: &ConsumeRequest) -> ConsumerResult<ConsumeResponse> {
        let ConsumeRequest { shards, sessions, kinds, filter, .. } = request;
        let selection = Selection::new(shards.as_deref(), sessions.as_deref(), kinds.as_deref(), filter.as_ref())?;
        let selection = selection.naming(self.core.names());
        self.core.check_fork()?;
        if request.from_id.is_none() && request.start == Start::Latest {
            self.core.wait_readable().await?;
        }
        match request.ordering {
            Ordering::None => in_shard_order(&self.core, request, selection).await,
            Ordering::InsertionTs => self.in_time_order(request, selection).await,
        }
    }

    async fn in_time_order(&self, request: &ConsumeRequest, selection: Selection) -> ConsumerResult<ConsumeResponse> {
        let core = &*self.core;
        let mut page = ConsumeResponse::default();
        let mut sweep = match self.parked.take(request) {
            Some(sweep) => sweep,
            None => Sweep::new(core, request, selection, &mut page)?,
        };
        let (limit, visibility) = (request.limit, request.visibility);
        let known = core.readers().horizon.known(visibility);
        // Later than the horizon, which is not ahead of a shard that it does not know of.
        sweep.adopt(core);
        sweep.read(known, limit, &mut page);
        if !(sweep.is_full(&page, limit) && sweep.has_more()) {
            let horizon = core.advance_horizon(visibility).await?;
            sweep.adopt(core);
            sweep.read(horizon, limit, &mut page);
        }
        if is_empty(&page) && limit > 0 && !request.wait.is_zero() {
            let mut patience = Patience::new(core, visibility, request.wait);
            loop {
                patience.look(sweep.selection());
                let horizon = core.advance_horizon(visibility).await?;
                sweep.adopt(core);
                sweep.read(horizon, limit, &mut page);
                if !is_empty(&page) || sweep.is_full(&page, limit) || !patience.wait().await? {
                    break;
                }
            }
        }
        sweep.report_poison(&mut page);
        let cursor = sweep.cursor();
        (page.has_more, page.next_id) = (sweep.has_more(), Some(cursor.clone()));
        self.parked.put(request, cursor, sweep);
        Ok(page)
    }
}

async fn in_shard_order(
    core: &BusCore,
    request: &ConsumeRequest,
    selection: Selection,
) -> ConsumerResult<ConsumeResponse> {
    let mut pager = Pager::new(core, request, selection)?;
    if !pager.has_shares() {
        core.wait_readable().await?;
    }
    pager.read();
    if !pager.is_full() {
        core.wait_readable().await?;
        pager.read();
    }
    if pager.is_empty() && pager.limit > 0 && !request.wait.is_zero() {
        let mut patience = Patience::new(core, request.visibility, request.wait);
        loop {
            patience.look(&pager.selection);
            pager.read();
            if !pager.is_empty() || pager.is_full() || !patience.wait().await? {
                break;
            }
        }
    }
    Ok(pager.finish())
}

/// Returns whether the page brings nothing.
fn is_empty(page: &ConsumeResponse) -> bool {
    page.events.is_empty() && page.gaps.is_empty() && page.failed_shards.is_empty()
}

/// A page in the making.
#[derive(Debug)]
pub(super) struct Pager<'p> {
    core: &'p BusCore,
    limit: usize,
    visibility: Visibility,
    selection: Selection,
    sources: Vec<Source>,
    /// Positions of shards that are not read.
    cursor: Cursor,
    scanned: usize,
    page: ConsumeResponse,
}

impl<'p> Pager<'p> {
    pub(super) fn new(core: &'p BusCore, request: &ConsumeRequest, selection: Selection) -> ConsumerResult<Self> {
        let views: Vec<_> = core.shards().views().collect();
        let log = LogViews::new(core.log_id(), &views);
        let cursor = log.cursor_of(request.from_id.as_deref())?;
        if cursor.as_ref().is_some_and(|cursor| cursor.sweep.is_some()) {
            return Err(log.refuse_cursor(CursorFault::OtherOrdering));
        }
        let mut page = ConsumeResponse::default();
        let (mut sources, mut starts) = (Vec::new(), Vec::new());
        for view in views.iter().filter(|view| selection.has_shard(view.shard())) {
            match log.source(view, cursor.as_ref(), &request.start, request.visibility) {
                Ok(source) => {
                    starts.push((Arc::clone(view), source.next_sequence()));
                    sources.push(source.seeking(&selection));
                }
                Err(ConsumerError::Read(error)) => {
                    page.failed_shards.push(ShardFailure { shard_id: view.shard(), message: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        learn(&selection, &starts, |each| core.readers().names.store().each(each));
        let cursor = cursor.unwrap_or_default();
        let (limit, visibility) = (request.limit, request.visibility);
        Ok(Self { core, limit, visibility, selection, sources, cursor, scanned: 0, page })
    }

    /// Takes in the shards that have come meanwhile.
    fn adopt(&mut self) {
        for view in self.core.shards().views().filter(|view| self.selection.has_shard(view.shard())) {
            let shard = view.shard();
            let is_known = self.sources.iter().any(|source| source.shard_id() == shard)
                || self.page.failed_shards.iter().any(|failure| failure.shard_id == shard);
            if !is_known {
                self.sources.push(Source::at(&view, view.trimmed(), self.visibility).seeking(&self.selection));
            }
        }
    }

    /// Returns whether the page takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.page.events.len() >= self.limit || self.scanned >= SCAN_BYTES
    }

    /// Returns whether each shard has more to read than its share of the page.
    fn has_shares(&self) -> bool {
        self.sources.iter().all(|source| source.lag() > self.limit.div_ceil(self.sources.len()) as u64)
    }

    /// Returns whether the page brings nothing.
    pub(super) fn is_empty(&self) -> bool {
        is_empty(&self.page)
    }

    /// Returns whether there is something to read.
    pub(super) fn has_more(&self) -> bool {
        self.sources.iter().any(|source| source.has_more() && !self.has_failed(source))
    }

    fn has_failed(&self, source: &Source) -> bool {
        self.page.failed_shards.iter().any(|failure| failure.shard_id == source.shard_id())
    }

    /// Reads what there is, until the page is full. Shards take turns; one that has little leaves its share to the
    /// others.
    pub(super) fn read(&mut self) {
        self.adopt();
        let mut unfinished: Vec<usize> =
            (0..self.sources.len()).filter(|at| !self.has_failed(&self.sources[*at])).collect();
        // Whose turn it is follows from how far the shards were read, so that pages smaller than the number of shards
        // keep none of them waiting.
        let read: u64 = self.sources.iter().map(|source| source.next_sequence().get()).fold(0, u64::wrapping_add);
        let first = read % unfinished.len().max(1) as u64;
        unfinished.rotate_left(first as usize);
        let mut moves = true;
        while !self.is_full() && !unfinished.is_empty() && moves {
            moves = false;
            let mut still_unfinished = Vec::new();
            for (served, at) in unfinished.iter().copied().enumerate() {
                let share = (self.limit - self.page.events.len()).div_ceil(unfinished.len() - served);
                let before = self.sources[at].next_sequence();
                if share == 0 || self.read_share(at, share) {
                    still_unfinished.push(at);
                }
                moves |= self.sources[at].next_sequence() != before;
            }
            moves |= still_unfinished.len() < unfinished.len();
            unfinished = still_unfinished;
        }
    }

    /// Reads up to `share` events of one shard. Returns whether the shard may have more, perhaps once the others have
    /// read theirs.
    fn read_share(&mut self, at: usize, share: usize) -> bool {
        let before = self.page.events.len();
        while self.page.events.len() - before < share {
            if self.scanned >= SCAN_BYTES {
                return true;
            }
            let source = &mut self.sources[at];
            let shard_id = source.shard_id();
            match source.step() {
                Ok(Next::End) => return false,
                Ok(Next::Gap(gap)) => self.page.gaps.push(gap),
                Ok(Next::Block(mut block)) => {
                    // Read after the watermark that the block is below.
                    let eras = self.core.eras();
                    let others = self.sources.iter().filter(|other| other.shard_id() != shard_id);
                    let others = order::earliest(&eras, others.filter(|other| !self.has_failed(other)));
                    let source = &mut self.sources[at];
                    if !order::admit(&eras, others, source, &mut block) {
                        return true;
                    }
                    let left = share - (self.page.events.len() - before);
                    let shard = LogShard::new(self.core.log_id(), shard_id);
                    let (found, looked) = first_events(shard, &block, &self.selection, left);
                    self.scanned += if self.selection.is_partial() { looked.bytes } else { 0 };
                    source.return_to(block.first_sequence().plus(looked.records as u64));
                    for found in found {
                        match found {
                            Ok(event) => self.page.events.push(event),
                            Err(gap) => self.page.gaps.push(gap),
                        }
                    }
                }
                Err(error) => {
                    self.page.failed_shards.push(ShardFailure { shard_id, message: error.to_string() });
                    return false;
                }
            }
        }
        true
    }

    pub(super) fn finish(mut self) -> ConsumeResponse {
        self.page.has_more = self.has_more();
        let mut poisoned = Vec::new();
        for source in self.sources.iter().filter(|source| !self.has_failed(source)) {
            let failure = |poison: &Poison| ShardFailure { shard_id: source.shard_id(), message: poison.to_string() };
            poisoned.extend(source.poison().map(failure));
        }
        self.page.failed_shards.append(&mut poisoned);
        for source in &self.sources {
            self.cursor.positions.insert(source.shard_id(), source.position(source.next_sequence()));
        }
        self.page.next_id = Some(self.cursor.encode(self.core.log_id()));
        self.page
    }
}
