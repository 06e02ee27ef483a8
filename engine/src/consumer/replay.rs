//! Replay: the events of a session, or of a whole log, in order.
//!
//! A session lies in one shard for as long as the number of shards stays; over the whole life of a log it may lie in
//! several, and a whole log always does. Shards are merged by timestamp; ties go to the lower shard.

use std::collections::VecDeque;
use std::sync::Arc;

use tapeline_storage::format::{LogId, Sequence, SessionId};
use tapeline_storage::log::LogView;
use tapeline_storage::read::{LogReader, Step};

use super::page::copy_events;
use crate::error::{ConsumerError, ConsumerResult};
use crate::event::StoredEvent;

/// Iterates over stored events up to those that were readable when it was made.
///
/// An error stands for what could not be read, and where possible the iteration goes on behind it: what is gone from the
/// log comes as [`ConsumerError::Gap`].
#[derive(Debug)]
pub struct Replay {
    log: LogId,
    session: Option<SessionId>,
    sources: Vec<Source>,
    /// Errors to hand out before anything else.
    errors: VecDeque<ConsumerError>,
}

#[derive(Debug)]
struct Source {
    reader: LogReader,
    end: Sequence,
    ready: VecDeque<StoredEvent>,
}

impl Replay {
    pub(crate) fn new(log: LogId, views: Vec<Arc<LogView>>, session: Option<SessionId>) -> Self {
        let source = |view: Arc<LogView>| Source {
            end: view.appended(),
            reader: LogReader::new(Arc::clone(&view), view.trimmed()),
            ready: VecDeque::new(),
        };
        Self { log, session, sources: views.into_iter().map(source).collect(), errors: VecDeque::new() }
    }

    pub(super) fn with_errors(mut self, errors: impl IntoIterator<Item = ConsumerError>) -> Self {
        self.errors.extend(errors);
        self
    }
}

impl Iterator for Replay {
    type Item = ConsumerResult<StoredEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        for source in &mut self.sources {
            if let Err(error) = source.fill(self.log, self.session) {
                self.errors.push_back(error);
            }
        }
        if let Some(error) = self.errors.pop_front() {
            return Some(Err(error));
        }
        let earliest = self
            .sources
            .iter_mut()
            .filter(|source| !source.ready.is_empty())
            .min_by_key(|source| source.ready.front().map(|event| (event.insertion_ts, event.shard_id)))?;
        earliest.ready.pop_front().map(Ok)
    }
}

impl Source {
    /// Reads on until an event is ready or the end is reached.
    fn fill(&mut self, log: LogId, session: Option<SessionId>) -> ConsumerResult<()> {
        let shard = self.reader.view().shard();
        while self.ready.is_empty() && self.reader.next_sequence() < self.end {
            match self.reader.step() {
                Ok(Step::Block(block)) => {
                    copy_events(log, shard, &block, session, usize::MAX, &mut self.ready)
                        .inspect_err(|_| self.end = self.reader.next_sequence())?;
                    while self.ready.back().is_some_and(|event| event.sequence >= self.end) {
                        self.ready.pop_back();
                    }
                }
                Ok(Step::Gap(gap)) => {
                    return Err(ConsumerError::Gap { shard, from: gap.from, to: gap.to });
                }
                Ok(Step::End) => return Ok(()),
                Err(error) => {
                    // The rest of this shard cannot be reached; the others go on.
                    self.end = self.reader.next_sequence();
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}
