//! Replay: events that are there already, in order: of a session, of several, of a range of time, or all.
//!
//! A session lies in one shard for as long as an era of the log lasts; over the whole life of a log it may lie in
//! several. Eras come one after the other. In each, shards are merged by timestamp; ties go to the lower shard; a
//! shard's own order is kept.

pub mod order;
mod pacing;
pub mod page;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

use tapeline_storage::format::{Eras, LogId, LogShard, Sequence, SessionId};
use tapeline_storage::log::{Grain, LogView};
use tapeline_storage::read::{Block, Loading, Visibility};

pub use pacing::{Pacer, PacingError, ParseSpeedError, Speed};
use page::{Found, copy_events, show_events};

use crate::error::{AdapterError, ConsumerError, ConsumerResult};
use crate::event::{EventView, StoredEvent};
use crate::filter::{Filter, Selection};
use crate::process::fork;
use crate::session::IntoSession;
use crate::session::naming::NameLookup;
use crate::source::{Next, Source, Start};

/// A choice of events to replay. The default is everything.
///
/// ```
/// use tapeline_reader::{Filter, ReplayRequest};
///
/// let second = 1_000_000_000;
/// let request = ReplayRequest::new()
///     .session("chat-42")
///     .since(1_700_000_000 * second)
///     .until(1_700_000_060 * second)
///     .filter(Filter::exists("error"));
/// assert_eq!(request.sessions.map(|sessions| sessions.len()), Some(1));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReplayRequest {
    /// Sessions. `None`: all.
    pub sessions: Option<Vec<SessionId>>,
    /// Events ingested at this time or later: nanoseconds since the Unix epoch. `None`: from the earliest.
    pub since: Option<u64>,
    /// Events ingested before this time. `None`: up to the last.
    pub until: Option<u64>,
    /// The choice among these events. `None`: all.
    pub filter: Option<Filter>,
}

impl ReplayRequest {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with this session, too; the first call leaves all others out.
    #[must_use]
    pub fn session(mut self, session: impl IntoSession) -> Self {
        self.sessions.get_or_insert_default().push(session.into_session());
        self
    }

    /// The same, from this time on.
    #[must_use]
    pub fn since(mut self, time: u64) -> Self {
        self.since = Some(time);
        self
    }

    /// The same, before this time.
    #[must_use]
    pub fn until(mut self, time: u64) -> Self {
        self.until = Some(time);
        self
    }

    /// The same, with these events alone.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    #[doc(hidden)]
    pub fn selection(&self) -> ConsumerResult<Selection> {
        let range = match (self.since, self.until) {
            (None, None) => None,
            (since, until) => Some(Filter::time(since.unwrap_or(0)..until.unwrap_or(u64::MAX))),
        };
        let filter = match (range, &self.filter) {
            (Some(range), Some(filter)) => Some(Filter::and([range, filter.clone()])),
            (range, filter) => range.or_else(|| filter.clone()),
        };
        Ok(Selection::new(None, self.sessions.as_deref(), None, filter.as_ref())?)
    }
}

/// Iterates over stored events up to those that were readable when it was made.
///
/// An error stands for what could not be read, and where possible the iteration goes on after it: missing events come
/// as [`ConsumerError::Gap`]. In a forked child of a process with a bus, where threads of the parent may hold locks for
/// ever, it ends with [`AdapterError::Forked`].
///
/// ```
/// use tapeline_reader::{ConsumerError, LogFiles, LogRestore};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-replay-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// for event in LogFiles::open(&directory)?.replay_all()? {
///     match event {
///         Ok(event) => println!("{}: {}", event.sequence, event.raw),
///         // A hole; the events after it follow.
///         Err(ConsumerError::Gap(gap)) => eprintln!("{gap}"),
///         Err(error) => return Err(error.into()),
///     }
/// }
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Replay {
    log: LogId,
    selection: Selection,
    until: Option<u64>,
    shards: Vec<Replayed>,
    /// Errors to hand out before anything else.
    errors: VecDeque<ConsumerError>,
    eras: Arc<Eras>,
    /// The fork generation of the process that it was made in.
    fork_generation: u32,
}

/// One shard of a replay.
#[derive(Debug)]
struct Replayed {
    view: Arc<LogView>,
    source: Source,
    end: Sequence,
    ready: VecDeque<StoredEvent>,
    /// Empty; its memory serves from block to block.
    found: Vec<Found>,
    /// The era of what is ready.
    era: usize,
}

impl Replay {
    #[doc(hidden)]
    pub fn new(log: LogId, views: Vec<Arc<LogView>>, request: &ReplayRequest) -> ConsumerResult<Self> {
        let start = request.since.map_or(Start::Earliest, Start::Time);
        let selection = request.selection()?;
        let (mut shards, mut errors) = (Vec::new(), VecDeque::new());
        for view in views {
            let end = view.appended();
            match Source::start(&view, &start, Visibility::Appended) {
                Ok(source) => shards.push(Replayed {
                    view,
                    source: source.seeking(&selection),
                    end,
                    ready: VecDeque::new(),
                    found: Vec::new(),
                    era: 0,
                }),
                Err(error) => errors.push_back(error.into()),
            }
        }
        let (eras, fork_generation) = (Arc::default(), fork::generation());
        Ok(Self { log, selection, until: request.until, shards, errors, eras, fork_generation })
    }

