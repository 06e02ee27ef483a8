//! The part of a session that lies in several shards within an era, merged by time: events before the first change of
//! the shards of a log that was restored, of which it is not known how they came where they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use tapeline_reader::{ConsumerResult, Replay, ReplayRequest, ResumeToken, SessionChange, StoredEvent, kinds};
use tapeline_storage::format::SessionId;

use super::resume::Resume;
use crate::bus_core::BusCore;

/// The events that are read before the subscription begins.
#[derive(Debug)]
pub(super) struct History {
    replay: Replay,
    after: Option<ResumeToken>,
    /// Shards of which an event later than the token has been read.
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
        let replay = replay.with_eras(eras);
        Ok((Some(Self { replay, after: resume.after, passed: BTreeSet::new(), is_closed: false }), resume))
    }

    /// True if the session was closed in it, and so ends with it.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The next event. Reads where it is called.
    pub(super) fn next(&mut self) -> Option<ConsumerResult<StoredEvent>> {
        if self.is_closed {
            return None;
        }
        loop {
            let item = self.replay.next()?;
            if let Ok(event) = &item {
                if self.is_before_token(event) {
                    continue;
                }
                self.is_closed = event.kind == kinds::SESSION && SessionChange::is_close(&event.raw);
            }
            return Some(item);
        }
    }

    /// Returns whether an event of another shard comes, in order of time, before the token's.
    fn is_before_token(&mut self, event: &StoredEvent) -> bool {
        let Some(token) = self.after else { return false };
        let shard = event.shard_id;
        let is_before = shard != token.shard_id()
            && !self.passed.contains(&shard)
            && (event.insertion_ts, shard) < (token.insertion_ts(), token.shard_id());
        if !is_before {
            self.passed.insert(shard);
        }
        is_before
    }
}
