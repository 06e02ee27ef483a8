//! Runs: openings of a log for writing, and positions that survive from one to the next.
//!
//! A crash loses what was appended above the durable watermark, and the next run gives the same sequences to other
//! events. A position therefore remembers the run that wrote the event before it.

use std::sync::Arc;

use super::Segment;
use crate::format::{Epoch, RunStart, Sequence, SplitMix64};

/// One opening for writing. The default is the beginning of the log, before any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    /// Epoch of its first segment.
    pub epoch: Epoch,
    /// First sequence that it gave.
    pub base: Sequence,
}

/// A reader's position in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Sequence of the next event.
    pub next: Sequence,
    /// The run that wrote the event before it.
    pub run: Run,
}

/// The log no longer holds anything of the run that a position belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the part of the log that the position belongs to is gone")]
pub struct Expired;

impl Run {
    pub(crate) fn of(segment: &Segment) -> Self {
        Self { epoch: segment.header().run, base: segment.base() }
    }

    /// The run of the last event.
    pub(crate) fn last_of(segments: &[Arc<Segment>]) -> Option<Self> {
        let last = segments.last()?.run_starts().next_back()?;
        Some(Self::begun_by(segments, segments.len() - 1, last))
    }

    /// The run that wrote `sequence`; the default if that is gone, and so was durable.
    pub(crate) fn at(segments: &[Arc<Segment>], sequence: Sequence) -> Self {
        let after = segments.partition_point(|segment| segment.base() <= sequence);
        let found = after.checked_sub(1).and_then(|at| {
            let start = segments[at].run_starts().rfind(|start| start.first <= sequence)?;
            Some(Self::begun_by(segments, at, start))
        });
        found.unwrap_or_default()
    }

    /// The run that `segments[at]` says to begin or go on at `start`, from the first of its events that is left.
    fn begun_by(segments: &[Arc<Segment>], at: usize, start: RunStart) -> Self {
        let mut base = start.first;
        // It may have begun in a segment before, if it goes on from the beginning of this one.
        for at in (1..=at).rev() {
            let before = segments[at - 1].run_starts().next_back();
            match before.filter(|before| before.run == start.run && segments[at].base() == base) {
                Some(before) => base = before.first,
                None => break,
            }
        }
        Self { epoch: start.run, base }
    }

    /// Sequence after the last that this run made durable, if any event of it is left.
    pub(crate) fn end_in(&self, segments: &[Arc<Segment>]) -> Option<Sequence> {
        // The next run begins where recovery found this one to end.
        let mut next = None;
        for segment in segments.iter().rev() {
            for start in segment.run_starts().rev() {
                if start.run == self.epoch {
                    return Some(next.unwrap_or_else(|| segment.end_sequence()));
                }
                next = Some(start.first);
            }
        }
        None
    }
}

/// More segments than one opening of a log begins.
const SEGMENTS_MAX: u64 = 1 << 24;

/// The stream of segment epochs that a seed gives.
#[derive(Debug)]
pub(super) struct Epochs(SplitMix64);

impl Epochs {
    pub(super) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    pub(super) fn draw(&mut self) -> Epoch {
        Epoch::new(self.0.draw())
    }

    /// Returns whether the opening whose first epoch is `run` has drawn `epoch`. That of any other is taken for one of
    /// it in one of 2^40 cases: each opening of each shard has a random seed.
    pub(super) fn has_drawn(run: Epoch, epoch: Epoch) -> bool {
        SplitMix64::draws_between(run.get(), epoch.get()) < SEGMENTS_MAX
    }
}
