//! Cuts a stream of bytes into events, without losing or adding one.

use std::io::{self, Read};

use tapeline::sse::Rest;

use super::args::OnBad;

/// The end of an event within a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Bytes of the event.
    pub(super) bytes: usize,
    /// Line ends among them; 0 where the format has no lines.
    pub(super) lines: u64,
}

/// A stream that may keep its reader waiting.
pub(super) trait Awaited: Read {
    /// Returns whether a read would wait now.
    fn would_wait(&self) -> bool;
}

/// The ends of events in one format.
pub(super) trait Cutter {
    /// Looks for the end of the event that starts at `bytes[0]`. Called again with the same bytes and more where there
    /// was none; remembers how far it has looked, and forgets when it returns an end. What is left without an end where
    /// no rest is awaited is an event as it is, and the last.
    fn end(&mut self, bytes: &[u8], rest: Rest) -> Option<End>;

    /// The first `bytes` of those it has looked at are taken away: the event's rest starts at `bytes[0]` from now on.
    fn pass(&mut self, bytes: usize);
}

/// One event or a part of one, and where the event starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Its bytes, as they stood.
    pub(super) bytes: &'a [u8],
    /// The line it starts on, from 1.
    pub(super) line: u64,
    pub(super) extent: Extent,
}

/// The extent of a piece: how much of an event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// The first part of an event that is too long.
    First,
    /// One of its other parts.
    Later,
    /// All of it was too long, and is left out. The piece has the bytes that were read last.
    Skipped,
}

/// The reason why there is no next event.
#[derive(Debug)]
pub(super) enum SplitError {
    /// The stream cannot be read.
    Read(io::Error),
    /// An event that no log takes. The line it starts on.
    TooLong { line: u64 },
}

/// The events of a stream. An event is handed out as soon as its last byte has been read.
#[derive(Debug)]
pub(super) struct Splitter<R, C> {
    input: ReadBuffer<R>,
    cut: C,
    limit: Limit,
    line: u64,
    /// The end of the event, once it is found.
    found: Option<End>,
    /// True if a part of the event has been taken away, because it is too long.
    is_within: bool,
}

/// A stream, and what has been read of it and not handed out. It grows with what waits in it.
#[derive(Debug)]
struct ReadBuffer<R> {
    input: R,
    buffer: Vec<u8>,
    /// `buffer[start..end]` waits to be handed out.
    start: usize,
    end: usize,
    /// The stream has no more bytes.
    has_ended: bool,
}

/// The longest event, and what becomes of longer ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) bytes_max: usize,
    pub(super) on_bad: OnBad,
}

/// The next step.
enum Step {
    /// More has to be read.
    Read,
    /// A part of an event that is too long, of so many bytes.
    Part(usize),
    /// An event, or its last part.
    Last(End),
    /// Nothing.
    Over,
}

impl<R: Awaited, C: Cutter> Splitter<R, C> {
    /// The events of `input`.
    pub(super) fn new(input: R, cut: C, limit: Limit) -> Self {
        Self { input: ReadBuffer::new(input), cut, limit, line: 1, found: None, is_within: false }
    }

    /// The next event or part of one; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'_>>, SplitError> {
        let line = self.line;
        loop {
            let (end, is_last) = match self.step() {
                Step::Over => return Ok(None),
                Step::Read => {
                    self.input.read().map_err(SplitError::Read)?;
                    continue;
                }
                Step::Part(_) if self.limit.on_bad == OnBad::Stop => return Err(SplitError::TooLong { line }),
                Step::Part(bytes) => (End { bytes, lines: 0 }, false),
                Step::Last(end) => (end, true),
            };
            self.input.take(end.bytes);
            self.line += end.lines;
            let was_within = std::mem::replace(&mut self.is_within, !is_last);
            let extent = match (was_within, is_last, self.limit.on_bad) {
                (false, true, _) => Extent::Whole,
                (_, false, OnBad::Skip) => continue,
                (true, true, OnBad::Skip) => Extent::Skipped,
                (false, false, _) => Extent::First,
                (true, _, _) => Extent::Later,
            };
            return Ok(Some(Piece { bytes: self.input.taken(end.bytes), line, extent }));
        }
    }

    fn step(&mut self) -> Step {
        let (waiting, ended) = (self.input.waiting(), self.input.has_ended);
        if waiting.is_empty() && ended {
            return Step::Over;
        }
        let rest = if ended { Rest::Absent } else { Rest::Awaited };
        self.found = self.found.or_else(|| self.cut.end(waiting, rest));
        // A return may end the event. A line feed that comes later belongs to it all the same.
        if self.found.is_none() && !ended && waiting.ends_with(b"\r") && self.input.input.would_wait() {
            self.found = self.cut.end(waiting, Rest::Absent);
        }
        match self.found {
            Some(end) if end.bytes <= self.limit.bytes_max => {
                self.found = None;
                Step::Last(end)
            }
            None if waiting.len() <= self.limit.bytes_max && ended => {
                Step::Last(End { bytes: waiting.len(), lines: 0 })
            }
            None if waiting.len() <= self.limit.bytes_max => Step::Read,
            _ => {
                let part = part_bytes(waiting, self.limit.bytes_max);
                match &mut self.found {
                    Some(end) => end.bytes -= part,
                    None => self.cut.pass(part),
                }
                Step::Part(part)
            }
        }
    }
}

impl<R: Read> ReadBuffer<R> {
    /// Bytes read at once. A multiple of what `raw` cuts, so that a file is cut the same each time.
    const READ_BYTES: usize = 256 << 10;

    fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), start: 0, end: 0, has_ended: false }
    }

    fn waiting(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Hands out the next bytes of those that wait.
    fn take(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// The last bytes that were handed out since the last read.
    fn taken(&self, bytes: usize) -> &[u8] {
        &self.buffer[self.start - bytes..self.start]
    }

    /// Reads what is there, waiting for the first byte of it.
    fn read(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < Self::READ_BYTES / 2 {
            let more = self.buffer.len().max(Self::READ_BYTES);
            self.buffer.try_reserve_exact(more).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
            self.buffer.resize(self.buffer.len() + more, 0);
        }
        match self.input.read(&mut self.buffer[self.end..])? {
            0 => self.has_ended = true,
            read => self.end += read,
        }
        Ok(())
    }
}

/// Bytes of the next part of an event of which more than `bytes_max` are there. Characters stay whole.
fn part_bytes(bytes: &[u8], bytes_max: usize) -> usize {
    let is_within_character = |at: usize| bytes[at] & 0xc0 == 0x80;
    let whole = (bytes_max.saturating_sub(3)..=bytes_max).rev().find(|&at| at > 0 && !is_within_character(at));
    whole.unwrap_or(bytes_max)
}
