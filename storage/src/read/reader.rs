//! The reader of one shard.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::block::{AlignedBytes, Block};
use crate::device::BlockMemory;
use crate::format::{BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, PAGE_BYTES, Sequence};
use crate::log::{LogView, Segment};

/// Bytes of a mapping that are populated at a time: two largest blocks.
const POPULATE_BYTES: usize = 2 * BLOCK_BYTES_MAX;

/// Sequences that a reader asked for and that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First sequence that is gone.
    pub from: Sequence,
    /// Sequence after the last one that is gone.
    pub to: Sequence,
    /// Why.
    pub cause: GapCause,
}

/// Why sequences are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapCause {
    /// They were trimmed.
    Trimmed,
    /// A repair of the log found them to be lost.
    Lost,
    /// Their block does not check.
    Damaged,
}

/// What comes next for a reader.
#[derive(Debug, Clone)]
pub enum Step {
    /// Records.
    Block(Block),
    /// Sequences that the log does not hold any more; the reader stands behind them.
    Gap(Gap),
    /// Nothing at present.
    End,
}

/// Why a reader cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file system refused.
    #[error("shard {shard}, segment {segment}, offset {offset}: {source}")]
    Io {
        /// The shard.
        shard: u16,
        /// File name of the segment.
        segment: String,
        /// Offset in the file.
        offset: u64,
        /// The kernel's error.
        source: io::Error,
    },
    /// A block does not check.
    #[error("shard {shard}, segment {segment}, offset {offset}: {source}")]
    Corrupt {
        /// The shard.
        shard: u16,
        /// File name of the segment.
        segment: String,
        /// Offset of the block.
        offset: u64,
        /// What is wrong.
        source: BlockError,
    },
}

/// A place in one shard, going forward.
#[derive(Debug)]
pub struct LogReader {
    view: Arc<LogView>,
    next: Sequence,
    visibility: Visibility,
    place: Place,
}

/// Up to where a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Everything that is readable; what a crash may still take is included.
    #[default]
    Appended,
    /// What is acknowledged at the log's level.
    Durable,
}

/// Where `next` lies, as far as it is known.
#[derive(Debug)]
enum Place {
    Unknown,
    /// Records already read of the block, and their bytes.
    Tail {
        memory: Arc<BlockMemory>,
        count: usize,
        bytes: usize,
    },
    /// Offset of the block that starts with `next`, and the part of the mapping that is populated.
    Segment {
        segment: Arc<Segment>,
        offset: u64,
        populated: Range<usize>,
    },
}

impl LogReader {
    /// A reader that stands before `next`.
    pub fn new(view: Arc<LogView>, next: Sequence) -> Self {
        Self { view, next, visibility: Visibility::default(), place: Place::Unknown }
    }

    /// The same, reading up to what `visibility` says.
    #[must_use]
    pub fn with_visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Sequence of the next record it will hand out.
    pub fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// Sequence after the last that it may hand out now.
    pub fn end(&self) -> Sequence {
        match self.visibility {
            Visibility::Appended => self.view.appended(),
            Visibility::Durable => self.view.durable(),
        }
    }

    /// Whether the next step has to find a block first: then [`LogReader::enter`] spares it the search.
    pub fn needs_block(&self) -> bool {
        match &self.place {
            Place::Unknown => true,
            Place::Tail { memory, count, .. } => *count == memory.visible().0,
            Place::Segment { .. } => false,
        }
    }

    /// Goes on in `memory`, a block of the log's tail, if it starts with the reader's place. Returns whether it does.
    pub fn enter(&mut self, memory: Arc<BlockMemory>) -> bool {
        let starts = memory.first_sequence() == self.next;
        if starts {
            self.place = Place::Tail { memory, count: 0, bytes: 0 };
        }
        starts
    }

