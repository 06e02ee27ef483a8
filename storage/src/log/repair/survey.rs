//! A survey of a shard's directory, file by file.

use std::io;
use std::sync::Arc;

use super::super::ending::{is_damaged_footer, is_ending, read_footer};
use super::super::names::{SPARE_NAME, UNFINISHED};
use super::super::scan::{is_acknowledged_spare, is_misplaced};
use super::super::survey::{DamagedPlace, FirstBlock, SegmentSurvey, Stretch, Surveyor, check_index};
use super::super::{OpenError, gaps};
use super::header::Shard;
use crate::device::fs::is_no_file;
use crate::device::{Access, Directory, SegmentFile, zeroed};
use crate::format::{
    BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Footer, Gaps, LogShard, PAGE_BYTES, PageError, SegmentHeader,
    Sequence,
};

/// A shard's directory.
#[derive(Debug)]
pub(super) struct ShardSurvey {
    /// `Err` if its file does not decode.
    pub(super) gaps: Result<Gaps, String>,
    pub(super) files: Vec<FileSurvey>,
}

/// A file that is like a segment.
#[derive(Debug)]
pub(super) struct FileSurvey {
    pub(super) name: String,
    pub(super) content: Content,
}

/// The contents of a file.
#[derive(Debug)]
pub(super) enum Content {
    /// A segment of this shard.
    Segment(Box<FoundBlocks>),
    /// No segment of this shard, and why.
    Foreign(String),
    /// A segment of another format version, and which.
    OtherVersion(String),
    /// A file with the name of a segment that cannot be read as one, and the reason.
    Headless(String),
    /// A spare that nothing was written to.
    Spare,
}

impl Content {
    /// Its blocks, or why there are none; `None` for a spare.
    /// Every event below `sealed` was in a sealed segment.
    pub(super) fn into_segment(self, sealed: Sequence) -> Option<Result<SegmentSurvey, String>> {
        match self {
            Self::Spare => None,
            Self::Foreign(reason) | Self::OtherVersion(reason) | Self::Headless(reason) => Some(Err(reason)),
            Self::Segment(found) => Some(Ok(found.into_blocks(sealed))),
        }
    }
}

/// A segment and its blocks.
#[derive(Debug)]
pub(super) struct FoundBlocks {
    pub(super) header: SegmentHeader,
    pub(super) footer: Option<Footer>,
    pub(super) blocks: SegmentSurvey,
    /// The reason for which the header is not what the file's first page says, but what the blocks prove.
    pub(super) bad_header: Option<String>,
    /// An index that does not check.
    pub(super) has_bad_index: bool,
    /// The blocks are intact, and the footer page after them is not.
    pub(super) has_bad_footer: bool,
    /// The bytes after the intact blocks that no crash leaves, where there is no footer.
    unlike_crash: Option<DamagedPlace>,
}

impl FoundBlocks {
    /// Sequence after the last event that it should hold.
    pub(super) fn end(&self) -> Sequence {
        let found = self.blocks.end().unwrap_or(self.header.base_sequence);
        let told = self.footer.filter(|footer| !self.is_filled(footer));
        told.map_or(found, |footer| footer.end_sequence)
    }

    /// Returns whether intact blocks take all the room that the footer states: then the number of events is theirs, not
    /// the footer's.
    fn is_filled(&self, footer: &Footer) -> bool {
        let all = Stretch {
            first: footer.base_sequence,
            end: self.blocks.end().unwrap_or_default(),
            from: PAGE_BYTES as u64,
            to: footer.data_end,
        };
        self.blocks.stretches == [all]
    }

    /// Sequence after the last event that an opening finds in it: what is intact of a segment without a footer ends at
    /// the first damage.
    pub(super) fn opened_end(&self) -> Sequence {
        let walked = self.blocks.walked.map_or(self.header.base_sequence, |walked| walked.end);
        self.footer.map_or(walked, |footer| footer.end_sequence)
    }

    /// The evidence that the segment has lost its end, or that its header is not the one that its blocks were written
    /// under; where every event below `sealed` was in a sealed segment.
    pub(super) fn unlike_crash(&self, sealed: Sequence) -> Option<&DamagedPlace> {
        // What is missing of one that was sealed is known, and its file may have any length while it gets its index.
        self.unlike_crash.as_ref().filter(|_| sealed <= self.header.base_sequence)
    }

    /// Returns whether a merged segment holds all that this one does.
    pub(super) fn is_within(&self, merged: &Self) -> bool {
        self.footer.is_some_and(|footer| footer.end_sequence <= merged.end())
    }

