//! One segment file as its writer and its readers share it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::view::lock;
use crate::device::{Mapping, SegmentFile};
use crate::format::{
    ArchivedIndexedBlock, ArchivedSegmentIndex, BlockHeader, Epoch, Footer, PAGE_BYTES, SegmentHeader, Sequence,
    SessionFilter, SessionId,
};

/// Where a block starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlace {
    /// Sequence of its first record.
    pub first_sequence: Sequence,
    /// Sequence after its last record.
    pub end_sequence: Sequence,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Smallest timestamp in it.
    pub first_timestamp: u64,
    /// Largest timestamp in it.
    pub last_timestamp: u64,
}

impl BlockPlace {
    /// The place of the block with this header.
    pub(crate) fn of(header: &BlockHeader, offset: u64) -> Self {
        Self {
            first_sequence: header.first_sequence,
            end_sequence: header.end_sequence(),
            offset,
            first_timestamp: header.first_timestamp,
            last_timestamp: header.last_timestamp,
        }
    }
}

/// A segment: a header, and blocks up to an end that grows until the segment is sealed.
#[derive(Debug)]
pub struct Segment {
    header: SegmentHeader,
    file: Arc<dyn SegmentFile>,
    /// End of the contiguous completed blocks, in bytes.
    data_end: AtomicU64,
    end_sequence: AtomicU64,
    places: Mutex<Vec<BlockPlace>>,
    ending: OnceLock<Ending>,
    sealed: OnceLock<SealedMap>,
}

/// What the last page of a sealed segment says.
#[derive(Debug)]
struct Ending {
    footer: Footer,
    filter: SessionFilter,
}

/// The mapping of a sealed segment, with a bit for each page where a checked block starts.
#[derive(Debug)]
pub(crate) struct SealedMap {
    pub(crate) mapping: Box<dyn Mapping>,
    checked: Vec<AtomicU64>,
    /// Whether the index has been found to match its checksum.
    index_summed: AtomicBool,
}

impl SealedMap {
    fn new(mapping: Box<dyn Mapping>) -> Self {
        let pages = mapping.bytes().len().div_ceil(PAGE_BYTES);
        let checked = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { mapping, checked, index_summed: AtomicBool::new(false) }
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
}

impl Segment {
    /// A segment with these blocks, not sealed.
    pub(crate) fn new(
        header: SegmentHeader,
        file: Arc<dyn SegmentFile>,
        data_end: u64,
        end_sequence: Sequence,
        places: Vec<BlockPlace>,
    ) -> Arc<Self> {
        Arc::new(Self {
            header,
            file,
            data_end: AtomicU64::new(data_end),
            end_sequence: AtomicU64::new(end_sequence.get()),
            places: Mutex::new(places),
            ending: OnceLock::new(),
            sealed: OnceLock::new(),
        })
    }

    /// The same segment with another ending.
    pub(crate) fn sealed_again(&self, footer: Footer, filter: SessionFilter) -> Arc<Self> {
        let places = lock(&self.places).clone();
        let segment = Self::new(self.header, Arc::clone(&self.file), footer.data_end, footer.end_sequence, places);
        segment.seal(footer, filter);
        segment
    }

    /// File name of the segment that starts at `base`.
    pub fn file_name(base: Sequence) -> String {
        format!("{:020}.seg", base.get())
    }

    /// The base sequence in a file name, if it is one of a segment.
    pub fn base_of_name(name: &str) -> Option<Sequence> {
        let digits = name.strip_suffix(".seg")?;
        let canonical = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
        canonical.then(|| digits.parse().ok().map(Sequence::new)).flatten()
    }

    /// The header.
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Sequence of the first record.
    pub fn base(&self) -> Sequence {
        self.header.base_sequence
    }

    /// Sequence after the last record that has reached the file.
    pub fn end_sequence(&self) -> Sequence {
        // SYNC: pairs with the Release store in extend(): data_end and the place are there.
        Sequence::new(self.end_sequence.load(Ordering::Acquire))
    }

    /// End of the blocks that have reached the file, in bytes.
    pub fn data_end(&self) -> u64 {
        self.data_end.load(Ordering::Acquire)
    }

    /// The footer, once the segment is sealed.
    pub fn footer(&self) -> Option<&Footer> {
        self.ending.get().map(|ending| &ending.footer)
    }

    /// Bytes of the file that hold something: of a sealed segment its length.
    pub fn file_bytes(&self) -> u64 {
        self.footer().map_or_else(|| self.data_end(), |footer| footer.offset() + PAGE_BYTES as u64)
    }

    /// Whether events of the session may be in the segment: false is certain.
    pub(crate) fn may_hold(&self, session: SessionId) -> bool {
        self.ending.get().is_none_or(|ending| ending.filter.may_hold(session))
    }

    pub(crate) fn file(&self) -> &Arc<dyn SegmentFile> {
        &self.file
    }

    /// A block has reached the file behind the others.
    pub(crate) fn extend(&self, place: BlockPlace, data_end: u64, end_sequence: Sequence) {
        lock(&self.places).push(place);
        self.data_end.store(data_end, Ordering::Release);
        // SYNC: pairs with the Acquire load in end_sequence().
        self.end_sequence.store(end_sequence.get(), Ordering::Release);
    }

