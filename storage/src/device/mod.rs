//! The only code that talks to the kernel: files of a shard's directory, and the queue that blocks are written through.
//!
//! Two traits, because they live on two sides of the hot path. [`Directory`] and [`SegmentFile`] are for what happens
//! once a segment: they block, and may be called from any thread. A [`Device`] is the write queue of one shard's
//! thread: it never blocks in [`Device::submit`] (but for the blocking driver, whose name says so) and completes in any
//! order.
//!
//! | driver | queue | files | for |
//! |---|---|---|---|
//! | [`uring`] | raw io_uring, O_DIRECT + O_DSYNC | [`fs`] | level `Durable` |
//! | [`blocking`] | `pwritev2`, with RWF_DSYNC for `Durable` | [`fs`] | where io_uring is refused; level `PageCache` |
//! | [`memory`] | completes at once | none | level `Memory` |
//! | `sim` | seeded order, faults and crashes | simulated | tests |

mod aligned;
mod block_end;
mod block_memory;
pub mod blocking;
mod doorbell;
mod failure;
pub mod fs;
pub mod memory;
pub mod probe;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[cfg(test)]
mod tests;
pub mod uring;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use aligned::{AlignedBytes, zeroed};
pub use block_end::BlockEnd;
#[cfg(test)]
pub(crate) use block_memory::scarcity;
pub use block_memory::{BlockMemory, BlockWriter, MemoryGuard};
pub use doorbell::Doorbell;
pub(crate) use failure::{SyncFailed, errno_of, is_of_medium};
pub use failure::{advice, is_of_environment, is_passing};

/// One block on its way to a file.
#[derive(Debug)]
pub struct Write {
    /// The caller's number; comes back in the [`Completion`].
    pub token: u64,
    /// The file to write to.
    pub file: Arc<dyn SegmentFile>,
    /// The memory to write; the device keeps it alive until the write has completed.
    pub memory: Arc<BlockMemory>,
    /// The number of its bytes to write, a multiple of [`crate::format::PAGE_BYTES`], at most
    /// those of the memory's block.
    pub length: usize,
    /// At what offset, a multiple of [`crate::format::PAGE_BYTES`].
    pub offset: u64,
}

/// The end of one [`Write`].
#[derive(Debug)]
pub struct Completion {
    /// The write that ended.
    pub write: Write,
    /// `Ok` when all its bytes have reached what the level promises. A short write is continued by the driver, not
    /// reported; any error is final for these bytes.
    pub result: io::Result<()>,
}

/// The write queue of one shard. Created and used on the shard's thread. Dropping it waits for the writes in flight,
/// whose memory is in the kernel's hands.
pub trait Device: Debug {
    /// Name of the driver, for statistics.
    fn name(&self) -> &'static str;

    /// Writes that may be in flight at once, at least 1. Beyond it, [`Device::submit`] must not be called.
    fn depth(&self) -> usize;

    /// Announces the memory of blocks, which the driver makes known to the kernel when it is first written, so that
    /// later writes save the page look-ups. A driver that cannot (the memlock limit) goes on without.
    fn register(&mut self, _memory: &[Arc<BlockMemory>]) {}

    /// Queues a write. Errors are reported by [`Device::complete`].
    fn submit(&mut self, write: Write);

    /// Appends what has completed since the last call to `done`, without waiting.
    fn complete(&mut self, done: &mut Vec<Completion>);

    /// Sleeps until a write has completed, `doorbell` has been rung, or `timeout` has passed. May wake early. Meant for
    /// one and the same doorbell at every call: with another, a ring may be noticed only when the time has passed.
    fn wait(&mut self, doorbell: &Doorbell, timeout: Duration);

    /// Remarks for the operator on how the driver runs here: what it could use and what was refused, and why.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Space of the file system that a directory lies in, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl Space {
    /// Of a file system that does not say.
    pub const UNKNOWN: Self = Self { free: u64::MAX, total: 0 };

    /// Most that a log leaves to its neighbours: 256 MiB.
    const MARGIN_BYTES_MAX: u64 = 256 << 20;

    /// A log leaves one in so many bytes to its neighbours.
    const MARGIN_PART: u64 = 32;

