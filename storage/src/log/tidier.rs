//! Tidying of sealed segments: indexes, dense copies, merging.

use std::sync::Arc;

use super::chore::Chore;
use super::files::SegmentFiles;
use super::merge::{self, Limits, Merging, Part};
use super::permit::Permit;
use super::queue::Queue;
use super::run::Epochs;
use super::tidy::Tidying;
use super::{LogOptions, LogView, Segment};
use crate::format::Sequence;

/// Finds tidying to do, one chore after the other.
#[derive(Debug)]
pub(super) struct Tidier {
    files: Arc<SegmentFiles>,
    queue: Queue,
    /// Segments from here on may be merged; `None`: there is nothing to merge.
    merge_from: Option<Sequence>,
    permit: Arc<Permit>,
    repack_saves_bytes: u64,
    /// Of a new segment, at most.
    segment_bytes: u64,
}

impl Tidier {
    pub(super) fn new(files: Arc<SegmentFiles>, options: &LogOptions) -> Self {
        Self {
            files,
            queue: Queue::default(),
            merge_from: None,
            permit: Arc::default(),
            repack_saves_bytes: options.repack_saves_bytes,
            segment_bytes: options.segment_length(),
        }
    }

    pub(super) fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// The permit that tidying and trimming share.
    pub(super) fn permit(&self) -> &Arc<Permit> {
        &self.permit
    }

    /// Has the chore that runs end early, if one does.
    pub(super) fn abandon(&self) {
        self.permit.withdraw();
    }

    /// Lets chores run again, unless one has not come back: that one stays abandoned, and is the last.
    pub(super) fn renew(&self) {
        if !self.queue.runs {
            self.permit.renew();
        }
    }

    /// Wants an index for a segment that is sealed without one.
    pub(super) fn tidy(&mut self, segment: Arc<Segment>) {
        self.queue.waiting.push_back(Chore::tidy(Tidying {
            directory: Arc::clone(self.files.directory()),
            segment,
            repack_saves_bytes: self.repack_saves_bytes,
            permit: Arc::clone(&self.permit),
        }));
    }

    /// Segments below `to` are gone.
    pub(super) fn forget_below(&mut self, to: Sequence) {
        self.queue.waiting.retain(|chore| !chore.is_tidying_below(to));
    }

    /// Has the files of these names removed, which were merged.
    pub(super) fn remove_merged(&mut self, names: Vec<String>) {
        self.queue.waiting.push_front(Chore::forget(self.files.directory(), names, &self.permit));
    }

    /// Segments from here on may be merged.
    pub(super) fn merge_from(&mut self, from: Sequence) {
        self.merge_from = Some(from);
    }

    /// The next chore, if there is one. `epochs`: for a merged segment.
    pub(super) fn next(&mut self, view: &LogView, epochs: &mut Epochs, now: u64) -> Option<Chore> {
        if self.queue.waiting.is_empty() && self.queue.is_ready(now) {
            let merge = self.next_merge(view, epochs, now);
            self.queue.waiting.extend(merge);
        }
        self.queue.take(now)
    }

    /// The next merge, if there is one. Looked for once something was sealed: an opening that writes nothing changes
    /// nothing.
    fn next_merge(&mut self, view: &LogView, epochs: &mut Epochs, now: u64) -> Option<Chore> {
        let from = self.merge_from?;
        let mut segments: Vec<_> = view.segments().into_iter().skip_while(|segment| segment.base() < from).collect();
        let parts: Vec<_> = segments.iter().map_while(Part::of).collect();
        let Some(range) = merge::choose(&parts, &Limits::new(self.segment_bytes, now)) else {
            self.merge_from = None;
            return None;
        };
        let segments = segments.drain(range).collect();
        let (files, permit) = (Arc::clone(&self.files), Arc::clone(&self.permit));
        Some(Chore::merge(Merging { files, segments, epoch: epochs.draw(), permit }))
    }
}
