//! Blocks of a segment that is not sealed, read in windows of its file.

use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::{LogReader, NextBlock};
use crate::format::{BlockError, PAGE_BYTES};
use crate::log::{BlockIn, Load, Loader, Segment, Sought, Window};
use crate::read::{Block, ReadError};

/// A place in a segment that is not sealed.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u64,
    /// The reading that the reader waits for.
    pub(super) asked: Option<Arc<Load>>,
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
    /// `None` at the end of what the segment has, or where it has been sealed meanwhile.
    pub(super) fn open_step(
        &mut self,
        mut sight: Sight,
        loading: Option<&Loading>,
    ) -> Result<Poll<Option<Block>>, ReadError> {
        let mut length = PAGE_BYTES as u64;
        loop {
            let segment = Arc::clone(&sight.segment);
            if sight.offset >= segment.data_end() || segment.footer().is_some() {
                return Ok(Poll::Ready(None));
            }
            let window = match self.window(&mut sight, length, loading) {
                Poll::Pending => return Ok(self.wait_at(sight)),
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
                BlockIn::Cut(block_bytes) => return Err(self.cut_short(&window, &sight, block_bytes)),
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
            self.move_to(block.end_sequence(), NextBlock::Open(Sight { segment, offset, asked: None }));
            return Ok(Poll::Ready(Some(block)));
        }
    }

    /// Stays where the window is asked for.
    fn wait_at(&mut self, sight: Sight) -> Poll<Option<Block>> {
        self.next_block = NextBlock::Open(sight);
        Poll::Pending
    }

    /// A block of so many bytes, of which the window has not all.
    fn cut_short(&self, window: &Arc<Window>, sight: &Sight, block_bytes: u64) -> ReadError {
        let found = window.bytes_from(sight.offset).len();
        self.damaged(window, sight, BlockError::Short { needed: block_bytes as usize, found })
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
}