    /// The segment has its footer and will not change any more.
    pub(crate) fn seal(&self, footer: Footer, filter: SessionFilter) {
        let _ = self.ending.set(Ending { footer, filter });
    }

    /// Looks into the index. `None` where there is none, or one that does not check: the blocks have to do.
    ///
    /// Costs the reading of the index and a checksum pass at the first call, and a look at each element at every one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn with_index<T>(&self, look: impl FnOnce(&ArchivedSegmentIndex) -> T) -> io::Result<Option<T>> {
        let Some(place) = self.footer().and_then(|footer| footer.index) else { return Ok(None) };
        let Some(sealed) = self.sealed_map()? else { return Ok(None) };
        let start = self.data_end() as usize;
        let Some(range) = start.checked_add(place.length as usize).map(|end| start..end) else { return Ok(None) };
        if range.end > sealed.mapping.bytes().len() {
            return Ok(None);
        }
        sealed.mapping.populate(range.clone())?;
        let is_summed = sealed.index_summed.load(Ordering::Relaxed);
        let index = ArchivedSegmentIndex::decode(&sealed.mapping.bytes()[range], place, self.epoch(), is_summed);
        if index.is_some() && !is_summed {
            sealed.index_summed.store(true, Ordering::Relaxed);
        }
        Ok(index.map(look))
    }

    /// The mapping of a sealed segment, made at the first call. `None` while the segment is not sealed.
    pub(crate) fn sealed_map(&self) -> io::Result<Option<&SealedMap>> {
        if self.footer().is_none() {
            return Ok(None);
        }
        if let Some(sealed) = self.sealed.get() {
            return Ok(Some(sealed));
        }
        let map = SealedMap::new(self.file.map()?);
        Ok(Some(self.sealed.get_or_init(|| map)))
    }

    /// The place of the block that holds `sequence`.
    ///
    /// A segment that was sealed before this process opened it has its places read at the first call: from its index, or
    /// from the block headers, about 1 us a block.
    ///
    /// # Errors
    /// The kernel's, where headers cannot be read.
    pub(crate) fn place_of(&self, sequence: Sequence) -> io::Result<Option<BlockPlace>> {
        self.with_places(sequence, |places, after| places.get(after.checked_sub(1)?).copied())
    }

    /// The place of the block behind the one that holds `sequence`, if it is known. Cost as [`Segment::place_of`].
    ///
    /// # Errors
    /// As [`Segment::place_of`].
    pub(crate) fn place_after(&self, sequence: Sequence) -> io::Result<Option<BlockPlace>> {
        self.with_places(sequence, |places, after| places.get(after).copied())
    }

    /// Sequence after the last block whose place is known. Cost as [`Segment::place_of`].
    ///
    /// # Errors
    /// As [`Segment::place_of`].
    pub(crate) fn known_end(&self) -> io::Result<Sequence> {
        self.with_places(self.base(), |places, _| places.last().map_or(self.base(), |last| last.end_sequence))
    }

    /// Looks among the places, of which the first `after` start at `sequence` or before.
    fn with_places<T>(&self, sequence: Sequence, look: impl FnOnce(&[BlockPlace], usize) -> T) -> io::Result<T> {
        let mut places = lock(&self.places);
        if places.is_empty() && self.footer().is_some() {
            *places = self.read_places()?;
        }
        let after = places.partition_point(|place| place.first_sequence <= sequence);
        Ok(look(&places, after))
    }

    fn read_places(&self) -> io::Result<Vec<BlockPlace>> {
        match self.with_index(|index| self.indexed_places(index))? {
            Some(places) => Ok(places),
            None => self.walk_places(),
        }
    }

    fn indexed_places(&self, index: &ArchivedSegmentIndex) -> Vec<BlockPlace> {
        let ends = index.blocks.iter().skip(1).map(|block| Sequence::new(block.first_sequence.to_native()));
        let place = |(block, end_sequence): (&ArchivedIndexedBlock, Sequence)| BlockPlace {
            first_sequence: Sequence::new(block.first_sequence.to_native()),
            end_sequence,
            offset: block.offset.to_native(),
            first_timestamp: block.first_timestamp.to_native(),
            last_timestamp: block.last_timestamp.to_native(),
        };
        index.blocks.iter().zip(ends.chain([self.end_sequence()])).map(place).collect()
    }

    /// Hops from header to header as far as they chain; a reader meets what is behind with its own checks.
    fn walk_places(&self) -> io::Result<Vec<BlockPlace>> {
        let Some(sealed) = self.sealed_map()? else { return Ok(Vec::new()) };
        let (mut offset, end) = (PAGE_BYTES as u64, self.data_end());
        let mut places = Vec::new();
        while offset < end {
            let at = offset as usize;
            sealed.mapping.populate(at..at + PAGE_BYTES)?;
            let page = sealed.mapping.bytes().get(at..at + PAGE_BYTES).unwrap_or_default();
            let Ok(header) = BlockHeader::decode(page) else { break };
            places.push(BlockPlace::of(&header, offset));
            offset += u64::from(header.block_bytes);
        }
        Ok(places)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.header.epoch
    }
}