    /// Bytes that a log may still take.
    pub fn available(&self) -> u64 {
        self.free.saturating_sub((self.total / Self::MARGIN_PART).min(Self::MARGIN_BYTES_MAX))
    }
}

/// The use that a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Read,
    /// It is read and written.
    Write,
}

/// A directory with the segment files of one shard. Every call blocks; its effect is durable when it returns.
pub trait Directory: Debug + Send + Sync {
    /// File names, in no order.
    ///
    /// # Errors
    /// The kernel's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file of `length` zero bytes with its space allocated. Fails if the name exists.
    ///
    /// # Errors
    /// The kernel's; `StorageFull` leaves no file behind.
    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn SegmentFile>>;

    /// Opens a file.
    ///
    /// # Errors
    /// The kernel's.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn SegmentFile>>;

    /// Renames a file. Fails if `to` exists.
    ///
    /// # Errors
    /// The kernel's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Renames a file, in place of the one that has the name `to`, if there is one: a process that has that open keeps
    /// it.
    ///
    /// # Errors
    /// The kernel's.
    fn replace(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file a second name, which no file has.
    ///
    /// # Errors
    /// The kernel's.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The kernel's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Removes a file, if the name is still that of `own`: another writer may have given it to a file of its own.
    ///
    /// # Errors
    /// The kernel's; `AlreadyExists` where the name is another file's, which stays.
    fn remove_own(&self, name: &str, own: &dyn SegmentFile) -> io::Result<()>;

    /// The space there is. A quota may leave less.
    ///
    /// # Errors
    /// The kernel's.
    fn space(&self) -> io::Result<Space>;

    /// Makes the names durable: what a call that failed after its change had been made may have left out.
    ///
    /// # Errors
    /// The kernel's.
    fn sync(&self) -> io::Result<()>;

    /// The directory's path, for messages.
    fn path(&self) -> String;
}

/// One segment file. Every call blocks.
pub trait SegmentFile: Debug + Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    /// The kernel's.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`; returns how many bytes there were before the end of the file. Reads what the
    /// device holds, not what the page cache believes, where the file system allows; `offset` and the buffer's length
    /// are multiples of [`crate::format::PAGE_BYTES`], the buffer may lie anywhere.
    ///
    /// # Errors
    /// The kernel's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`SegmentFile::read_at`], for bytes that are not written any more: a reader may get them out of the page
    /// cache, which is quicker.
    ///
    /// # Errors
    /// The kernel's.
    fn read_settled(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }

    /// Says that `part` will be read with [`SegmentFile::read_settled`], so that it is fetched meanwhile. Waits for
    /// nothing.
    fn expect_settled(&self, _part: Range<u64>) {}

    /// Writes all of `bytes` (whole pages) at `offset` (a multiple of a page), durably.
    ///
    /// # Errors
    /// The kernel's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Sets the length, durably.
    ///
    /// # Errors
    /// The kernel's.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes durable what other writers left in the page cache, and drops it from there.
    ///
    /// # Errors
    /// The kernel's. Where the sync fails, one that never passes ([`is_passing`]).
    fn distrust_cache(&self) -> io::Result<()>;

    /// Maps the whole file for reading.
    ///
    /// # Errors
    /// The kernel's.
    fn map(&self) -> io::Result<Box<dyn Mapping>>;

    /// The descriptor, for drivers that hand it to the kernel.
    fn descriptor(&self) -> Option<RawFd>;

    /// The simulated file, for the simulated device.
    #[cfg(any(test, feature = "sim"))]
    fn simulated(&self) -> Option<&sim::SimFile> {
        None
    }
}

/// The error of a name that has become another file's.
pub(crate) fn another_file(name: &str) -> io::Error {
    let message = format!("{name} is another file now: something else has written to the directory");
    io::Error::new(io::ErrorKind::AlreadyExists, message)
}

/// A file mapped for reading.
pub trait Mapping: Debug + Send + Sync {
    /// All bytes. Only those in a range that [`Mapping::populate`] has brought in may be touched.
    fn bytes(&self) -> &[u8];

    /// Brings the pages of `range` in, so that touching them cannot raise SIGBUS.
    ///
    /// # Errors
    /// The kernel's; `EIO` or `EFAULT` where a page cannot be read.
    fn populate(&self, range: Range<usize>) -> io::Result<()>;
}
