//! The progress of one write of pages, over short writes and interruptions.

use std::io;

use super::call::kernel_error;
use crate::format::PAGE_BYTES;

/// Tries in a row that may move nothing before the write fails.
const STALLS_MAX: u32 = 100;

/// The progress of one write of whole pages. What remains to be written stays page-aligned, as O_DIRECT needs it: of a
/// short count only the whole pages are taken, and the rest is written again.
#[derive(Debug)]
pub(in crate::device) struct Progress {
    done: usize,
    length: usize,
    stalls: u32,
}

impl Progress {
    pub(in crate::device) fn new(length: usize) -> Self {
        Self { done: 0, length, stalls: 0 }
    }

    /// Bytes written.
    pub(in crate::device) fn done(&self) -> usize {
        self.done
    }

    /// Bytes still to be written.
    pub(in crate::device) fn rest(&self) -> usize {
        self.length - self.done
    }

    /// Takes the result of one system call. `EINTR` and `EAGAIN` mean: again.
    ///
    /// # Errors
    /// The final ones; `WriteZero` if the kernel keeps taking nothing.
    pub(in crate::device) fn step(&mut self, result: io::Result<usize>) -> io::Result<()> {
        match result {
            Ok(written) if written >= PAGE_BYTES.min(self.rest()) => {
                self.done += if written < self.rest() { written / PAGE_BYTES * PAGE_BYTES } else { self.rest() };
                self.stalls = 0;
                Ok(())
            }
            // Less than a page: the next try says why, with ENOSPC for example.
            Ok(_) => self.stall(io::ErrorKind::WriteZero.into()),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => self.stall(error),
                _ => Err(kernel_error(error)),
            },
        }
    }

    fn stall(&mut self, error: io::Error) -> io::Result<()> {
        self.stalls += 1;
        if self.stalls < STALLS_MAX { Ok(()) } else { Err(error) }
    }
}
