//! The reader of one shard.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::block::Block;
use crate::device::{AlignedBytes, BlockMemory, SegmentFile, advice, is_of_environment, is_of_medium};
use crate::format::{BLOCK_BYTES_MAX, BlockError, BlockHeader, BlockView, Epoch, PAGE_BYTES, Sequence};
use crate::log::{BlockIn, LentBlock, Load, Loader, LogView, SealedMap, Segment, Sought, Window};

/// Bytes of a mapping that are populated at a time: two largest blocks.
const POPULATE_BYTES: usize = 2 * BLOCK_BYTES_MAX;

/// Bytes of records in memory that one step hands out, but for a longer record: what a reader makes of a step, or
/// copies of a block that is not lent, stays small.
const STEP_BYTES: usize = 32 << 10;

/// Sequences that a reader asked for and that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First sequence that is gone.
    pub from: Sequence,
    /// Sequence after the last one that is gone.
    pub to: Sequence,
    /// The reason for which they are missing.
    pub cause: GapCause,
}

/// The reason for which sequences are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapCause {
    /// They were trimmed.
    Trimmed,
    /// A repair of the log found them to be lost.
    Lost,
    /// Their block does not check.
    Damaged,
}

/// The next thing for a reader.
#[derive(Debug, Clone)]
pub enum Step {
    /// Records.
    Block(Block),
    /// Sequences that the log does not hold any more; the reader is after them.
    Gap(Gap),
    /// Nothing at present.
    End,
}

/// The reason for which a reader cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file system refused.
    #[error("shard {shard_id}, segment {segment}, offset {offset}: {source}{}", advice(source))]
    Io {
        /// The shard.
        shard_id: u16,
        /// File name of the segment.
        segment: String,
        /// Offset in the file.
        offset: u64,
        /// The kernel's error.
        source: io::Error,
    },
    /// A block does not check.
    #[error("shard {shard_id}, segment {segment}, offset {offset}: {source}")]
    Corrupt {
        /// The shard.
        shard_id: u16,
        /// File name of the segment.
        segment: String,
        /// Offset of the block.
        offset: u64,
        /// The fault of the block.
        source: BlockError,
    },
}

/// Reads one shard forward, block by block.
#[derive(Debug)]
pub struct LogReader {
    view: Arc<LogView>,
    next: Sequence,
    visibility: Visibility,
    next_block: NextBlock,
}

/// Up to where a reader reads.
///
/// A subscription asks for it, as does a poll; a follower of files sees durable events alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Everything that is readable; what a crash may still take is included.
    #[default]
    Appended,
    /// Only records that are acknowledged at the log's level.
    Durable,
}

/// The block that holds `next`, as far as it is known.
#[derive(Debug)]
enum NextBlock {
    Unknown,
    /// Records already read of the block, and their bytes.
    Tail {
        memory: LentBlock,
        count: usize,
        bytes: usize,
    },
    /// The same of a block that is not lent: its records are copied at once, and it is dropped.
    Unlent {
        memory: Arc<BlockMemory>,
        count: usize,
        bytes: usize,
    },
    /// Offset of the block that starts with `next`, or of one before it, in a segment that was not sealed.
    Open {
        segment: Arc<Segment>,
        offset: u64,
        /// The reading that the reader waits for.
        asked: Option<Arc<Load>>,
    },
    Sealed(MappedBlock),
}

/// A block of a sealed segment.
#[derive(Debug)]
struct MappedBlock {
    segment: Arc<Segment>,
    map: Arc<SealedMap>,
    /// Of the block that holds `next`.
    offset: u64,
    /// The part of the mapping that is populated.
    populated: Range<usize>,
}

/// A place in a segment that is not sealed.
#[derive(Debug)]
struct Sight {
    segment: Arc<Segment>,
    offset: u64,
    asked: Option<Arc<Load>>,
}

/// Reads for a reader that must not block its thread.
#[derive(Debug, Clone)]
pub struct Loading {
    /// Reads elsewhere.
    pub loader: Arc<dyn Loader>,
    /// Wakes the reader. The same for as long as the reader lives.
    pub waker: Waker,
}

