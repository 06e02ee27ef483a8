//! Reading from a backend: pages as those of a bus, of what an adapter reads back.
//!
//! `shard` (the events of one shard that are in hand), `place` (the cursor).

mod place;
mod shard;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tapeline_reader::page::SCAN_BYTES;
use tapeline_reader::selection::Selection;
use tapeline_reader::{AdapterError, ConsumerResult, Start};
use tapeline_storage::format::LogId;

use self::place::Place;
use self::shard::ShardReader;
use super::{Adapter, call};
use crate::core::timer::{Timer, Timers};
use crate::live::{ConsumeRequest, ConsumeResponse, Ordering, ShardFailure};

/// The shortest and the longest time between two looks at a backend that has nothing new.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// The time between two looks for shards that have come.
const LISTING: Duration = Duration::from_secs(1);

/// The longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the events of a log from a backend, with the requests that [`EventBus::poll`](crate::EventBus::poll) takes: for
/// consumers on other machines.
///
/// ```
/// use std::sync::Arc;
///
/// use tapeline::adapter::{Adapter, AdapterReader, MemoryAdapter};
/// use tapeline::{ConsumeRequest, EventBus, EventBusConfig, Filter, RawEvent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let backend = MemoryAdapter::new();
/// let bus = EventBus::new_with_adapter(EventBusConfig::default(), Box::new(backend.clone())).await?;
/// bus.ingest_raw(RawEvent::from_str(r#"{"model": "small"}"#))?;
/// bus.ingest_raw(RawEvent::from_str(r#"{"model": "large"}"#))?;
/// bus.shutdown().await?;
///
/// // As another machine would.
/// let log = backend.stored().await?[0].log;
/// let mut reader = AdapterReader::new(Arc::new(backend), log);
/// let page = reader.poll(ConsumeRequest::new(100).filter(Filter::eq("model", "large"))).await?;
/// assert_eq!(page.events.len(), 1);
/// let request = ConsumeRequest::new(100).from(page.next_id.unwrap_or_default());
/// assert!(reader.poll(request).await?.events.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// A request means what it means to a bus, with these differences:
///
/// * A relay delivers what is durable, so the visibility of a request has no effect.
/// * A start other than the earliest event reads what it passes over.
/// * In order of time, a page has what the backend holds when it is read. An event that arrives later, from a shard
///   that was delivered later, comes late.
/// * Gaps are not reported: events may be missing because their relay left them out.
/// * A cursor is one of a reader of a backend, not of a bus.
pub struct AdapterReader {
    adapter: Arc<dyn Adapter>,
    log: LogId,
    timers: Arc<Timers>,
    shards: Vec<ShardReader>,
    /// The time of the last look for shards.
    listed: Option<Instant>,
    /// The choice among the events, and the request that it is of.
    selection: Selection,
    request: ConsumeRequest,
    /// The cursor after the last page.
    cursor: Option<String>,
    /// The number of the page: its shards take turns from another one on.
    page: usize,
}

impl std::fmt::Debug for AdapterReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdapterReader").field("adapter", &self.adapter.name()).field("log", &self.log).finish()
    }
}

impl AdapterReader {
    /// Reads this log by an adapter that is initialised.
    pub fn new(adapter: Arc<dyn Adapter>, log: LogId) -> Self {
        Self {
            adapter,
            log,
            timers: Arc::default(),
            shards: Vec::new(),
            listed: None,
            selection: Selection::default(),
            request: ConsumeRequest::default(),
            cursor: None,
            page: 0,
        }
    }

    /// Reads a page. Going on after the page before costs no event twice; any other cursor costs up to 1000 events of
    /// each shard.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidCursor`](crate::ConsumerError::InvalidCursor),
    /// [`ConsumerError::InvalidFilter`](crate::ConsumerError::InvalidFilter), and the adapter's where it cannot list the
    /// shards. A shard that cannot be read is one of the page's `failed_shards`.
    pub async fn poll(&mut self, request: ConsumeRequest) -> ConsumerResult<ConsumeResponse> {
        let mut page = ConsumeResponse::default();
        self.begin(&request, &mut page).await?;
        let (due, mut pause) = (Instant::now().checked_add(request.wait), PAUSES.0);
        let mut has_more = self.read(&request, &mut page).await;
        while page.events.is_empty() && page.failed_shards.is_empty() && request.limit > 0 && !has_more {
            let left = due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            self.rest(pause.min(left)).await?;
            pause = (2 * pause).min(PAUSES.1);
            self.list(&request).await?;
            has_more = self.read(&request, &mut page).await;
        }
        let cursor = Place::of(self.log, &self.shards).to_string();
        self.cursor = Some(cursor.clone());
        (page.has_more, page.next_id) = (has_more, Some(cursor));
        Ok(page)
    }

