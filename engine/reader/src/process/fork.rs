//! A test for a fork of the process that opened the bus.
//!
//! A forked child has the memory of the lanes, but not the shards' threads: what it ingested would go nowhere. Asking
//! for the process id is a system call; a counter that the child raises is one load.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// The number of forks between the first process and this one.
#[inline]
pub fn generation() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Has every later fork counted.
#[allow(unsafe_code)]
pub fn watch() {
    // No `Once`: a child that was forked in its midst would wait for ever.
    static WATCHES: AtomicBool = AtomicBool::new(false);
    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    if WATCHES.swap(true, Ordering::Relaxed) {
        return;
    }
    // SAFETY: the handler is a function of this program that only adds to an atomic, which is allowed in a forked
    // child. It can fail only for want of memory; forks then go unnoticed, as they would without it.
    unsafe { libc::pthread_atfork(None, None, Some(count)) };
}
