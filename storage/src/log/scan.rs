//! What is in a shard's directory: segments in order, where their intact blocks end, and what is damaged. Writes
//! nothing.
//!
//! Recovery and readers in other processes look through the same eyes. The rule for a block that does not check:
//! if any later block says that the durable watermark had passed it, or the file of the gaps that sealed segments reached
//! beyond it, acknowledged data is damaged and that is an error. So it is where no crash leaves what is found: a file
//! that is shorter than it was made and has no footer, a whole block that does not follow. Otherwise it was never
//! acknowledged, and the log ends before it (a torn tail).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::files::SegmentFiles;
use super::places::Places;
use super::repair::REPAIR_NAME;
use super::restore::RESTORE_NAME;
use super::roll::SPARE_NAME;
use super::seal::REPACK_NAME;
use super::{BlockPlace, Segment, gaps};
use crate::device::{Directory, SegmentFile, advice, another_file};
use crate::format::{
    BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Epoch, Footer, Gaps, LogId, PAGE_BYTES, PageError, RunStart,
    SegmentHeader, Sequence, SessionFilter, is_index_header,
};

/// Names that files have until they are segments.
pub(super) const UNFINISHED: [&str; 4] = [SPARE_NAME, REPACK_NAME, REPAIR_NAME, RESTORE_NAME];

const PAGE: u64 = PAGE_BYTES as u64;

/// Files that are open at a time, so that the device is asked for the ends of several together: of 400 segments that
/// are not cached the first event then comes after 21 ms, and not after 52.
const AHEAD: usize = 32;

/// Bytes read at a time: a window always holds the whole of the block at its start.
const WINDOW_BYTES: usize = 4 * BLOCK_BYTES_MAX;

/// Why a shard's directory cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file system refused.
    #[error("{operation} {path}: {source}{}", advice(source))]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A file whose name is like a segment's but is none.
    #[error("{path}: not a segment name; move the file out of the log's directory")]
    ForeignName {
        /// The file.
        path: String,
    },
    /// A segment whose header page cannot be used.
    #[error("{path}: segment header: {source}")]
    Header {
        /// The file.
        path: String,
        /// What is wrong.
        source: PageError,
    },
    /// A segment of another log or shard.
    #[error("{path}: belongs to log {log_id}, shard {shard_id}; move it out of this log's directory")]
    ForeignSegment {
        /// The file.
        path: String,
        /// The log it belongs to.
        log_id: LogId,
        /// The shard it belongs to.
        shard_id: u16,
    },
    /// A segment under another name than its own: renamed or copied.
    #[error("{path}: holds sequences from {base}; rename it back, or remove the copy")]
    Renamed {
        /// The file.
        path: String,
        /// The base sequence that its header states.
        base: Sequence,
    },
    /// The file of the shard's gaps cannot be used.
    #[error(
        "{path}: {source}; put back the file from a copy of this log, or remove it: then what was trimmed counts as missing"
    )]
    Gaps {
        /// The file.
        path: String,
        /// What is wrong.
        source: PageError,
    },
    /// Sequences between two segments, or before the first, are in no file.
    #[error("{path}: sequences {from} to {to} are missing; put the missing segment back, or repair the log")]
    Missing {
        /// The shard's directory.
        path: String,
        /// First missing sequence.
        from: Sequence,
        /// Sequence after the last missing one.
        to: Sequence,
    },
    /// Two segments hold the same sequences.
    #[error("{path}: starts at sequence {base}, but the segment before it ends at {end}; remove the copy")]
    Overlap {
        /// The later file.
        path: String,
        /// Its base sequence.
        base: Sequence,
        /// End of the segment before it.
        end: Sequence,
    },
    /// A segment that is not sealed has lost its end.
    #[error(
        "{path}: cut short to {length} of {stated} bytes; events from sequence {sequence} on may be lost; put back the file from a copy of this log, or repair the log"
    )]
    CutShort {
        /// The file.
        path: String,
        /// Its length in bytes.
        length: u64,
        /// The length that its header states.
        stated: u64,
        /// Sequence after its last intact event.
        sequence: Sequence,
    },
    /// Acknowledged data is damaged.
    #[error("{path}, offset {offset}: {source}; acknowledged data is damaged from sequence {sequence} on")]
    Corrupt {
        /// The file.
        path: String,
        /// Offset of the block that does not check.
        offset: u64,
        /// Sequence that the block should start with.
        sequence: Sequence,
        /// What is wrong with it.
        source: BlockError,
    },
}

