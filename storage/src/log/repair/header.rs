//! The header page of a segment whose own page does not check, or is another's: as the blocks after it prove it.
//!
//! The log knows most of a header: log and shard, and from the blocks the epoch and the first sequence. Two things show
//! that the blocks are of this shard and not of another log's file. The first block states the checksum of the page, so
//! that a page of which one byte more is wrong is found as it was. Otherwise the blocks' epoch shows it, if the opening
//! that drew it has left a segment whose header is intact: what is made then says less of when the segment began.

use std::io;
use std::sync::Arc;

use super::super::Segment;
use super::super::ending::read_last_page;
use super::super::run::Epochs;
use super::survey::{page_of, read_around};
use crate::device::{Access, Directory, SegmentFile};
use crate::format::{
    BLOCK_BYTES_MAX, BlockHeader, BlockView, Epoch, Footer, LogShard, PAGE_BYTES, SegmentHeader, Sequence,
};

const PAGE: u64 = PAGE_BYTES as u64;

/// A shard, and the directory that is to be its.
#[derive(Clone, Copy)]
pub(super) struct Shard<'a> {
    pub(super) directory: &'a dyn Directory,
    pub(super) identity: LogShard,
}

/// The statements of a segment's blocks, or of its footer, about its header.
struct Told {
    epoch: Epoch,
    base: Sequence,
    /// The checksum of the header, if the first block is intact.
    link: Option<u32>,
    /// The time of an event.
    time: u64,
}

impl Shard<'_> {
    /// The header page of the segment in the file `name`; `None` where nothing proves that it is one of this shard.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn proven_header(
        &self,
        name: &str,
        file: &Arc<dyn SegmentFile>,
    ) -> io::Result<Option<[u8; PAGE_BYTES]>> {
        let length = file.length()?;
        let Some(told) = told(name, file, length)? else { return Ok(None) };
        let known = SegmentHeader {
            log_id: self.identity.log_id,
            shard: self.identity.number,
            epoch: told.epoch,
            base_sequence: told.base,
            created: told.time,
            run: told.epoch,
            is_merged: false,
            length: length - length % PAGE,
        };
        let page = page_of(&**file)?;
        if let Some((page, _)) = told.link.and_then(|link| SegmentHeader::mend(&page, &known, link)) {
            return Ok(Some(page));
        }
        let run = self.runs_beside(name)?.into_iter().find(|&run| Epochs::has_drawn(run, told.epoch));
        Ok(run.map(|run| SegmentHeader { run, ..known }.encode().0))
    }

    /// The runs that the intact headers of the other segments state.
    fn runs_beside(&self, name: &str) -> io::Result<Vec<Epoch>> {
        let mut runs = Vec::new();
        for other in self.directory.list()?.into_iter().filter(|other| other.ends_with(".seg") && other != name) {
            let Ok(file) = self.directory.open(&other, Access::Read) else { continue };
            let page = page_of(&*file)?;
            match SegmentHeader::decode(&page) {
                Ok((header, _)) if header.log_shard() == self.identity => {
                    runs.push(header.run);
                    runs.extend(SegmentHeader::later_runs(&page).iter().map(|start| start.run));
                }
                _ => {}
            }
        }
        runs.dedup();
        Ok(runs)
    }
}

/// The statements of the first block; without it those of the footer, or of the first block that is intact.
fn told(name: &str, file: &Arc<dyn SegmentFile>, length: u64) -> io::Result<Option<Told>> {
    if let Some(block) = whole_block(&read_around(&**file, PAGE)?) {
        let link = Some(block.previous_crc);
        return Ok(Some(Told { epoch: block.epoch, base: block.first_sequence, link, time: block.first_timestamp }));
    }
    if let Some(Ok(footer)) = read_last_page(file, length)?.as_deref().map(Footer::decode) {
        let (base, time) = (footer.base_sequence, footer.first_timestamp);
        return Ok((footer.offset() + PAGE == length).then_some(Told { epoch: footer.epoch, base, link: None, time }));
    }
    let Some(base) = Segment::base_of_name(name) else { return Ok(None) };
    let mut at = PAGE;
    while at < length {
        let bytes = read_around(&**file, at)?;
        let mut pages = (0..bytes.len().min(BLOCK_BYTES_MAX)).step_by(PAGE_BYTES);
        if let Some(start) = pages.find(|&start| BlockHeader::decode(&bytes[start..]).is_ok()) {
            let found = whole_block(&read_around(&**file, at + start as u64)?);
            if let Some(block) = found.filter(|block| block.first_sequence >= base) {
                let time = block.first_timestamp;
                return Ok(Some(Told { epoch: block.epoch, base, link: None, time }));
            }
            at += start as u64 + PAGE;
        } else {
            at += BLOCK_BYTES_MAX as u64;
        }
    }
    Ok(None)
}

/// The header of the block that `bytes` begin with, if it checks to its end.
fn whole_block(bytes: &[u8]) -> Option<BlockHeader> {
    let header = BlockHeader::decode(bytes).ok()?;
    BlockView::check(bytes, header.epoch).ok().map(|view| *view.header())
}
