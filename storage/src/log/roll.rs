//! Segments that end and begin, without the shard ever waiting for a file.
//!
//! The next segment is prepared under the name [`SPARE_NAME`] while the active one fills. Rolling only submits its
//! header page, as one write among the blocks; once that is durable the file takes its name, and once the last block of
//! the old segment is durable that one gets its footer. A crash at any point between leaves a spare with a valid header,
//! which recovery takes for the segment it says it is.

use std::collections::VecDeque;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::chore::{Chore, ChoreDone, Outcome, Tidying, Trimming};
use super::files::SegmentFiles;
use super::merge::{self, Limits, Merging, Part};
use super::permit::Permit;
use super::{Durability, LogOptions, LogView, Segment, trim};
use crate::device::{BlockWriter, Directory, SegmentFile};
use crate::format::{BlockHeader, Epoch, Footer, Gaps, LogId, PAGE_BYTES, SegmentHeader, Sequence};

/// Name of the segment that is prepared and not yet in use.
pub(crate) const SPARE_NAME: &str = "spare.seg";

/// The segment that blocks are written to.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub(super) segment: Arc<Segment>,
    pub(super) file: Arc<dyn SegmentFile>,
    /// File length, in bytes.
    length: u64,
    /// What the footer would say now.
    totals: Footer,
}

impl ActiveSegment {
    pub(super) fn new(segment: Arc<Segment>, file: Arc<dyn SegmentFile>, header_crc: u32, length: u64) -> Self {
        let totals = Footer::of_empty(segment.epoch(), segment.base(), header_crc);
        Self { segment, file, length, totals }
    }

    /// Whether half of it is full, or the next block may not fit: a segment that a nearly full disk had room for holds
    /// little more than one.
    fn is_running_out(&self, block_bytes_max: u64) -> bool {
        self.room() < block_bytes_max.max(self.length / 2)
    }

    /// Bytes left for blocks; the footer's page is kept free.
    pub(super) fn room(&self) -> u64 {
        self.length.saturating_sub(self.totals.data_end + PAGE_BYTES as u64)
    }

    /// Header checksum that the next block links to.
    pub(super) fn previous_crc(&self) -> u32 {
        self.totals.last_block_crc
    }

    /// Gives the block its place; returns the offset.
    pub(super) fn take(&mut self, block: &BlockHeader) -> u64 {
        let offset = self.totals.data_end;
        self.totals.add(block);
        offset
    }
}

#[derive(Debug)]
enum Spare {
    Absent,
    Requested,
    /// A file, and its length in bytes.
    Ready(Arc<dyn SegmentFile>, u64),
    /// Rolled into; still under the spare's name.
    Unnamed(Arc<dyn SegmentFile>),
}

/// What prepares, names and seals segments.
#[derive(Debug)]
pub(super) struct Roller {
    directory: Arc<dyn Directory>,
    files: Arc<SegmentFiles>,
    log_id: LogId,
    shard: u16,
    /// Epoch of the first segment.
    run: Epoch,
    /// Lengths that a new segment may have.
    segment_bytes: RangeInclusive<u64>,
    durability: Durability,
    epochs: Epochs,
    spare: Spare,
    /// Full segments, oldest first, until their last block is durable.
    retired: VecDeque<(Arc<Segment>, Footer)>,
    chores: Queue,
    /// Behind the chores, on the same thread: what is gone for readers already.
    trims: Queue,
    tidyings: Queue,
    /// Segments from here on may be merged; `None`: there is nothing to merge.
    merge_from: Option<Sequence>,
    permit: Arc<Permit>,
    repack_saves_bytes: u64,
    gaps: Gaps,
}