impl OpenError {
    /// A refusal of the file system.
    pub(crate) fn io(operation: &'static str, path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}

/// A segment as it was found.
#[derive(Debug)]
pub struct FoundSegment {
    /// The segment; its end is the end of its intact blocks.
    pub segment: Arc<Segment>,
    /// Whether it was found under the spare's name.
    pub is_spare: bool,
    /// What the footer says or, without one, would say.
    pub totals: Footer,
    /// Why the blocks end where they end, if not because the segment is sealed: the bytes behind do not check.
    pub torn: Option<BlockError>,
}

impl FoundSegment {
    /// File name it was found under.
    pub fn name(&self) -> String {
        name_of(self.is_spare, self.segment.base())
    }
}

fn name_of(is_spare: bool, base: Sequence) -> String {
    if is_spare { SPARE_NAME.into() } else { Segment::file_name(base) }
}

/// The blocks of a segment that has no footer.
#[derive(Debug)]
pub(super) struct UnsealedBlocks {
    /// Its file, if it is to stay open.
    pub(super) file: Option<Arc<dyn SegmentFile>>,
    /// What the footer would say.
    pub(super) totals: Footer,
    pub(super) places: Places,
    /// Where runs begin in it after the first.
    pub(super) later_runs: Vec<RunStart>,
}

/// A file that an opening for writing removes, if its name is still that of the file that the scan looked at.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) name: String,
    own: Own,
}

/// How a file is known again.
#[derive(Debug)]
enum Own {
    File(Arc<dyn SegmentFile>),
    /// A segment, of which there may be too many to hold them open: an epoch is random.
    Segment(SegmentHeader),
}

impl Leftover {
    fn of(looked: &LookedFile) -> Self {
        Self { name: looked.name(), own: Own::Segment(looked.header) }
    }

    /// Removes the file.
    ///
    /// # Errors
    /// The kernel's; `AlreadyExists` where the name is another file's, which stays.
    pub(super) fn remove(&self, directory: &dyn Directory) -> io::Result<()> {
        let header = match &self.own {
            Own::File(file) => return directory.remove_own(&self.name, &**file),
            Own::Segment(header) => header,
        };
        let file = directory.open(&self.name, true)?;
        let mut page = vec![0; PAGE_BYTES];
        let read = file.read_settled(&mut page, 0)?;
        match SegmentHeader::decode(&page[..read]) {
            Ok((found, _)) if found == *header => directory.remove_own(&self.name, &*file),
            _ => Err(another_file(&self.name)),
        }
    }
}

/// What was found in a shard's directory.
#[derive(Debug)]
pub struct Scan {
    /// Segments in order, without holes.
    pub segments: Vec<FoundSegment>,
    /// Files that hold nothing acknowledged, and cannot be read on: a spare not yet in use, segments after a torn tail.
    /// What is no segment is left out where the scan is for reading.
    pub(super) leftovers: Vec<Leftover>,
    /// What is known not to be there.
    pub gaps: Gaps,
    /// Where the segments' files are.
    pub(crate) files: Arc<SegmentFiles>,
}

impl Scan {
    /// Sequence after the last event, or after what is lost of those behind it.
    pub fn end(&self) -> Sequence {
        let end = self.segments.last().map_or(self.gaps.trimmed(), |last| last.totals.end_sequence);
        self.gaps.behind(end)
    }

    /// Whether the last segment so far is a merged one that holds what is in the file.
    fn is_merged_away(&self, file: &LookedFile) -> bool {
        let end = file.footer.map(|footer| footer.end_sequence);
        let holds = |last: &FoundSegment| {
            let is_whole = last.segment.header().is_merged && last.torn.is_none();
            is_whole && end.is_some_and(|end| end <= last.totals.end_sequence)
        };
        self.segments.last().is_some_and(holds)
    }

