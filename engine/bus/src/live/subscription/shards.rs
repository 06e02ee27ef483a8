//! The shards of a subscription, which are read in turns.
//!
//! 1. Each shard that the selection names has one reader, from the first look after the bus has it. The number of a
//!    reader never changes.
//! 2. A block, or a gap of the log, is handed out only if no other reader has events of an earlier era to hand out, and
//!    never beyond the end of its era ([`order`]). The eras and the shards are read after the watermark that the item
//!    is below.
//! 3. A reader that is too far behind under [`SlowReader::Fail`] ends all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapeline_reader::cursor::Cursor;
use tapeline_reader::opening::learn;
use tapeline_reader::selection::Selection;
use tapeline_reader::source::Source;
use tapeline_reader::{ConsumerError, ConsumerResult, Gap, order};
use tapeline_storage::format::{Sequence, SessionId};
use tapeline_storage::log::{LogView, Position};
use tapeline_storage::read::{Block, Loading, Visibility};

use super::reader::Reader;
use crate::bus_core::{BusCore, KnownEras};
use crate::feed::{Bell, Follower};
use crate::live::request::{SlowReader, SubscribeRequest};

/// The readers of the shards that a subscription reads.
#[derive(Debug)]
pub(super) struct ShardReaders {
    terms: Terms,
    /// Rung by each shard that feeds a reader.
    bell: Arc<Bell>,
    readers: Vec<Reader>,
    /// Shards that the bus had at the last look for more; 0 before the first look, which takes in those that came since
    /// the subscription listed them.
    shard_count: usize,
    /// The reader whose turn it is.
    turn: usize,
    has_lagged: bool,
    eras: KnownEras,
    /// The positions at which reading began, and those of shards that are not read.
    began: BTreeMap<u16, Position>,
}

/// The start of a subscription, if neither a cursor nor a [`Start`](tapeline_reader::Start) says.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// In each shard that was there.
    pub(crate) next: BTreeMap<u16, Sequence>,
    /// The gap that its reader gets before anything else.
    pub(crate) lost: Option<Gap>,
}

impl Beginning {
    pub(super) fn source(&self, view: &Arc<LogView>, visibility: Visibility) -> Source {
        let next = self.next.get(&view.shard()).copied().unwrap_or_else(|| view.trimmed());
        let source = Source::at(view, next, visibility);
        match &self.lost {
            Some(gap) if gap.shard_id == view.shard() => source.after_gap(gap.clone()),
            _ => source,
        }
    }
}

/// The request of the reader, for as long as the subscription lives.
#[derive(Debug)]
pub(super) struct Terms {
    selection: Arc<Selection>,
    visibility: Visibility,
    slow_reader: SlowReader,
}

impl Terms {
    pub(super) fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// The sessions whose events the readers wait for. `None`: they are woken for everything.
    pub(super) fn sessions_to_wait_for(&self) -> Option<&[SessionId]> {
        self.selection.sessions().filter(|_| self.slow_reader == SlowReader::Replay)
    }
}

impl ShardReaders {
    /// Readers of `views`, each of which begins where `first` says.
    pub(super) fn new(
        core: &BusCore,
        request: &SubscribeRequest,
        views: &[Arc<LogView>],
        first: &mut dyn FnMut(&Arc<LogView>) -> ConsumerResult<Source>,
    ) -> ConsumerResult<Self> {
        let SubscribeRequest { shards, sessions, kinds, filter, visibility, slow_reader, .. } = request;
        let selection = Selection::new(shards.as_deref(), sessions.as_deref(), kinds.as_deref(), filter.as_ref())?;
        let selection = Arc::new(selection.naming(core.names()));
        let terms = Terms { selection, visibility: *visibility, slow_reader: *slow_reader };
        let bell = Arc::new(Bell::new());
        core.readers().watch(&bell);
        let (readers, eras, began) = (Vec::new(), KnownEras::default(), BTreeMap::new());
        let mut all = Self { terms, bell, readers, shard_count: 0, turn: 0, has_lagged: false, eras, began };
        let mut starts = Vec::new();
        for view in views {
            if all.terms.selection.has_shard(view.shard()) {
                let source = first(view)?;
                starts.push((Arc::clone(view), source.next_sequence()));
                all.add(core, source);
            }
        }
        learn(&all.terms.selection, &starts, |each| core.readers().names.store().each(each));
        Ok(all)
    }

    /// Notes the positions of `cursor`, and those at which the readers stand.
    pub(super) fn begin_at(&mut self, cursor: Option<Cursor>) {
        self.began = cursor.unwrap_or_default().positions;
        let sources = self.readers.iter().map(|reader| &reader.source);
        self.began.extend(sources.map(|source| (source.shard_id(), source.position(source.next_sequence()))));
    }

