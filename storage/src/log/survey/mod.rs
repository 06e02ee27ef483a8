//! A look at every block of a segment file, whatever is damaged between them.

mod ahead;

use std::io;
use std::sync::Arc;

use rkyv::util::AlignedVec;

use self::ahead::ReadAhead;
use super::ending::is_damaged_footer;
use super::{LogView, SealedFile, Segment};
use crate::device::{AlignedBytes, SegmentFile};
use crate::format::{
    ArchivedSegmentIndex, BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Epoch, Footer, PAGE_BYTES, RECORD_ALIGN,
    RECORD_ROOT_BYTES, Sequence,
};

/// The contents of a segment file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentSurvey {
    /// Blocks that check, one after the other, in order.
    pub stretches: Vec<Stretch>,
    /// The places that do not check, in order.
    pub damage: Vec<DamagedPlace>,
    /// Blocks that check.
    pub blocks: u64,
    /// Records in them that check.
    pub events: u64,
    /// Bytes looked at.
    pub bytes: u64,
    /// The highest durable watermark that the header of a block states, whether the block's body checks or not.
    pub durable: Sequence,
    /// The blocks that an opening takes in if the segment has no footer; `None` if it takes in none.
    pub(super) walked: Option<Stretch>,
    /// The totals that the footer of these blocks would have.
    pub(super) walked_totals: Option<Footer>,
    /// The totals that the footer of all blocks that check would have.
    totals: Option<Footer>,
}

/// Blocks without a hole between them.
///
/// ```
/// # use tapeline_storage::format::Sequence;
/// # use tapeline_storage::log::Stretch;
/// let kept = Stretch { first: Sequence::new(10), end: Sequence::new(15), from: 4096, to: 12_288 };
/// assert_eq!((kept.end.since(kept.first), kept.to - kept.from), (5, 8192));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Sequence of the first record.
    pub first: Sequence,
    /// Sequence after the last record.
    pub end: Sequence,
    /// Offset of the first block.
    pub from: u64,
    /// Offset after the last block.
    pub to: u64,
}

/// Bytes that do not check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPlace {
    /// Offset of their start in the file.
    pub offset: u64,
    /// The fault.
    pub reason: String,
}

impl DamagedPlace {
    /// The footer page of a segment whose blocks end at `data_end`, all of them intact.
    pub(super) fn of_footer(data_end: u64) -> Self {
        Self { offset: data_end, reason: "the footer does not check; the events before it are intact".into() }
    }
}

impl SegmentSurvey {
    /// Offset after the blocks that an opening takes in.
    pub(super) fn walked_end(&self) -> u64 {
        self.walked.map_or(PAGE_BYTES as u64, |walked| walked.to)
    }

    /// Sequence after the last record.
    pub fn end(&self) -> Option<Sequence> {
        self.stretches.last().map(|stretch| stretch.end)
    }

    /// Compares with the footer: no block shows what is missing at the end. The blocks have to end where the footer
    /// says, and to be as many and of the times that it says.
    pub(super) fn expect_footer(&mut self, footer: &Footer) {
        self.expect(footer.end_sequence, footer.base_sequence, footer.data_end);
        let found = self.totals.filter(|_| self.damage.is_empty());
        let reason = found.and_then(|found| contradiction(footer, &found));
        self.damage.extend(reason.map(|reason| DamagedPlace { offset: footer.offset(), reason }));
    }

    fn expect(&mut self, expected: Sequence, base: Sequence, data_end: u64) {
        let found = self.end().unwrap_or(base);
        if self.damage.is_empty() && found != expected {
            let reason = BlockError::Sequence { expected, found }.to_string();
            self.damage.push(DamagedPlace { offset: data_end, reason });
        }
    }
}

/// Looks at segments, one after the other.
#[derive(Debug, Default)]
pub struct Surveyor {
    ahead: ReadAhead,
}