    /// The largest timestamp, 0 for an empty log.
    pub fn last_timestamp(&self) -> u64 {
        self.segments.iter().map(|found| found.totals.last_timestamp).max().unwrap_or(0)
    }
}

/// Looks through a shard's directory. `read_only` opens files for reading alone. Opens at most 32 files at a time, and
/// keeps the last open where it is not sealed.
///
/// Cost: two pages per sealed segment; one pass of reading and checksums over unsealed ones.
///
/// # Errors
/// [`OpenError`]: damage to acknowledged data, files that are missing, foreign, renamed or newer, and the file system's
/// refusals.
pub fn scan(directory: &Arc<dyn Directory>, log_id: LogId, shard: u16, read_only: bool) -> Result<Scan, OpenError> {
    let files = SegmentFiles::new(Arc::clone(directory));
    let scanner = Scanner { files: &files, log_id, shard, read_only };
    // Read before the segments are listed: what the log has sealed since is no segment that is missing.
    let gaps_before = gaps::read(&**directory, log_id, shard);
    let mut looked = scanner.look_at_all()?;
    looked.sort_by_key(|file| file.header.base_sequence);
    let (sealed, gaps) = (gaps_before?.sealed(), gaps::read(&**directory, log_id, shard)?);
    let mut scan = Scan { segments: Vec::new(), leftovers: Vec::new(), gaps, files: Arc::clone(&files) };
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
            return Err(OpenError::Overlap { path: scanner.path(&file.name()), base, end });
        }
        if base > end {
            scanner.explain_hole(&scan, end, &file)?;
            // Nothing behind the torn tail was acknowledged.
            scan.leftovers.push(Leftover::of(&file));
            for later in looked.by_ref() {
                scanner.refuse_acknowledged(&later, end, &scan)?;
                scan.leftovers.push(Leftover::of(&later));
            }
            break;
        }
        let next_base = looked.peek().map(|next| next.header.base_sequence);
        let found = scanner.measure(file, next_base, &Known { sealed, gaps: &scan.gaps })?;
        end = found.totals.end_sequence;
        scan.segments.push(found);
    }
    if let Some(trimmed_end) = trimmed_end.filter(|_| scan.segments.is_empty())
        && let Some(source) = trims_elsewhere(&scan.gaps, trimmed_end)
    {
        return Err(OpenError::Gaps { path: scanner.path(gaps::GAPS_NAME), source });
    }
    if let (from, to) = (scan.end(), sealed)
        && from < to
    {
        return Err(OpenError::Missing { path: directory.path(), from, to });
    }
    let is_used = |name: &str| {
        let is_spare = scan.segments.iter().any(|found| found.is_spare) && name == SPARE_NAME;
        is_spare || scan.leftovers.iter().any(|leftover| leftover.name == name)
    };
    let unused = scanner.beside_segments(is_used)?;
    scan.leftovers.extend(unused);
    Ok(scan)
}

/// What is wrong with the gaps of a log whose last segment ends at `end` and was trimmed, if anything: whole segments
/// are trimmed, and a log goes on where the last of them ended.
pub(super) fn trims_elsewhere(gaps: &Gaps, end: Sequence) -> Option<PageError> {
    let trimmed = gaps.trimmed();
    (trimmed != end).then_some(PageError::Field { field: "trimmed", found: trimmed.get() })
}

/// Opens the segment `name` for reading, without looking at its blocks: what is returned ends behind its header, with
/// the totals of that. `None` if there is no such file, or a spare that is not in use.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn begin_segment(
    files: &Arc<SegmentFiles>,
    log_id: LogId,
    shard: u16,
    name: &str,
) -> Result<Option<(Arc<Segment>, Footer)>, OpenError> {
    let scanner = Scanner { files, log_id, shard, read_only: true };
    let opened = match scanner.open(name, false).and_then(|file| scanner.read(name, file)) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let header = match name {
        SPARE_NAME => scanner.used_spare(&opened),
        name => Some(scanner.header_of(name, &opened)?),
    };
    Ok(header.map(|(header, header_crc)| {
        let totals = Footer::of_empty(header.epoch, header.base_sequence, header_crc);
        (Segment::begin(header, files, opened.file), totals)
    }))
}

/// A file whose first page has not been read.
struct Unread {
    file: Arc<dyn SegmentFile>,
    length: u64,
    is_settled: bool,
}

impl Unread {
    fn read(self) -> io::Result<Opened> {
        let Self { file, length, is_settled } = self;
        let mut page = vec![0; PAGE_BYTES];
        let read = if is_settled { file.read_settled(&mut page, 0)? } else { file.read_at(&mut page, 0)? };
        page.truncate(read);
        Ok(Opened { file, page, length, is_settled })
    }
}

/// A file and its first page.
struct Opened {
    file: Arc<dyn SegmentFile>,
    page: Vec<u8>,
    length: u64,
    is_settled: bool,
}

