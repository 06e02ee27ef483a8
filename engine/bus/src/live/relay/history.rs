//! The part of a session that lies in several shards within an era, merged by time: events before the first change of
//! the shards of a log that was restored, of which it is not known how they came where they are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Poll;

use tapeline_reader::{ConsumerResult, Replay, ReplayRequest, SessionChange, StoredEvent, kinds};
use tapeline_storage::format::SessionId;
use tapeline_storage::read::Loading;

use super::resume::{Merged, Resume};
use crate::bus_core::BusCore;

/// The events that are read before the subscription begins.
#[derive(Debug)]
pub(super) struct History {
    replay: Replay,
    after: Option<Merged>,
    /// Shards of which an event after the token's has been read.
    passed: BTreeSet<u16>,
    is_closed: bool,
}

impl History {
    /// The history before `resume`, if there is any, and where it ends.
    ///
    /// # Errors
    /// As [`Replay::of_ranges`].
    pub(super) fn split(
        core: &BusCore,
        session: SessionId,
        mut resume: Resume,
    ) -> ConsumerResult<(Option<Self>, Resume)> {
        let eras = Arc::clone(&resume.eras);
        let mut unknown = (0..=eras.later()).filter(|era| !eras.is_by_one_route(*era));
        let Some(last) = unknown.next_back().filter(|_| resume.beginning.lost.is_none()) else {
            return Ok((None, resume));
        };
        let mut ranges = Vec::new();
        for view in core.shards().views() {
            let Some(next) = resume.beginning.next.get_mut(&view.shard()) else { continue };
            let end = eras.end_of(last, view.shard()).unwrap_or(*next);
            if *next < end {
                ranges.push((view, std::mem::replace(next, end)..end));
            }
        }
        if ranges.is_empty() {
            return Ok((None, resume));
        }
        let replay = Replay::of_ranges(core.log_id(), ranges, &ReplayRequest::new().session(session))?;
        let replay = replay.naming(|_| core.names()).with_eras(eras);
        Ok((Some(Self { replay, after: resume.merged, passed: BTreeSet::new(), is_closed: false }), resume))
    }

    /// True if the session was closed in it, and so ends with it.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The next event; see [`Replay::poll_step`].
    pub(super) fn poll_next(
        &mut self,
        loading: Option<&Loading>,
        left: &mut usize,
    ) -> Poll<Option<ConsumerResult<StoredEvent>>> {
        if self.is_closed {
            return Poll::Ready(None);
        }
        loop {
            let item = match self.replay.poll_step(loading, left) {
                Poll::Ready(Some(item)) => item,
                ended_or_pending => return ended_or_pending,
            };
            if let Ok(event) = &item {
                if self.was_merged_before(event) {
                    continue;
                }
                self.is_closed = event.kind == kinds::SESSION && SessionChange::is_close(&event.raw);
            }
            return Poll::Ready(Some(item));
        }
    }

    /// Returns whether an event of another shard comes before the token's.
    fn was_merged_before(&mut self, event: &StoredEvent) -> bool {
        let Some(after) = self.after else { return false };
        let was_before = event.shard_id != after.shard_id
            && !self.passed.contains(&event.shard_id)
            && event.insertion_ts < after.next_time(event.shard_id);
        if !was_before {
            self.passed.insert(event.shard_id);
        }
        was_before
    }
}
