//! Cuts a stream of bytes into events, without losing or adding one.

use std::io::{self, Read};

use crate::sse::End;

/// Where events end: one format.
pub(super) trait Cutter {
    /// Looks for the end of the event that starts at `bytes[0]`. Called again with the same bytes and more where there
    /// was none; remembers how far it has looked, and forgets when it returns an end. `ended` says that no more bytes
    /// follow. What is left without an end then is an event as it is, and the last.
    fn end(&mut self, bytes: &[u8], ended: bool) -> Option<End>;
}

/// One event, and where it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Its bytes, as they stood.
    pub(super) bytes: &'a [u8],
    /// The line it starts on, from 1.
    pub(super) line: u64,
}

/// Why there is no next event.
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
    input: R,
    cut: C,
    buffer: Vec<u8>,
    /// `buffer[start..end]` has been read and not handed out.
    start: usize,
    end: usize,
    ended: bool,
    line: u64,
    bytes_max: usize,
}

impl<R: Read, C: Cutter> Splitter<R, C> {
    /// Bytes read at once. A multiple of what `raw` cuts, so that a file is cut the same each time.
    const READ_BYTES: usize = 256 << 10;

    /// The events of `input`, of which the longest may have `bytes_max` bytes.
    pub(super) fn new(input: R, cut: C, bytes_max: usize) -> Self {
        let buffer = vec![0; Self::READ_BYTES];
        Self { input, cut, buffer, start: 0, end: 0, ended: false, line: 1, bytes_max }
    }

    /// The next event; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'_>>, SplitError> {
        let line = self.line;
        let end = loop {
            let waiting = &self.buffer[self.start..self.end];
            if waiting.is_empty() && self.ended {
                return Ok(None);
            }
            match self.cut.end(waiting, self.ended) {
                Some(end) => break end,
                None if waiting.len() > self.bytes_max => return Err(SplitError::TooLong { line }),
                None if !self.ended => self.read()?,
                None => break End { bytes: waiting.len(), lines: 0 },
            }
        };
        if end.bytes > self.bytes_max {
            return Err(SplitError::TooLong { line });
        }
        let bytes = &self.buffer[self.start..self.start + end.bytes];
        self.start += end.bytes;
        self.line += end.lines;
        Ok(Some(Piece { bytes, line }))
    }

    /// Reads what is there, waiting for the first byte of it.
    fn read(&mut self) -> Result<(), SplitError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < Self::READ_BYTES / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.input.read(&mut self.buffer[self.end..]).map_err(SplitError::Read)? {
            0 => self.ended = true,
            read => self.end += read,
        }
        Ok(())
    }
}