impl Surveyor {
    /// Looks at the blocks of a segment of `view` up to the end that is known of it, and at its index. `progress` gets
    /// the bytes of each step. Of a segment that was trimmed meanwhile nothing is found.
    ///
    /// # Errors
    /// The kernel's, where the file cannot be had or read, or threads. What the device does not give counts as damaged.
    pub fn segment(
        &mut self,
        view: &LogView,
        segment: &Segment,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<SegmentSurvey> {
        let (file, footer) = match open(segment) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && view.was_trimmed(segment, segment.base()) => {
                return Ok(SegmentSurvey::default());
            }
            opened => opened?,
        };
        let data_end = footer.map_or_else(|| segment.data_end(), |footer| footer.data_end);
        let epoch = footer.map_or_else(|| segment.epoch(), |footer| footer.epoch);
        let expected = footer.map_or_else(|| segment.end_sequence(), |footer| footer.end_sequence);
        // Of a segment that was merged meanwhile it is all that the merged one holds.
        let base = footer.map_or_else(|| segment.base(), |footer| footer.base_sequence);
        // An opening has followed the links of a segment without a footer up to its end.
        let mut found = self.blocks(&*file, FirstBlock { epoch, base, link: None }, data_end, progress)?;
        match &footer {
            Some(footer) => found.expect_footer(footer),
            None => found.expect(expected, base, data_end),
        }
        let totals = found.totals.filter(|_| footer.is_none() && found.damage.is_empty());
        if let Some(totals) = totals
            && is_damaged_footer(&file, segment.header(), &totals)?
        {
            found.damage.push(DamagedPlace::of_footer(data_end));
        }
        match footer.map(|footer| check_index(&*file, &footer)) {
            Some(Err(error)) => {
                found.damage.push(DamagedPlace { offset: data_end, reason: format!("index: {error}") });
            }
            Some(Ok(damage)) => found.damage.extend(damage),
            None => {}
        }
        Ok(found)
    }

    /// Looks at the blocks before `end`, an offset.
    ///
    /// # Errors
    /// As [`Surveyor::segment`].
    pub(super) fn blocks(
        &mut self,
        file: &dyn SegmentFile,
        first: FirstBlock,
        end: u64,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<SegmentSurvey> {
        let mut survey = Survey::new(first, end);
        let (mut rest, mut fault) = (AlignedVec::<RECORD_ALIGN>::new(), None);
        self.ahead.read(file, survey.offset..end, |chunk| {
            let before = survey.offset + rest.len() as u64;
            // A block may lie across two chunks, and the fault in either.
            fault = chunk.fault.take().or_else(|| fault.take().filter(|_| !rest.is_empty()));
            let left = if rest.len() > BLOCK_BYTES_MAX || whole_block(&rest) > BLOCK_BYTES_MAX {
                // A large block is put together of many chunks.
                rest.extend_from_slice(chunk.bytes());
                survey.steps(&rest, fault.as_ref()).len()
            } else {
                chunk.put_before(&rest);
                let left = survey.steps(chunk.bytes(), fault.as_ref());
                rest.clear();
                rest.extend_from_slice(left);
                left.len()
            };
            let passed = rest.len() - left;
            rest.copy_within(passed.., 0);
            rest.resize(left, 0);
            progress((survey.offset + left as u64).saturating_sub(before));
        })?;
        // A block that the file ends in.
        let mut bytes = &rest[..];
        while !bytes.is_empty() {
            survey.take_damaged_header(bytes);
            survey.take_damage(&short(bytes));
            bytes = bytes.get(PAGE_BYTES..).unwrap_or_default();
        }
        Ok(SegmentSurvey { bytes: end, ..survey.found })
    }
}

/// The facts that the first block of a segment states.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstBlock {
    pub(super) epoch: Epoch,
    /// Its first sequence.
    pub(super) base: Sequence,
    /// The checksum of the segment's header, to which it links. `None`: links are not looked at. An opening follows
    /// them in a segment that has no footer, and ends at a block whose link is broken.
    pub(super) link: Option<u32>,
}

