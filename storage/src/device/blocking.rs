//! The driver that writes in place: `submit` returns when the kernel has the bytes.
//!
//! For machines where io_uring is refused, and for level `PageCache`, where a write is a copy into the page cache and a
//! queue would gain nothing.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::fs::{Progress, WriteMode};
use super::memory::nap;
use super::{Completion, Device, Doorbell, SyncFailed, Write};

/// A write queue over `pwritev2`.
#[derive(Debug)]
pub struct BlockingDevice {
    sync: SyncMode,
    done: Vec<Completion>,
}

/// The way in which a write is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SyncMode {
    /// It is not.
    Never,
    /// By the write itself: RWF_DSYNC.
    WithWrite,
    /// By fdatasync, where the kernel or the file system lacks RWF_DSYNC.
    AfterWrite,
}

impl BlockingDevice {
    /// Less would keep a block from following its segment's header; more would not be faster.
    const DEPTH: usize = 2;

    /// A queue for files of this mode. Writes to a buffered one are left in the page cache, others are durable when
    /// they complete.
    pub fn new(mode: WriteMode) -> Self {
        let sync = if mode == WriteMode::Buffered { SyncMode::Never } else { SyncMode::WithWrite };
        Self { sync, done: Vec::with_capacity(Self::DEPTH) }
    }

    fn write(&mut self, write: &Write) -> io::Result<()> {
        let Some(file) = write.file.descriptor() else {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        };
        let mut progress = Progress::new(write.length);
        while progress.rest() > 0 {
            let bytes = &write.memory.closed_bytes(write.length)[progress.done()..];
            progress.step(self.write_once(file, bytes, write.offset + progress.done() as u64))?;
        }
        match self.sync {
            SyncMode::AfterWrite => sync_data(file).map_err(SyncFailed::of),
            SyncMode::WithWrite | SyncMode::Never => Ok(()),
        }
    }

    fn write_once(&mut self, file: RawFd, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let flags = if self.sync == SyncMode::WithWrite { libc::RWF_DSYNC } else { 0 };
        match write_at(file, bytes, offset, flags) {
            Err(error) if flags != 0 && matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
                self.sync = SyncMode::AfterWrite;
                write_at(file, bytes, offset, 0)
            }
            written => written,
        }
    }
}

impl Device for BlockingDevice {
    fn name(&self) -> &'static str {
        "blocking"
    }

    fn depth(&self) -> usize {
        Self::DEPTH
    }

    fn submit(&mut self, write: Write) {
        let result = self.write(&write);
        self.done.push(Completion { write, result });
    }

    fn complete(&mut self, done: &mut Vec<Completion>) {
        done.append(&mut self.done);
    }

    fn wait(&mut self, doorbell: &Doorbell, timeout: Duration) {
        if self.done.is_empty() {
            nap(doorbell, timeout);
        }
    }

    fn notes(&self) -> Vec<String> {
        match self.sync {
            SyncMode::AfterWrite => vec!["RWF_DSYNC is refused: each write is followed by fdatasync".to_owned()],
            SyncMode::Never | SyncMode::WithWrite => Vec::new(),
        }
    }
}

#[allow(unsafe_code)]
fn write_at(file: RawFd, bytes: &[u8], offset: u64, flags: libc::c_int) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    let written = if flags == 0 {
        // SAFETY: the bytes live until the call returns.
        unsafe { libc::pwrite(file, bytes.as_ptr().cast(), bytes.len(), offset) }
    } else {
        let vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: the vector and its bytes live until the call returns; the kernel only reads them.
        unsafe { libc::pwritev2(file, &raw const vector, 1, offset, flags) }
    };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

#[allow(unsafe_code)]
fn sync_data(file: RawFd) -> io::Result<()> {
    // SAFETY: no pointers are involved.
    match unsafe { libc::fdatasync(file) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
