//! Writes in flight: submitted in order, completed in any order, landed in order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{BlockPlace, Segment};
use crate::format::Sequence;

/// The fact that becomes true when a write has completed.
#[derive(Debug)]
pub(super) enum Landing {
    /// A segment has its header, and may take its final name.
    Header(Sequence),
    /// A block has reached its segment.
    Block { segment: Arc<Segment>, place: BlockPlace, data_end: u64, end: Sequence, opened_at: u64 },
}

impl Landing {
    fn segment_base(&self) -> Sequence {
        match self {
            Self::Header(base) => *base,
            Self::Block { segment, .. } => segment.base(),
        }
    }
}

/// The writes that were submitted and have not landed. The token of a write is its number since the log was opened.
#[derive(Debug, Default)]
pub(super) struct WritesInFlight {
    /// In order; the first has token `first_token`.
    writes: VecDeque<Submitted>,
    first_token: u64,
}

#[derive(Debug)]
struct Submitted {
    landing: Landing,
    completed: bool,
}

impl WritesInFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Adds a write. Returns its token.
    pub(super) fn add(&mut self, landing: Landing) -> u64 {
        self.writes.push_back(Submitted { landing, completed: false });
        self.first_token + self.writes.len() as u64 - 1
    }

    /// The write with this token is complete.
    pub(super) fn complete(&mut self, token: u64) {
        let at = self.at(token);
        if let Some(write) = self.writes.get_mut(at) {
            write.completed = true;
        }
    }

    /// The next write to land, if it is complete.
    pub(super) fn land(&mut self) -> Option<Landing> {
        self.writes.front().filter(|first| first.completed)?;
        let Submitted { landing, .. } = self.writes.pop_front()?;
        self.first_token += 1;
        Some(landing)
    }

    /// The first sequence of the segment that the write with this token goes to.
    pub(super) fn segment_base(&self, token: u64) -> Option<Sequence> {
        self.writes.get(self.at(token)).map(|write| write.landing.segment_base())
    }

    /// The time at which the oldest block was begun.
    pub(super) fn oldest_opened_at(&self) -> Option<u64> {
        self.writes.iter().find_map(|write| match write.landing {
            Landing::Block { opened_at, .. } => Some(opened_at),
            Landing::Header(_) => None,
        })
    }

    fn at(&self, token: u64) -> usize {
        (token - self.first_token) as usize
    }
}
