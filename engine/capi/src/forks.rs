//! The number of forks between the first process and this one: one load, where a process id is a system call. The
//! child's handler is in the boundary.

use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

#[inline(always)]
pub(crate) fn generation() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Called in the child of each fork.
pub(crate) fn count() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