    /// The same, with the openings before its start stated by `learn` where its filter asks for them: it gets
    /// the position in each shard.
    #[doc(hidden)]
    pub fn with_openings(self, learn: impl FnOnce(&Selection, &[(Arc<LogView>, Sequence)])) -> Self {
        learn(&self.selection, &self.positions());
        self
    }

    /// The same, with the names of sessions that were opened before its start known to `lookup`: it gets the position
    /// in each shard.
    #[doc(hidden)]
    pub fn naming(mut self, lookup: impl FnOnce(Vec<(Arc<LogView>, Sequence)>) -> Arc<dyn NameLookup>) -> Self {
        let positions = self.positions();
        self.selection = self.selection.naming(lookup(positions));
        self
    }

    fn positions(&self) -> Vec<(Arc<LogView>, Sequence)> {
        let position = |shard: &Replayed| (Arc::clone(&shard.view), shard.source.next_sequence());
        self.shards.iter().map(position).collect()
    }

    /// A replay of these events of each shard alone.
    #[doc(hidden)]
    pub fn of_ranges(
        log: LogId,
        ranges: Vec<(Arc<LogView>, Range<Sequence>)>,
        request: &ReplayRequest,
    ) -> ConsumerResult<Self> {
        let mut replay = Self::new(log, Vec::new(), request)?;
        let shard = |(view, range): (Arc<LogView>, Range<Sequence>)| Replayed {
            source: Source::at(&view, range.start, Visibility::Appended).seeking(&replay.selection),
            view,
            end: range.end,
            ready: VecDeque::new(),
            found: Vec::new(),
            era: 0,
        };
        let shards = ranges.into_iter().map(shard).collect();
        replay.shards = shards;
        Ok(replay)
    }

    /// The same, with all of an era before the next. The eras are read after the replay was made: it knows how far its
    /// shards go.
    #[doc(hidden)]
    pub fn with_eras(mut self, eras: Arc<Eras>) -> Self {
        self.eras = eras;
        self
    }

    #[doc(hidden)]
    pub fn with_errors(mut self, errors: impl IntoIterator<Item = ConsumerError>) -> Self {
        self.errors.extend(errors);
        self
    }

    /// The same at a pace: blocks the thread before each event until it is due.
    pub fn paced(self, speed: Speed) -> PacedReplay {
        PacedReplay { replay: self, pacer: Pacer::new(speed) }
    }
}

/// The terms that all shards of a replay read by.
struct Terms<'a> {
    log: LogId,
    selection: &'a Selection,
    until: Option<u64>,
    eras: &'a Eras,
    loading: Option<&'a Loading>,
}

impl Replay {
    /// As the iterator's `next`. With `loading` it is pending while a file is read elsewhere, until its waker is woken;
    /// and where it has looked at more records than `left`, which then is 0.
    #[doc(hidden)]
    pub fn poll_step(
        &mut self,
        loading: Option<&Loading>,
        left: &mut usize,
    ) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        if fork::generation() != self.fork_generation {
            let is_told = std::mem::take(&mut self.shards).is_empty();
            self.errors.clear();
            return Poll::Ready((!is_told).then(|| Err(AdapterError::Forked.into())));
        }
        let Self { log, ref selection, until, ref eras, ref mut errors, .. } = *self;
        let terms = Terms { log, selection, until, eras, loading };
        let mut is_pending = false;
        for shard in &mut self.shards {
            while errors.is_empty() && shard.wants_more() {
                if *left == 0 {
                    return Poll::Pending;
                }
                match shard.step(&terms, errors, Replayed::copy) {
                    Poll::Ready(records) => *left = left.saturating_sub(records),
                    Poll::Pending => {
                        is_pending = true;
                        break;
                    }
                }
            }
        }
        if let Some(error) = self.errors.pop_front() {
            return Poll::Ready(Some(Err(error)));
        }
        if is_pending {
            return Poll::Pending;
        }
        let ready = self.shards.iter_mut().filter(|shard| !shard.ready.is_empty());
        let earliest =
            ready.min_by_key(|shard| shard.ready.front().map(|event| (shard.era, event.insertion_ts, event.shard_id)));
        Poll::Ready(earliest.and_then(|earliest| earliest.ready.pop_front()).map(Ok))
    }
}

