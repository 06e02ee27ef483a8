//! Runs: openings of a log for writing, and places that survive from one to the next.
//!
//! A crash loses what was appended above the durable watermark, and the next run gives the same sequences to other
//! events. A place therefore remembers the run that wrote the event before it.

use std::sync::Arc;

use super::Segment;
use crate::format::{Epoch, Sequence};

/// One opening for writing. The default is the beginning of the log, before any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    /// Epoch of its first segment.
    pub epoch: Epoch,
    /// First sequence that it gave.
    pub base: Sequence,
}

/// A reader's place in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Sequence of the event behind it.
    pub next: Sequence,
    /// The run that wrote the event before it.
    pub run: Run,
}

/// The log holds nothing any more of the run that a place belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the part of the log that the place belongs to is gone")]
pub struct Expired;

impl Run {
    pub(crate) fn of(segment: &Segment) -> Self {
        Self { epoch: segment.header().run, base: segment.base() }
    }

    /// The run of the last segment.
    pub(crate) fn last_of(segments: &[Arc<Segment>]) -> Option<Self> {
        Some(Self::begun_by(segments, segments.len().checked_sub(1)?))
    }

    /// The run that wrote `sequence`; the default if that is gone, and so was durable.
    pub(crate) fn at(segments: &[Arc<Segment>], sequence: Sequence) -> Self {
        let after = segments.partition_point(|segment| segment.base() <= sequence);
        after.checked_sub(1).map(|at| Self::begun_by(segments, at)).unwrap_or_default()
    }

    /// The run of `segments[at]`, from the first of its segments that is left.
    fn begun_by(segments: &[Arc<Segment>], at: usize) -> Self {
        let epoch = segments[at].header().run;
        let first =
            segments[..at].iter().rposition(|segment| segment.header().run != epoch).map_or(0, |before| before + 1);
        Self { epoch, base: segments[first].base() }
    }

    /// Sequence after the last that this run made durable, if any segment of it is left.
    pub(crate) fn end_in(&self, segments: &[Arc<Segment>]) -> Option<Sequence> {
        let last = segments.iter().rposition(|segment| segment.header().run == self.epoch)?;
        // The next run begins where recovery found this one to end.
        Some(segments.get(last + 1).map_or_else(|| segments[last].end_sequence(), |next| next.base()))
    }
}
