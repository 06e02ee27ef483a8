//! A scan of a shard's directory: segments in order, where their intact blocks end, and what is damaged. Writes
//! nothing.
//!
//! Recovery and readers in other processes look through the same eyes. The rule for a block that does not check: if any
//! later block says that the durable watermark had passed it, or the file of the gaps that sealed segments reached
//! beyond it, acknowledged data is damaged and that is an error. So it is where no crash leaves what is found: a file
//! that is shorter than it was made and has no footer, a whole block that does not follow. Otherwise it was never
//! acknowledged, and the log ends before it (a torn tail).

mod leftover;
mod look;
mod loss;
mod walk;

use std::io;
use std::sync::Arc;

pub(super) use self::leftover::Leftover;
use self::look::{FoundAs, LookedFile, Scanner};
use self::loss::{Known, Walked, refuse_loss};
use self::walk::{Walk, WalkEnd, acknowledged_in};
pub(super) use self::walk::{is_acknowledged_spare, is_misplaced};
use super::error::OpenError;
use super::files::SegmentFiles;
use super::gaps;
use super::names::{GAPS_NAME, SPARE_NAME};
use super::places::Places;
use super::segment::{Segment, UnsealedBlocks};
use crate::device::{Access, Directory, SegmentFile};
use crate::format::{BlockError, Footer, Gaps, LogShard, PAGE_BYTES, PageError, Sequence};

/// A segment as it was found.
#[derive(Debug)]
pub struct FoundSegment {
    /// The segment; its end is the end of its intact blocks.
    pub segment: Arc<Segment>,
    /// True if it was found under the spare's name.
    pub found_as: FoundAs,
    /// The totals of the footer, or those that it would have.
    pub totals: Footer,
    /// The reason for which the blocks end where they end, unless the segment is sealed: the bytes after them do not
    /// check.
    pub torn: Option<Torn>,
}

/// The end of intact blocks before bytes that do not check.
#[derive(Debug, Clone)]
pub struct Torn {
    pub source: BlockError,
    /// Large events among those bytes, as far as headers of blocks tell.
    pub large_events: u64,
}

impl FoundSegment {
    /// File name it was found under.
    pub fn name(&self) -> String {
        self.found_as.name(self.segment.base())
    }
}

/// The findings in a shard's directory.
#[derive(Debug)]
pub struct Scan {
    /// Segments in order, without holes.
    pub segments: Vec<FoundSegment>,
    /// Files that hold nothing acknowledged, and cannot be read on: a spare not yet in use, segments after a torn tail.
    /// A scan for reading leaves out files that are no segments.
    pub(super) leftovers: Vec<Leftover>,
    /// Sequences recorded as trimmed or lost.
    pub gaps: Gaps,
    /// The files of the segments.
    pub(crate) files: Arc<SegmentFiles>,
}

impl Scan {
    /// Sequence after the last event, and after the lost ones that follow it.
    pub fn end(&self) -> Sequence {
        let end = self.segments.last().map_or(self.gaps.trimmed(), |last| last.totals.end_sequence);
        self.gaps.after_lost(end)
    }

    /// Returns whether the last segment so far is a merged one that holds what is in the file.
    fn is_merged_away(&self, file: &LookedFile) -> bool {
        let end = file.footer.map(|footer| footer.end_sequence);
        let holds = |last: &FoundSegment| {
            let is_whole = last.segment.header().is_merged && last.torn.is_none();
            is_whole && end.is_some_and(|end| end <= last.totals.end_sequence)
        };
        self.segments.last().is_some_and(holds)
    }

    /// Returns whether the file of this name is a segment, or a leftover already.
    fn uses(&self, name: &str) -> bool {
        let is_spare = self.segments.iter().any(|found| found.found_as == FoundAs::Spare) && name == SPARE_NAME;
        is_spare || self.leftovers.iter().any(|leftover| leftover.name == name)
    }

    /// The largest timestamp, 0 for an empty log.
    pub fn last_timestamp(&self) -> u64 {
        self.segments.iter().map(|found| found.totals.last_timestamp).max().unwrap_or(0)
    }
}

