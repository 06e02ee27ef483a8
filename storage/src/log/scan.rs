//! What is in a shard's directory: segments in order, where their intact blocks end, and what is damaged. Writes nothing.
//!
//! Recovery and readers in other processes look through the same eyes. The rule for a block that does not check:
//! if any later block says that the durable watermark had passed it, acknowledged data is damaged and that is an error;
//! otherwise it was never acknowledged, and the log ends before it (a torn tail).

use std::io;
use std::sync::Arc;

use super::roll::SPARE_NAME;
use super::seal::REPACK_NAME;
use super::{BlockPlace, Segment, gaps};
use crate::device::{Directory, SegmentFile};
use crate::format::{
    BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Epoch, Footer, Gaps, LogId, PAGE_BYTES, PageError,
    SegmentHeader, Sequence, SessionFilter, is_index_header,
};

const PAGE: u64 = PAGE_BYTES as u64;

/// Bytes read at a time: a window always holds the whole of the block at its start.
const WINDOW_BYTES: usize = 4 * BLOCK_BYTES_MAX;

/// Why a shard's directory cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file system refused.
    #[error("{operation} {path}: {source}")]
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
    #[error("{path}: belongs to log {log_id}, shard {shard}; move it out of this log's directory")]
    ForeignSegment {
        /// The file.
        path: String,
        /// The log it belongs to.
        log_id: LogId,
        /// The shard it belongs to.
        shard: u16,
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
    #[error("{path}: sequences {from} to {to} are missing; put the missing segment back")]
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
    /// File name it was found under.
    pub name: String,
    /// What the footer says or, without one, would say.
    pub totals: Footer,
    /// Why the blocks end where they end, if not because the segment is sealed: the bytes behind do not check.
    pub torn: Option<BlockError>,
}

/// What was found in a shard's directory.
#[derive(Debug, Default)]
pub struct Scan {
    /// Segments in order, without holes.
    pub segments: Vec<FoundSegment>,
    /// Files that hold nothing acknowledged, and cannot be read on: a spare not yet in use, segments behind a torn tail.
    pub leftovers: Vec<String>,
    /// What is known not to be there.
    pub gaps: Gaps,
}

impl Scan {
    /// Sequence after the last event, or after what is lost of those behind it.
    pub fn end(&self) -> Sequence {
        let end = self.segments.last().map_or(self.gaps.trimmed(), |last| last.totals.end_sequence);
        self.gaps.behind(end)
    }

    /// The largest timestamp, 0 for an empty log.
    pub fn last_timestamp(&self) -> u64 {
        self.segments.iter().map(|found| found.totals.last_timestamp).max().unwrap_or(0)
    }
}

/// Looks through a shard's directory. `read_only` opens files for reading alone.
///
/// Cost: one page per sealed segment; one pass of reading and checksums over unsealed ones.
///
/// # Errors
/// [`OpenError`]: damage to acknowledged data, files that are missing, foreign, renamed or newer, and the file system's
/// refusals.
pub fn scan(directory: &Arc<dyn Directory>, log_id: LogId, shard: u16, read_only: bool) -> Result<Scan, OpenError> {
    let scanner = Scanner { directory, log_id, shard, read_only };
    let mut files = scanner.open_all()?;
    files.sort_by_key(|file| file.header.base_sequence);
    let mut scan = Scan { gaps: gaps::read(&**directory, log_id, shard)?, ..Scan::default() };
    let mut files = files.into_iter().peekable();
    let mut end = scan.gaps.trimmed();
    while let Some(file) = files.next() {
        let base = file.header.base_sequence;
        if base < scan.gaps.trimmed() {
            // Trimming was interrupted before it came to this one.
            scan.leftovers.push(file.name);
            continue;
        }
        if scan.gaps.is_lost(end, base) {
            end = base;
        }
        if base < end {
            return Err(OpenError::Overlap { path: scanner.path(&file.name), base, end });
        }
        if base > end {
            scanner.explain_hole(&scan, end, &file)?;
            // Nothing behind the torn tail was acknowledged.
            scan.leftovers.push(file.name);
            for later in files.by_ref() {
                scanner.refuse_acknowledged(&later, end, &scan)?;
                scan.leftovers.push(later.name);
            }
            break;
        }
        let next_base = files.peek().map(|next| next.header.base_sequence);
        let found = scanner.measure(file, next_base)?;
        end = found.totals.end_sequence;
        scan.segments.push(found);
    }
    for name in scanner.beside_segments()? {
        if !scan.segments.iter().any(|found| found.name == name) && !scan.leftovers.contains(&name) {
            scan.leftovers.push(name);
        }
    }
    Ok(scan)
}