    pub(super) fn selection(&self) -> &Arc<Selection> {
        &self.terms.selection
    }

    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// The reader of a shard.
    pub(super) fn of(&self, shard: u16) -> Option<&Reader> {
        self.readers.iter().find(|reader| reader.source.shard_id() == shard)
    }

    /// The shard of a reader.
    pub(super) fn shard_id(&self, at: usize) -> u16 {
        self.readers[at].source.shard_id()
    }

    /// The shards, and how far each has been read.
    pub(super) fn reached(&self) -> impl Iterator<Item = (u16, Sequence)> {
        self.readers.iter().map(Reader::reached)
    }

    /// Returns whether a reader has something to hand out, or to report.
    pub(super) fn have_more(&self) -> bool {
        self.readers.iter().any(Reader::has_more)
    }

    /// Has the readers woken for everything, also where they wait for sessions: how far each has read matters from now
    /// on.
    pub(super) fn follow_all(&self, core: &BusCore) {
        if self.terms.sessions_to_wait_for().is_some() {
            for shard in core.shards().all().iter().filter(|shard| self.of(shard.id()).is_some()) {
                shard.inbox().follow(Follower::of_all(&self.bell, self.terms.visibility));
            }
        }
    }

    /// Returns whether they have ended because one was too far behind.
    pub(super) fn have_lagged(&self) -> bool {
        self.has_lagged
    }

    /// Events that they have not handed out.
    pub(super) fn lag(&self) -> u64 {
        self.readers.iter().map(|reader| reader.source.lag()).sum()
    }

    /// Has a reader hand out again from `next` on.
    pub(super) fn return_to(&mut self, at: usize, next: Sequence) {
        self.readers[at].source.return_to(next);
    }

    /// The positions at which reading began.
    pub(super) fn cursor_at_begin(&self) -> Cursor {
        Cursor { positions: self.began.clone(), ..Cursor::default() }
    }

    /// The positions of the readers: each before what it hands out next, unless `kept` names an earlier event, by
    /// reader and shard. Costs a lock a shard.
    pub(super) fn cursor(&self, kept: impl Fn(usize, u16) -> Option<Sequence>) -> Cursor {
        let mut cursor = self.cursor_at_begin();
        for (at, Reader { source, .. }) in self.readers.iter().enumerate() {
            let next = kept(at, source.shard_id()).unwrap_or_else(|| source.next_sequence());
            cursor.positions.insert(source.shard_id(), source.position(next));
        }
        cursor
    }

    /// Takes in the shards that the bus has got meanwhile. One load where there are none.
    pub(super) fn adopt(&mut self, core: &BusCore) {
        let count = core.shards().count();
        if std::mem::replace(&mut self.shard_count, count) == count {
            return;
        }
        for view in core.shards().views() {
            if self.terms.selection.has_shard(view.shard()) && self.of(view.shard()).is_none() {
                // All of it came after the subscription began: what is trimmed by now is a gap.
                self.add(core, Source::at(&view, Sequence::ZERO, self.terms.visibility));
            }
        }
    }

    fn add(&mut self, core: &BusCore, source: Source) {
        let source = source.seeking(&self.terms.selection);
        self.readers.push(Reader::new(core, &self.bell, &self.terms, source));
    }

    /// The next block, with the number of its reader, or the gap or error in its place. `None`: there is none at
    /// present.
    pub(super) fn next_block(
        &mut self,
        core: &BusCore,
        loading: Option<&Loading>,
    ) -> Option<ConsumerResult<(usize, Block)>> {
        for _ in 0..self.readers.len() {
            let at = self.turn;
            self.turn = (at + 1) % self.readers.len();
            if let Some(next) = self.step(core, at, loading) {
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
    fn step(&mut self, core: &BusCore, at: usize, loading: Option<&Loading>) -> Option<ConsumerResult<Block>> {
        let mut next = self.readers[at].step(self.terms.slow_reader, loading)?;
        let is_admitted = match &mut next {
            Ok(block) => {
                let others = self.earliest_of_others(core, at);
                order::admit(self.eras.get(), others, &mut self.readers[at].source, block)
            }
            Err(ConsumerError::Gap(gap)) if gap.reason.is_of_log() => {
                let others = self.earliest_of_others(core, at);
                order::admit_gap(self.eras.get(), others, &mut self.readers[at].source, gap)
            }
            Err(_) => true,
        };
        is_admitted.then_some(next)
    }

    /// The era of the reader that is furthest behind, except for one. Brings eras and shards up to date.
    fn earliest_of_others(&mut self, core: &BusCore, at: usize) -> Option<usize> {
        core.update_eras(&mut self.eras);
        self.adopt(core);
        let others = self.readers.iter().enumerate().filter(|(other, reader)| *other != at && !reader.has_failed);
        order::earliest(self.eras.get(), others.map(|(_, reader)| &reader.source))
    }
}

impl Drop for ShardReaders {
    fn drop(&mut self) {
        // Followers without a feed learn by it that they are gone.
        self.bell.silence();
    }
}