/// The file of a segment, and what it says of itself if it is sealed.
fn open(segment: &Segment) -> io::Result<(Arc<dyn SegmentFile>, Option<Footer>)> {
    match segment.footer() {
        Some(_) => segment.sealed_file().map(|SealedFile { file, footer }| (file, Some(footer))),
        None => Ok((segment.file()?, None)),
    }
}

/// The first statement in which a footer and the blocks differ, if there is one.
fn contradiction(footer: &Footer, found: &Footer) -> Option<String> {
    let fields = |footer: &Footer| {
        [
            ("blocks", footer.blocks),
            ("bytes of records", footer.records_bytes),
            ("smallest timestamp", footer.first_timestamp),
            ("largest timestamp", footer.last_timestamp),
            ("checksum of the last block's header", u64::from(footer.last_block_crc)),
        ]
    };
    let pairs = fields(footer).into_iter().zip(fields(found));
    let (field, stated, found) =
        pairs.map(|((field, stated), (_, found))| (field, stated, found)).find(|(_, stated, found)| stated != found)?;
    Some(format!("footer: {field} {stated}, the blocks have {found}"))
}

/// The fault of the index that a footer names, if there is one.
///
/// # Errors
/// The kernel's.
pub(super) fn check_index(file: &dyn SegmentFile, footer: &Footer) -> io::Result<Option<DamagedPlace>> {
    let Some(place) = footer.index else { return Ok(None) };
    let mut bytes = AlignedBytes::zeroed(place.file_bytes() as usize)?;
    let read = file.read_at(bytes.as_mut_slice(), footer.data_end)?;
    let index = ArchivedSegmentIndex::decode(&bytes.as_slice()[..read], place, footer.epoch);
    let damage = || DamagedPlace { offset: footer.data_end, reason: "the index does not check".into() };
    Ok(index.is_none().then(damage))
}

/// A segment that is looked at.
struct Survey {
    epoch: Epoch,
    /// The sequence at which the next block begins.
    next: Sequence,
    offset: u64,
    is_damaged_here: bool,
    links: Links,
    /// More records than a file of this length holds.
    records_max: u64,
    /// True if an opening that follows the blocks comes as far as here.
    is_walked: bool,
    /// The totals of a footer without blocks.
    empty: Footer,
    found: SegmentSurvey,
}

/// The checksum to which the next block links.
#[derive(Clone, Copy)]
enum Links {
    /// They are not looked at.
    Ignored,
    /// The block before it is damaged.
    Unknown,
    /// The checksum of the header before it.
    To(u32),
}

impl Survey {
    /// Of a file whose blocks end before `end`.
    fn new(FirstBlock { epoch, base, link }: FirstBlock, end: u64) -> Self {
        Self {
            epoch,
            next: base,
            offset: PAGE_BYTES as u64,
            is_damaged_here: false,
            links: link.map_or(Links::Ignored, Links::To),
            records_max: end / RECORD_ROOT_BYTES as u64,
            is_walked: true,
            empty: Footer::of_empty(epoch, base, link.unwrap_or_default()),
            found: SegmentSurvey::default(),
        }
    }

