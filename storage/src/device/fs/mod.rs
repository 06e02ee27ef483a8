//! Segment files in a directory of a real file system.
//!
//! Names are looked up relative to an open directory. A symbolic link that an operator has put in place of a file or of
//! a directory is followed; none is where a file is created, or locked. Files have mode 0600, directories that are made
//! here 0700. What a call has done to names or lengths is durable when it returns.
//!
//! Relies on Linux 5.1 and glibc 2.28 or musl. Where a file system lacks allocation, O_DIRECT or RENAME_NOREPLACE, the
//! next best is used; what that is, each item says.

mod buffer;
mod call;
mod direct;
mod directory;
mod file;
mod inherited;
mod kind;
mod listing;
mod lock;
mod mapping;
mod progress;
mod small_file;

#[cfg(test)]
mod tests;

pub use direct::probe_direct;
pub use directory::{FsDirectory, create_directory};
pub(in crate::device) use inherited::OwnDescriptor;
pub(in crate::device) use kind::DanglingLink;
pub(crate) use kind::{is_no_file, not_a_file_at};
pub use lock::{DirectoryLock, lock_exclusive};
pub(in crate::device) use progress::Progress;
pub use small_file::{
    read_small_file, remove_file_durably, remove_temporary_files, write_file_durably, write_shared_file_durably,
};

/// The way in which segment files are written, by the device and by [`super::SegmentFile::write_at`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// O_DIRECT and O_DSYNC: past the page cache, durable when written. Check with [`probe_direct`].
    Direct,
    /// Into the page cache, for level `PageCache`.
    Buffered,
    /// O_DSYNC without O_DIRECT, for file systems without it, such as tmpfs.
    BufferedSync,
}
