//! The offsets of the structures in a log's files, and the repair of their checksums after a change: for tests that
//! harm a log.

use std::ops::Range;

use super::bytes::{get_u32, get_u64};
use super::{
    BLOCK_HEADER_BYTES, BLOCK_MAGIC, Checksum, ERAS_MAGIC, Epoch, FOOTER_MAGIC, GAPS_MAGIC, META_BYTES, META_MAGIC,
    NAMES_MAGIC, PAGE_BYTES, SEGMENT_MAGIC, crc32c,
};

/// Offsets that all pages and blocks share.
const CRC: usize = 8;
const VERSION: usize = 12;

/// The structures of a segment file.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// Its blocks.
    pub blocks: Vec<Range<usize>>,
    /// Its index, without padding.
    pub index: Option<Range<usize>>,
    /// Its last page, if that is a footer.
    pub footer: Option<Range<usize>>,
}

/// The treatment of a structure's link to the one before it when checksums are made right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It stays: a structure that has another checksum than before breaks the link to it.
    Kept,
    /// It is made right, too.
    Mended,
}

impl Layout {
    /// Of a file, up to the first block that says that it is shorter than its header, or longer than the file.
    pub fn of(bytes: &[u8]) -> Self {
        let mut layout = Self::default();
        let mut at = PAGE_BYTES;
        while bytes.get(at..at + 8) == Some(&BLOCK_MAGIC) {
            let length = bytes.get(at + 36..at + 40).map_or(0, |_| get_u32(bytes, at + 36) as usize);
            if !(BLOCK_HEADER_BYTES..=bytes.len() - at).contains(&length) {
                break;
            }
            layout.blocks.push(at..at + length);
            at += length;
        }
        let last = bytes.len().saturating_sub(PAGE_BYTES);
        if bytes.get(last..last + 8) == Some(&FOOTER_MAGIC) {
            layout.footer = Some(last..last + PAGE_BYTES);
            let length = get_u64(bytes, last + 88) as usize;
            layout.index = (length > 0).then_some(at..at + length);
        }
        layout
    }

    /// End of the blocks.
    pub fn data_end(&self) -> usize {
        self.blocks.last().map_or(PAGE_BYTES, |block| block.end)
    }

    /// Makes every checksum right.
    pub fn sum(&self, bytes: &mut [u8], links: Links) {
        if bytes.get(..8) == Some(&SEGMENT_MAGIC) && bytes.len() >= PAGE_BYTES {
            sum_page(&mut bytes[..PAGE_BYTES]);
        }
        let mut before = get_u32(bytes, CRC);
        for block in &self.blocks {
            let Some(rest) = bytes.get_mut(block.start..) else { break };
            before = sum_block(rest, block.len(), (links == Links::Mended).then_some(before)).unwrap_or(before);
        }
        let Some(footer) = self.footer.clone().filter(|footer| footer.end <= bytes.len()) else { return };
        if links == Links::Mended {
            bytes[footer.start + 80..][..4].copy_from_slice(&before.to_le_bytes());
            if let Some(index) = &self.index {
                let length = (get_u64(bytes, footer.start + 88) as usize).min(bytes.len().saturating_sub(index.start));
                let crc = crc32c(bytes.get(index.start..index.start + length).unwrap_or_default());
                bytes[footer.start + 96..][..4].copy_from_slice(&crc.to_le_bytes());
            }
        }
        sum_page(&mut bytes[footer]);
    }
}

/// Sums the block at the beginning of `bytes`, as long as it says, else as it was. Returns its header's checksum.
fn sum_block(bytes: &mut [u8], was: usize, before: Option<u32>) -> Option<u32> {
    let says = bytes.get(36..40).map(|_| get_u32(bytes, 36) as usize)?;
    let length = if (BLOCK_HEADER_BYTES..=bytes.len()).contains(&says) { says } else { was.min(bytes.len()) };
    let block = bytes.get_mut(..length).filter(|block| block.len() >= BLOCK_HEADER_BYTES)?;
    if let Some(before) = before {
        block[44..48].copy_from_slice(&before.to_le_bytes());
    }
    let mut body = Checksum::default();
    body.update(&block[BLOCK_HEADER_BYTES..]);
    let body = body.finish(Epoch::new(get_u64(block, 16)));
    block[12..16].copy_from_slice(&body.to_le_bytes());
    let header = crc32c(&block[VERSION..BLOCK_HEADER_BYTES]);
    block[CRC..VERSION].copy_from_slice(&header.to_le_bytes());
    Some(header)
}

fn sum_page(page: &mut [u8]) {
    let crc = crc32c(&page[VERSION..]);
    page[CRC..VERSION].copy_from_slice(&crc.to_le_bytes());
}

/// Makes the checksums of a file that is no segment right.
pub fn sum_small(bytes: &mut [u8]) {
    let Some(magic) = bytes.first_chunk::<8>().copied() else { return };
    if magic == META_MAGIC && bytes.len() >= META_BYTES {
        sum_page(&mut bytes[..META_BYTES]);
    } else if [ERAS_MAGIC, NAMES_MAGIC].contains(&magic) && bytes.len() > VERSION {
        sum_page(bytes);
    } else {
        let slots = bytes.chunks_exact_mut(PAGE_BYTES);
        slots.filter(|slot| slot.starts_with(&GAPS_MAGIC)).for_each(sum_page);
    }
}