impl Roller {
    pub(super) fn new(files: Arc<SegmentFiles>, gaps: Gaps, options: &LogOptions) -> Self {
        Self {
            directory: Arc::clone(files.directory()),
            files,
            log_id: options.log_id,
            shard: options.shard,
            run: Epochs::new(options.seed).draw(),
            segment_bytes: options.segment_length_min()..=options.segment_length(),
            durability: options.durability,
            epochs: Epochs::new(options.seed),
            spare: Spare::Absent,
            retired: VecDeque::new(),
            chores: Queue::default(),
            trims: Queue::default(),
            tidyings: Queue::default(),
            merge_from: None,
            permit: Arc::default(),
            repack_saves_bytes: options.repack_saves_bytes,
            gaps,
        }
    }

    /// Asks for a spare once the active segment is running out; for the first segment, once there is something to write.
    pub(super) fn look_ahead(&mut self, active: Option<&ActiveSegment>) {
        // The shortest segment is a header's page, a block and a footer's page.
        let block_bytes_max = self.segment_bytes.start() - 2 * PAGE_BYTES as u64;
        let is_wanted = active.is_none_or(|active| active.is_running_out(block_bytes_max));
        if is_wanted && matches!(self.spare, Spare::Absent) {
            self.spare = Spare::Requested;
            self.chores.waiting.push_back(Chore::prepare(&self.directory, self.segment_bytes.clone()));
        }
    }

    /// Whether the disk had no space for what the next segment needs when last asked.
    pub(super) fn is_full(&self) -> bool {
        self.chores.rest.is_some_and(|rest| rest.is_full)
    }

    /// Since when a chore that blocks may be waiting for has met errors that pass.
    pub(super) fn held_up_since(&self) -> Option<u64> {
        self.chores.rest.map(|rest| rest.since)
    }

    /// Makes the spare the active segment, starting at `base`; the old one, if any, retires. Returns it with its header page.
    pub(super) fn roll(
        &mut self,
        active: Option<&ActiveSegment>,
        base: Sequence,
        now: u64,
    ) -> Option<(ActiveSegment, BlockWriter)> {
        let Spare::Ready(file, length) = &self.spare else { return None };
        let length = *length;
        let header = SegmentHeader {
            log_id: self.log_id,
            shard: self.shard,
            epoch: self.epochs.draw(),
            base_sequence: base,
            created: now,
            run: self.run,
            is_merged: false,
        };
        let page = header.encode();
        let crc = SegmentHeader::decode(&page).map_or(0, |(_, crc)| crc);
        let mut memory = BlockWriter::new();
        memory.fill_page(&page);
        let file = Arc::clone(file);
        let segment = Segment::begin(header, &self.files, Arc::clone(&file));
        self.spare = Spare::Unnamed(Arc::clone(&file));
        self.retired.extend(active.map(|active| (Arc::clone(&active.segment), active.totals)));
        Some((ActiveSegment::new(segment, file, crc, length), memory))
    }

    pub(super) fn header_landed(&mut self, base: Sequence) {
        let unsynced = match &self.spare {
            Spare::Unnamed(file) => self.unsynced(file),
            _ => None,
        };
        self.chores.waiting.push_back(Chore::name_spare(&self.directory, base, unsynced));
    }

    pub(super) fn durable_moved(&mut self, durable: Sequence) {
        while self.retired.front().is_some_and(|(_, footer)| footer.end_sequence <= durable)
            && let Some((segment, footer)) = self.retired.pop_front()
        {
            let unsynced = segment.open_file().and_then(|file| self.unsynced(&file));
            self.chores.waiting.push_back(Chore::seal(segment, footer, unsynced));
        }
    }

    /// The file, at levels that leave it in the page cache.
    fn unsynced(&self, file: &Arc<dyn SegmentFile>) -> Option<Arc<dyn SegmentFile>> {
        (self.durability != Durability::Durable).then(|| Arc::clone(file))
    }

    pub(super) fn next_chore(&mut self, now: u64) -> Option<Chore> {
        if self.chores.runs || self.trims.runs {
            return None;
        }
        self.chores.take(now).or_else(|| self.trims.take(now))
    }

