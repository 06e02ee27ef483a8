//! The files that are registered with a ring, so that a write saves the look-up of its descriptor.
//!
//! Two places more are the lock's. The kernel frees a ring, and this table with it, once nothing of the ring is in
//! flight. So the lock of a process that was killed is free no sooner than the kernel has done the last write that the
//! process had given it: a write that landed later would replace what the next process has written.
//!
//! A slot owns its file: while a number stands in the table, its descriptor cannot be closed and come back as another
//! file. A file that has no other holder is dropped when the next one is registered.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use io_uring::Submitter;

use crate::device::SegmentFile;
use crate::device::fs::DirectoryLock;

/// A shard writes to one segment, and for a moment to the next one as well. More slots would only keep files open that
/// have been removed.
const SLOTS: usize = 4;

/// The descriptors of a lock.
const LOCKS: usize = 2;

/// Places of the table.
const PLACES: usize = SLOTS + LOCKS;

const EMPTY: RawFd = -1;

#[derive(Debug, Default)]
struct Slot {
    file: Option<Arc<dyn SegmentFile>>,
    /// Writes in flight that name this slot.
    writes: usize,
}

/// The way in which a write names its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// By the number of its slot.
    Slot(usize),
    /// By its descriptor.
    Descriptor(RawFd),
}

/// The table of registered files.
#[derive(Debug)]
pub(super) struct FileTable {
    slots: [Slot; SLOTS],
    next: usize,
    /// The reason for which files are named by descriptors.
    refused: Option<io::Error>,
}

impl FileTable {
    pub(super) fn new(submitter: &Submitter<'_>) -> Self {
        // Sparse tables have a call of their own since Linux 5.19.
        let registered =
            submitter.register_files_sparse(PLACES as u32).or_else(|_| submitter.register_files(&[EMPTY; PLACES]));
        Self { slots: Default::default(), next: 0, refused: registered.err() }
    }

    pub(super) fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }

    /// Has the kernel hold the lock for as long as it works on a write of this ring.
    ///
    /// # Errors
    /// The kernel's, which holds no files for rings.
    pub(super) fn hold(&self, submitter: &Submitter<'_>, lock: &DirectoryLock) -> io::Result<()> {
        if let Some(refused) = &self.refused {
            return Err(io::Error::new(refused.kind(), refused.to_string()));
        }
        let descriptors: Vec<_> = lock.descriptors().take(LOCKS).collect();
        submitter.register_files_update(SLOTS as u32, &descriptors).map(drop)
    }

    /// A name for the file, for one write; [`FileTable::release`] gives it back. A system call the first time a file is
    /// seen.
    pub(super) fn acquire(&mut self, submitter: &Submitter<'_>, file: &Arc<dyn SegmentFile>, fd: RawFd) -> Target {
        if self.refused.is_some() {
            return Target::Descriptor(fd);
        }
        let Some(at) = self.find(file).or_else(|| self.insert(submitter, file, fd)) else {
            return Target::Descriptor(fd);
        };
        self.slots[at].writes += 1;
        Target::Slot(at)
    }

    pub(super) fn release(&mut self, target: Target) {
        if let Target::Slot(at) = target {
            self.slots[at].writes -= 1;
        }
    }

    /// Lets all files go. The kernel frees a ring some time after it was closed, and would keep them open, and their
    /// file system mounted, until then.
    pub(super) fn unregister(&self, submitter: &Submitter<'_>) {
        if self.refused.is_none() {
            // If the kernel refuses, the files are closed with the ring.
            let _ = submitter.unregister_files();
        }
    }

    fn find(&self, file: &Arc<dyn SegmentFile>) -> Option<usize> {
        let same = |held: &Arc<dyn SegmentFile>| Arc::as_ptr(held).addr() == Arc::as_ptr(file).addr();
        self.slots.iter().position(|slot| slot.file.as_ref().is_some_and(same))
    }

    fn insert(&mut self, submitter: &Submitter<'_>, file: &Arc<dyn SegmentFile>, fd: RawFd) -> Option<usize> {
        self.sweep(submitter);
        let at = (0..SLOTS).map(|step| (self.next + step) % SLOTS).find(|&at| self.slots[at].writes == 0)?;
        // On an error the slot holds what it held, or nothing; the descriptor's own trouble shows in its write.
        self.slots[at].file = None;
        submitter.register_files_update(at as u32, &[fd]).ok()?;
        self.slots[at].file = Some(Arc::clone(file));
        self.next = (at + 1) % SLOTS;
        Some(at)
    }

    fn sweep(&mut self, submitter: &Submitter<'_>) {
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let orphaned = slot.file.as_ref().is_some_and(|file| Arc::strong_count(file) == 1);
            if orphaned && slot.writes == 0 && submitter.register_files_update(at as u32, &[EMPTY]).is_ok() {
                slot.file = None;
            }
        }
    }
}
