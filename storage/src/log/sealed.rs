//! A sealed segment's file, mapped.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::places::{Around, BlockPlace, Places};
use crate::device::Mapping;
use crate::format::{ArchivedIndexedBlock, ArchivedSegmentIndex, BlockHeader, Epoch, Footer, PAGE_BYTES, Sequence};

/// The mapping of a sealed segment, with what this very file says of itself: a dense copy of a segment, or one with an
/// index, is another file with other offsets. A reader that holds it reads on in it, whatever becomes of the file's
/// name.
#[derive(Debug)]
pub(crate) struct SealedMap {
    footer: Footer,
    mapping: Box<dyn Mapping>,
    /// A bit for each page where a checked block starts.
    checked: Box<[AtomicU64]>,
    /// Records whether the index has been found to match its checksum, and the blocks.
    index: AtomicU8,
    places: OnceLock<Places>,
}

const INDEX_UNKNOWN: u8 = 0;
const INDEX_GOOD: u8 = 1;
const INDEX_BAD: u8 = 2;

impl SealedMap {
    /// `mapping` holds at least the blocks that `footer` counts.
    pub(super) fn new(footer: Footer, mapping: Box<dyn Mapping>) -> Self {
        let pages = mapping.bytes().len().div_ceil(PAGE_BYTES);
        let checked = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { footer, mapping, checked, index: AtomicU8::new(INDEX_UNKNOWN), places: OnceLock::new() }
    }

    pub(crate) fn mapping(&self) -> &dyn Mapping {
        &*self.mapping
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.footer.epoch
    }

    /// Sequence of the first record.
    pub(crate) fn base(&self) -> Sequence {
        self.footer.base_sequence
    }

    /// End of the blocks, in bytes.
    pub(crate) fn data_end(&self) -> u64 {
        self.footer.data_end
    }

    /// Bytes of memory that it takes, but for the mapped pages.
    pub(super) fn memory_bytes(&self) -> usize {
        self.checked.len() * size_of::<u64>() + self.places.get().map_or(0, Places::bytes)
    }

    pub(crate) fn is_checked(&self, offset: u64) -> bool {
        let page = offset as usize / PAGE_BYTES;
        self.checked.get(page / 64).is_some_and(|bits| bits.load(Ordering::Relaxed) >> (page % 64) & 1 == 1)
    }

    pub(crate) fn set_checked(&self, offset: u64) {
        let page = offset as usize / PAGE_BYTES;
        if let Some(bits) = self.checked.get(page / 64) {
            bits.fetch_or(1 << (page % 64), Ordering::Relaxed);
        }
    }

