//! A look at every block of a segment file, whatever is damaged between them.

use std::io;

use super::Segment;
use crate::device::SegmentFile;
use crate::format::{BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Epoch, PAGE_BYTES, RecordError, Sequence};
use crate::read::AlignedBytes;

/// Bytes read at a time.
const STEP_BYTES: usize = 8 * BLOCK_BYTES_MAX;

const PAGE: u64 = PAGE_BYTES as u64;

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
    /// The highest durable watermark that a block states.
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
}

/// Looks at the blocks of a segment up to the end that is known of it. `progress` gets the bytes of each step.
///
/// # Errors
/// The kernel's.
pub fn survey_segment(segment: &Segment, mut progress: impl FnMut(u64)) -> io::Result<SegmentSurvey> {
    let mut survey = Survey::new(&**segment.file(), segment.epoch(), segment.base(), segment.data_end());
    survey.run(&mut progress)?;
    let mut found = survey.found;
    // What is missing at the end shows in no block.
    let end = found.end().unwrap_or(segment.base());
    if found.damage.is_empty() && end != segment.end_sequence() {
        let source = BlockError::Sequence { expected: segment.end_sequence(), found: end };
        found.damage.push(DamagedPlace { offset: segment.data_end(), reason: source.to_string() });
    }
    Ok(found)
}

/// A survey under way.
pub(super) struct Survey<'a> {
    file: &'a dyn SegmentFile,
    epoch: Epoch,
    /// What the next block begins with.
    next: Sequence,
    offset: u64,
    end: u64,
    buffer: AlignedBytes,
    /// The part of the file in the buffer.
    held: std::ops::Range<u64>,
    is_damaged_here: bool,
    pub(super) found: SegmentSurvey,
}

impl<'a> Survey<'a> {
    /// Of the blocks before `end`, an offset.
    pub(super) fn new(file: &'a dyn SegmentFile, epoch: Epoch, base: Sequence, end: u64) -> Self {
        Self {
            file,
            epoch,
            next: base,
            offset: PAGE,
            end,
            buffer: AlignedBytes::zeroed(STEP_BYTES, epoch),
            held: 0..0,
            is_damaged_here: false,
            found: SegmentSurvey::default(),
        }
    }

    pub(super) fn run(&mut self, progress: &mut impl FnMut(u64)) -> io::Result<()> {
        while self.offset < self.end {
            self.hold(progress)?;
            if self.held.end <= self.offset {
                break;
            }
            self.step();
        }
        self.found.bytes = self.end;
        Ok(())
    }

    /// Brings in the largest block that can be at the offset.
    fn hold(&mut self, progress: &mut impl FnMut(u64)) -> io::Result<()> {
        let wanted = self.end.min(self.offset + BLOCK_BYTES_MAX as u64);
        if self.held.start <= self.offset && wanted <= self.held.end {
            return Ok(());
        }
        let length = (self.end - self.offset).min(STEP_BYTES as u64).next_multiple_of(PAGE) as usize;
        let read = self.file.read_at(&mut self.buffer.as_mut_slice()[..length], self.offset)?;
        let held = self.offset..self.offset + read as u64;
        progress(held.end.saturating_sub(self.held.end.max(self.offset)));
        self.held = held;
        Ok(())
    }

    fn step(&mut self) {
        let at = (self.offset - self.held.start) as usize;
        let bytes = &self.buffer.as_slice()[at..(self.held.end - self.held.start) as usize];
        let checked = BlockView::check(bytes, self.epoch).and_then(|view| {
            let found = view.header().first_sequence;
            // Behind damage there is a hole.
            let fits = found == self.next || (self.is_damaged_here && found > self.next);
            if fits { Ok(view) } else { Err(BlockError::Sequence { expected: self.next, found }) }
        });
        match checked {
            Ok(view) => {
                let header = *view.header();
                let records = view.records().try_fold(0, |count, record| record.map(|_| count + 1));
                self.take(&header, records);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_damaged_here, true) {
                    self.found.damage.push(DamagedPlace { offset: self.offset, reason: error.to_string() });
                }
                self.offset += PAGE;
            }
        }
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
