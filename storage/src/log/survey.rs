//! A look at every block of a segment file, whatever is damaged between them.

mod ahead;

use std::io;
use std::sync::Arc;

use self::ahead::ReadAhead;
use super::{LogView, SealedFile, Segment};
use crate::device::SegmentFile;
use crate::format::{
    ArchivedSegmentIndex, BlockError, BlockHeader, BlockView, Epoch, Footer, PAGE_BYTES, RecordError, Sequence,
};
use crate::read::AlignedBytes;

/// What is in a segment file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentSurvey {
    /// Blocks that check, one behind the other, in order.
    pub stretches: Vec<Stretch>,
    /// Where something does not check, in order.
    pub damage: Vec<DamagedPlace>,
    /// Blocks that check.
    pub blocks: u64,
    /// Records in them that check.
    pub events: u64,
    /// Bytes looked at.
    pub bytes: u64,
    /// The highest durable watermark that the header of a block states, whether the block's body checks or not.
    pub durable: Sequence,
}

/// Blocks without a hole between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Sequence of the first record.
    pub first: Sequence,
    /// Sequence after the last record.
    pub end: Sequence,
    /// Offset of the first block.
    pub from: u64,
    /// Offset behind the last block.
    pub to: u64,
}

/// Bytes that do not check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPlace {
    /// Where they begin in the file.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

impl SegmentSurvey {
    /// Sequence after the last record.
    pub fn end(&self) -> Option<Sequence> {
        self.stretches.last().map(|stretch| stretch.end)
    }

    /// What is missing at the end shows in no block: the blocks have to end where the footer says.
    pub(super) fn expect_end(&mut self, footer: &Footer) {
        self.expect(footer.end_sequence, footer.base_sequence, footer.data_end);
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
    /// Looks at the blocks of a segment of `view` up to the end that is known of it, and at its index. `progress` gets the
    /// bytes of each step. Of a segment that was trimmed meanwhile nothing is found.
    ///
    /// # Errors
    /// The kernel's, where the file or threads cannot be had. What the device does not give counts as damaged.
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
        let file = &*file;
        let data_end = footer.map_or_else(|| segment.data_end(), |footer| footer.data_end);
        let epoch = footer.map_or_else(|| segment.epoch(), |footer| footer.epoch);
        let expected = footer.map_or_else(|| segment.end_sequence(), |footer| footer.end_sequence);
        // Of a segment that was merged meanwhile it is all that the merged one holds.
        let base = footer.map_or_else(|| segment.base(), |footer| footer.base_sequence);
        let mut found = self.blocks(file, epoch, base, data_end, progress)?;
        found.expect(expected, base, data_end);
        match footer.map(|footer| check_index(file, &footer)) {
            Some(Err(error)) => {
                found.damage.push(DamagedPlace { offset: data_end, reason: format!("index: {error}") });
            }
            Some(Ok(damage)) => found.damage.extend(damage),
            None => {}
        }
        Ok(found)
    }