impl LogReader {
    /// A reader that stands before `next`.
    pub fn new(view: Arc<LogView>, next: Sequence) -> Self {
        Self { view, next, visibility: Visibility::default(), next_block: NextBlock::Unknown }
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

    /// Returns whether the next step has to find a block first: then [`LogReader::enter`] spares it the search.
    pub fn needs_block(&self) -> bool {
        match &self.next_block {
            NextBlock::Unknown | NextBlock::Unlent { .. } => true,
            NextBlock::Tail { memory, count, .. } => *count == memory.visible().0,
            NextBlock::Open { .. } | NextBlock::Sealed(_) => false,
        }
    }

    /// Goes on in `memory`, a block of the log's tail, if it starts with the reader's next record. Returns whether it
    /// does.
    pub fn enter(&mut self, memory: LentBlock) -> bool {
        let starts = memory.first_sequence() == self.next;
        if starts {
            self.next_block = NextBlock::Tail { memory, count: 0, bytes: 0 };
        }
        starts
    }

    /// Holds the memory of no block until the next step, which looks for its own.
    pub fn let_go(&mut self) {
        if let NextBlock::Tail { .. } | NextBlock::Unlent { .. } = self.next_block {
            self.next_block = NextBlock::Unknown;
        }
    }

    /// Goes past the block that [`LogReader::step`] could not read, to the next one that can be found: the one after
    /// it, or, where its header is damaged too, the next segment.
    pub fn pass_damage(&mut self) -> Gap {
        let from = self.next;
        let behind = self.view.segment_of(from).and_then(|segment| {
            let next = segment.place_after(from).ok().flatten().map(|place| place.first_sequence);
            next.or_else(|| Some(segment.end_sequence())).filter(|next| *next > from)
        });
        let to = behind.unwrap_or_else(|| self.view.appended());
        self.move_to(to, NextBlock::Unknown);
        Gap { from, to, cause: GapCause::Damaged }
    }

    /// Moves to `next`. Within the block in memory that it stands in this costs 50 ps for each record of the block
    /// before `next`.
    pub fn return_to(&mut self, next: Sequence) {
        if next == self.next {
            return;
        }
        let place = match std::mem::replace(&mut self.next_block, NextBlock::Unknown) {
            NextBlock::Tail { memory, .. } => match memory.offset_of(next) {
                Some((count, bytes)) => NextBlock::Tail { memory, count, bytes },
                None => NextBlock::Unknown,
            },
            // A reader that passes over blocks goes on from the last one that is known to be before.
            NextBlock::Open { segment, offset, .. } if self.next < next && next < segment.end_sequence() => {
                let offset = offset.max(segment.walk_start(next));
                NextBlock::Open { segment, offset, asked: None }
            }
            _ => NextBlock::Unknown,
        };
        self.move_to(next, place);
    }

    /// The log.
    pub fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    /// The next block: of a block in memory that holds the reader's place up to `STEP_BYTES`, of one on disk all from
    /// there on; never anything before it.
    /// Costs about 100 ns in memory, one checksum pass the first time a block of a sealed segment is read, one `pread`
    /// for a block of the active one.
    ///
    /// # Errors
    /// [`ReadError`]; the reader stays where it is.
    pub fn step(&mut self) -> Result<Step, ReadError> {
        loop {
            if let Poll::Ready(step) = self.step_with(None)? {
                return Ok(step);
            }
        }
    }

    /// As [`LogReader::step`], for a thread that must not wait for the active segment's file: pending while that is
    /// read elsewhere, until the waker is woken.
    ///
    /// # Errors
    /// As [`LogReader::step`].
    pub fn poll_step(&mut self, loading: &Loading) -> Result<Poll<Step>, ReadError> {
        self.step_with(Some(loading))
    }

    fn step_with(&mut self, loading: Option<&Loading>) -> Result<Poll<Step>, ReadError> {
        loop {
            let end = self.end();
            if self.next >= end {
                return Ok(Poll::Ready(Step::End));
            }
            let trimmed = self.view.trimmed();
            if self.next < trimmed {
                let gap = Gap { from: self.next, to: trimmed, cause: GapCause::Trimmed };
                self.move_to(trimmed, NextBlock::Unknown);
                return Ok(Poll::Ready(Step::Gap(gap)));
            }
            let step = match std::mem::replace(&mut self.next_block, NextBlock::Unknown) {
                NextBlock::Unknown => {
                    // Not found: lost, or the log moved on between two looks, so look again.
                    self.next_block = self.locate()?;
                    if matches!(self.next_block, NextBlock::Unknown)
                        && let Some(to) = self.view.hole_at(self.next)
                    {
                        let gap = Gap { from: self.next, to: to.min(end), cause: GapCause::Lost };
                        self.next = gap.to;
                        return Ok(Poll::Ready(Step::Gap(gap)));
                    }
                    None
                }
                NextBlock::Tail { memory, count, bytes } => self.tail_step(memory, count, bytes),
                NextBlock::Unlent { memory, count, bytes } => self.copy_step(&memory, count, bytes),
                NextBlock::Open { segment, offset, asked } => {
                    let sought = Sight { segment, offset, asked };
                    match self.open_step(sought, loading)? {
                        Poll::Ready(block) => block,
                        Poll::Pending => return Ok(Poll::Pending),
                    }
                }
                NextBlock::Sealed(mapped) => self.sealed_step(mapped)?,
            };
            if let Some(mut block) = step {
                if block.end_sequence() > end && self.visibility == Visibility::Durable {
                    block.end_at(end);
                    self.return_to(end);
                }
                return Ok(Poll::Ready(Step::Block(block)));
            }
        }
    }

    fn move_to(&mut self, next: Sequence, next_block: NextBlock) {
        self.next = next;
        self.next_block = next_block;
    }

    fn locate(&self) -> Result<NextBlock, ReadError> {
        if let Some(memory) = self.view.tail().block(self.next) {
            let count = self.next.since(memory.first_sequence()) as usize;
            if count < memory.visible().0 {
                let bytes = memory.bytes_of(count);
                return Ok(match self.view.lend(memory) {
                    Ok(memory) => NextBlock::Tail { memory, count, bytes },
                    Err(memory) => NextBlock::Unlent { memory, count, bytes },
                });
            }
        }
        let Some(segment) = self.view.segment_of(self.next) else { return Ok(NextBlock::Unknown) };
        if self.next >= segment.end_sequence() {
            return Ok(NextBlock::Unknown);
        }
        match self.locate_in(&segment) {
            // Its file went with what was trimmed: look again, and find the gap.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.view.was_trimmed(&segment, self.next) => {
                Ok(NextBlock::Unknown)
            }
            located => located.map_err(|source| self.io(&segment, 0, source)),
        }
    }