    /// Looks into the index. `None` where there is none, or one that does not check: the blocks have to do.
    ///
    /// Costs the reading of the index and a checksum pass at the first call.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn with_index<T>(&self, look: impl FnOnce(&ArchivedSegmentIndex) -> T) -> io::Result<Option<T>> {
        let Some(place) = self.footer.index else { return Ok(None) };
        let known = self.index.load(Ordering::Relaxed);
        let start = self.data_end() as usize;
        let end = usize::try_from(place.length).ok().and_then(|length| start.checked_add(length));
        let Some(end) = end.filter(|end| known != INDEX_BAD && *end <= self.mapping.bytes().len()) else {
            return Ok(None);
        };
        self.mapping.populate(start..end)?;
        let bytes = &self.mapping.bytes()[start..end];
        let decode =
            if known == INDEX_GOOD { ArchivedSegmentIndex::decode_summed } else { ArchivedSegmentIndex::decode };
        let index = decode(bytes, place, self.epoch());
        let index = index.filter(|index| known == INDEX_GOOD || self.is_of_blocks(index));
        self.index.store(if index.is_some() { INDEX_GOOD } else { INDEX_BAD }, Ordering::Relaxed);
        Ok(index.map(look))
    }

    /// Returns whether the blocks that the index lists can be those of the file.
    fn is_of_blocks(&self, index: &ArchivedSegmentIndex) -> bool {
        if index.blocks.is_empty() && index.sessions_left_out {
            return true;
        }
        let places = index.blocks.iter().map(|block| (block.offset.to_native(), block.first_sequence.to_native()));
        let mut before = None;
        let ascend = places.clone().all(|(offset, first)| {
            let fits = before.is_none_or(|(last_offset, last_first)| last_offset < offset && last_first < first);
            before = Some((offset, first));
            fits && offset.is_multiple_of(PAGE_BYTES as u64)
        });
        let begins = places.clone().next() == Some((PAGE_BYTES as u64, self.base().get()));
        let ends =
            before.is_some_and(|(offset, first)| offset < self.data_end() && first < self.footer.end_sequence.get());
        ascend && begins && ends && index.blocks.len() as u64 == self.footer.blocks
    }

    /// The blocks around `sequence`. Reads the places of all at the first call: from the index, or from the block
    /// headers, about 1 us a block.
    ///
    /// # Errors
    /// The kernel's, where headers cannot be read.
    pub(crate) fn around(&self, sequence: Sequence) -> io::Result<Around> {
        self.places()?.near(sequence).walk(sequence, |before| self.block_after(before))
    }

    /// The last block that can be found.
    ///
    /// # Errors
    /// As [`SealedMap::around`].
    pub(crate) fn last_place(&self) -> io::Result<Option<BlockPlace>> {
        Ok(self.places()?.last())
    }

    fn places(&self) -> io::Result<&Places> {
        if let Some(places) = self.places.get() {
            return Ok(places);
        }
        let places = match self.with_index(|index| self.indexed_places(index))? {
            Some(places) if !places.is_empty() => places,
            _ => self.walked_places()?,
        };
        Ok(self.places.get_or_init(|| places))
    }

    fn indexed_places(&self, index: &ArchivedSegmentIndex) -> Places {
        let ends = index.blocks.iter().skip(1).map(|block| Sequence::new(block.first_sequence.to_native()));
        let place = |(block, end_sequence): (&ArchivedIndexedBlock, Sequence)| BlockPlace {
            first_sequence: Sequence::new(block.first_sequence.to_native()),
            end_sequence,
            offset: block.offset.to_native(),
            first_timestamp: block.first_timestamp.to_native(),
            last_timestamp: block.last_timestamp.to_native(),
        };
        let mut places = Places::default();
        index.blocks.iter().zip(ends.chain([self.footer.end_sequence])).for_each(|it| places.push(place(it)));
        places
    }

    /// Hops from header to header as far as they chain; a reader meets the rest with its own checks.
    fn walked_places(&self) -> io::Result<Places> {
        let (mut places, mut offset) = (Places::default(), PAGE_BYTES as u64);
        while let Some(header) = self.header_at(offset)? {
            let place = BlockPlace::of(&header, offset);
            if places.last().is_some_and(|last| place.first_sequence <= last.first_sequence) {
                break;
            }
            places.push(place);
            offset += u64::from(header.block_bytes);
        }
        Ok(places)
    }

    fn block_after(&self, before: &BlockPlace) -> io::Result<Option<BlockPlace>> {
        let Some(header) = self.header_at(before.offset)? else { return Ok(None) };
        let offset = before.offset + u64::from(header.block_bytes);
        Ok(self.header_at(offset)?.map(|header| BlockPlace::of(&header, offset)))
    }

    fn header_at(&self, offset: u64) -> io::Result<Option<BlockHeader>> {
        if offset >= self.data_end() {
            return Ok(None);
        }
        let at = offset as usize;
        self.mapping.populate(at..at + PAGE_BYTES)?;
        let page = self.mapping.bytes().get(at..at + PAGE_BYTES).unwrap_or_default();
        Ok(BlockHeader::decode(page).ok().filter(|header| header.epoch == self.epoch()))
    }
}