    /// Leaves out the bytes after the last block of a segment that is not sealed: no event was promised there.
    fn into_blocks(self, sealed: Sequence) -> SegmentSurvey {
        let unlike_crash = self.unlike_crash(sealed).cloned();
        let bad_footer = self.has_bad_footer.then(|| DamagedPlace::of_footer(self.blocks.walked_end()));
        let bad_header = self.bad_header.map(|reason| DamagedPlace { offset: 0, reason });
        let mut blocks = self.blocks;
        let end = blocks.stretches.last().map_or(PAGE_BYTES as u64, |last| last.to);
        if self.footer.is_none() {
            blocks.damage.retain(|place| place.offset < end);
            blocks.damage.extend(unlike_crash.or(bad_footer));
        }
        blocks.damage.splice(0..0, bad_header);
        blocks
    }
}

/// Looks at every file.
pub(super) fn survey(
    directory: &dyn Directory,
    shard: LogShard,
    progress: &mut dyn FnMut(u64),
) -> Result<ShardSurvey, OpenError> {
    let mut names = directory.list().map_err(OpenError::io("list", directory.path()))?;
    names.retain(|name| name.ends_with(".seg") || UNFINISHED.contains(&name.as_str()));
    names.sort_unstable();
    let gaps = match gaps::find(directory, shard) {
        Err(OpenError::Gaps { source, .. }) if !matches!(source, PageError::Version { .. }) => Err(source.to_string()),
        Err(OpenError::Io { source, .. }) if is_no_file(&source) => Err(source.to_string()),
        read => Ok(read?),
    };
    let (mut files, mut surveyor) = (Vec::new(), Surveyor::default());
    let shard = Shard { directory, identity: shard };
    for name in names {
        let content = match directory.open(&name, Access::Read) {
            Err(error) if is_no_file(&error) => Content::Foreign(error.to_string()),
            // An opening removes it.
            Ok(_) if !name.ends_with(".seg") => continue,
            _ => Look { shard, name: &name, surveyor: &mut surveyor, progress }.content()?,
        };
        files.push(FileSurvey { name, content });
    }
    let has_segments = files.iter().any(|file| matches!(file.content, Content::Segment(_)));
    let gaps = gaps.and_then(|gaps| match gaps {
        None if has_segments => Err("it is missing, and with it how far the segments went".to_owned()),
        gaps => Ok(gaps.unwrap_or_default()),
    });
    Ok(ShardSurvey { gaps, files })
}

/// A look at one file.
struct Look<'a> {
    shard: Shard<'a>,
    name: &'a str,
    surveyor: &'a mut Surveyor,
    progress: &'a mut dyn FnMut(u64),
}

impl Look<'_> {
    fn content(&mut self) -> Result<Content, OpenError> {
        let directory = self.shard.directory;
        let file = directory.open(self.name, Access::Read).map_err(self.failed("open"))?;
        let length = file.length().map_err(self.failed("look at"))?;
        let stated = match header_of(self.name, &file, length).map_err(self.failed("read"))? {
            Ok((header, _)) if header.log_shard() != self.shard.identity => {
                Content::Foreign(format!("belongs to log {}, shard {}", header.log_id, header.shard))
            }
            Ok(header) => self.segment(&file, header)?,
            Err(content) => content,
        };
        let (Content::Foreign(reason) | Content::Headless(reason)) = &stated else { return Ok(stated) };
        match self.shard.proven_header(self.name, &file).map_err(self.failed("read"))? {
            Some(page) => self.mended(&file, &page, reason.clone()),
            None => Ok(stated),
        }
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> OpenError + use<> {
        OpenError::io(operation, format!("{}/{}", self.shard.directory.path(), self.name))
    }

    /// The segment under the header that its blocks prove.
    fn mended(&mut self, file: &Arc<dyn SegmentFile>, page: &[u8], reason: String) -> Result<Content, OpenError> {
        let Ok(header) = SegmentHeader::decode(page) else { return Ok(Content::Headless(reason)) };
        let mut content = self.segment(file, header)?;
        if let Content::Segment(found) = &mut content {
            found.bad_header = Some(reason);
        }
        Ok(content)
    }

    /// The segment of this header, and the header's checksum.
    fn segment(
        &mut self,
        file: &Arc<dyn SegmentFile>,
        (header, header_crc): (SegmentHeader, u32),
    ) -> Result<Content, OpenError> {
        let length = file.length().map_err(self.failed("look at"))?;
        let footer = read_footer(file, &header, length).map_err(self.failed("read"))?.map(|(footer, _)| footer);
        let end = footer.map_or(length, |footer| footer.data_end);
        // An opening follows the links where no footer says where the blocks end.
        let link = footer.is_none().then_some(header_crc);
        let first = FirstBlock { epoch: header.epoch, base: header.base_sequence, link };
        let blocks = self.surveyor.blocks(&**file, first, end, self.progress);
        let mut blocks = blocks.map_err(self.failed("read"))?;
        if let Some(footer) = footer {
            blocks.expect_footer(&footer);
        }
        if footer.is_none()
            && blocks.stretches.is_empty()
            && let Some(reason) = contradiction(&**file, &header).map_err(self.failed("read"))?
        {
            return Ok(Content::Headless(format!("segment header: {reason}")));
        }
        let (has_bad_index, unlike_crash) = match footer {
            Some(footer) => check_index(&**file, &footer).map(|fault| (fault.is_some(), None)),
            None => unlike_crash(&**file, &header, length, &blocks).map(|unlike| (false, unlike)),
        }
        .map_err(self.failed("read"))?;
        let totals = blocks.walked_totals.filter(|_| footer.is_none());
        let is_bad = totals.map(|totals| is_damaged_footer(file, &header, &totals)).transpose();
        let has_bad_footer = is_bad.map_err(self.failed("read"))?.unwrap_or(false);
        let bad_header = None;
        let found = FoundBlocks { header, footer, blocks, bad_header, has_bad_index, has_bad_footer, unlike_crash };
        Ok(Content::Segment(Box::new(found)))
    }
}