    /// Stands where the request begins.
    async fn begin(&mut self, request: &ConsumeRequest, page: &mut ConsumeResponse) -> ConsumerResult<()> {
        self.page = self.page.wrapping_add(1);
        let goes_on = request.from_id.is_some() && request.from_id == self.cursor;
        // A reader that goes on knows the openings of sessions that it met.
        if !(goes_on && is_same_choice(request, &self.request)) {
            let ConsumeRequest { shards, sessions, kinds, filter, .. } = request;
            self.selection = Selection::new(shards.as_deref(), sessions.as_deref(), kinds.as_deref(), filter.as_ref())?;
            (self.request, self.listed) = (request.clone(), None);
        }
        if !goes_on {
            self.shards = Place::parse(request.from_id.as_deref(), self.log)?.into_shards();
        }
        self.list(request).await?;
        if request.from_id.is_none() && request.start != Start::Earliest {
            self.seek(&request.start, page).await;
        }
        match page.failed_shards.first() {
            // Its start would be lost.
            Some(failed) => {
                Err(AdapterError::Transient(format!("shard {}: {}", failed.shard_id, failed.message)).into())
            }
            None => Ok(()),
        }
    }

    /// Looks for shards, unless it did just before.
    async fn list(&mut self, request: &ConsumeRequest) -> ConsumerResult<()> {
        if self.listed.is_some_and(|listed| listed.elapsed() < LISTING) {
            return Ok(());
        }
        let listed = match &request.shards {
            Some(shards) => shards.clone(),
            None => {
                let stored = call(&self.timers, TIMEOUT, || self.adapter.stored()).await?;
                stored.iter().filter(|stored| stored.log == self.log).map(|stored| stored.shard_id).collect()
            }
        };
        self.listed = Some(Instant::now());
        for shard in listed {
            if self.shards.iter().all(|known| known.shard_id() != shard) {
                self.shards.push(ShardReader::new(shard, None, None));
            }
        }
        self.shards.sort_by_key(ShardReader::shard_id);
        Ok(())
    }

    /// Passes over the events before a start.
    async fn seek(&mut self, start: &Start, page: &mut ConsumeResponse) {
        loop {
            self.fill(page).await;
            let mut is_passing = false;
            for shard in &mut self.shards {
                is_passing |= shard.pass(start);
            }
            if !is_passing {
                return;
            }
        }
    }

    /// Moves events into the page, until it has its limit or there are none. Returns whether there are others.
    async fn read(&mut self, request: &ConsumeRequest, page: &mut ConsumeResponse) -> bool {
        self.shards.iter_mut().for_each(ShardReader::look_again);
        let (mut scanned, mut taken) = (0, vec![0usize; self.shards.len()]);
        while page.events.len() < request.limit && scanned < SCAN_BYTES {
            self.fill(page).await;
            let Some(at) = self.next(request.ordering, &taken) else { break };
            let Some(event) = self.shards[at].take() else { break };
            taken[at] += 1;
            scanned += event.raw.len();
            if self.selection.filter().is_none_or(|filter| filter.matches_stored(&event)) {
                page.events.push(event);
            }
        }
        self.shards.iter().any(|shard| self.selection.has_shard(shard.shard_id()) && shard.has_more())
    }

    /// The shard whose turn it is.
    fn next(&self, ordering: Ordering, taken: &[usize]) -> Option<usize> {
        let shards = self.shards.len();
        let ready = (0..shards).filter(|at| self.shards[*at].first().is_some());
        let ready = ready.filter(|at| self.selection.has_shard(self.shards[*at].shard_id()));
        match ordering {
            Ordering::None => ready.min_by_key(|at| (taken[*at], (at + self.page) % shards)),
            Ordering::InsertionTs => ready.min_by_key(|at| self.shards[*at].first()),
        }
    }

    /// Asks for events of each shard that has none in hand and may have some, of all at once.
    async fn fill(&mut self, page: &mut ConsumeResponse) {
        let (adapter, timers, log, selection) = (&*self.adapter, &self.timers, self.log, &self.selection);
        let wanting =
            self.shards.iter_mut().filter(|shard| shard.is_wanting() && selection.has_shard(shard.shard_id()));
        let mut asked: Vec<_> = wanting
            .map(|shard| {
                Box::pin(async move {
                    let (id, from, limit) = shard.request();
                    let answer = call(timers, TIMEOUT, || adapter.poll_shard(id, from.as_deref(), limit)).await;
                    shard.answer(answer, log).map_err(|message| ShardFailure { shard_id: id, message })
                })
            })
            .collect();
        let failed = &mut page.failed_shards;
        poll_fn(|context| {
            asked.retain_mut(|asked| match asked.as_mut().poll(context) {
                Poll::Ready(answer) => {
                    failed.extend(answer.err());
                    false
                }
                Poll::Pending => true,
            });
            if asked.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn rest(&self, pause: Duration) -> ConsumerResult<()> {
        let Some(due) = Instant::now().checked_add(pause) else { return Ok(()) };
        let rested = Timer::new(&self.timers, due).await;
        rested.map_err(|source| AdapterError::NoThread { purpose: "timers", source }.into())
    }
}

fn is_same_choice(one: &ConsumeRequest, other: &ConsumeRequest) -> bool {
    let choice = |request: &'_ ConsumeRequest| {
        let ConsumeRequest { shards, sessions, kinds, filter, .. } = request.clone();
        (shards, sessions, kinds, filter)
    };
    choice(one) == choice(other)
}
