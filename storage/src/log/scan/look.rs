//! The first and the last page of each segment file: whose it is, where it begins, and whether it is sealed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::super::ending::read_footer;
use super::super::error::OpenError;
use super::super::files::SegmentFiles;
use super::super::names::{SPARE_NAME, UNFINISHED, base_of, segment_name};
use super::leftover::Leftover;
use super::walk::is_acknowledged_spare;
use crate::device::{Access, SegmentFile};
use crate::format::{Footer, LogShard, PAGE_BYTES, RunStart, SegmentHeader, Sequence};

const PAGE: u64 = PAGE_BYTES as u64;

/// Files that are open at a time, so that the device is asked for the ends of several together: of 400 segments that
/// are not cached the first event then comes after 21 ms, and not after 52.
const AHEAD: usize = 32;

/// The name under which a segment was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundAs {
    /// That of its first sequence.
    Segment,
    /// That of the segment which is prepared for later.
    Spare,
}

impl FoundAs {
    fn of(name: &str) -> Self {
        if name == SPARE_NAME { Self::Spare } else { Self::Segment }
    }

    /// The name, of a segment that begins at this sequence.
    pub(super) fn name(self, base: Sequence) -> String {
        match self {
            Self::Segment => segment_name(base),
            Self::Spare => SPARE_NAME.into(),
        }
    }
}

/// A file whose first page has not been read.
pub(super) struct Unread {
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
pub(super) struct Opened {
    pub(super) file: Arc<dyn SegmentFile>,
    page: Vec<u8>,
    length: u64,
    is_settled: bool,
}

/// A file with a good header.
#[derive(Debug)]
pub(super) struct LookedFile {
    pub(super) found_as: FoundAs,
    /// If it may still change.
    pub(super) file: Option<Arc<dyn SegmentFile>>,
    pub(super) header: SegmentHeader,
    pub(super) header_crc: u32,
    pub(super) later_runs: Vec<RunStart>,
    /// Of a sealed segment.
    pub(super) footer: Option<Footer>,
}

impl LookedFile {
    pub(super) fn name(&self) -> String {
        self.found_as.name(self.header.base_sequence)
    }
}

/// Looks at the files of one shard's directory, each by itself.
pub(super) struct Scanner<'a> {
    pub(super) files: &'a Arc<SegmentFiles>,
    pub(super) shard: LogShard,
    pub(super) access: Access,
}

