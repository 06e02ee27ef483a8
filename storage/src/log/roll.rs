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

    /// Whether half of it is full.
    fn is_half_full(&self) -> bool {
        self.room() < self.length / 2
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
    /// Set while the disk had no space for a spare: when to try again.
    full_until: Option<u64>,
    /// Full segments, oldest first, until their last block is durable.
    retired: VecDeque<(Arc<Segment>, Footer)>,
    chores: VecDeque<Chore>,
    chore_runs: bool,
    /// Behind the chores: what is gone for readers already.
    trims: VecDeque<Chore>,
    tidyings: VecDeque<Chore>,
    tidying_runs: bool,
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
            full_until: None,
            retired: VecDeque::new(),
            chores: VecDeque::new(),
            chore_runs: false,
            trims: VecDeque::new(),
            tidyings: VecDeque::new(),
            tidying_runs: false,
            merge_from: None,
            permit: Arc::default(),
            repack_saves_bytes: options.repack_saves_bytes,
            gaps,
        }
    }

    /// Asks for a spare once the active segment is half full; for the first segment, once there is something to write.
    pub(super) fn look_ahead(&mut self, active: Option<&ActiveSegment>, now: u64) {
        let due = active.is_none_or(ActiveSegment::is_half_full) && self.full_until.is_none_or(|until| now >= until);
        if due && matches!(self.spare, Spare::Absent) {
            self.spare = Spare::Requested;
            self.chores.push_back(Chore::prepare(&self.directory, self.segment_bytes.clone()));
        }
    }

    /// Whether the disk had no space for the next segment when last asked.
    pub(super) fn is_full(&self) -> bool {
        self.full_until.is_some()
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
        self.chores.push_back(Chore::name_spare(&self.directory, base, unsynced));
    }

    pub(super) fn durable_moved(&mut self, durable: Sequence) {
        while let Some((segment, footer)) = self.retired.pop_front_if(|(_, footer)| footer.end_sequence <= durable) {
            let unsynced = segment.open_file().and_then(|file| self.unsynced(&file));
            self.chores.push_back(Chore::seal(segment, footer, unsynced));
        }
    }

    /// The file, at levels that leave it in the page cache.
    fn unsynced(&self, file: &Arc<dyn SegmentFile>) -> Option<Arc<dyn SegmentFile>> {
        (self.durability != Durability::Durable).then(|| Arc::clone(file))
    }

    pub(super) fn next_chore(&mut self) -> Option<Chore> {
        if self.chore_runs {
            return None;
        }
        let chore = self.chores.pop_front().or_else(|| self.trims.pop_front())?;
        self.chore_runs = true;
        Some(chore)
    }

    #[cfg(test)]
    pub(super) fn is_tidy(&self) -> bool {
        self.tidyings.is_empty() && !self.tidying_runs && self.trims.is_empty() && !self.chore_runs
    }

    /// What is to be done when there is time.
    pub(super) fn next_tidying(&mut self, view: &LogView, now: u64) -> Option<Chore> {
        if self.tidying_runs {
            return None;
        }
        let chore = match self.tidyings.pop_front() {
            Some(chore) => chore,
            None => self.next_merge(view, now)?,
        };
        self.tidying_runs = true;
        Some(chore)
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
        self.tidyings.push_back(Chore::tidy(Tidying {
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
        self.tidyings.retain(|chore| !chore.is_tidying_below(to));
        self.gaps.trim(to);
        let gaps = Some((self.log_id, self.shard, self.gaps.clone()));
        // The next change is written to the other slot.
        let _ = self.gaps.encode_next(self.log_id, self.shard);
        let (directory, permit) = (Arc::clone(&self.directory), Arc::clone(&self.permit));
        self.trims.push_back(Chore::trim(Trimming { directory, gaps, names, permit }));
    }

    pub(super) fn chore_done(&mut self, view: &LogView, done: ChoreDone, now: u64) {
        let is_prepare = done.is_prepare();
        match done.is_tidying() {
            true => self.tidying_runs = false,
            false => self.chore_runs = false,
        }
        match done.result {
            Ok(Outcome::Prepared(file, length)) => {
                self.spare = Spare::Ready(file, length);
                if self.full_until.take().is_some() {
                    view.set_full(false);
                }
            }
            Ok(Outcome::Named) => self.spare = Spare::Absent,
            // Sealed by the chore's thread, it may have been trimmed by now.
            Ok(Outcome::Sealed(segment)) if segment.base() >= view.trimmed() => {
                self.merge_from = Some(Sequence::ZERO);
                self.tidy(segment);
            }
            Ok(Outcome::Abandoned(segment)) if segment.base() >= view.trimmed() => self.tidy(segment),
            // Where its first part was trimmed meanwhile, the others are there still, and it is not.
            Ok(Outcome::Merged(merged, names)) if merged.base() >= view.trimmed() => {
                view.merge_segments(merged);
                self.tidyings.push_front(Chore::forget(&self.directory, names, &self.permit));
            }
            Ok(Outcome::NotMerged(end)) => self.merge_from = Some(end),
            Ok(Outcome::Tidied(Some(segment))) => view.replace_segment(segment),
            Ok(Outcome::Trimmed(Some(rest))) => self.trims.push_front(Chore::trim(rest)),
            Ok(_) => {}
            Err(error) if is_prepare && error.kind() == io::ErrorKind::StorageFull => {
                self.spare = Spare::Absent;
                self.full_until = Some(now.saturating_add(LogOptions::FULL_RETRY_NS));
            }
            Err(error) => view.set_poison(done.operation, done.place, &error),
        }
    }

    /// Runs what is left to run, seals the active segment, if there is one, and removes the spare. Tidies and removes trimmed segments for [`LogOptions::CLOSE_TIDYING_NS`]; what is left of that is for the next opening.
    pub(super) fn close(&mut self, view: &LogView, active: Option<&ActiveSegment>, mut clock: impl FnMut() -> u64) {
        let until = clock().saturating_add(LogOptions::CLOSE_TIDYING_NS);
        let mut has_time = || clock() < until;
        self.run_chores(view, &mut has_time);
        if view.poison().is_some() {
            return;
        }
        self.chores.extend(
            active.map(|active| Chore::seal(Arc::clone(&active.segment), active.totals, self.unsynced(&active.file))),
        );
        if let Spare::Ready(file, _) = &self.spare {
            self.chores.push_back(Chore::remove(&self.directory, SPARE_NAME.into(), file));
        }
        self.run_chores(view, &mut has_time);
        // A chore that has not come back stays abandoned, and is the last.
        if !self.tidying_runs {
            self.permit.renew();
        }
        while view.poison().is_none()
            && has_time()
            && let Some(chore) = self.next_tidying(view, until)
        {
            let done = chore.run_while(&mut has_time);
            self.chore_done(view, done, 0);
        }
    }

    fn run_chores(&mut self, view: &LogView, has_time: &mut impl FnMut() -> bool) {
        while let Some(chore) = self.next_chore() {
            if chore.may_be_left() && !has_time() {
                self.chore_runs = false;
                continue;
            }
            let done = chore.run();
            self.chore_done(view, done, 0);
        }
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
