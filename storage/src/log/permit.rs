//! The permit of a tidying chore while the shard's thread goes on: whether to continue, and which names are still
//! taken.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::Sequence;
use crate::lock::lock;

/// Shared by a log and its tidying chores.
#[derive(Debug, Default)]
pub(super) struct Permit {
    is_withdrawn: AtomicBool,
    /// Segments that begin below have no name any more, or are about to lose it.
    floor: Mutex<Sequence>,
}

impl Permit {
    /// Has the chore that runs end early, with the directory as it was or as it was to be.
    pub(super) fn withdraw(&self) {
        self.is_withdrawn.store(true, Ordering::Relaxed);
    }

    pub(super) fn renew(&self) {
        self.is_withdrawn.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_withdrawn(&self) -> bool {
        self.is_withdrawn.load(Ordering::Relaxed)
    }

    /// Segments that begin below `to` are removed from now on.
    pub(super) fn raise_floor(&self, to: Sequence) {
        let mut floor = lock(&self.floor);
        *floor = to.max(*floor);
    }

    /// Gives a file the name of the segment that begins at `base` by `replace`, unless that segment is being removed:
    /// no name comes back that trimming has taken away. Whether it was done.
    ///
    /// # Errors
    /// Those of `replace`.
    pub(super) fn replace(&self, base: Sequence, replace: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
        let floor = lock(&self.floor);
        if base < *floor {
            return Ok(false);
        }
        replace().map(|()| true)
    }
}
