//! One shard that is followed.

use std::collections::VecDeque;
use std::sync::Arc;

use tapeline_storage::format::{Eras, LogId, LogShard};
use tapeline_storage::log::{LogView, OpenError, Position};
use tapeline_storage::read::{FollowedShard, Look, ReadError, Visibility};

use crate::event::StoredEvent;
use crate::filter::Selection;
use crate::gap::{Gap, GapReason};
use crate::replay::order;
use crate::replay::page::{Found, copy_events};
use crate::source::{Next, Source};

/// A shard's files, a reader of them, and the events that it has read ahead.
#[derive(Debug)]
pub(super) struct Followed {
    files: FollowedShard,
    source: Source,
    ready: VecDeque<Found>,
    /// The era of what is ready.
    era: usize,
    /// The kernel refused to read on.
    has_failed: bool,
}

impl Followed {
    pub(super) fn new(files: FollowedShard, source: Source) -> Self {
        Self { files, source, ready: VecDeque::new(), era: 0, has_failed: false }
    }

    pub(super) fn id(&self) -> u16 {
        self.source.shard_id()
    }

    pub(super) fn view(&self) -> &Arc<LogView> {
        self.files.view()
    }

    /// Reads from another position.
    pub(super) fn start(&mut self, source: Source) {
        self.source = source;
        self.ready.clear();
    }

    /// Looks for what has come. Returns whether anything has.
    ///
    /// An era that is known begins after all that is durable before it: a shard that does not go that far yet is looked
    /// at closely, and what is not in it then is lost.
    pub(super) fn look(&mut self, eras: &Eras, selection: &Selection) -> Result<bool, OpenError> {
        let last = eras.iter().count().checked_sub(1).and_then(|before| eras.end_of(before, self.id()));
        let has_come = self.take_in(selection, FollowedShard::look)?;
        if last.is_some_and(|start| self.view().appended() < start) {
            Ok(self.take_in(selection, FollowedShard::look_closely)? || has_come)
        } else {
            Ok(has_come)
        }
    }

    fn take_in(
        &mut self,
        selection: &Selection,
        look: impl FnOnce(&mut FollowedShard) -> Result<Look, OpenError>,
    ) -> Result<bool, OpenError> {
        match look(&mut self.files)? {
            Look::Same => Ok(false),
            Look::Grown => Ok(true),
            Look::Replaced => {
                self.go_on_in_new_view(selection);
                Ok(true)
            }
        }
    }

    fn go_on_in_new_view(&mut self, selection: &Selection) {
        self.has_failed = false;
        let position = self.source.position(self.source.next_sequence());
        let view = self.files.view();
        if let Ok(source) = Source::resume(view, position, Visibility::Appended) {
            self.source = source.seeking(selection);
            return;
        }
        // The run that was being read is gone. What is left of the log goes on where it was, or further on.
        let next = position.next.min(view.appended()).max(view.trimmed());
        let (from, to) = (position.next.min(next), position.next.max(next));
        let reason = if next > position.next { GapReason::Trimmed } else { GapReason::LostInCrash };
        if from < to {
            self.ready.push_back(Err(Gap { shard_id: self.id(), from, to, reason, token: None }));
        }
        self.source = Source::at(view, next, Visibility::Appended).seeking(selection);
    }

    /// Returns whether there is anything to hand out, or to look at.
    pub(super) fn has_more(&self) -> bool {
        !self.ready.is_empty() || (!self.has_failed && self.source.has_more())
    }

    /// Events that there are and that were not handed out.
    pub(super) fn lag(&self) -> u64 {
        self.view().appended().since(self.position().next)
    }

    /// Returns whether it has more, and has not got to know yet what comes next.
    pub(super) fn is_unknown(&self) -> bool {
        self.ready.is_empty() && self.has_more()
    }

    /// Reads on until something is ready, or nothing is left, or `scannable` bytes were looked at in vain.
    ///
    /// # Errors
    /// The kernel's: the shard is left out until its files change.
    pub(super) fn fill(
        &mut self,
        log: LogId,
        selection: &Selection,
        eras: &Eras,
        scannable: &mut usize,
    ) -> Result<(), ReadError> {
        while self.ready.is_empty() && !self.has_failed && *scannable > 0 {
            match self.source.step() {
                Ok(Next::Block(mut block)) => {
                    order::admit(eras, None, &mut self.source, &mut block);
                    self.era = eras.of(self.id(), block.first_sequence());
                    let looked = copy_events(LogShard::new(log, self.id()), &block, selection, &mut self.ready);
                    *scannable = scannable.saturating_sub(if self.ready.is_empty() { looked.bytes } else { 0 });
                }
                Ok(Next::Gap(gap)) => self.ready.push_back(Err(gap)),
                Ok(Next::End) => break,
                Err(error) => {
                    self.has_failed = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The next item, if it is a gap.
    pub(super) fn next_gap(&mut self) -> Option<Gap> {
        self.ready.front()?.as_ref().err()?;
        self.ready.pop_front()?.err()
    }

    /// The next item, if it is an event.
    pub(super) fn next_event(&mut self) -> Option<StoredEvent> {
        self.ready.front()?.as_ref().ok()?;
        self.ready.pop_front()?.ok()
    }

    /// The key that decides which shard's turn it is; the least comes first, and a shard without an event last.
    pub(super) fn key(&self) -> (usize, u64, u16) {
        match self.ready.front() {
            Some(Ok(event)) => (self.era, event.insertion_ts, self.id()),
            _ => (usize::MAX, u64::MAX, self.id()),
        }
    }

    /// The position after the events that were handed out.
    pub(super) fn position(&self) -> Position {
        let ready = self.ready.front().map(|found| match found {
            Ok(event) => event.sequence,
            Err(gap) => gap.from,
        });
        self.source.position(ready.unwrap_or_else(|| self.source.next_sequence()))
    }
}