    /// Looks at the blocks that `bytes` begin with. Returns what follows the last that is there to its end.
    fn steps<'b>(&mut self, mut bytes: &'b [u8], fault: Option<&io::Error>) -> &'b [u8] {
        while let Some(after) = self.step(bytes, fault) {
            bytes = after;
        }
        bytes
    }

    /// Looks at the block that `bytes` begin with, and returns what follows it; after damage, the next page. `None` if
    /// the block is not there to its end.
    fn step<'b>(&mut self, bytes: &'b [u8], fault: Option<&io::Error>) -> Option<&'b [u8]> {
        if bytes.len() < whole_block(bytes) {
            return None;
        }
        let checked = BlockView::check(bytes, self.epoch).and_then(|view| {
            let found = view.header().first_sequence;
            // After damage there is a hole.
            let fits = found == self.next || (self.is_damaged_here && found > self.next);
            if fits { Ok(view) } else { Err(BlockError::Sequence { expected: self.next, found }) }
        });
        let taken = match checked {
            Ok(view) => {
                self.take_link(view.header());
                self.take(&view);
                view.header().block_bytes as usize
            }
            Err(error) => {
                self.take_damaged_header(bytes);
                match fault {
                    Some(fault) => self.take_damage(fault),
                    None => self.take_damage(&error),
                }
                PAGE_BYTES
            }
        };
        bytes.get(taken..)
    }

    /// The header of a block may check where its body does not, and an opening believes it.
    fn take_damaged_header(&mut self, bytes: &[u8]) {
        if let Ok(header) = BlockHeader::decode(bytes)
            && header.epoch == self.epoch
        {
            self.take_watermark(&header);
        }
    }

    /// A block states no event that comes later than those of its segment: a higher watermark would use up sequences.
    fn take_watermark(&mut self, header: &BlockHeader) {
        let most = header.first_sequence.plus(self.records_max);
        self.found.durable = self.found.durable.max(header.durable_sequence.min(most));
    }

    fn take_damage(&mut self, reason: &dyn std::fmt::Display) {
        self.note_damage(reason);
        self.is_walked = false;
        if matches!(self.links, Links::To(_)) {
            self.links = Links::Unknown;
        }
        self.offset += PAGE_BYTES as u64;
    }

    /// Damage begins here, unless it has begun before.
    fn note_damage(&mut self, reason: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.is_damaged_here, true) {
            self.found.damage.push(DamagedPlace { offset: self.offset, reason: reason.to_string() });
        }
    }

    /// A block that links to another than the one before it is whole, but not what an opening goes on with.
    fn take_link(&mut self, header: &BlockHeader) {
        if let Links::To(expected) = self.links
            && header.previous_crc != expected
        {
            self.note_damage(&BlockError::Link { expected, found: header.previous_crc });
            self.is_walked = false;
        }
        if !matches!(self.links, Links::Ignored) {
            self.links = Links::To(header.header_crc);
        }
    }

    fn take(&mut self, view: &BlockView<'_>) {
        let header = view.header();
        let block = Stretch {
            first: header.first_sequence,
            end: header.end_sequence(),
            from: self.offset,
            to: self.offset + u64::from(header.block_bytes),
        };
        self.take_watermark(header);
        self.is_walked = self.is_walked && self.found.walked.is_none_or(|walked| walked.end == block.first);
        if self.is_walked {
            let walked = self.found.walked.get_or_insert(block);
            (walked.end, walked.to) = (block.end, block.to);
            self.found.walked_totals.get_or_insert(self.empty).add(header);
        }
        match view.records().try_fold(0, |count, record| record.map(|_| count + 1)) {
            Ok(count) => {
                self.found.totals.get_or_insert(self.empty).add(header);
                self.take_block(block, count);
            }
            // An opening does not look at records. How many there are is not known.
            Err(error) => self.note_damage(&error),
        }
        self.offset = block.to;
    }

    fn take_block(&mut self, block: Stretch, events: u64) {
        self.found.blocks += 1;
        self.found.events += events;
        match self.found.stretches.last_mut() {
            Some(last) if !self.is_damaged_here => (last.end, last.to) = (block.end, block.to),
            _ => self.found.stretches.push(block),
        }
        self.next = block.end;
        self.is_damaged_here = false;
    }
}

/// Bytes that the block at the start of `bytes` has; a page, if that is no block.
fn whole_block(bytes: &[u8]) -> usize {
    match BlockHeader::decode(bytes) {
        Ok(header) => (header.block_bytes as usize).max(PAGE_BYTES),
        Err(_) => PAGE_BYTES,
    }
}

fn short(bytes: &[u8]) -> BlockError {
    BlockError::Short { needed: whole_block(bytes), found: bytes.len() }
}
