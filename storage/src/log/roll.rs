//! Segments that end and begin, without the shard ever waiting for a file.
//!
//! The next segment is prepared while the active one fills. Rolling only submits its header page, as one write among
//! the blocks; once that is durable the file takes its name, and once the last block of the old segment is durable that
//! one gets its footer. A crash at any point between leaves a spare with a valid header, which recovery takes for the
//! segment it says it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::active_segment::ActiveSegment;
use super::chore::{Chore, ChoreDone, Outcome, Trimming, Written};
use super::files::SegmentFiles;
use super::gaps::GapsFile;
use super::health::Space;
use super::merge::MergeEnd;
use super::next_segment::NextSegment;
use super::outage::Outage;
use super::pool::TAKE_MEMORY;
use super::queue::Queue;
use super::tidier::Tidier;
use super::tidy::Tidied;
use super::trouble::Answer;
use super::{Durability, LogOptions, LogView, Segment, trim};
use crate::device::{BlockWriter, Directory, SegmentFile};
use crate::format::{Gaps, Sequence};

/// Prepares, names and seals segments, and removes those that are trimmed.
#[derive(Debug)]
pub(super) struct Roller {
    files: Arc<SegmentFiles>,
    next: NextSegment,
    durability: Durability,
    /// Full segments, oldest first, until their last block is durable.
    retired: VecDeque<ActiveSegment>,
    chores: Queue,
    /// After the chores, on the same thread: what is gone for readers already.
    trims: Queue,
    tidier: Tidier,
    gaps: Arc<GapsFile>,
}

impl Roller {
    pub(super) fn new(files: Arc<SegmentFiles>, gaps: Gaps, options: &LogOptions) -> Self {
        Self {
            next: NextSegment::new(Arc::clone(&files), options),
            durability: options.durability,
            retired: VecDeque::new(),
            chores: Queue::default(),
            trims: Queue::default(),
            tidier: Tidier::new(Arc::clone(&files), options),
            gaps: Arc::new(GapsFile::new(Arc::clone(files.directory()), options.shard, gaps)),
            files,
        }
    }

    fn directory(&self) -> &Arc<dyn Directory> {
        self.files.directory()
    }

    /// Something will be written before long: the first segment is prepared meanwhile.
    pub(super) fn expect_block(&mut self) {
        self.next.expect();
    }

    /// Has the next segment prepared, once it will be wanted.
    pub(super) fn look_ahead(&mut self, active: Option<&ActiveSegment>) {
        self.chores.waiting.extend(self.next.look_ahead(active));
    }

    /// Returns whether the disk had no space for the next segment at the last attempt.
    pub(super) fn is_full(&self) -> bool {
        self.chores.rest.is_some_and(|rest| rest.is_full)
    }

    /// The space that the last attempt found.
    pub(super) fn space(&self) -> Space {
        if self.is_full() { Space::Full } else { Space::Left }
    }

    /// The operation that blocks may be waiting for and that has met errors that pass.
    pub(super) fn hold_up(&self) -> Option<(&'static str, Outage)> {
        let chore = self.chores.rest.map(|rest| (rest.operation, rest.outage));
        chore.or(self.next.outage().map(|outage| (TAKE_MEMORY, outage)))
    }

    /// Makes the next segment the active one, starting at `base`; the old one, if any, retires. Returns the new one's
    /// header page.
    pub(super) fn roll(
        &mut self,
        view: &LogView,
        active: &mut Option<ActiveSegment>,
        (base, block_bytes): (Sequence, usize),
        now: u64,
    ) -> Option<BlockWriter> {
        self.chores.waiting.extend(self.next.need(block_bytes as u64));
        let (next, header) = self.next.begin(view, base, now)?;
        self.retired.extend(active.replace(next));
        Some(header)
    }

    pub(super) fn header_landed(&mut self, base: Sequence) {
        if let Some(file) = self.next.unnamed() {
            let written = self.written(file);
            self.chores.waiting.push_back(Chore::name_spare(self.files.directory(), base, written));
        }
    }

    pub(super) fn durable_moved(&mut self, durable: Sequence) {
        while self.retired.front().is_some_and(|full| full.end_sequence() <= durable)
            && let Some(full) = self.retired.pop_front()
        {
            self.seal(&full);
        }
    }

    fn seal(&mut self, full: &ActiveSegment) {
        let written = self.written(&full.file);
        self.chores.waiting.push_back(Chore::seal(Arc::clone(&full.segment), full.totals(), written, &self.gaps));
    }

    /// The form in which bytes written to a file lie at this level.
    fn written(&self, file: &Arc<dyn SegmentFile>) -> Written {
        match self.durability {
            Durability::Durable => Written::Durably,
            Durability::PageCache | Durability::Memory => Written::ToCache(Arc::clone(file)),
        }
    }

    pub(super) fn next_chore(&mut self, now: u64) -> Option<Chore> {
        if self.chores.runs || self.trims.runs {
            return None;
        }
        self.chores.take(now).or_else(|| self.trims.take(now))
    }

    #[cfg(test)]
    pub(super) fn is_tidy(&self) -> bool {
        self.tidier.is_idle() && self.trims.is_idle() && !self.chores.runs
    }

    /// The next tidying chore, if there is one.
    pub(super) fn next_tidying(&mut self, view: &LogView, now: u64) -> Option<Chore> {
        self.tidier.next(view, self.next.epochs(), now)
    }

