//! One shard, as a consumer reads it: blocks and gaps in order.

use std::fmt::Debug;
use std::sync::Arc;
use std::task::Poll;

use tapeline_storage::format::{Eras, LogId, Sequence};
use tapeline_storage::log::{Expired, Grain, LentBlock, LogView, Poison, Position, SessionSeek};
use tapeline_storage::read::{Block, GapCause, Loading, LogReader, ReadError, Step, Visibility};

use crate::cursor::{Cursor, CursorFault};
use crate::error::{ConsumerError, ConsumerResult};
use crate::filter::Selection;
use crate::gap::{Gap, GapReason};

/// The start of a reading that has no cursor.
///
/// ```
/// use tapeline_reader::Start;
///
/// // The events of the last minute, then those that come.
/// let minute = std::time::Duration::from_secs(60);
/// let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
/// let start = Start::Time((now - minute).as_nanos() as u64);
/// # let _ = start;
/// # Ok::<(), std::time::SystemTimeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// At the earliest event there is.
    #[default]
    Earliest,
    /// After the last event that was ingested in this process before the call.
    Latest,
    /// In each shard at the first event that was ingested at this time or later: nanoseconds since the Unix epoch.
    Time(u64),
    /// In each of these shards at this sequence; in the others at the earliest event.
    Sequences(Vec<(u16, Sequence)>),
}

/// New blocks of a shard, handed to a reader that then does not look for them in the log.
pub trait NewBlocks: Debug + Send {
    /// The block that starts at `next`, if it has been handed over. Drops those before it.
    fn take(&mut self, next: Sequence) -> Option<LentBlock>;

    /// The first sequence at `next` or later that may be what the reader asks for, as far as its shard has said.
    fn pass(&self, next: Sequence) -> Sequence {
        next
    }
}

/// The next item of a shard.
#[derive(Debug)]
pub enum Next {
    Block(Block),
    Gap(Gap),
    /// Nothing at present.
    End,
}

/// A reader of one shard.
#[derive(Debug)]
pub struct Source {
    reader: LogReader,
    /// The source of new blocks for a live reader, without looking for them.
    feed: Option<Box<dyn NewBlocks>>,
    /// The gap to report before anything else, and the position where it was found.
    lost: Option<(Gap, Position)>,
    /// Passes over what holds none of the sessions that its reader asks for.
    seek: Option<SessionSeek>,
}

impl Source {
    /// A reader that stands before `next`.
    pub fn at(view: &Arc<LogView>, next: Sequence, visibility: Visibility) -> Self {
        let reader = LogReader::new(Arc::clone(view), next).with_visibility(visibility);
        Self { reader, feed: None, lost: None, seek: None }
    }

    /// A reader that goes on at `position`, perhaps after a crash.
    ///
    /// # Errors
    /// [`Expired`], if the log no longer knows the position.
    pub fn resume(view: &Arc<LogView>, position: Position, visibility: Visibility) -> Result<Self, Expired> {
        let next = view.resume(position)?;
        let mut source = Self::at(view, next, visibility);
        if next < position.next {
            source.lost = Some((source.gap_of(next, position.next, GapReason::LostInCrash), position));
        }
        Ok(source)
    }

    /// The same, which reports this gap before anything else.
    pub fn after_gap(mut self, gap: Gap) -> Self {
        self.lost = Some((gap, self.reader.view().position(self.reader.next_sequence())));
        self
    }

    /// A reader that starts at `start`.
    ///
    /// # Errors
    /// The kernel's, where a time is looked for in files that cannot be read.
    pub fn start(view: &Arc<LogView>, start: &Start, visibility: Visibility) -> Result<Self, ReadError> {
        let next = match start {
            Start::Earliest => view.trimmed(),
            Start::Latest => view.appended(),
            Start::Time(time) => first_since(view, *time)?,
            Start::Sequences(sequences) => {
                let named = sequences.iter().find(|(shard, _)| *shard == view.shard());
                named.map_or_else(|| view.trimmed(), |(_, next)| *next)
            }
        };
        Ok(Self::at(view, next, visibility))
    }

    /// The same, for a reader that wants these events alone: what is known to hold none of their sessions is passed
    /// over.
    pub fn seeking(mut self, selection: &Selection) -> Self {
        self.seek = selection.sessions().map(|sessions| SessionSeek::new(sessions.to_vec()));
        self
    }