/// The header of a file, and its checksum; or what a file without one is.
fn header_of(
    name: &str,
    file: &Arc<dyn SegmentFile>,
    length: u64,
) -> io::Result<Result<(SegmentHeader, u32), Content>> {
    let page = page_of(&**file)?;
    Ok(match SegmentHeader::decode(&page) {
        Ok(header) => Ok(header),
        Err(_) if name == SPARE_NAME && page.iter().all(|&byte| byte == 0) && !is_acknowledged_spare(file, length)? => {
            Err(Content::Spare)
        }
        Err(source @ PageError::Version { .. }) => {
            Err(Content::OtherVersion(format!("{source}; {}", source.remedy("set it aside"))))
        }
        Err(error) => Err(Content::Headless(format!("segment header: {error}"))),
    })
}

/// The first page of a file, or what it has of that.
pub(super) fn page_of(file: &dyn SegmentFile) -> io::Result<Vec<u8>> {
    let mut page = vec![0; PAGE_BYTES];
    let read = file.read_at(&mut page, 0)?;
    page.truncate(read);
    Ok(page)
}

/// Finds bytes after the blocks of a file without a footer that an opening takes in, if no crash leaves them there.
fn unlike_crash(
    file: &dyn SegmentFile,
    header: &SegmentHeader,
    length: u64,
    blocks: &SegmentSurvey,
) -> io::Result<Option<DamagedPlace>> {
    let empty = Footer::of_empty(header.epoch, header.base_sequence, 0);
    let totals = blocks.walked_totals.unwrap_or(empty);
    let offset = totals.data_end;
    let bytes = &read_around(file, offset)?[..];
    let reason = if is_ending(bytes, &totals) {
        None
    } else if length < header.length {
        Some(format!("the file is cut short to {length} of {} bytes", header.length))
    } else if is_misplaced(bytes, &totals) {
        Some("a whole block that does not follow the one before it".to_owned())
    } else {
        None
    };
    Ok(reason.map(|reason| DamagedPlace { offset, reason }))
}

/// The reason for which the first block of a file is not one of the segment that the header names, although it is
/// whole.
fn contradiction(file: &dyn SegmentFile, header: &SegmentHeader) -> io::Result<Option<BlockError>> {
    let bytes = read_around(file, PAGE_BYTES as u64)?;
    let Ok(block) = BlockHeader::decode(&bytes) else { return Ok(None) };
    let checked = BlockView::check(&bytes, block.epoch);
    let (expected, found) = (header.base_sequence, block.first_sequence);
    let reason = match checked {
        Ok(_) if block.epoch != header.epoch => BlockError::Epoch { expected: header.epoch, found: block.epoch },
        Ok(_) if found != expected => BlockError::Sequence { expected, found },
        _ => return Ok(None),
    };
    Ok(Some(reason))
}

/// Reads the block at `offset`, of whatever size it may be; the bytes that may be one where none is.
pub(super) fn read_around(file: &dyn SegmentFile, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = zeroed(BLOCK_BYTES_MAX)?;
    let mut read = file.read_at(&mut bytes, offset)?;
    let needed = BlockHeader::decode(&bytes[..read]).map_or(0, |header| header.block_bytes as usize);
    if needed > bytes.len() {
        bytes = zeroed(needed)?;
        read = file.read_at(&mut bytes, offset)?;
    }
    bytes.truncate(read);
    Ok(bytes)
}