/// A file with a good header.
#[derive(Debug)]
struct LookedFile {
    is_spare: bool,
    /// If it may still change.
    file: Option<Arc<dyn SegmentFile>>,
    header: SegmentHeader,
    header_crc: u32,
    later_runs: Vec<RunStart>,
    /// Of a sealed segment.
    footer: Option<Footer>,
}

impl LookedFile {
    fn name(&self) -> String {
        name_of(self.is_spare, self.header.base_sequence)
    }
}

struct Scanner<'a> {
    files: &'a Arc<SegmentFiles>,
    log_id: LogId,
    shard: u16,
    read_only: bool,
}

impl Scanner<'_> {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.files.directory().path())
    }

    fn list(&self) -> Result<Vec<String>, OpenError> {
        let directory = self.files.directory();
        directory.list().map_err(OpenError::io("list", directory.path()))
    }

    fn look_at_all(&self) -> Result<Vec<LookedFile>, OpenError> {
        let mut names = self.list()?;
        names.retain(|name| name.ends_with(".seg"));
        names.sort_unstable();
        // The one that is written, if any is: the rest has come to rest.
        let last = names.iter().rfind(|name| Segment::base_of_name(name).is_some()).cloned();
        let mut looked = Vec::with_capacity(names.len());
        let mut ahead: VecDeque<(String, Unread)> = VecDeque::new();
        for name in names {
            if ahead.len() == AHEAD
                && let Some((name, file)) = ahead.pop_front()
            {
                looked.extend(self.look_at(&name, file)?);
            }
            let is_settled = name != SPARE_NAME && last.as_ref() != Some(&name);
            let file = self.open(&name, is_settled)?;
            ahead.push_back((name, file));
        }
        for (name, file) in ahead {
            looked.extend(self.look_at(&name, file)?);
        }
        Ok(looked)
    }

    fn look_at(&self, name: &str, file: Unread) -> Result<Option<LookedFile>, OpenError> {
        let opened = self.read(name, file)?;
        let is_spare = name == SPARE_NAME;
        let header = if is_spare { self.header_of_spare(&opened)? } else { Some(self.header_of(name, &opened)?) };
        let looked = header.map(|header| self.look_at_end(is_spare, opened, header)).transpose();
        looked.map_err(OpenError::io("read", self.path(name)))
    }

    fn read(&self, name: &str, file: Unread) -> Result<Opened, OpenError> {
        file.read().map_err(OpenError::io("read", self.path(name)))
    }

    fn header_of(&self, name: &str, opened: &Opened) -> Result<(SegmentHeader, u32), OpenError> {
        let path = self.path(name);
        let Some(base) = Segment::base_of_name(name) else {
            return Err(OpenError::ForeignName { path });
        };
        let (header, crc) =
            SegmentHeader::decode(&opened.page).map_err(|source| OpenError::Header { path: path.clone(), source })?;
        if (header.log_id, header.shard) != (self.log_id, self.shard) {
            return Err(OpenError::ForeignSegment { path, log_id: header.log_id, shard_id: header.shard });
        }
        if header.base_sequence != base {
            return Err(OpenError::Renamed { path, base: header.base_sequence });
        }
        Ok((header, crc))
    }

    /// Reads the footer. A footer repeats what the blocks say, so it may come out of the page cache: blocks are checked
    /// when they are read.
    fn look_at_end(&self, is_spare: bool, opened: Opened, header: (SegmentHeader, u32)) -> io::Result<LookedFile> {
        let (Opened { file, page, length, is_settled }, (header, header_crc)) = (opened, header);
        let later_runs = SegmentHeader::later_runs(&page);
        let footer = read_footer(&file, &header, length)?.map(|(footer, filter)| {
            self.files.keep_filter(&footer, filter);
            footer
        });
        Ok(LookedFile { is_spare, file: (!is_settled).then_some(file), header, header_crc, later_runs, footer })
    }

    /// A spare counts as a segment if its header says so: the crash came between its header and its name.
    fn header_of_spare(&self, opened: &Opened) -> Result<Option<(SegmentHeader, u32)>, OpenError> {
        let path = self.path(SPARE_NAME);
        match SegmentHeader::decode(&opened.page) {
            Ok(header) if (header.0.log_id, header.0.shard) == (self.log_id, self.shard) => Ok(Some(header)),
            Ok((header, _)) => Err(OpenError::ForeignSegment { path, log_id: header.log_id, shard_id: header.shard }),
            // A torn header, never acknowledged, unless a block behind it says otherwise.
            Err(source) => match is_acknowledged_spare(&opened.file, opened.length) {
                Ok(false) => Ok(None),
                Ok(true) => Err(OpenError::Header { path, source }),
                Err(error) => Err(OpenError::io("read", path)(error)),
            },
        }
    }

    /// The header of a spare that says that it is one of this log's segments.
    fn used_spare(&self, opened: &Opened) -> Option<(SegmentHeader, u32)> {
        let header = SegmentHeader::decode(&opened.page).ok()?;
        ((header.0.log_id, header.0.shard) == (self.log_id, self.shard)).then_some(header)
    }

    /// Opens a file. What is settled may come out of the page cache, and is asked for ahead.
    fn open(&self, name: &str, is_settled: bool) -> Result<Unread, OpenError> {
        let opened = self.files.directory().open(name, self.read_only || is_settled);
        let file = opened.map_err(OpenError::io("open", self.path(name)))?;
        let length = file.length().map_err(OpenError::io("look at", self.path(name)))?;
        if is_settled {
            file.expect_settled(0..PAGE.min(length));
            file.expect_settled(length.saturating_sub(PAGE)..length);
        }
        Ok(Unread { file, length, is_settled })
    }

    /// Files that were to become segments, and are not used. A reader removes none, and need not know them.
    fn beside_segments(&self, is_used: impl Fn(&str) -> bool) -> Result<Vec<Leftover>, OpenError> {
        if self.read_only {
            return Ok(Vec::new());
        }
        let mut names = self.list()?;
        names.retain(|name| UNFINISHED.contains(&name.as_str()) && !is_used(name));
        let open = |name: String| {
            let file = self.files.directory().open(&name, true).map_err(OpenError::io("open", self.path(&name)))?;
            Ok(Leftover { name, own: Own::File(file) })
        };
        names.into_iter().map(open).collect()
    }

    /// The file of a segment that is not sealed.
    fn reopen(&self, looked: &LookedFile) -> Result<Arc<dyn SegmentFile>, OpenError> {
        match &looked.file {
            Some(file) => Ok(Arc::clone(file)),
            None => {
                let opened = self.files.open(&looked.header, self.read_only);
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
        let (header, is_spare) = (looked.header, looked.is_spare);
        if let Some(totals) = looked.footer {
            let segment = Segment::sealed(header, self.files, totals, &looked.later_runs);
            return Ok(FoundSegment { segment, is_spare, totals, torn: None });
        }
        let path = self.path(&looked.name());
        let file = self.reopen(&looked)?;
        let length = file.length().map_err(OpenError::io("look at", path.clone()))?;
        // The blocks may be in the page cache alone, or the cache may hold what the disk refused.
        if !self.read_only {
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
            WalkEnd::Damage { source, is_blank: false, .. } => Some(source),
            _ => None,
        };
        let file = (next_base.is_none() || is_spare).then_some(file);
        let blocks = UnsealedBlocks { file, totals, places, later_runs: looked.later_runs };
        let segment = Segment::unsealed(header, self.files, blocks);
        Ok(FoundSegment { segment, is_spare, totals, torn })
    }

    /// Decides what a hole before `file` is: a missing segment, damage, or the unacknowledged rest behind a torn tail.
    fn explain_hole(&self, scan: &Scan, end: Sequence, file: &LookedFile) -> Result<(), OpenError> {
        if is_missing(scan.segments.last().map(|before| before.segment.footer().is_some())) {
            let path = self.files.directory().path();
            return Err(OpenError::Missing { path, from: end, to: file.header.base_sequence });
        }
        self.refuse_acknowledged(file, end, scan)
    }

    /// An error if `looked`, which stands behind the torn end of the segment before it, proves that more was
    /// acknowledged.
    fn refuse_acknowledged(&self, looked: &LookedFile, end: Sequence, scan: &Scan) -> Result<(), OpenError> {
        let acknowledged = looked.footer.is_some() || self.is_acknowledged(looked, end)?;
        match scan.segments.last() {
            Some(before) if acknowledged => Err(OpenError::Corrupt {
                path: self.path(&before.name()),
                offset: before.totals.data_end,
                sequence: end,
                source: before.torn.clone().unwrap_or(BlockError::Short { needed: PAGE_BYTES, found: 0 }),
            }),
            _ => Ok(()),
        }
    }

    fn is_acknowledged(&self, looked: &LookedFile, end: Sequence) -> Result<bool, OpenError> {
        let file = self.reopen(looked)?;
        let looked_behind =
            file.length().and_then(|length| acknowledged_behind(&file, PAGE, length, looked.header.epoch, end));
        looked_behind.map_err(OpenError::io("read", self.path(&looked.name())))
    }
}

/// Whether sequences that no file holds are missing, whatever the segments after them say: the segment before them is
/// sealed, or there is none. Only the end of a segment that is not sealed may be torn, and what follows it then is a
/// leftover if nothing in it was acknowledged.
pub(super) fn is_missing(is_sealed_before: Option<bool>) -> bool {
    is_sealed_before != Some(false)
}

/// Whether a block of a spare whose header does not check says that others of it were acknowledged.
pub(super) fn is_acknowledged_spare(file: &Arc<dyn SegmentFile>, length: u64) -> io::Result<bool> {
    let window = Window::of(file, PAGE, length)?;
    match BlockHeader::decode(window.bytes(PAGE)) {
        Ok(block) => acknowledged_behind(file, PAGE, length, block.epoch, block.first_sequence),
        Err(_) => Ok(false),
    }
}

/// The footer, if the file ends with one that belongs to it.
pub(crate) fn read_footer(
    file: &Arc<dyn SegmentFile>,
    header: &SegmentHeader,
    length: u64,
) -> io::Result<Option<(Footer, SessionFilter)>> {
    if length < 2 * PAGE || !length.is_multiple_of(PAGE) {
        return Ok(None);
    }
    let mut page = vec![0; PAGE_BYTES];
    file.read_settled(&mut page, length - PAGE)?;
    let footer = Footer::decode(&page).ok().filter(|footer| {
        footer.epoch == header.epoch && footer.base_sequence == header.base_sequence && footer.offset() + PAGE == length
    });
    Ok(footer.map(|footer| (footer, Footer::filter_of(&page))))
}

/// What the file of the gaps says of a shard's segments.
struct Known<'a> {
    /// Every event below was in a sealed segment.
    sealed: Sequence,
    gaps: &'a Gaps,
}