    /// The same, fed with new blocks.
    pub fn fed(mut self, feed: Box<dyn NewBlocks>) -> Self {
        self.feed = Some(feed);
        self
    }

    pub fn shard_id(&self) -> u16 {
        self.reader.view().shard()
    }

    /// Sequence of the next event that it will hand out.
    pub fn next_sequence(&self) -> Sequence {
        self.reader.next_sequence()
    }

    /// The position of a reader that goes on at `next`, which this one has reached.
    pub fn position(&self, next: Sequence) -> Position {
        match &self.lost {
            Some((_, position)) => *position,
            None => self.reader.view().position(next),
        }
    }

    /// The gap to report before anything else.
    pub fn take_lost(&mut self) -> Option<Gap> {
        self.lost.take().map(|(gap, _)| gap)
    }

    /// The era of the event that it will hand out next.
    pub fn era(&self, eras: &Eras) -> usize {
        eras.of(self.shard_id(), self.reader.next_sequence())
    }

    /// Returns whether its shard will never have more than was read: no reader has to wait for it.
    pub fn is_over(&self) -> bool {
        self.poison().is_some()
    }

    /// The error that ended the shard's log, once all that it left has been read.
    pub fn poison(&self) -> Option<&Poison> {
        // Asked first: what was appended before is seen by the look after this.
        self.reader.view().poison().filter(|_| !self.has_more())
    }

    /// Returns whether there is something to hand out.
    #[inline]
    pub fn has_more(&self) -> bool {
        self.reader.next_sequence() < self.reader.end() || self.lost.is_some()
    }

    /// Events that it has not handed out yet.
    #[inline]
    pub fn lag(&self) -> u64 {
        self.reader.end().since(self.reader.next_sequence())
    }

    /// Hands out again from `next` on.
    pub fn return_to(&mut self, next: Sequence) {
        self.reader.return_to(next);
    }

    /// Leaves out what comes before `next`.
    pub fn drop_to(&mut self, next: Sequence) -> Gap {
        let from = self.reader.next_sequence();
        self.reader.return_to(next);
        self.gap_of(from, next, GapReason::Dropped)
    }

    /// Reads the next item. Costs what [`LogReader::step`] does.
    ///
    /// # Errors
    /// The kernel's, where a file cannot be read: the source stays where it is. What does not check is a gap.
    pub fn step(&mut self) -> Result<Next, ReadError> {
        loop {
            if let Poll::Ready(next) = self.poll_step(None)? {
                return Ok(next);
            }
        }
    }

    /// As [`Source::step`]. With `loading` it is pending while the active segment's file is read elsewhere, until its
    /// waker is woken.
    ///
    /// # Errors
    /// As [`Source::step`].
    pub fn poll_step(&mut self, loading: Option<&Loading>) -> Result<Poll<Next>, ReadError> {
        if let Some(gap) = self.take_lost() {
            return Ok(Poll::Ready(Next::Gap(gap)));
        }
        if let Some(seek) = &mut self.seek {
            let next = self.reader.next_sequence();
            let passed = self.feed.as_ref().map_or(next, |feed| feed.pass(next)).min(self.reader.end());
            let sought = seek.next(self.reader.view(), passed.max(next)).min(self.reader.end());
            self.reader.return_to(sought.max(next));
        }
        self.take_from_feed();
        let step = match loading {
            Some(loading) => self.reader.poll_step(loading),
            None => self.reader.step().map(Poll::Ready),
        };
        let next = match step {
            Ok(Poll::Pending) => return Ok(Poll::Pending),
            Ok(Poll::Ready(Step::Block(block))) => Next::Block(block),
            Ok(Poll::Ready(Step::End)) => {
                if self.seek.is_some() {
                    // It may stay here for long: thousands of readers would each keep the memory of another block.
                    self.reader.let_go();
                }
                Next::End
            }
            Ok(Poll::Ready(Step::Gap(gap))) => {
                let reason = if gap.cause == GapCause::Trimmed { GapReason::Trimmed } else { GapReason::Lost };
                Next::Gap(self.gap_of(gap.from, gap.to, reason))
            }
            Err(error @ ReadError::Corrupt { .. }) => {
                let gap = self.reader.pass_damage();
                Next::Gap(self.gap_of(gap.from, gap.to, GapReason::Corrupt(error.to_string())))
            }
            Err(error) => return Err(error),
        };
        Ok(Poll::Ready(next))
    }