    #[cfg(test)]
    pub(super) fn is_tidy(&self) -> bool {
        let is_idle = |queue: &Queue| queue.waiting.is_empty() && !queue.runs;
        is_idle(&self.tidyings) && is_idle(&self.trims) && !self.chores.runs
    }

    /// What is to be done when there is time.
    pub(super) fn next_tidying(&mut self, view: &LogView, now: u64) -> Option<Chore> {
        if self.tidyings.waiting.is_empty() && self.tidyings.is_ready(now) {
            let merge = self.next_merge(view, now);
            self.tidyings.waiting.extend(merge);
        }
        self.tidyings.take(now)
    }

    #[cfg(test)]
    pub(super) fn want_merging(&mut self) {
        self.merge_from = Some(Sequence::ZERO);
    }

    /// What is to be merged, if anything is. Looked for once something was sealed: an opening that writes nothing changes
    /// nothing.
    fn next_merge(&mut self, view: &LogView, now: u64) -> Option<Chore> {
        let from = self.merge_from?;
        let mut segments: Vec<_> = view.segments().into_iter().skip_while(|segment| segment.base() < from).collect();
        let parts: Vec<_> = segments.iter().map_while(Part::of).collect();
        let Some(range) = merge::choose(&parts, &Limits::new(*self.segment_bytes.end(), now)) else {
            self.merge_from = None;
            return None;
        };
        let segments = segments.drain(range).collect();
        let (files, permit) = (Arc::clone(&self.files), Arc::clone(&self.permit));
        Some(Chore::merge(Merging { files, segments, epoch: self.epochs.draw(), permit }))
    }

    /// Has the tidying chore that runs end early, if one does.
    pub(super) fn abandon_tidying(&self) {
        self.permit.withdraw();
    }

    /// Wants an index for a segment that is sealed without one.
    pub(super) fn tidy(&mut self, segment: Arc<Segment>) {
        self.tidyings.waiting.push_back(Chore::tidy(Tidying {
            directory: Arc::clone(&self.directory),
            segment,
            repack_saves_bytes: self.repack_saves_bytes,
            permit: Arc::clone(&self.permit),
        }));
    }

    /// Gives up the sealed segments that end at `to` or before, the oldest first; the active one stays.
    pub(super) fn trim(&mut self, view: &LogView, to: Sequence) {
        let Some(to) = trim::cut(view, to) else { return };
        let names = view.trim(to).into();
        self.tidyings.waiting.retain(|chore| !chore.is_tidying_below(to));
        self.gaps.trim(to);
        let gaps = Some((self.log_id, self.shard, self.gaps.clone()));
        // The next change is written to the other slot.
        let _ = self.gaps.encode_next(self.log_id, self.shard);
        let (directory, permit) = (Arc::clone(&self.directory), Arc::clone(&self.permit));
        self.trims.waiting.push_back(Chore::trim(Trimming { directory, gaps, names, permit }));
    }

    pub(super) fn chore_done(&mut self, view: &LogView, done: ChoreDone, now: u64) {
        let was_full = self.is_full();
        let (queue, pause) = match (done.is_tidying(), done.is_trimming()) {
            (true, _) => (&mut self.tidyings, LogOptions::TIDY_RETRY_NS),
            (_, true) => (&mut self.trims, LogOptions::FULL_RETRY_NS),
            _ => (&mut self.chores, LogOptions::FULL_RETRY_NS),
        };
        queue.runs = false;
        let since = queue.rest.take().map_or(now, |rest| rest.since);
        if let (Some(again), Err(error)) = (&done.again, &done.result) {
            queue.waiting.push_front(again.clone());
            let is_full = error.kind() == io::ErrorKind::StorageFull;
            queue.rest = Some(Rest { since, until: now.saturating_add(pause), is_full });
        }
        if was_full && !self.is_full() {
            view.set_full(false);
        }
        let (is_retried, may_be_left) = (done.again.is_some(), done.may_be_left());
        match done.result {
            Err(error) if is_retried || may_be_left => {
                view.add_trouble(done.operation, done.place, &error, is_retried);
            }
            Err(error) => view.set_poison(done.operation, done.place, &error),
            Ok(outcome) => {
                view.end_trouble(done.operation);
                self.take_outcome(view, outcome);
            }
        }
    }

