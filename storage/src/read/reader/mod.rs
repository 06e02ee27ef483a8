//! The reader of one shard: where it stands, and how it goes on. `sealed` and `unsealed` read the two kinds of
//! segments; blocks in memory are read here.

mod sealed;
mod unsealed;

use std::io;
use std::sync::Arc;
use std::task::Poll;

use self::sealed::MappedBlock;
pub use self::unsealed::Loading;
use self::unsealed::Sight;
use super::block::Block;
use super::step::{Gap, GapCause, ReadError, Step, Visibility};
use crate::device::BlockMemory;
use crate::format::{BlockError, BlockHeader, PAGE_BYTES, Sequence};
use crate::log::{LentBlock, LogView, Segment};

/// Bytes of records in memory that one step hands out, but for a longer record: what a reader makes of a step, or
/// copies of a block that is not lent, stays small.
const STEP_BYTES: usize = 32 << 10;

/// Reads one shard forward, block by block.
#[derive(Debug)]
pub struct LogReader {
    view: Arc<LogView>,
    next: Sequence,
    visibility: Visibility,
    next_block: NextBlock,
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
    /// The place of the block that starts with `next`, or of one before it, in a segment that was not sealed.
    Open(Sight),
    Sealed(MappedBlock),
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
            NextBlock::Open(_) | NextBlock::Sealed(_) => false,
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
            NextBlock::Open(Sight { segment, offset, .. }) if self.next < next && next < segment.end_sequence() => {
                let offset = offset.max(segment.walk_start(next));
                NextBlock::Open(Sight { segment, offset, asked: None })
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
            if let Some(gap) = self.pass_trimmed() {
                return Ok(Poll::Ready(Step::Gap(gap)));
            }
            let step = match std::mem::replace(&mut self.next_block, NextBlock::Unknown) {
                NextBlock::Unknown => {
                    self.next_block = self.locate()?;
                    if let Some(gap) = self.pass_lost(end) {
                        return Ok(Poll::Ready(Step::Gap(gap)));
                    }
                    None
                }
                NextBlock::Tail { memory, count, bytes } => self.tail_step(memory, count, bytes),
                NextBlock::Unlent { memory, count, bytes } => self.copy_step(&memory, count, bytes),
                NextBlock::Open(sight) => match self.open_step(sight, loading)? {
                    Poll::Ready(block) => block,
                    Poll::Pending => return Ok(Poll::Pending),
                },
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

    fn pass_trimmed(&mut self) -> Option<Gap> {
        let trimmed = self.view.trimmed();
        if self.next >= trimmed {
            return None;
        }
        let gap = Gap { from: self.next, to: trimmed, cause: GapCause::Trimmed };
        self.move_to(trimmed, NextBlock::Unknown);
        Some(gap)
    }

    /// Goes past what the log has lost, if that is why no block was found: otherwise the log moved on between two
    /// looks.
    fn pass_lost(&mut self, end: Sequence) -> Option<Gap> {
        if !matches!(self.next_block, NextBlock::Unknown) {
            return None;
        }
        let to = self.view.hole_at(self.next)?;
        let gap = Gap { from: self.next, to: to.min(end), cause: GapCause::Lost };
        self.next = gap.to;
        Some(gap)
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
                Ok(NextBlock::Open(Sight { segment: Arc::clone(segment), offset, asked: None }))
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
        let block = Block::copied(memory, count..to, bytes..end);
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
        let block = Block::in_memory(memory.clone(), count..to, bytes..end);
        self.move_to(block.end_sequence(), NextBlock::Tail { memory, count: to, bytes: end });
        Some(block)
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