    fn take_from_feed(&mut self) {
        let Some(feed) = &mut self.feed else { return };
        if self.reader.needs_block()
            && let Some(block) = feed.take(self.reader.next_sequence())
        {
            self.reader.enter(block);
        }
    }

    fn gap_of(&self, from: Sequence, to: Sequence, reason: GapReason) -> Gap {
        Gap { shard_id: self.shard_id(), from, to, reason, token: None }
    }
}

/// The shards of a log, as one reader sees them.
#[derive(Debug, Clone, Copy)]
pub struct LogViews<'v> {
    /// Identity of the log.
    pub id: LogId,
    /// A view of each shard.
    pub views: &'v [Arc<LogView>],
}

impl<'v> LogViews<'v> {
    /// The shards of the log with this identity.
    pub const fn new(id: LogId, views: &'v [Arc<LogView>]) -> Self {
        Self { id, views }
    }

    /// The cursor that a reader goes on with, if it has one.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidCursor`].
    pub fn cursor_of(self, text: Option<&str>) -> ConsumerResult<Option<Cursor>> {
        let cursor = text.map(|text| Cursor::decode(text, self.id)).transpose();
        cursor.map_err(|fault| self.refuse_cursor(fault))
    }

    /// The error that says what is wrong with a cursor, and which one can be used.
    pub fn refuse_cursor(self, fault: CursorFault) -> ConsumerError {
        ConsumerError::InvalidCursor { fault, earliest: Cursor::earliest(self.views).encode(self.id) }
    }

    /// A reader of the shard of `view`: where the cursor says, or else the start.
    ///
    /// # Errors
    /// [`ConsumerError::InvalidCursor`], or the kernel's, where files cannot be read.
    pub fn source(
        self,
        view: &Arc<LogView>,
        cursor: Option<&Cursor>,
        start: &Start,
        visibility: Visibility,
    ) -> ConsumerResult<Source> {
        let Some(cursor) = cursor else { return Ok(Source::start(view, start, visibility)?) };
        // A shard that the cursor does not know is younger than it: nothing of it has been read.
        let position = cursor.positions.get(&view.shard()).copied().unwrap_or_default();
        Source::resume(view, position, visibility).map_err(|_| self.refuse_cursor(CursorFault::Expired(view.shard())))
    }
}

/// The first event of a shard, in its order, that is not earlier than `time`.
pub fn first_since(view: &Arc<LogView>, time: u64) -> Result<Sequence, ReadError> {
    first_since_from(view, view.trimmed(), time)
}

/// The same, at `from` or after it, which is not trimmed.
pub fn first_since_from(view: &Arc<LogView>, from: Sequence, time: u64) -> Result<Sequence, ReadError> {
    let mut next = from;
    let unreadable =
        |source, offset| ReadError::Io { shard_id: view.shard(), segment: "headers".into(), offset, source };
    while let Some(coarse) =
        view.span(next, view.appended(), Grain::Segment).map_err(|error| unreadable(error, next.get()))?
    {
        if coarse.last_timestamp >= time {
            let fine = view.span(next, coarse.end, Grain::Block).map_err(|error| unreadable(error, next.get()))?;
            let Some(fine) = fine else { break };
            if fine.last_timestamp >= time
                && let Some(found) = first_in_block(view, next, fine.end, time)?
            {
                return Ok(found);
            }
            next = fine.end;
        } else {
            next = coarse.end;
        }
    }
    Ok(next)
}

fn first_in_block(
    view: &Arc<LogView>,
    from: Sequence,
    end: Sequence,
    time: u64,
) -> Result<Option<Sequence>, ReadError> {
    let mut reader = LogReader::new(Arc::clone(view), from);
    while reader.next_sequence() < end {
        let before = reader.next_sequence();
        match reader.step() {
            Ok(Step::Block(block)) => {
                let is_due = |record: Result<tapeline_storage::format::RecordView<'_>, _>| {
                    record.is_ok_and(|record| record.timestamp() >= time)
                };
                if let Some(at) = block.records().position(is_due) {
                    return Ok(Some(block.first_sequence().plus(at as u64)).filter(|at| *at < end));
                }
            }
            // A reader that reads from here gets a report of it.
            Ok(Step::Gap(_)) | Err(ReadError::Corrupt { .. }) => return Ok(Some(before)),
            Ok(Step::End) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
