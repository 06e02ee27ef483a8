//! What is in a shard's directory, file by file.

use super::super::roll::SPARE_NAME;
use super::super::scan::read_footer;
use super::super::seal::REPACK_NAME;
use super::super::survey::{SegmentSurvey, Surveyor, check_index};
use super::super::{OpenError, gaps};
use crate::device::Directory;
use crate::device::fs::is_no_file;
use crate::format::{Footer, Gaps, LogId, PAGE_BYTES, PageError, SegmentHeader, Sequence};

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

/// What is in a file.
#[derive(Debug)]
pub(super) enum Content {
    /// A segment of this shard.
    Segment(Box<FoundBlocks>),
    /// No segment of this shard, and why.
    Foreign(String),
    /// A spare that nothing was written to.
    Spare,
}

impl Content {
    /// Its blocks, or why there are none; `None` for a spare.
    pub(super) fn into_segment(self) -> Option<Result<SegmentSurvey, String>> {
        match self {
            Self::Spare => None,
            Self::Foreign(reason) => Some(Err(reason)),
            Self::Segment(found) => Some(Ok(found.into_blocks())),
        }
    }
}

/// A segment and its blocks.
#[derive(Debug)]
pub(super) struct FoundBlocks {
    pub(super) header: SegmentHeader,
    pub(super) footer: Option<Footer>,
    pub(super) blocks: SegmentSurvey,
    /// An index that does not check.
    pub(super) has_bad_index: bool,
}

impl FoundBlocks {
    /// Sequence after the last event that it should hold.
    pub(super) fn end(&self) -> Sequence {
        let found = self.blocks.end().unwrap_or(self.header.base_sequence);
        self.footer.map_or(found, |footer| footer.end_sequence)
    }

    /// Without what lies behind the last block of a segment that is not sealed: nothing was promised there.
    fn into_blocks(self) -> SegmentSurvey {
        let mut blocks = self.blocks;
        let end = blocks.stretches.last().map_or(PAGE_BYTES as u64, |last| last.to);
        if self.footer.is_none() {
            blocks.damage.retain(|place| place.offset < end);
        }
        blocks
    }
}

/// Looks at every file.
pub(super) fn survey(
    directory: &dyn Directory,
    log_id: LogId,
    shard: u16,
    progress: &mut dyn FnMut(u64),
) -> Result<ShardSurvey, OpenError> {
    let mut names = directory.list().map_err(OpenError::io("list", directory.path()))?;
    names.retain(|name| name.ends_with(".seg") || name == REPACK_NAME);
    names.sort_unstable();
    let gaps = match gaps::read(directory, log_id, shard) {
        Err(OpenError::Gaps { source, .. }) => Err(source.to_string()),
        Err(OpenError::Io { source, .. }) if is_no_file(&source) => Err(source.to_string()),
        read => Ok(read?),
    };
    let (mut files, mut surveyor) = (Vec::new(), Surveyor::default());
    for name in names {
        let content = match directory.open(&name, true) {
            Err(error) if is_no_file(&error) => Content::Foreign(error.to_string()),
            // An opening removes it.
            Ok(_) if name == REPACK_NAME => continue,
            _ => content(directory, &name, (log_id, shard), &mut surveyor, progress)?,
        };
        files.push(FileSurvey { name, content });
    }
    Ok(ShardSurvey { gaps, files })
}

fn content(
    directory: &dyn Directory,
    name: &str,
    owner: (LogId, u16),
    surveyor: &mut Surveyor,
    progress: &mut dyn FnMut(u64),
) -> Result<Content, OpenError> {
    let path = || format!("{}/{name}", directory.path());
    let file = directory.open(name, true).map_err(OpenError::io("open", path()))?;
    let length = file.length().map_err(OpenError::io("look at", path()))?;
    let mut page = vec![0; PAGE_BYTES];
    let read = file.read_at(&mut page, 0).map_err(OpenError::io("read", path()))?;
    let header = match SegmentHeader::decode(&page[..read]) {
        Ok((header, _)) => header,
        Err(_) if name == SPARE_NAME && page.iter().all(|&byte| byte == 0) => return Ok(Content::Spare),
        Err(PageError::Version { found }) => return Ok(Content::Foreign(format!("format version {found}"))),
        Err(error) => return Ok(Content::Foreign(format!("segment header: {error}"))),
    };
    if (header.log_id, header.shard) != owner {
        return Ok(Content::Foreign(format!("belongs to log {}, shard {}", header.log_id, header.shard)));
    }
    let footer = read_footer(&file, &header, length).map_err(OpenError::io("read", path()))?.map(|(footer, _)| footer);
    let end = footer.map_or(length, |footer| footer.data_end);
    let blocks = surveyor.blocks(&*file, header.epoch, header.base_sequence, end, progress);
    let mut blocks = blocks.map_err(OpenError::io("read", path()))?;
    if let Some(footer) = footer {
        blocks.expect_end(&footer);
    }
    let has_bad_index = match footer {
        None => false,
        Some(footer) => check_index(&*file, &footer).map_err(OpenError::io("read", path()))?.is_some(),
    };
    Ok(Content::Segment(Box::new(FoundBlocks { header, footer, blocks, has_bad_index })))
}