impl Known<'_> {
    /// Whether events that were in a sealed segment are missing from `end` on, where the next segment, if there is one,
    /// begins at `next_base`.
    fn misses(&self, end: Sequence, next_base: Option<Sequence>) -> bool {
        let to = next_base.map_or(self.sealed, |next| next.min(self.sealed));
        end < to && !self.gaps.is_lost(end, to)
    }
}

/// What a walk over the blocks of a segment without a footer has found.
struct Walked<'a> {
    path: &'a str,
    file: &'a Arc<dyn SegmentFile>,
    header: &'a SegmentHeader,
    length: u64,
    totals: Footer,
    end: &'a WalkEnd,
}

/// An error if what follows the intact blocks of a segment without a footer is what no crash leaves, or was acknowledged.
/// `next_base`: where the next segment begins, if there is one.
fn refuse_loss(walked: &Walked<'_>, next_base: Option<Sequence>, known: &Known<'_>) -> Result<(), OpenError> {
    let Walked { path, file, header, length, totals, end } = walked;
    let (source, is_whole) = match end {
        WalkEnd::Ending => return Ok(()),
        WalkEnd::File => (&BlockError::Short { needed: PAGE_BYTES, found: 0 }, false),
        WalkEnd::Damage { source, is_whole, .. } => (source, *is_whole),
    };
    let (path, sequence) = ((*path).to_owned(), totals.end_sequence);
    // What is missing of one that was sealed is known, and its file may have any length while it gets its index.
    let was_sealed = known.sealed > header.base_sequence;
    if !was_sealed && *length < header.length {
        return Err(OpenError::CutShort { path, length: *length, stated: header.length, sequence });
    }
    let is_acknowledged = || {
        acknowledged_behind(file, totals.data_end, *length, header.epoch, sequence)
            .map_err(OpenError::io("read", path.clone()))
    };
    match known.misses(sequence, next_base) || (is_whole && !was_sealed) || is_acknowledged()? {
        true => Err(OpenError::Corrupt { path, offset: totals.data_end, sequence, source: source.clone() }),
        false => Ok(()),
    }
}