    fn take_outcome(&mut self, view: &LogView, outcome: Outcome) {
        match outcome {
            Outcome::Prepared(file, length) => self.spare = Spare::Ready(file, length),
            Outcome::Named => self.spare = Spare::Absent,
            // Sealed by the chore's thread, it may have been trimmed by now.
            Outcome::Sealed(segment) if segment.base() >= view.trimmed() => {
                self.merge_from = Some(Sequence::ZERO);
                self.tidy(segment);
            }
            Outcome::Abandoned(segment) if segment.base() >= view.trimmed() => self.tidy(segment),
            // Where its first part was trimmed meanwhile, the others are there still, and it is not.
            Outcome::Merged(merged, names) if merged.base() >= view.trimmed() => {
                view.merge_segments(merged);
                self.tidyings.waiting.push_front(Chore::forget(&self.directory, names, &self.permit));
            }
            Outcome::NotMerged(end) => self.merge_from = Some(end),
            Outcome::Tidied(Some(segment)) => view.replace_segment(segment),
            Outcome::Trimmed(Some(rest)) => self.trims.waiting.push_front(Chore::trim(rest)),
            Outcome::Sealed(_)
            | Outcome::Abandoned(_)
            | Outcome::Merged(..)
            | Outcome::MergeAbandoned
            | Outcome::Tidied(None)
            | Outcome::Trimmed(None)
            | Outcome::Removed => {}
        }
    }

    /// Runs what is left to run, seals the active segment, if there is one, and removes the spare. Tidies and
    /// removes trimmed segments for [`LogOptions::CLOSE_TIDYING_NS`]; what is left of that is for the next opening.
    /// What meets errors that pass for that long is left to recovery.
    pub(super) fn close(&mut self, view: &LogView, active: Option<&ActiveSegment>, mut clock: impl FnMut() -> u64) {
        let until = clock().saturating_add(LogOptions::CLOSE_TIDYING_NS);
        self.run_chores(view, &mut clock, until);
        if view.poison().is_some() {
            return;
        }
        self.chores.waiting.extend(
            active.map(|active| Chore::seal(Arc::clone(&active.segment), active.totals, self.unsynced(&active.file))),
        );
        if let Spare::Ready(file, _) = &self.spare {
            self.chores.waiting.push_back(Chore::remove(&self.directory, SPARE_NAME.into(), file));
        }
        self.run_chores(view, &mut clock, until);
        // A chore that has not come back stays abandoned, and is the last.
        if !self.tidyings.runs {
            self.permit.renew();
        }
        while view.poison().is_none()
            && clock() < until
            && let Some(chore) = self.next_tidying(view, until)
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

/// Chores in order, of which one runs at a time.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Chore>,
    runs: bool,
    rest: Option<Rest>,
}

/// A pause after an error that passes: the chore that met it comes again before all others, because a name or a footer
/// relies on what came before it.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// When the first of the errors in a row was met.
    since: u64,
    until: u64,
    is_full: bool,
}

impl Queue {
    /// Whether none of its chores runs, and none rests.
    fn is_ready(&self, now: u64) -> bool {
        !self.runs && self.rest.is_none_or(|rest| now >= rest.until)
    }

    /// The next chore, if its time has come.
    fn take(&mut self, now: u64) -> Option<Chore> {
        if !self.is_ready(now) {
            return None;
        }
        let chore = self.waiting.pop_front()?;
        self.runs = true;
        Some(chore)
    }
}

/// The stream of segment epochs that a seed gives (SplitMix64).
#[derive(Debug)]
pub(super) struct Epochs(u64);

impl Epochs {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn draw(&mut self) -> Epoch {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Epoch::new(mixed ^ mixed >> 31)
    }
}