impl Scanner<'_> {
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.files.directory().path())
    }

    fn list(&self) -> Result<Vec<String>, OpenError> {
        let directory = self.files.directory();
        directory.list().map_err(OpenError::io("list", directory.path()))
    }

    pub(super) fn look_at_all(&self) -> Result<Vec<LookedFile>, OpenError> {
        let mut names = self.list()?;
        names.retain(|name| name.ends_with(".seg"));
        names.sort_unstable();
        // The one that is written, if any is: the rest has come to rest.
        let last = names.iter().rfind(|name| base_of(name).is_some()).cloned();
        if let Some(name) = names.iter().find(|name| *name != SPARE_NAME && base_of(name).is_none()) {
            return Err(OpenError::ForeignName { path: self.path(name) });
        }
        let mut looked = Vec::with_capacity(names.len());
        let mut ahead: VecDeque<(String, Unread)> = VecDeque::new();
        for name in names {
            if ahead.len() == AHEAD
                && let Some((name, file)) = ahead.pop_front()
            {
                looked.extend(self.look_at(&name, file)?);
            }
            let is_settled = name != SPARE_NAME && last.as_ref() != Some(&name);
            let file = if is_settled { self.open_settled(&name) } else { self.open(&name) }?;
            ahead.push_back((name, file));
        }
        for (name, file) in ahead {
            looked.extend(self.look_at(&name, file)?);
        }
        Ok(looked)
    }

    fn look_at(&self, name: &str, file: Unread) -> Result<Option<LookedFile>, OpenError> {
        let opened = self.read(name, file)?;
        let found_as = FoundAs::of(name);
        let header = match found_as {
            FoundAs::Segment => Some(self.header_of(name, &opened)?),
            FoundAs::Spare => self.header_of_spare(&opened)?,
        };
        let looked = header.map(|header| self.look_at_end(found_as, opened, header)).transpose();
        looked.map_err(OpenError::io("read", self.path(name)))
    }

    pub(super) fn read(&self, name: &str, file: Unread) -> Result<Opened, OpenError> {
        file.read().map_err(OpenError::io("read", self.path(name)))
    }

    pub(super) fn header_of(&self, name: &str, opened: &Opened) -> Result<(SegmentHeader, u32), OpenError> {
        let path = self.path(name);
        let Some(base) = base_of(name) else {
            return Err(OpenError::ForeignName { path });
        };
        let (header, crc) =
            SegmentHeader::decode(&opened.page).map_err(|source| OpenError::Header { path: path.clone(), source })?;
        if header.log_shard() != self.shard {
            return Err(OpenError::ForeignSegment { path, log_id: header.log_id, shard_id: header.shard });
        }
        if header.base_sequence != base {
            return Err(OpenError::Renamed { path, base: header.base_sequence });
        }
        Ok((header, crc))
    }

    /// Reads the footer. A footer repeats what the blocks say, so it may come out of the page cache: blocks are checked
    /// when they are read.
    fn look_at_end(&self, found_as: FoundAs, opened: Opened, header: (SegmentHeader, u32)) -> io::Result<LookedFile> {
        let (Opened { file, page, length, is_settled }, (header, header_crc)) = (opened, header);
        let later_runs = SegmentHeader::later_runs(&page);
        let footer = read_footer(&file, &header, length)?.map(|(footer, filter)| {
            self.files.keep_filter(&footer, filter);
            footer
        });
        Ok(LookedFile { found_as, file: (!is_settled).then_some(file), header, header_crc, later_runs, footer })
    }

    /// A spare counts as a segment if its header says so: the crash came between its header and its name.
    fn header_of_spare(&self, opened: &Opened) -> Result<Option<(SegmentHeader, u32)>, OpenError> {
        let path = self.path(SPARE_NAME);
        match SegmentHeader::decode(&opened.page) {
            Ok(header) if header.0.log_shard() == self.shard => Ok(Some(header)),
            Ok((header, _)) => Err(OpenError::ForeignSegment { path, log_id: header.log_id, shard_id: header.shard }),
            // A torn header, never acknowledged, unless a block after it says otherwise.
            Err(source) => match is_acknowledged_spare(&opened.file, opened.length) {
                Ok(false) => Ok(None),
                Ok(true) => Err(OpenError::Header { path, source }),
                Err(error) => Err(OpenError::io("read", path)(error)),
            },
        }
    }

    /// The header of a spare that says that it is one of this log's segments.
    pub(super) fn used_spare(&self, opened: &Opened) -> Option<(SegmentHeader, u32)> {
        let header = SegmentHeader::decode(&opened.page).ok()?;
        (header.0.log_shard() == self.shard).then_some(header)
    }

    /// Opens a file that may still change.
    pub(super) fn open(&self, name: &str) -> Result<Unread, OpenError> {
        let (file, length) = self.open_for(self.access, name)?;
        Ok(Unread { file, length, is_settled: false })
    }

    /// Opens a file whose bytes no longer change: they may come out of the page cache, and are asked for ahead.
    fn open_settled(&self, name: &str) -> Result<Unread, OpenError> {
        let (file, length) = self.open_for(Access::Read, name)?;
        file.expect_settled(0..PAGE.min(length));
        file.expect_settled(length.saturating_sub(PAGE)..length);
        Ok(Unread { file, length, is_settled: true })
    }

    fn open_for(&self, access: Access, name: &str) -> Result<(Arc<dyn SegmentFile>, u64), OpenError> {
        let opened = self.files.directory().open(name, access);
        let file = opened.map_err(OpenError::io("open", self.path(name)))?;
        let length = file.length().map_err(OpenError::io("look at", self.path(name)))?;
        Ok((file, length))
    }

    /// Files that were to become segments, and are not used. A reader removes none, and need not know them.
    pub(super) fn beside_segments(&self, is_used: impl Fn(&str) -> bool) -> Result<Vec<Leftover>, OpenError> {
        if self.access == Access::Read {
            return Ok(Vec::new());
        }
        let mut names = self.list()?;
        names.retain(|name| UNFINISHED.contains(&name.as_str()) && !is_used(name));
        let open = |name: String| {
            let file =
                self.files.directory().open(&name, Access::Read).map_err(OpenError::io("open", self.path(&name)))?;
            Ok(Leftover::of_file(name, file))
        };
        names.into_iter().map(open).collect()
    }
}