/// What stopped a walk.
enum WalkEnd {
    /// The file ends.
    File,
    /// The blocks end: the segment was being sealed, or got its index.
    Ending,
    Damage {
        source: BlockError,
        /// Nothing was ever written there.
        is_blank: bool,
        /// A block that does not belong there, and is whole.
        is_whole: bool,
    },
}

/// Whether `bytes`, which follow the blocks that `totals` tell of, show that sealing had come this far: an index, or a
/// footer without one.
pub(super) fn is_ending(bytes: &[u8], totals: &Footer) -> bool {
    let footer = bytes.get(..PAGE_BYTES).map(Footer::decode);
    is_index_header(bytes, totals.epoch) || matches!(footer, Some(Ok(footer)) if footer == *totals)
}

/// Whether `bytes`, which do not go on what `totals` tell of, begin with a whole block that no crash leaves there: one
/// of the segment's, or the first one under another epoch than the header's.
pub(super) fn is_misplaced(bytes: &[u8], totals: &Footer) -> bool {
    let Ok(header) = BlockHeader::decode(bytes) else { return false };
    let is_first = totals.blocks == 0 && header.first_sequence == totals.base_sequence;
    (header.epoch == totals.epoch || is_first) && BlockView::check(bytes, header.epoch).is_ok()
}

