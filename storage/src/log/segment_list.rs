//! The segments of a log that readers find, in order, and the runs that wrote them.
//!
//! The list has what readers may read: a segment that leaves it gives up its mapping and its file, outside of the lock.

use std::sync::{Arc, Mutex};

use super::{Run, Segment};
use crate::format::Sequence;
use crate::lock::lock;

/// Segments by their first sequences, ascending, and the run that writes.
#[derive(Debug)]
pub(crate) struct SegmentList {
    segments: Mutex<Vec<Arc<Segment>>>,
    /// The run that writes, or the last that did.
    run: Run,
}

impl SegmentList {
    /// `run`: the one that writes, if any does.
    pub(super) fn new(segments: Vec<Arc<Segment>>, run: Option<Run>) -> Self {
        let run = run.or_else(|| Run::last_of(&segments)).unwrap_or_default();
        Self { segments: Mutex::new(segments), run }
    }

    /// The run that writes, or the last that did.
    pub(super) fn run(&self) -> Run {
        self.run
    }

    /// The run that wrote `last`; the default if that is gone, and so was durable.
    pub(super) fn run_of(&self, last: Sequence) -> Run {
        if last >= self.run.base { self.run } else { Run::at(&lock(&self.segments), last) }
    }

    /// Sequence after the last that an earlier run made durable, if any event of it is left.
    pub(super) fn end_of(&self, run: Run) -> Option<Sequence> {
        let segments = lock(&self.segments);
        let end = run.end_in(&segments)?;
        // The present run begins where recovery found the log to end, and may have no segment yet.
        let is_last = segments.last().is_some_and(|last| last.end_sequence() == end);
        Some(if is_last { end.max(self.run.base) } else { end })
    }

    /// Where runs began, at sequences up to `last`, ascending.
    pub(super) fn run_starts(&self, last: Sequence) -> Vec<Sequence> {
        let (mut starts, mut run) = (Vec::new(), None);
        for segment in lock(&self.segments).iter() {
            for start in segment.run_starts().filter(|start| start.first <= last) {
                // A run goes on from segment to segment.
                if run.replace(start.run) != Some(start.run) {
                    starts.push(start.first);
                }
            }
        }
        // The present one may have no segment yet.
        let has_begun = self.run != Run::default() && run != Some(self.run.epoch);
        if has_begun && self.run.base <= last && starts.last() != Some(&self.run.base) {
            starts.push(self.run.base);
        }
        starts
    }

    /// All segments, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Segment>> {
        lock(&self.segments).clone()
    }

    /// The segment that begins at `sequence` or last before it.
    pub(super) fn at(&self, sequence: Sequence) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        let after = segments.partition_point(|segment| segment.base() <= sequence);
        segments.get(after.checked_sub(1)?).cloned()
    }

    /// The first segment that begins after `sequence`.
    pub(super) fn after(&self, sequence: Sequence) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        segments.get(segments.partition_point(|segment| segment.base() <= sequence)).cloned()
    }

    /// The segments of [`SegmentList::at`] and [`SegmentList::after`], of one moment.
    pub(super) fn around(&self, sequence: Sequence) -> (Option<Arc<Segment>>, Option<Arc<Segment>>) {
        let segments = lock(&self.segments);
        let after = segments.partition_point(|segment| segment.base() <= sequence);
        let before = after.checked_sub(1).and_then(|at| segments.get(at));
        (before.cloned(), segments.get(after).cloned())
    }

    pub(crate) fn add(&self, segment: Arc<Segment>) {
        lock(&self.segments).push(segment);
    }

    /// Puts a segment with the same events in the place of the one that readers had so far.
    pub(crate) fn replace(&self, segment: Arc<Segment>) {
        segment.files().forget_map(segment.base());
        let mut segments = lock(&self.segments);
        if let Ok(at) = segments.binary_search_by_key(&segment.base(), |listed| listed.base()) {
            segments[at] = segment;
        }
    }

    /// Puts a segment in the place of those that it holds the events of.
    pub(super) fn merge(&self, merged: Arc<Segment>) {
        let (base, end) = (merged.base(), merged.end_sequence());
        merged.files().forget_map(base);
        let gone: Vec<_> = {
            let mut segments = lock(&self.segments);
            let from = segments.partition_point(|listed| listed.base() < base);
            let to = segments.partition_point(|listed| listed.base() < end);
            segments.splice(from..to, [merged]).collect()
        };
        gone.iter().filter(|gone| gone.base() > base).for_each(|gone| gone.files().forget(gone.base()));
    }

    pub(crate) fn remove(&self, base: Sequence) {
        let removed = {
            let mut segments = lock(&self.segments);
            segments.binary_search_by_key(&base, |listed| listed.base()).ok().map(|at| segments.remove(at))
        };
        if let Some(removed) = removed {
            removed.files().forget(base);
        }
    }

    /// Takes the first segments, those that are `gone`, out of the list.
    pub(super) fn take_first(&self, gone: impl Fn(&Segment) -> bool) -> Vec<Arc<Segment>> {
        let taken: Vec<_> = {
            let mut segments = lock(&self.segments);
            let kept = segments.partition_point(|segment| gone(segment));
            segments.drain(..kept).collect()
        };
        taken.iter().for_each(|segment| segment.files().forget(segment.base()));
        taken
    }
}