impl Replay {
    /// As the iterator's `next`, for a reader that copies what it needs itself: calls `show` with the events of the
    /// next block where they lie. Returns an event that was copied already, or is merged with those of other shards,
    /// instead.
    #[doc(hidden)]
    pub fn show_next(&mut self, mut show: impl FnMut(&EventView<'_>)) -> Option<ConsumerResult<Option<StoredEvent>>> {
        let is_forked = fork::generation() != self.fork_generation;
        let Self { log, ref selection, until, ref eras, ref mut errors, .. } = *self;
        let [shard] = &mut *self.shards else { return Some(self.next()?.map(Some)) };
        if is_forked || !errors.is_empty() || !shard.wants_more() {
            return Some(self.next()?.map(Some));
        }
        let terms = Terms { log, selection, until, eras, loading: None };
        let shows = |shard: &mut Replayed, block, terms: &Terms<'_>, errors: &mut _| {
            shard.show(block, terms, errors, &mut show)
        };
        let _ = shard.step(&terms, errors, shows);
        Some(Ok(None))
    }
}

impl Iterator for Replay {
    type Item = ConsumerResult<StoredEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut left = usize::MAX;
        loop {
            if let Poll::Ready(item) = self.poll_step(None, &mut left) {
                return item;
            }
            left = usize::MAX;
        }
    }
}

impl Replayed {
    /// Returns whether there is something to read before an event of it is ready.
    fn wants_more(&self) -> bool {
        self.ready.is_empty() && self.source.next_sequence() < self.end
    }

    /// Reads a block, which `take` gets, a gap, or an error. Returns the number of records that it looked at, at least
    /// 1.
    fn step(
        &mut self,
        terms: &Terms<'_>,
        errors: &mut VecDeque<ConsumerError>,
        take: impl FnOnce(&mut Self, Block, &Terms<'_>, &mut VecDeque<ConsumerError>) -> usize,
    ) -> Poll<usize> {
        if terms.until.is_some_and(|until| self.pass_later_than(until)) {
            return Poll::Ready(1);
        }
        match self.source.poll_step(terms.loading) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Next::Block(block))) => return Poll::Ready(take(self, block, terms, errors)),
            Ok(Poll::Ready(Next::Gap(gap))) => errors.push_back(ConsumerError::Gap(gap)),
            // What was readable when the replay was made is gone, with the log.
            Ok(Poll::Ready(Next::End)) => self.end = self.source.next_sequence(),
            Err(error) => {
                // The rest of this shard cannot be reached; the others go on.
                self.end = self.source.next_sequence();
                errors.push_back(error.into());
            }
        }
        Poll::Ready(1)
    }

    /// Leaves out of a block what the replay does not reach.
    fn admit(&mut self, block: &mut Block, terms: &Terms<'_>) {
        block.end_at(self.end);
        order::admit(terms.eras, None, &mut self.source, block);
        self.era = terms.eras.of(self.source.shard_id(), block.first_sequence());
    }

    fn show(
        &mut self,
        mut block: Block,
        terms: &Terms<'_>,
        errors: &mut VecDeque<ConsumerError>,
        show: &mut impl FnMut(&EventView<'_>),
    ) -> usize {
        self.admit(&mut block, terms);
        show_events(self.source.shard_id(), &block, terms.selection, |found| match found {
            Ok(event) => show(&event),
            Err(gap) => errors.push_back(ConsumerError::Gap(gap)),
        })
    }

    fn copy(&mut self, mut block: Block, terms: &Terms<'_>, errors: &mut VecDeque<ConsumerError>) -> usize {
        let shard = self.source.shard_id();
        self.admit(&mut block, terms);
        let looked = copy_events(LogShard::new(terms.log, shard), &block, terms.selection, &mut self.found);
        for found in self.found.drain(..) {
            match found {
                Ok(event) => self.ready.push_back(event),
                Err(gap) => errors.push_back(ConsumerError::Gap(gap)),
            }
        }
        looked.records.max(1)
    }

    /// Leaves out the block that comes next if all of it is later. Returns whether it did.
    fn pass_later_than(&mut self, until: u64) -> bool {
        // If the headers cannot be read, reading reports the fault.
        let span = self.view.span(self.source.next_sequence(), self.end, Grain::Block).ok().flatten();
        let later = span.filter(|span| span.first_timestamp >= until);
        if let Some(span) = later {
            self.source.return_to(span.end);
        }
        later.is_some()
    }
}

/// A replay that blocks the thread before each event until it is due.
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore, Speed};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-paced-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// let mut events = LogFiles::open(&directory)?.replay_all()?.paced(Speed::Factor(1.0));
/// for event in events.by_ref() {
///     println!("{}", event?.raw);
/// }
/// println!("kept the pace within {:?}", events.pacing_error().max);
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PacedReplay {
    replay: Replay,
    pacer: Pacer,
}

impl PacedReplay {
    /// The errors of the pace so far.
    pub fn pacing_error(&self) -> PacingError {
        self.pacer.error()
    }
}

impl Iterator for PacedReplay {
    type Item = ConsumerResult<StoredEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = match self.replay.next()? {
            Ok(event) => event,
            Err(error) => return Some(Err(error)),
        };
        if let Some(wait) = self.pacer.wait(event.insertion_ts) {
            std::thread::sleep(wait);
        }
        self.pacer.played(event.insertion_ts);
        Some(Ok(event))
    }
}