/// Opens the segment `name` for reading, without looking at its blocks: what is returned ends behind its header, with the
/// totals of that. `None` if there is no such file, or a spare that is not in use.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn begin_segment(
    directory: &Arc<dyn Directory>,
    log_id: LogId,
    shard: u16,
    name: &str,
) -> Result<Option<(Arc<Segment>, Footer)>, OpenError> {
    let scanner = Scanner { directory, log_id, shard, read_only: true };
    let opened = match name {
        SPARE_NAME => scanner.open(name, false).and_then(|file| scanner.used_spare(file)),
        name => scanner.open(name, false).and_then(|file| scanner.open_segment(name.to_owned(), file).map(Some)),
    };
    let found = match opened {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        opened => opened?,
    };
    Ok(found.map(|OpenFile { file, header, header_crc, .. }| {
        let totals = Footer::of_empty(header.epoch, header.base_sequence, header_crc);
        (Segment::new(header, file, totals.data_end, totals.end_sequence, Vec::new()), totals)
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
        Ok(Opened { file, page, length })
    }
}

/// A file and its first page.
struct Opened {
    file: Arc<dyn SegmentFile>,
    page: Vec<u8>,
    length: u64,
}

/// A file with a good header.
#[derive(Debug)]
struct OpenFile {
    name: String,
    file: Arc<dyn SegmentFile>,
    header: SegmentHeader,
    header_crc: u32,
    length: u64,
}

struct Scanner<'a> {
    directory: &'a Arc<dyn Directory>,
    log_id: LogId,
    shard: u16,
    read_only: bool,
}

impl Scanner<'_> {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory.path())
    }

    fn open_all(&self) -> Result<Vec<OpenFile>, OpenError> {
        let names = self.directory.list().map_err(OpenError::io("list", self.directory.path()))?;
        let mut files = Vec::new();
        // The one that is written, if any is: the rest has come to rest.
        let last = names.iter().filter(|name| Segment::base_of_name(name).is_some()).max().cloned();
        // All are opened before the first is read, so that the device gets what they are asked for together.
        let mut opened = Vec::new();
        for name in names.into_iter().filter(|name| name.ends_with(".seg")) {
            let is_settled = name != SPARE_NAME && last.as_ref() != Some(&name);
            let file = self.open(&name, is_settled)?;
            opened.push((name, file));
        }
        for (name, file) in opened {
            match name == SPARE_NAME {
                true => files.extend(self.open_spare(file.read().map_err(OpenError::io("read", self.path(&name)))?)?),
                false => files.push(self.open_segment(name, file)?),
            }
        }
        Ok(files)
    }

    fn open_segment(&self, name: String, file: Unread) -> Result<OpenFile, OpenError> {
        let Some(base) = Segment::base_of_name(&name) else {
            return Err(OpenError::ForeignName { path: self.path(&name) });
        };
        let Opened { file, page, length } = file.read().map_err(OpenError::io("read", self.path(&name)))?;
        let path = self.path(&name);
        let (header, header_crc) =
            SegmentHeader::decode(&page).map_err(|source| OpenError::Header { path: path.clone(), source })?;
        if (header.log_id, header.shard) != (self.log_id, self.shard) {
            return Err(OpenError::ForeignSegment { path, log_id: header.log_id, shard: header.shard });
        }
        if header.base_sequence != base {
            return Err(OpenError::Renamed { path, base: header.base_sequence });
        }
        Ok(OpenFile { name, file, header, header_crc, length })
    }

    /// A spare counts as a segment if its header says so: the crash came between its header and its name.
    fn open_spare(&self, Opened { file, page, length }: Opened) -> Result<Option<OpenFile>, OpenError> {
        let path = self.path(SPARE_NAME);
        match SegmentHeader::decode(&page) {
            Ok((header, header_crc)) if (header.log_id, header.shard) == (self.log_id, self.shard) => {
                Ok(Some(OpenFile { name: SPARE_NAME.into(), file, header, header_crc, length }))
            }
            Ok((header, _)) => Err(OpenError::ForeignSegment { path, log_id: header.log_id, shard: header.shard }),
            // A torn header, never acknowledged, unless a block behind it says otherwise.
            Err(source) => match self.is_acknowledged_spare(&file, length) {
                Ok(false) => Ok(None),
                Ok(true) => Err(OpenError::Header { path, source }),
                Err(error) => Err(OpenError::io("read", path)(error)),
            },
        }
    }

    /// A spare whose header says that it is one of this log's segments.
    fn used_spare(&self, file: Unread) -> Result<Option<OpenFile>, OpenError> {
        let Opened { file, page, length } = file.read().map_err(OpenError::io("read", self.path(SPARE_NAME)))?;
        let Ok((header, header_crc)) = SegmentHeader::decode(&page) else { return Ok(None) };
        let is_own = (header.log_id, header.shard) == (self.log_id, self.shard);
        Ok(is_own.then(|| OpenFile { name: SPARE_NAME.into(), file, header, header_crc, length }))
    }

    fn is_acknowledged_spare(&self, file: &Arc<dyn SegmentFile>, length: u64) -> io::Result<bool> {
        let window = Window::of(file, PAGE, length)?;
        match BlockHeader::decode(window.bytes(PAGE)) {
            Ok(block) => acknowledged_behind(file, PAGE, length, block.epoch, block.first_sequence),
            Err(_) => Ok(false),
        }
    }

    /// Opens a file. What is settled may come out of the page cache, and is asked for ahead.
    fn open(&self, name: &str, is_settled: bool) -> Result<Unread, OpenError> {
        let file = self.directory.open(name, self.read_only).map_err(OpenError::io("open", self.path(name)))?;
        let length = file.length().map_err(OpenError::io("look at", self.path(name)))?;
        if is_settled {
            file.expect_settled(0..PAGE);
            file.expect_settled(length.saturating_sub(PAGE)..length);
        }
        Ok(Unread { file, length, is_settled })
    }

    /// Files that are to become segments.
    fn beside_segments(&self) -> Result<Vec<String>, OpenError> {
        let mut names = self.directory.list().map_err(OpenError::io("list", self.directory.path()))?;
        names.retain(|name| [SPARE_NAME, REPACK_NAME].contains(&name.as_str()));
        Ok(names)
    }

    /// Finds the end of a segment: from its footer, or by walking its blocks.
    fn measure(&self, found: OpenFile, next_base: Option<Sequence>) -> Result<FoundSegment, OpenError> {
        let OpenFile { name, file, header, header_crc, length } = found;
        let path = self.path(&name);
        if let Some(footer) = read_footer(&file, &header, length).map_err(OpenError::io("read", path.clone()))? {
            let (footer, filter) = footer;
            let segment = Segment::new(header, file, footer.data_end, footer.end_sequence, Vec::new());
            segment.seal(footer, filter);
            return Ok(FoundSegment { segment, name, totals: footer, torn: None });
        }
        // The blocks may be in the page cache alone, or the cache may hold what the disk refused.
        if !self.read_only {
            file.distrust_cache().map_err(OpenError::io("sync", path.clone()))?;
        }
        let totals = Footer::of_empty(header.epoch, header.base_sequence, header_crc);
        let mut walk = Walk { file: &file, length, totals, places: Vec::new() };
        let stop = walk.run().map_err(OpenError::io("read", path.clone()))?;
        let (totals, places) = (walk.totals, walk.places);
        let lost = totals.end_sequence;
        if let (Some(Stop { damage, .. }), true) = (&stop, next_base != Some(lost)) {
            let acknowledged = acknowledged_behind(&file, totals.data_end, length, header.epoch, lost)
                .map_err(OpenError::io("read", path.clone()))?;
            if acknowledged {
                return Err(OpenError::Corrupt {
                    path,
                    offset: totals.data_end,
                    sequence: lost,
                    source: damage.clone(),
                });
            }
        }
        let torn = stop.filter(|stop| !stop.is_blank).map(|stop| stop.damage);
        let segment = Segment::new(header, file, totals.data_end, totals.end_sequence, places);
        Ok(FoundSegment { segment, name, totals, torn })
    }

    /// Decides what a hole before `file` is: a missing segment, damage, or the unacknowledged rest behind a torn tail.
    fn explain_hole(&self, scan: &Scan, end: Sequence, file: &OpenFile) -> Result<(), OpenError> {
        match scan.segments.last() {
            Some(before) if before.segment.footer().is_none() => self.refuse_acknowledged(file, end, scan),
            _ => Err(OpenError::Missing { path: self.directory.path(), from: end, to: file.header.base_sequence }),
        }
    }

    /// An error if `file`, which stands behind the torn end of the segment before it, proves that more was acknowledged.
    fn refuse_acknowledged(&self, file: &OpenFile, end: Sequence, scan: &Scan) -> Result<(), OpenError> {
        let path = self.path(&file.name);
        let sealed =
            read_footer(&file.file, &file.header, file.length).map_err(OpenError::io("read", path.clone()))?.is_some();
        let acknowledged = sealed
            || acknowledged_behind(&file.file, PAGE, file.length, file.header.epoch, end)
                .map_err(OpenError::io("read", path.clone()))?;
        match scan.segments.last() {
            Some(before) if acknowledged => Err(OpenError::Corrupt {
                path: self.path(&before.name),
                offset: before.totals.data_end,
                sequence: end,
                source: before.torn.clone().unwrap_or(BlockError::Short { needed: PAGE_BYTES, found: 0 }),
            }),
            _ => Ok(()),
        }
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

/// Where a walk ended.
struct Stop {
    damage: BlockError,
    /// Nothing was ever written there.
    is_blank: bool,
}

/// Walks the blocks of an unsealed segment.
struct Walk<'a> {
    file: &'a Arc<dyn SegmentFile>,
    length: u64,
    totals: Footer,
    places: Vec<BlockPlace>,
}

impl Walk<'_> {
    /// Goes as far as blocks check and follow each other. Returns what stopped it, `None` if that was the end of the
    /// file or of the blocks (sealing was interrupted).
    fn run(&mut self) -> io::Result<Option<Stop>> {
        let mut window = Window::of(self.file, PAGE, self.length)?;
        loop {
            let offset = self.totals.data_end;
            if offset >= self.length {
                return Ok(None);
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
                Err(damage) => {
                    let is_blank = bytes.iter().take(PAGE_BYTES).all(|&byte| byte == 0);
                    return Ok((!self.is_own_ending(bytes)).then_some(Stop { damage, is_blank }));
                }
            }
        }
    }

    /// Whether sealing had come this far: an index, or a footer without one.
    fn is_own_ending(&self, bytes: &[u8]) -> bool {
        let footer = bytes.get(..PAGE_BYTES).map(Footer::decode);
        is_index_header(bytes, self.totals.epoch) || matches!(footer, Some(Ok(footer)) if footer == self.totals)
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
