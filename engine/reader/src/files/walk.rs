//! A walk over part of a shard that need not look at events where a segment's index says what there is.

use std::ops::Range;
use std::sync::Arc;

use tapeline_storage::format::{Sequence, SessionId};
use tapeline_storage::log::{LogView, Segment, SessionSeek};
use tapeline_storage::read::{Block, LogReader, ReadError, Step};

/// The next item on a walk.
pub(super) enum Passage {
    /// A sealed segment that lies in the range whole. The walk goes on after it, unless the caller enters it.
    Segment(Arc<Segment>),
    /// A block of events. It may reach beyond the range.
    Block(Block),
    /// The range ends.
    End,
}

/// A walk. Gaps are passed over.
pub(super) struct Walk {
    segments: Vec<Arc<Segment>>,
    reader: LogReader,
    end: Sequence,
    /// The segment whose events are to be seen one by one.
    entered: Option<Sequence>,
    /// Passes over blocks that do not hold the session that is wanted.
    seek: Option<SessionSeek>,
}

impl Walk {
    /// A walk over the events of these sequences.
    pub(super) fn new(view: &Arc<LogView>, range: Range<Sequence>) -> Self {
        let reader = LogReader::new(Arc::clone(view), range.start);
        Self { segments: view.segments(), reader, end: range.end, entered: None, seek: None }
    }

    /// The same, to see this session alone: blocks that are known not to hold it are passed over.
    pub(super) fn seeking(mut self, session: SessionId) -> Self {
        self.seek = Some(SessionSeek::new(vec![session]));
        self
    }

    /// Goes on to the next item.
    ///
    /// # Errors
    /// As [`LogReader::step`]; the walk stays where it is.
    pub(super) fn step(&mut self) -> Result<Passage, ReadError> {
        while self.reader.next_sequence() < self.end {
            if let Some(segment) = self.sealed_here() {
                self.reader.return_to(segment.end_sequence());
                return Ok(Passage::Segment(segment));
            }
            if let Some(seek) = &mut self.seek {
                let next = seek.next(self.reader.view(), self.reader.next_sequence());
                self.reader.return_to(next.max(self.reader.next_sequence()));
            }
            match self.reader.step()? {
                Step::End => break,
                Step::Gap(_) => {}
                Step::Block(block) => return Ok(Passage::Block(block)),
            }
        }
        Ok(Passage::End)
    }

    /// Goes back into a segment, to its blocks.
    pub(super) fn enter(&mut self, segment: &Segment) {
        self.entered = Some(segment.base());
        self.reader.return_to(segment.base());
    }

    /// Goes past what could not be read.
    pub(super) fn pass_damage(&mut self) {
        self.reader.pass_damage();
    }

    fn sealed_here(&self) -> Option<Arc<Segment>> {
        let next = self.reader.next_sequence();
        let at = self.segments.binary_search_by_key(&next, |segment| segment.base()).ok()?;
        let is_whole = |segment: &&Arc<Segment>| segment.footer().is_some() && segment.end_sequence() <= self.end;
        // One without events would be met again and again.
        let has_events = |segment: &&Arc<Segment>| segment.end_sequence() > next;
        self.segments.get(at).filter(is_whole).filter(has_events).filter(|_| self.entered != Some(next)).cloned()
    }
}