    fn locate_in(&self, segment: &Arc<Segment>) -> io::Result<NextBlock> {
        match segment.sealed_map()? {
            Some(map) => {
                let offset = map.around(self.next)?.at.map_or(PAGE_BYTES as u64, |place| place.offset);
                Ok(NextBlock::Sealed(MappedBlock { segment: Arc::clone(segment), map, offset, populated: 0..0 }))
            }
            None => {
                let offset = segment.walk_start(self.next);
                Ok(NextBlock::Open { segment: Arc::clone(segment), offset, asked: None })
            }
        }
    }

    /// As [`LogReader::tail_step`]; the next step has to find its block.
    fn copy_step(&mut self, memory: &BlockMemory, count: usize, bytes: usize) -> Option<Block> {
        let visible = memory.visible();
        if count == visible.0 {
            return None;
        }
        let (to, end) = memory.stretch((count, bytes), visible, STEP_BYTES);
        let block = Block::copied(memory, count, to, bytes, end);
        self.next = block.end_sequence();
        Some(block)
    }

    fn tail_step(&mut self, memory: LentBlock, count: usize, bytes: usize) -> Option<Block> {
        let visible = memory.visible();
        // A block that shows nothing more is complete: `next` is below `appended`, so it lies in a later one.
        if count == visible.0 {
            return None;
        }
        let (to, end) = memory.stretch((count, bytes), visible, STEP_BYTES);
        let block = Block::in_memory(memory.clone(), count, to, bytes, end);
        self.move_to(block.end_sequence(), NextBlock::Tail { memory, count: to, bytes: end });
        Some(block)
    }