    /// Looks at the blocks before `end`, an offset, the first of which begins with `base`.
    ///
    /// # Errors
    /// As [`Surveyor::segment`].
    pub(super) fn blocks(
        &mut self,
        file: &dyn SegmentFile,
        epoch: Epoch,
        base: Sequence,
        end: u64,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<SegmentSurvey> {
        let mut survey = Survey::new(epoch, base);
        let (mut rest, mut fault) = (Vec::new(), None);
        self.ahead.read(file, survey.offset..end, |chunk| {
            let before = survey.offset + rest.len() as u64;
            chunk.put_before(&rest);
            // A block may lie across two chunks, and the fault in either.
            fault = chunk.fault.take().or_else(|| fault.take().filter(|_| !rest.is_empty()));
            let mut bytes = chunk.bytes();
            while let Some(behind) = survey.step(bytes, fault.as_ref()) {
                bytes = behind;
            }
            rest.clear();
            rest.extend_from_slice(bytes);
            progress((survey.offset + bytes.len() as u64).saturating_sub(before));
        })?;
        // A block that the file ends in.
        let mut bytes = &rest[..];
        while !bytes.is_empty() {
            survey.take_watermark(bytes);
            survey.take_damage(&short(bytes));
            bytes = bytes.get(PAGE_BYTES..).unwrap_or_default();
        }
        Ok(SegmentSurvey { bytes: end, ..survey.found })
    }
}

/// The file of a segment, and what it says of itself if it is sealed.
fn open(segment: &Segment) -> io::Result<(Arc<dyn SegmentFile>, Option<Footer>)> {
    match segment.footer() {
        Some(_) => segment.files().open_sealed(segment).map(|SealedFile { file, footer }| (file, Some(footer))),
        None => Ok((segment.file()?, None)),
    }
}

/// What is wrong with the index that a footer tells of, if anything.
///
/// # Errors
/// The kernel's.
pub(super) fn check_index(file: &dyn SegmentFile, footer: &Footer) -> io::Result<Option<DamagedPlace>> {
    let Some(place) = footer.index else { return Ok(None) };
    let mut bytes = AlignedBytes::zeroed(place.file_bytes() as usize, footer.epoch);
    let read = file.read_at(bytes.as_mut_slice(), footer.data_end)?;
    let index = ArchivedSegmentIndex::decode(&bytes.as_slice()[..read], place, footer.epoch, false);
    let damage = || DamagedPlace { offset: footer.data_end, reason: "the index does not check".into() };
    Ok(index.is_none().then(damage))
}

/// A segment that is looked at.
struct Survey {
    epoch: Epoch,
    /// What the next block begins with.
    next: Sequence,
    offset: u64,
    is_damaged_here: bool,
    found: SegmentSurvey,
}

impl Survey {
    fn new(epoch: Epoch, base: Sequence) -> Self {
        let (offset, found) = (PAGE_BYTES as u64, SegmentSurvey::default());
        Self { epoch, next: base, offset, is_damaged_here: false, found }
    }

    /// Looks at the block that `bytes` begin with, and returns what is behind it; behind damage, at the next page. `None` if
    /// the block is not there to its end.
    fn step<'b>(&mut self, bytes: &'b [u8], fault: Option<&io::Error>) -> Option<&'b [u8]> {
        if bytes.len() < whole_block(bytes) {
            return None;
        }
        let checked = BlockView::check(bytes, self.epoch).and_then(|view| {
            let found = view.header().first_sequence;
            // Behind damage there is a hole.
            let fits = found == self.next || (self.is_damaged_here && found > self.next);
            if fits { Ok(view) } else { Err(BlockError::Sequence { expected: self.next, found }) }
        });
        let taken = match checked {
            Ok(view) => {
                let header = *view.header();
                let records = view.records().try_fold(0, |count, record| record.map(|_| count + 1));
                self.take(&header, records);
                header.block_bytes as usize
            }
            Err(error) => {
                self.take_watermark(bytes);
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
    fn take_watermark(&mut self, bytes: &[u8]) {
        if let Ok(header) = BlockHeader::decode(bytes)
            && header.epoch == self.epoch
        {
            self.found.durable = self.found.durable.max(header.durable_sequence);
        }
    }

    fn take_damage(&mut self, reason: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.is_damaged_here, true) {
            self.found.damage.push(DamagedPlace { offset: self.offset, reason: reason.to_string() });
        }
        self.offset += PAGE_BYTES as u64;
    }

    fn take(&mut self, header: &BlockHeader, records: Result<u64, RecordError>) {
        let (from, to) = (self.offset, self.offset + u64::from(header.block_bytes));
        match records {
            Ok(count) => self.found.events += count,
            Err(error) => self.found.damage.push(DamagedPlace { offset: from, reason: error.to_string() }),
        }
        self.found.blocks += 1;
        self.found.durable = self.found.durable.max(header.durable_sequence);
        match self.found.stretches.last_mut() {
            Some(last) if !self.is_damaged_here => (last.end, last.to) = (header.end_sequence(), to),
            _ => {
                let stretch = Stretch { first: header.first_sequence, end: header.end_sequence(), from, to };
                self.found.stretches.push(stretch);
            }
        }
        self.is_damaged_here = false;
        self.next = header.end_sequence();
        self.offset = to;
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