/// Walks the blocks of an unsealed segment.
struct Walk<'a> {
    file: &'a Arc<dyn SegmentFile>,
    length: u64,
    totals: Footer,
    places: Places,
}

impl Walk<'_> {
    /// Goes as far as blocks check and follow each other. Returns what stopped it.
    fn run(&mut self) -> io::Result<WalkEnd> {
        let mut window = Window::of(self.file, PAGE, self.length)?;
        loop {
            let offset = self.totals.data_end;
            if offset >= self.length {
                return Ok(WalkEnd::File);
            }
            if !window.holds(offset, BLOCK_BYTES_MAX) {
                window = Window::of(self.file, offset, self.length)?;
            }
            let bytes = window.bytes(offset);
            let checked = BlockView::check(bytes, self.totals.epoch).and_then(|view| {
                view.follows(self.totals.end_sequence, self.totals.last_block_crc).map(|()| *view.header())
            });
            match checked {
                Ok(header) => {
                    self.places.push(BlockPlace::of(&header, offset));
                    self.totals.add(&header);
                }
                Err(_) if is_ending(bytes, &self.totals) => return Ok(WalkEnd::Ending),
                Err(source) => {
                    let is_blank = bytes.iter().take(PAGE_BYTES).all(|&byte| byte == 0);
                    let is_whole = is_misplaced(bytes, &self.totals);
                    return Ok(WalkEnd::Damage { source, is_blank, is_whole });
                }
            }
        }
    }
}

/// Whether any block of this epoch at `from` or behind knows that the durable watermark had passed `sequence`.
fn acknowledged_behind(
    file: &Arc<dyn SegmentFile>,
    from: u64,
    length: u64,
    epoch: Epoch,
    sequence: Sequence,
) -> io::Result<bool> {
    let mut at = from;
    while at < length {
        let window = Window::of(file, at, length)?;
        let pages = window.bytes(at).chunks(PAGE_BYTES);
        at += (pages.len() as u64).max(1) * PAGE;
        for page in pages {
            match BlockHeader::decode(page) {
                Ok(block) if block.epoch == epoch && block.durable_sequence > sequence => return Ok(true),
                _ => {}
            }
        }
    }
    Ok(false)
}

/// A stretch of a file in memory.
struct Window {
    start: u64,
    bytes: Vec<u8>,
    is_last: bool,
}

impl Window {
    fn of(file: &Arc<dyn SegmentFile>, start: u64, length: u64) -> io::Result<Self> {
        let left = length.saturating_sub(start).next_multiple_of(PAGE);
        let mut bytes = vec![0; (WINDOW_BYTES as u64).min(left) as usize];
        let read = file.read_at(&mut bytes, start)?;
        bytes.truncate(read);
        Ok(Self { start, bytes, is_last: left <= WINDOW_BYTES as u64 })
    }

    fn holds(&self, offset: u64, bytes: usize) -> bool {
        self.is_last || offset + bytes as u64 <= self.start + self.bytes.len() as u64
    }

    /// From `offset` on.
    fn bytes(&self, offset: u64) -> &[u8] {
        self.bytes.get((offset - self.start) as usize..).unwrap_or_default()
    }
}
