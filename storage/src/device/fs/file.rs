//! One segment file.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::buffer::{BOUNCE_BYTES, is_aligned, with_bounce};
use super::mapping::FsMapping;
use super::{Progress, WriteMode, call};
use crate::device::{Access, Mapping, SegmentFile, SyncFailed};
use crate::format::PAGE_BYTES;

/// An open segment file. Holds one descriptor.
///
/// Shows, where `/proc` is mounted, as its present path.
pub(super) struct FsFile {
    file: File,
    read_only: bool,
    /// Opened with O_DSYNC.
    synced: bool,
    /// True if the descriptor reads and writes directly. A reader's does from the first bytes on that may still change.
    /// Cleared if the file system accepts that, and then refuses direct reads.
    direct: AtomicBool,
    /// A reader that is to read directly, and does not yet.
    to_be_direct: AtomicBool,
}

impl FsFile {
    /// Creates an empty file. Fails if the name exists.
    pub(super) fn create(directory: &File, name: &CStr, mode: WriteMode) -> io::Result<Self> {
        Self::open_with(directory, name, mode, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL)
    }

    /// Opens a file. One that is only read is read directly where that works, and through the page cache elsewhere.
    pub(super) fn open(directory: &File, name: &CStr, mode: WriteMode, access: Access) -> io::Result<Self> {
        if access == Access::Write {
            return Self::open_with(directory, name, mode, libc::O_RDWR);
        }
        let mut file = Self::open_with(directory, name, WriteMode::Buffered, libc::O_RDONLY)?;
        file.to_be_direct = AtomicBool::new(mode == WriteMode::Direct);
        Ok(file)
    }

    fn open_with(directory: &File, name: &CStr, mode: WriteMode, access: libc::c_int) -> io::Result<Self> {
        let flags = match mode {
            WriteMode::Direct => libc::O_DIRECT | libc::O_DSYNC,
            WriteMode::Buffered => 0,
            WriteMode::BufferedSync => libc::O_DSYNC,
        };
        Ok(Self {
            file: call::open_at(directory, name, access | flags)?,
            read_only: access & libc::O_ACCMODE == libc::O_RDONLY,
            synced: mode != WriteMode::Buffered,
            direct: AtomicBool::new(mode == WriteMode::Direct),
            to_be_direct: AtomicBool::new(false),
        })
    }

    /// Gives an empty file its length, durably, with its space where the file system can allocate.
    pub(super) fn allocate(&self, length: u64) -> io::Result<()> {
        if length > 0 {
            match call::allocate(&self.file, length) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
                    self.file.set_len(length).map_err(call::kernel_error)?;
                }
                allocated => allocated?,
            }
        }
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all().map_err(call::kernel_error)
    }

    fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    /// Reads up to the end of the buffer or of the file.
    fn read_pages(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            // A short read can end within a page. It is read again from that page on, as O_DIRECT needs it, until a
            // read brings nothing more: the end of the file.
            let from = done / PAGE_BYTES * PAGE_BYTES;
            let read = match self.file.read_at(&mut buffer[from..], offset + from as u64) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if from + read <= done {
                break;
            }
            done = from + read;
        }
        Ok(done)
    }

    fn read_bounced(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        for chunk in buffer.chunks_mut(BOUNCE_BYTES) {
            let read = with_bounce(chunk.len().next_multiple_of(PAGE_BYTES), |bounce| {
                let read = self.read_pages(bounce, offset + done as u64)?.min(chunk.len());
                chunk[..read].copy_from_slice(&bounce[..read]);
                io::Result::Ok(read)
            })?;
            done += read;
            if read < chunk.len() {
                break;
            }
        }
        Ok(done)
    }

    fn read_direct(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if is_aligned(buffer) { self.read_pages(buffer, offset) } else { self.read_bounced(buffer, offset) }
    }

    fn write_pages(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut progress = Progress::new(bytes.len());
        while progress.rest() > 0 {
            let done = progress.done();
            progress.step(self.file.write_at(&bytes[done..], offset + done as u64))?;
        }
        Ok(())
    }

    fn write_bounced(&self, bytes: &[u8], mut offset: u64) -> io::Result<()> {
        for chunk in bytes.chunks(BOUNCE_BYTES) {
            with_bounce(chunk.len(), |bounce| {
                bounce.copy_from_slice(chunk);
                self.write_pages(bounce, offset)
            })?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }
}

impl SegmentFile for FsFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // Where the file system refuses, the page cache has to do.
        if self.to_be_direct.swap(false, Ordering::Relaxed) && call::set_direct(&self.file).is_ok() {
            self.direct.store(true, Ordering::Relaxed);
        }
        if !self.is_direct() {
            return self.read_pages(buffer, offset);
        }
        match self.read_direct(buffer, offset) {
            // Accepted at the open and refused now. A reader can do without O_DIRECT; a writer was probed.
            Err(error) if self.read_only && error.raw_os_error() == Some(libc::EINVAL) => {
                call::set_buffered(&self.file)?;
                self.direct.store(false, Ordering::Relaxed);
                self.read_pages(buffer, offset)
            }
            read => read,
        }
    }

    fn read_settled(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.is_direct() {
            return self.read_at(buffer, offset);
        }
        match self.read_pages(buffer, offset) {
            // Another thread has made it direct meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.read_at(buffer, offset),
            read => read,
        }
    }

    fn expect_settled(&self, part: Range<u64>) {
        if !self.is_direct() {
            // Without it the reading takes longer.
            let _ = call::fetch(&self.file, part);
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !bytes.len().is_multiple_of(PAGE_BYTES) || !offset.is_multiple_of(PAGE_BYTES as u64) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not whole pages"));
        }
        if self.is_direct() && !is_aligned(bytes) {
            self.write_bounced(bytes, offset)?;
        } else {
            self.write_pages(bytes, offset)?;
        }
        if self.synced { Ok(()) } else { self.file.sync_data().map_err(call::kernel_error) }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length).map_err(call::kernel_error)?;
        self.sync()
    }

    /// Pages that some process has mapped stay in the cache.
    fn distrust_cache(&self) -> io::Result<()> {
        self.sync().map_err(SyncFailed::of)?;
        call::drop_cache(&self.file)
    }

    fn map(&self) -> io::Result<Box<dyn Mapping>> {
        Ok(Box::new(FsMapping::new(&self.file)?))
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.file.as_raw_fd())
    }
}

impl fmt::Debug for FsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = self.file.as_raw_fd();
        match std::fs::read_link(format!("/proc/self/fd/{descriptor}")) {
            Ok(path) => path.fmt(f),
            Err(_) => write!(f, "descriptor {descriptor}"),
        }
    }
}