/// Looks through a shard's directory. Opens files for `access`, at most 32 at a time, and keeps the last open where it
/// is not sealed.
///
/// Cost: two pages per sealed segment; one pass of reading and checksums over unsealed ones.
///
/// # Errors
/// [`OpenError`]: damage to acknowledged data, files that are missing, foreign, renamed or newer, and the file system's
/// refusals.
pub fn scan(directory: &Arc<dyn Directory>, shard: LogShard, access: Access) -> Result<Scan, OpenError> {
    let files = SegmentFiles::new(Arc::clone(directory));
    let scanner = Scanner { files: &files, shard, access };
    // Read before the segments are listed: what the log has sealed since is no segment that is missing.
    let gaps_before = gaps::read(&**directory, shard);
    let mut looked = scanner.look_at_all()?;
    looked.sort_by_key(|file| file.header.base_sequence);
    let (sealed, gaps) = (gaps_before?.sealed(), gaps::find(&**directory, shard)?);
    if gaps.is_none() && !looked.is_empty() {
        return Err(OpenError::NoGaps { path: scanner.path(GAPS_NAME) });
    }
    let gaps = gaps.unwrap_or_default();
    let mut scan = Scan { segments: Vec::new(), leftovers: Vec::new(), gaps, files: Arc::clone(&files) };
    let trimmed_end = scanner.join(looked, sealed, &mut scan)?;
    if let Some(trimmed_end) = trimmed_end.filter(|_| scan.segments.is_empty())
        && let Some(source) = trims_elsewhere(&scan.gaps, trimmed_end)
    {
        return Err(OpenError::Gaps { path: scanner.path(GAPS_NAME), source });
    }
    let (from, to) = (scan.end(), sealed);
    if from < to {
        return Err(OpenError::Missing { path: directory.path(), from, to });
    }
    let unused = scanner.beside_segments(|name| scan.uses(name))?;
    scan.leftovers.extend(unused);
    Ok(scan)
}

/// The fault of the gaps of a log whose last segment ends at `end` and was trimmed, if there is one: whole segments are
/// trimmed, and a log goes on where the last of them ended.
pub(super) fn trims_elsewhere(gaps: &Gaps, end: Sequence) -> Option<PageError> {
    let trimmed = gaps.trimmed();
    (trimmed != end).then_some(PageError::Field { field: "trimmed", found: trimmed.get() })
}

/// Opens the segment `name` for reading, without looking at its blocks: the segment returned ends after its header,
/// with the totals of that. `None` if there is no such file, or a spare that is not in use.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn begin_segment(
    files: &Arc<SegmentFiles>,
    shard: LogShard,
    name: &str,
) -> Result<Option<(Arc<Segment>, Footer)>, OpenError> {
    let scanner = Scanner { files, shard, access: Access::Read };
    let opened = match scanner.open(name).and_then(|file| scanner.read(name, file)) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let header = match name {
        SPARE_NAME => scanner.used_spare(&opened),
        name => Some(scanner.header_of(name, &opened)?),
    };
    Ok(header.map(|(header, header_crc)| {
        let totals = Footer::of_empty(header.epoch, header.base_sequence, header_crc);
        (Segment::begin(header, files, opened.file, 0), totals)
    }))
}

/// Returns whether sequences that no file holds are missing, whatever the segments after them say: the segment before
/// them is sealed, or there is none. Only the end of a segment that is not sealed may be torn, and what follows it then
/// is a leftover if nothing in it was acknowledged.
pub(super) fn is_missing(is_sealed_before: Option<bool>) -> bool {
    is_sealed_before != Some(false)
}