    #[cfg(test)]
    pub(super) fn want_merging(&mut self) {
        self.tidier.merge_from(Sequence::ZERO);
    }

    /// Has the tidying chore that runs end early, if one does.
    pub(super) fn abandon_tidying(&self) {
        self.tidier.abandon();
    }

    /// Wants an index for a segment that is sealed without one.
    pub(super) fn tidy(&mut self, segment: Arc<Segment>) {
        self.tidier.tidy(segment);
    }

    /// Gives up the sealed segments that end at `to` or before, the oldest first; the active one stays.
    pub(super) fn trim(&mut self, view: &LogView, to: Sequence) {
        let Some(to) = trim::cut(view, to) else { return };
        let names = view.trim(to).into();
        self.tidier.forget_below(to);
        let gaps = Some((Arc::clone(&self.gaps), to));
        let (directory, permit) = (Arc::clone(self.directory()), Arc::clone(self.tidier.permit()));
        self.trims.waiting.push_back(Chore::trim(Trimming { directory, gaps, names, permit }));
    }

    pub(super) fn chore_done(&mut self, view: &LogView, done: ChoreDone, now: u64) {
        let was_full = self.is_full();
        let (queue, pause) = match (done.is_tidying(), done.is_trimming()) {
            (true, _) => (self.tidier.queue(), LogOptions::TIDY_RETRY_NS),
            (_, true) => (&mut self.trims, LogOptions::FULL_RETRY_NS),
            _ => (&mut self.chores, LogOptions::FULL_RETRY_NS),
        };
        queue.take_back(done.again.clone().zip(done.result.as_ref().err()), now, pause);
        if was_full && !self.is_full() {
            view.health().set_space(Space::Left);
        }
        let answer = match (&done.again, done.may_be_left()) {
            (Some(_), _) => Some(Answer::Retry),
            (None, may_be_left) => may_be_left.then_some(Answer::DoWithout),
        };
        match (done.result, answer) {
            (Err(error), Some(answer)) => {
                view.health().add_trouble(done.label.kind.name(), done.label.place, &error, answer);
            }
            (Err(error), None) => view.set_poison(done.label.kind.name(), done.label.place, &error),
            (Ok(outcome), _) => {
                view.health().end_trouble(done.label.kind.name());
                self.take_outcome(view, outcome);
            }
        }
    }

    fn take_outcome(&mut self, view: &LogView, outcome: Outcome) {
        match outcome {
            Outcome::Prepared(file, length) => self.next.prepared(file, length),
            Outcome::Named => self.next.named(),
            // Sealed by the chore's thread, it may have been trimmed by now.
            Outcome::Sealed(segment) if segment.base() >= view.trimmed() => {
                self.tidier.merge_from(Sequence::ZERO);
                self.tidy(segment);
            }
            Outcome::Tidied(Tidied::Abandoned(segment)) if segment.base() >= view.trimmed() => self.tidy(segment),
            Outcome::Tidied(Tidied::Replaced(segment)) => view.segment_list().replace(segment),
            // Where its first part was trimmed meanwhile, the others are there still, and it is not.
            Outcome::Merged(MergeEnd::Merged(merged, names)) if merged.base() >= view.trimmed() => {
                view.segment_list().merge(merged);
                self.tidier.remove_merged(names);
            }
            Outcome::Merged(MergeEnd::Failed(end)) => self.tidier.merge_from(end),
            Outcome::Trimmed(Some(rest)) => self.trims.waiting.push_front(Chore::trim(rest)),
            Outcome::Sealed(_)
            | Outcome::Tidied(Tidied::Abandoned(_) | Tidied::Left)
            | Outcome::Merged(MergeEnd::Merged(..) | MergeEnd::Abandoned)
            | Outcome::Trimmed(None)
            | Outcome::Removed => {}
        }
    }

    /// Runs what is left to run, seals the active segment, if there is one, and removes the spare. Tidies and
    /// removes trimmed segments for [`LogOptions::CLOSE_TIDYING_NS`]; what is left of that is for the next opening.
    /// A chore that meets passing errors for that long is left to recovery.
    pub(super) fn close(&mut self, view: &LogView, active: Option<&ActiveSegment>, mut clock: impl FnMut() -> u64) {
        let until = clock().saturating_add(LogOptions::CLOSE_TIDYING_NS);
        self.run_chores(view, &mut clock, until);
        if view.poison().is_some() {
            return;
        }
        if let Some(active) = active {
            self.seal(active);
        }
        self.chores.waiting.extend(self.next.removal());
        self.run_chores(view, &mut clock, until);
        self.tidier.renew();
        while view.poison().is_none()
            && let now = clock()
            && now < until
            && let Some(chore) = self.next_tidying(view, now)
        {
            let done = chore.run_while(|| clock() < until);
            self.chore_done(view, done, clock());
        }
    }

    fn run_chores(&mut self, view: &LogView, clock: &mut impl FnMut() -> u64, until: u64) {
        while view.poison().is_none() && !(self.chores.waiting.is_empty() && self.trims.waiting.is_empty()) {
            let now = clock();
            match self.next_chore(now) {
                Some(chore) if chore.may_be_left() && now >= until => self.trims.runs = false,
                Some(chore) => self.chore_done(view, chore.run(), now),
                None if now < until => std::thread::sleep(Duration::from_millis(1)),
                None => break,
            }
        }
    }
}