    /// `None` at the end of what the segment has, or where it has been sealed meanwhile.
    fn open_step(&mut self, mut sight: Sight, loading: Option<&Loading>) -> Result<Poll<Option<Block>>, ReadError> {
        let mut length = PAGE_BYTES as u64;
        loop {
            let segment = Arc::clone(&sight.segment);
            if sight.offset >= segment.data_end() || segment.footer().is_some() {
                return Ok(Poll::Ready(None));
            }
            let window = match self.window(&mut sight, length, loading) {
                Poll::Pending => {
                    let Sight { segment, offset, asked } = sight;
                    self.next_block = NextBlock::Open { segment, offset, asked };
                    return Ok(Poll::Pending);
                }
                // Its file may be another one since it was sealed.
                Poll::Ready(Err(_)) if segment.footer().is_some() => return Ok(Poll::Ready(None)),
                Poll::Ready(window) => window.map_err(|source| self.io(&segment, sight.offset, source))?,
            };
            let header = match window.block(sight.offset) {
                BlockIn::Whole(header) => header,
                BlockIn::Cut(block_bytes) if block_bytes > length => {
                    length = block_bytes;
                    continue;
                }
                BlockIn::Cut(block_bytes) => {
                    let found = window.bytes_from(sight.offset).len();
                    let error = BlockError::Short { needed: block_bytes as usize, found };
                    return Err(self.damaged(&window, &sight, error));
                }
                BlockIn::Damaged(error) => return Err(self.damaged(&window, &sight, error)),
            };
            let offset = sight.offset + u64::from(header.block_bytes);
            if header.end_sequence() <= self.next {
                // Not every place is kept: this block lies between the one that is and the reader's.
                (sight.offset, length) = (offset, PAGE_BYTES as u64);
                continue;
            }
            let skip = self.skip_in(&header, &segment, sight.offset)?;
            let block = Block::in_window(window, sight.offset, &header, skip);
            self.move_to(block.end_sequence(), NextBlock::Open { segment, offset, asked: None });
            return Ok(Poll::Ready(Some(block)));
        }
    }

    /// The window with `length` bytes at the reader's offset.
    fn window(&self, sight: &mut Sight, length: u64, loading: Option<&Loading>) -> Poll<io::Result<Arc<Window>>> {
        let windows = self.view.windows();
        let Some(loading) = loading else { return Poll::Ready(windows.read(&sight.segment, sight.offset, length)) };
        let needed = sight.offset..sight.offset + length;
        loop {
            if let Some(asked) = sight.asked.take() {
                match asked.outcome() {
                    // For want of memory, its part may be another reader's alone.
                    Some(Ok(window)) if !window.has(&sight.segment, &needed) => {}
                    Some(outcome) => return Poll::Ready(outcome),
                    None => {
                        sight.asked = Some(asked);
                        return Poll::Pending;
                    }
                }
            }
            let load = match windows.seek(&sight.segment, sight.offset, length) {
                Sought::Found(window) => return Poll::Ready(Ok(window)),
                Sought::Reads(load) => load,
                Sought::ToRead(load, job) => {
                    // Where no thread takes it, this one has to wait after all.
                    if let Err(job) = loading.loader.load(job) {
                        job.run_at_once();
                    }
                    load
                }
            };
            let is_read = load.is_read_or_wakes(&loading.waker);
            sight.asked = Some(load);
            if !is_read {
                return Poll::Pending;
            }
        }
    }

    fn damaged(&self, window: &Arc<Window>, sight: &Sight, error: BlockError) -> ReadError {
        self.view.windows().forget(window);
        self.corrupt(&sight.segment, sight.offset, error)
    }

