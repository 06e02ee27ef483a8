//! A file read ahead of what looks at it, by several threads: one read at a time does not keep a device busy.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::device::{AlignedBytes, SegmentFile, is_of_medium};
use crate::format::{BLOCK_BYTES_MAX, PAGE_BYTES};

/// Bytes read at a time.
const CHUNK_BYTES: usize = BLOCK_BYTES_MAX;

/// Reads in flight; as many chunks again wait to be looked at.
const READERS: usize = 6;

/// A piece of a file, and before it room for what was left of the piece before.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: AlignedBytes,
    /// Of the bytes that count.
    held: Range<usize>,
    /// The reason for which some of its pages are zeros: the device did not give them.
    pub(super) fault: Option<io::Error>,
    /// The reason for which it was not read, which says nothing about the file's bytes.
    refused: Option<io::Error>,
}

impl Chunk {
    fn new() -> io::Result<Self> {
        let bytes = AlignedBytes::zeroed(BLOCK_BYTES_MAX + CHUNK_BYTES)?;
        Ok(Self { bytes, held: 0..0, fault: None, refused: None })
    }

    /// The bytes from what was put before them on.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes.as_slice()[self.held.clone()]
    }

    /// Puts what was left of the chunk before, less than a block, in front.
    pub(super) fn put_before(&mut self, rest: &[u8]) {
        let start = BLOCK_BYTES_MAX.saturating_sub(rest.len());
        self.bytes.as_mut_slice()[start..BLOCK_BYTES_MAX].copy_from_slice(&rest[..BLOCK_BYTES_MAX - start]);
        self.held.start = start;
    }

    /// Has its bytes looked at, unless they were refused.
    fn hand_to(&mut self, each: &mut impl FnMut(&mut Self)) -> io::Result<()> {
        match self.refused.take() {
            Some(error) => Err(error),
            None => {
                each(self);
                Ok(())
            }
        }
    }

    fn fill(&mut self, file: &dyn SegmentFile, part: Range<u64>) {
        let length = (part.end - part.start) as usize;
        let target = &mut self.bytes.as_mut_slice()[BLOCK_BYTES_MAX..][..length.next_multiple_of(PAGE_BYTES)];
        (self.fault, self.refused) = (None, None);
        let read = match file.read_at(target, part.start) {
            Err(error) if is_of_medium(&error) => {
                self.fault = Some(error);
                read_pages(file, target, part.start)
            }
            read => read,
        };
        let read = read.unwrap_or_else(|error| {
            self.refused = Some(error);
            0
        });
        self.held = BLOCK_BYTES_MAX..BLOCK_BYTES_MAX + read.min(length);
    }
}

/// Page by page: those that the device does not give are zeros. Returns what there was up to the end of the file.
fn read_pages(file: &dyn SegmentFile, target: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    for page in target.chunks_mut(PAGE_BYTES) {
        done += match file.read_at(page, offset + done as u64) {
            Err(error) if is_of_medium(&error) => {
                page.fill(0);
                page.len()
            }
            read => read?,
        };
        if !done.is_multiple_of(PAGE_BYTES) {
            break;
        }
    }
    Ok(done)
}

/// The parts of a file that are read at a time.
struct Parts {
    whole: Range<u64>,
}

impl Parts {
    fn count(&self) -> u64 {
        self.whole.end.saturating_sub(self.whole.start).div_ceil(CHUNK_BYTES as u64)
    }

    fn get(&self, number: u64) -> Range<u64> {
        let from = self.whole.start + number * CHUNK_BYTES as u64;
        from..self.whole.end.min(from + CHUNK_BYTES as u64)
    }
}

/// Reads files ahead. Keeps its memory, 24 MiB once a file is larger than a chunk, from one to the next.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    chunks: Vec<Chunk>,
}

impl ReadAhead {
    /// Hands `part` of a file to `each`, piece by piece and in order. What the device does not give is zeros.
    ///
    /// # Errors
    /// The kernel's, where memory cannot be had, or the file cannot be read for another reason than its
    /// device's.
    pub(super) fn read(
        &mut self,
        file: &dyn SegmentFile,
        part: Range<u64>,
        mut each: impl FnMut(&mut Chunk),
    ) -> io::Result<()> {
        let parts = Parts { whole: part };
        if parts.count() <= 1 {
            return self.read_here(file, &parts, &mut each);
        }
        let mut is_begun = false;
        let outcome = self.read_on_threads(file, &parts, &mut |chunk| {
            is_begun = true;
            each(chunk);
        });
        // There may be memory for one thread where there is none for six.
        if outcome.is_err() && !is_begun { self.read_here(file, &parts, &mut each) } else { outcome }
    }

    fn read_here(
        &mut self,
        file: &dyn SegmentFile,
        parts: &Parts,
        each: &mut impl FnMut(&mut Chunk),
    ) -> io::Result<()> {
        let mut chunk = self.take_chunk()?;
        let outcome = (0..parts.count()).try_for_each(|number| {
            chunk.fill(file, parts.get(number));
            chunk.hand_to(&mut *each)
        });
        self.chunks.push(chunk);
        outcome
    }

    fn read_on_threads(
        &mut self,
        file: &dyn SegmentFile,
        parts: &Parts,
        each: &mut impl FnMut(&mut Chunk),
    ) -> io::Result<()> {
        let count = parts.count();
        thread::scope(|scope| {
            let mut lines = Vec::new();
            for first in 0..READERS as u64 {
                let (line, ends) = Line::new([self.take_chunk()?, self.take_chunk()?]);
                let work = move || {
                    let numbers = (first..count).step_by(READERS);
                    numbers.map(|number| parts.get(number)).try_for_each(|part| ends.fill(file, part));
                    ends.empty
                };
                let reader = thread::Builder::new().name("tapeline-ahead".into()).spawn_scoped(scope, work)?;
                lines.push((line, reader));
            }
            let mut outcome = Ok(());
            for (_, (line, _)) in (0..count).zip(lines.iter().cycle()) {
                let Ok(mut chunk) = line.filled.recv() else { break };
                outcome = chunk.hand_to(&mut *each);
                if outcome.is_err() {
                    break;
                }
                let _ = line.empty.send(chunk);
            }
            for (line, reader) in lines {
                drop(line);
                self.chunks.extend(reader.join().iter().flat_map(|empty| empty.try_iter()));
            }
            outcome
        })
    }

    /// One that is kept, or a new one.
    fn take_chunk(&mut self) -> io::Result<Chunk> {
        self.chunks.pop().map_or_else(Chunk::new, Ok)
    }
}

/// The chunks of one reader: two, of which it fills one while the other is looked at.
struct Line {
    filled: Receiver<Chunk>,
    empty: Sender<Chunk>,
}

/// The reader's ends.
struct Ends {
    filled: SyncSender<Chunk>,
    empty: Receiver<Chunk>,
}

impl Line {
    fn new(chunks: [Chunk; 2]) -> (Self, Ends) {
        let (to_empty, empty) = channel();
        let (to_filled, filled) = sync_channel(1);
        for chunk in chunks {
            let _ = to_empty.send(chunk);
        }
        (Self { filled, empty: to_empty }, Ends { filled: to_filled, empty })
    }
}

impl Ends {
    /// `None` once the surveyor has gone.
    fn fill(&self, file: &dyn SegmentFile, part: Range<u64>) -> Option<()> {
        let mut chunk = self.empty.recv().ok()?;
        chunk.fill(file, part);
        self.filled.send(chunk).ok()
    }
}