    /// Goes past the block that [`LogReader::step`] could not read, to the next one that can be found: the one behind
    /// it, or, where its header is damaged too, the next segment.
    pub fn pass_damage(&mut self) -> Gap {
        let from = self.next;
        let behind = self.view.segment_of(from).and_then(|segment| {
            let next = segment.place_after(from).ok().flatten().map(|place| place.first_sequence);
            next.or_else(|| Some(segment.end_sequence()).filter(|end| *end > from))
        });
        let to = behind.unwrap_or_else(|| self.view.appended());
        self.move_to(to, Place::Unknown);
        Gap { from, to, cause: GapCause::Damaged }
    }

    /// Moves to `next`.
    pub fn return_to(&mut self, next: Sequence) {
        if next != self.next {
            self.move_to(next, Place::Unknown);
        }
    }

    /// The log.
    pub fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    /// The next block: everything visible of the block that holds the reader's place, never anything before it.
    /// Costs about 100 ns in memory, one checksum pass the first time a block of a sealed segment is read, one `pread`
    /// for a block of the active one.
    ///
    /// # Errors
    /// [`ReadError`]; the reader stays where it is.
    pub fn step(&mut self) -> Result<Step, ReadError> {
        loop {
            let end = self.end();
            if self.next >= end {
                return Ok(Step::End);
            }
            let trimmed = self.view.trimmed();
            if self.next < trimmed {
                let gap = Gap { from: self.next, to: trimmed, cause: GapCause::Trimmed };
                self.move_to(trimmed, Place::Unknown);
                return Ok(Step::Gap(gap));
            }
            let step = match std::mem::replace(&mut self.place, Place::Unknown) {
                Place::Unknown => {
                    // Not found: lost, or the log moved on between two looks, so look again.
                    self.place = self.locate()?;
                    if matches!(self.place, Place::Unknown)
                        && let Some(to) = self.view.hole_at(self.next)
                    {
                        let gap = Gap { from: self.next, to: to.min(end), cause: GapCause::Lost };
                        self.next = gap.to;
                        return Ok(Step::Gap(gap));
                    }
                    None
                }
                Place::Tail { memory, count, bytes } => self.tail_step(memory, count, bytes),
                Place::Segment { segment, offset, populated } => self.segment_step(segment, offset, populated)?,
            };
            if let Some(mut block) = step {
                if block.end_sequence() > end && self.visibility == Visibility::Durable {
                    block.end_at(end);
                    self.return_to(end);
                }
                return Ok(Step::Block(block));
            }
        }
    }

    fn move_to(&mut self, next: Sequence, place: Place) {
        self.next = next;
        self.place = place;
    }

    fn locate(&self) -> Result<Place, ReadError> {
        if let Some(memory) = self.view.tail_block(self.next) {
            let count = self.next.since(memory.first_sequence()) as usize;
            if count < memory.visible().0 {
                let bytes = memory.bytes_of(count);
                return Ok(Place::Tail { memory, count, bytes });
            }
        }
        let Some(segment) = self.view.segment_of(self.next) else { return Ok(Place::Unknown) };
        if self.next >= segment.end_sequence() {
            return Ok(Place::Unknown);
        }
        let place = segment.place_of(self.next).map_err(|source| self.io(&segment, 0, source))?;
        Ok(match place {
            Some(place) => Place::Segment { segment, offset: place.offset, populated: 0..0 },
            None => Place::Segment { segment, offset: PAGE_BYTES as u64, populated: 0..0 },
        })
    }

    fn tail_step(&mut self, memory: Arc<BlockMemory>, count: usize, bytes: usize) -> Option<Block> {
        let (visible, end) = memory.visible();
        // A block that shows nothing more is complete: `next` is below `appended`, so it lies in a later one.
        if count == visible {
            return None;
        }
        let block = Block::in_memory(Arc::clone(&memory), count, visible, bytes, end);
        self.move_to(block.end_sequence(), Place::Tail { memory, count: visible, bytes: end });
        Some(block)
    }