impl Scanner<'_> {
    /// Joins the files, in the order of their first sequences, to segments without holes and leftovers. Returns the end
    /// of the last one that was to be trimmed, if that is sealed.
    fn join(&self, looked: Vec<LookedFile>, sealed: Sequence, scan: &mut Scan) -> Result<Option<Sequence>, OpenError> {
        let mut looked = looked.into_iter().peekable();
        let (mut end, mut trimmed_end) = (scan.gaps.trimmed(), None);
        while let Some(file) = looked.next() {
            let base = file.header.base_sequence;
            if base < scan.gaps.trimmed() {
                // Trimming was interrupted before it came to this one.
                trimmed_end = file.footer.map(|footer| footer.end_sequence);
                scan.leftovers.push(Leftover::of(&file));
                continue;
            }
            if scan.gaps.is_lost(end, base) {
                end = base;
            }
            if base < end && scan.is_merged_away(&file) {
                scan.leftovers.push(Leftover::of(&file));
                continue;
            }
            if base < end {
                return Err(OpenError::Overlap { path: self.path(&file.name()), base, end });
            }
            if base > end {
                self.explain_hole(scan, end, &file)?;
                // No block after the torn tail was acknowledged.
                scan.leftovers.push(Leftover::of(&file));
                self.leave(looked, end, scan)?;
                break;
            }
            let next_base = looked.peek().map(|next| next.header.base_sequence);
            // A segment gets its name before it is sealed and before the next is begun, whatever a crash leaves.
            if file.found_as == FoundAs::Spare && (file.footer.is_some() || next_base.is_some()) {
                return Err(OpenError::Renamed { path: self.path(SPARE_NAME), base });
            }
            let found = self.measure(file, next_base, &Known { sealed, gaps: &scan.gaps })?;
            end = found.totals.end_sequence;
            scan.segments.push(found);
        }
        Ok(trimmed_end)
    }

    /// Leaves the files after the one that follows a torn tail, unless they were acknowledged.
    fn leave(&self, later: impl Iterator<Item = LookedFile>, end: Sequence, scan: &mut Scan) -> Result<(), OpenError> {
        for file in later {
            self.refuse_acknowledged(&file, end, scan)?;
            scan.leftovers.push(Leftover::of(&file));
        }
        Ok(())
    }

    /// The file of a segment that is not sealed.
    fn reopen(&self, looked: &LookedFile) -> Result<Arc<dyn SegmentFile>, OpenError> {
        match &looked.file {
            Some(file) => Ok(Arc::clone(file)),
            None => {
                let opened = self.files.open(&looked.header, self.access);
                opened.map_err(OpenError::io("open", self.path(&looked.name())))
            }
        }
    }

    /// Finds the end of a segment: from its footer, or by walking its blocks.
    fn measure(
        &self,
        looked: LookedFile,
        next_base: Option<Sequence>,
        known: &Known<'_>,
    ) -> Result<FoundSegment, OpenError> {
        let (header, found_as) = (looked.header, looked.found_as);
        if let Some(totals) = looked.footer {
            let segment = Segment::sealed(header, self.files, totals, &looked.later_runs);
            return Ok(FoundSegment { segment, found_as, totals, torn: None });
        }
        let path = self.path(&looked.name());
        let file = self.reopen(&looked)?;
        let length = file.length().map_err(OpenError::io("look at", path.clone()))?;
        // The blocks may be in the page cache alone, or the cache may hold what the disk refused.
        if self.access == Access::Write {
            file.distrust_cache().map_err(OpenError::io("sync", path.clone()))?;
        }
        let totals = Footer::of_empty(header.epoch, header.base_sequence, looked.header_crc);
        let mut walk = Walk { file: &file, length, totals, places: Places::default() };
        let end = walk.run().map_err(OpenError::io("read", path.clone()))?;
        let (totals, places) = (walk.totals, walk.places);
        if next_base != Some(totals.end_sequence) {
            let walked = Walked { path: &path, file: &file, header: &header, length, totals, end: &end };
            refuse_loss(&walked, next_base, known)?;
        }
        let torn = match end {
            WalkEnd::Damage { source, is_blank: false, large_events, .. } => Some(Torn { source, large_events }),
            _ => None,
        };
        let file = (next_base.is_none() || found_as == FoundAs::Spare).then_some(file);
        let blocks = UnsealedBlocks { file, totals, places, later_runs: looked.later_runs };
        let segment = Segment::unsealed(header, self.files, blocks);
        Ok(FoundSegment { segment, found_as, totals, torn })
    }

    /// Decides what a hole before `file` is: a missing segment, damage, or the unacknowledged rest after a torn tail.
    fn explain_hole(&self, scan: &Scan, end: Sequence, file: &LookedFile) -> Result<(), OpenError> {
        if is_missing(scan.segments.last().map(|before| before.segment.footer().is_some())) {
            let path = self.files.directory().path();
            return Err(OpenError::Missing { path, from: end, to: file.header.base_sequence });
        }
        self.refuse_acknowledged(file, end, scan)
    }

    /// An error if `looked`, which is after the torn end of the segment before it, proves that more was acknowledged.
    fn refuse_acknowledged(&self, looked: &LookedFile, end: Sequence, scan: &Scan) -> Result<(), OpenError> {
        let acknowledged = looked.footer.is_some() || self.is_acknowledged(looked, end)?;
        let torn = scan.segments.last().and_then(|before| before.torn.as_ref()).map(|torn| torn.source.clone());
        match scan.segments.last() {
            Some(before) if acknowledged => Err(OpenError::Corrupt {
                path: self.path(&before.name()),
                offset: before.totals.data_end,
                sequence: end,
                source: torn.unwrap_or(BlockError::Short { needed: PAGE_BYTES, found: 0 }),
            }),
            _ => Ok(()),
        }
    }

    fn is_acknowledged(&self, looked: &LookedFile, end: Sequence) -> Result<bool, OpenError> {
        let file = self.reopen(looked)?;
        let looked_after = file
            .length()
            .and_then(|length| acknowledged_in(&file, PAGE_BYTES as u64..length, looked.header.epoch, end));
        looked_after.map_err(OpenError::io("read", self.path(&looked.name())))
    }
}