    /// `None` at the end of the segment.
    fn sealed_step(&mut self, mapped: MappedBlock) -> Result<Option<Block>, ReadError> {
        let MappedBlock { segment, map, offset, mut populated } = mapped;
        if offset >= map.data_end() {
            // Sequences that its footer counts and its blocks do not hold.
            let is_missing = segment.base() <= self.next && self.next < segment.end_sequence();
            let missing = BlockError::Sequence { expected: self.next, found: segment.end_sequence() };
            return if is_missing { Err(self.corrupt(&segment, offset, missing)) } else { Ok(None) };
        }
        let (at, end) = (offset as usize, map.data_end() as usize);
        // The window holds the largest block there can be, so the header is read once it is in.
        if !populated.contains(&at) || populated.end < end.min(at + BLOCK_BYTES_MAX) {
            populated = at..end.min(at + POPULATE_BYTES);
            map.mapping().populate(populated.clone()).map_err(|source| self.io(&segment, offset, source))?;
        }
        if let Ok(header) = BlockHeader::decode(&map.mapping().bytes()[at..populated.end]) {
            // A large block.
            let block_end = end.min(at + header.block_bytes as usize);
            if block_end > populated.end {
                let rest = populated.end..block_end;
                map.mapping().populate(rest).map_err(|source| self.io(&segment, offset, source))?;
                populated.end = block_end;
            }
        }
        let bytes = &map.mapping().bytes()[at..populated.end];
        let checked = match map.is_checked(offset) {
            true => BlockView::of_checked(bytes, map.epoch()),
            false => BlockView::check(bytes, map.epoch()),
        };
        let (block, block_bytes) = match checked {
            Ok(view) => {
                map.set_checked(offset);
                let skip = self.skip_in(view.header(), &segment, offset)?;
                (Block::mapped(Arc::clone(&map), at, &view, skip), view.header().block_bytes)
            }
            Err(damage) => self.read_again(&segment, offset, damage)?,
        };
        let offset = offset + u64::from(block_bytes);
        self.move_to(block.end_sequence(), NextBlock::Sealed(MappedBlock { segment, map, offset, populated }));
        Ok(Some(block))
    }

    /// Reads a block that does not check in the mapping from the device: pages of the cache can be older than what was
    /// written past it. `damage` where that does not check either.
    fn read_again(&self, segment: &Segment, offset: u64, damage: BlockError) -> Result<(Block, u32), ReadError> {
        let read = segment.sealed_file().and_then(|opened| read_block(&*opened.file, opened.footer.epoch, offset));
        match read {
            Ok((bytes, Ok(header))) => Ok((self.block_read(segment, offset, bytes, &header)?, header.block_bytes)),
            // The block may be intact: without a descriptor, or memory, that is not known.
            Err(error) if is_of_environment(&error) && !is_of_medium(&error) => Err(self.io(segment, offset, error)),
            _ => Err(self.corrupt(segment, offset, damage)),
        }
    }

    fn block_read(
        &self,
        segment: &Segment,
        offset: u64,
        bytes: AlignedBytes,
        header: &BlockHeader,
    ) -> Result<Block, ReadError> {
        let skip = self.skip_in(header, segment, offset)?;
        Ok(Block::read(Arc::new(bytes), header, skip))
    }

    /// Counts the records of the block that lie before the reader's next one. The block must hold that one.
    fn skip_in(&self, header: &BlockHeader, segment: &Segment, offset: u64) -> Result<usize, ReadError> {
        if header.first_sequence <= self.next && self.next < header.end_sequence() {
            return Ok(self.next.since(header.first_sequence) as usize);
        }
        let source = BlockError::Sequence { expected: self.next, found: header.first_sequence };
        Err(self.corrupt(segment, offset, source))
    }

    fn io(&self, segment: &Segment, offset: u64, source: io::Error) -> ReadError {
        ReadError::Io { shard_id: self.view.shard(), segment: Segment::file_name(segment.base()), offset, source }
    }

    fn corrupt(&self, segment: &Segment, offset: u64, source: BlockError) -> ReadError {
        ReadError::Corrupt { shard_id: self.view.shard(), segment: Segment::file_name(segment.base()), offset, source }
    }
}

/// Reads the block at `offset` of a file, past the page cache where there is a way, and checks it.
fn read_block(
    file: &dyn SegmentFile,
    epoch: Epoch,
    offset: u64,
) -> io::Result<(AlignedBytes, Result<BlockHeader, BlockError>)> {
    let mut bytes = AlignedBytes::zeroed(PAGE_BYTES)?;
    file.read_at(bytes.as_mut_slice(), offset)?;
    let length = match BlockHeader::decode(bytes.as_slice()) {
        Ok(header) => header.block_bytes as usize,
        Err(error) => return Ok((bytes, Err(error.into()))),
    };
    if length > PAGE_BYTES {
        bytes = AlignedBytes::zeroed(length)?;
        file.read_at(bytes.as_mut_slice(), offset)?;
    }
    let header = BlockView::check(bytes.as_slice(), epoch).map(|view| *view.header());
    Ok((bytes, header))
}
