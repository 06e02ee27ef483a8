//! The lines of a trace, one at a time: a trace may be larger than memory.

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use crate::harness::Outcome;

/// Longest line that is taken. That of the longest session in the public trace of agent sessions has 56 kB.
const LINE_BYTES_MAX: usize = 256 << 10;

/// The mark with which some programs begin a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A file of lines in UTF-8.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Number of the line that was given last, from 1.
    number: u64,
}

impl Lines {
    /// At the start of a file, which can be read more than once.
    pub(super) fn open(path: &Path) -> Outcome<Self> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), line: Vec::new(), number: 0 })
    }

    /// Name of the file.
    pub(super) fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The next line that is not blank, without white space around it.
    pub(super) fn next(&mut self) -> Outcome<Option<&str>> {
        while self.read()? {
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.line) {
            Ok("") => Ok(None),
            Ok(line) => Ok(Some(line.trim())),
            Err(_) => Err(self.failure("not UTF-8").into()),
        }
    }

    /// Back to the start.
    pub(super) fn restart(&mut self) -> Outcome<()> {
        self.reader.rewind().map_err(|error| format!("{}: cannot be read again: {error}", self.path.display()))?;
        self.number = 0;
        Ok(())
    }

    /// Says what is wrong with the line that was given last.
    pub(super) fn failure(&self, what: impl Display) -> String {
        format!("{}:{}: {what}", self.path.display(), self.number)
    }

    /// Reads one line, blank or not. False at the end.
    fn read(&mut self) -> Outcome<bool> {
        self.line.clear();
        self.number += 1;
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.line).map_err(|error| self.failure(error))?;
        if read > LINE_BYTES_MAX {
            return Err(self.failure(format!("longer than {LINE_BYTES_MAX} bytes")).into());
        }
        if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(read > 0)
    }
}