    fn segment_step(
        &mut self,
        segment: Arc<Segment>,
        offset: u64,
        populated: Range<usize>,
    ) -> Result<Option<Block>, ReadError> {
        if offset >= segment.data_end() {
            return Ok(None);
        }
        let (block, block_bytes, populated) = match segment.sealed_map() {
            Err(source) => return Err(self.io(&segment, offset, source)),
            Ok(Some(_)) => self.mapped_block(&segment, offset, populated)?,
            Ok(None) => self.read_block(&segment, offset)?,
        };
        let offset = offset + block_bytes as u64;
        self.move_to(block.end_sequence(), Place::Segment { segment, offset, populated });
        Ok(Some(block))
    }

    fn mapped_block(
        &self,
        segment: &Arc<Segment>,
        offset: u64,
        mut populated: Range<usize>,
    ) -> Result<(Block, usize, Range<usize>), ReadError> {
        let io = |source| self.io(segment, offset, source);
        let Some(sealed) = segment.sealed_map().map_err(io)? else {
            return Err(io(io::ErrorKind::NotFound.into()));
        };
        let (at, end) = (offset as usize, segment.data_end() as usize);
        if sealed.mapping.bytes().len() < end {
            return Err(io(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the segment is shorter than its footer says",
            )));
        }
        // The window holds the largest block there can be, so the header is read once it is in.
        if !populated.contains(&at) || populated.end < end.min(at + BLOCK_BYTES_MAX) {
            populated = at..end.min(at + POPULATE_BYTES);
            sealed.mapping.populate(populated.clone()).map_err(io)?;
        }
        let bytes = &sealed.mapping.bytes()[at..populated.end];
        let checked = match sealed.is_checked(offset) {
            true => BlockView::of_checked(bytes, segment.epoch()),
            false => BlockView::check(bytes, segment.epoch()),
        };
        let view = checked.map_err(|source| self.corrupt(segment, offset, source))?;
        sealed.set_checked(offset);
        let skip = self.skip_in(view.header(), segment, offset)?;
        let block = Block::mapped(Arc::clone(segment), at, &view, skip);
        Ok((block, view.header().block_bytes as usize, populated))
    }

    fn read_block(&self, segment: &Arc<Segment>, offset: u64) -> Result<(Block, usize, Range<usize>), ReadError> {
        let io = |source| self.io(segment, offset, source);
        let corrupt = |source| self.corrupt(segment, offset, source);
        let mut head = AlignedBytes::zeroed(PAGE_BYTES, segment.epoch());
        segment.file().read_at(head.as_mut_slice(), offset).map_err(io)?;
        let length =
            BlockHeader::decode(head.as_slice()).map_err(|source| corrupt(source.into()))?.block_bytes as usize;
        if length > PAGE_BYTES {
            head = AlignedBytes::zeroed(length, segment.epoch());
            segment.file().read_at(head.as_mut_slice(), offset).map_err(io)?;
        }
        let header = *BlockView::check(head.as_slice(), segment.epoch()).map_err(corrupt)?.header();
        let skip = self.skip_in(&header, segment, offset)?;
        let block = Block::read(Arc::new(head), header.first_sequence, header.count as usize, skip);
        Ok((block, length, 0..0))
    }

    /// Records of the block that lie before the reader's place. The block must hold that place.
    fn skip_in(&self, header: &BlockHeader, segment: &Segment, offset: u64) -> Result<usize, ReadError> {
        if header.first_sequence <= self.next && self.next < header.end_sequence() {
            return Ok(self.next.since(header.first_sequence) as usize);
        }
        let source = BlockError::Sequence { expected: self.next, found: header.first_sequence };
        Err(self.corrupt(segment, offset, source))
    }

    fn io(&self, segment: &Segment, offset: u64, source: io::Error) -> ReadError {
        ReadError::Io { shard: self.view.shard(), segment: Segment::file_name(segment.base()), offset, source }
    }

    fn corrupt(&self, segment: &Segment, offset: u64, source: BlockError) -> ReadError {
        ReadError::Corrupt { shard: self.view.shard(), segment: Segment::file_name(segment.base()), offset, source }
    }
}
