//! The standard streams as the program inherited them. The standard library opens `/dev/null` in place of a closed one
//! before `main`, so that what is written there seems to arrive, and what is read there seems to end.
//!
//! Unsafe code, with these rules:
//! 1. A function in `.init_array` has the C calling convention, takes what comes, and does not unwind.
//! 2. It calls nothing that relies on the standard library's runtime, which is not set up yet.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, Ordering};

/// A bit for each of the descriptors 0 to 2 that was closed; standard input that only writes counts as closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// True if the descriptor of a standard stream was closed when the program started, or is standard input that cannot be
/// read.
pub(crate) fn was_closed(descriptor: RawFd) -> bool {
    u32::try_from(descriptor).is_ok_and(|bit| CLOSED.load(Ordering::Relaxed).checked_shr(bit).unwrap_or(0) & 1 == 1)
}

// SAFETY: rule 1; the loader calls each function of this section once, before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for descriptor in 0..=2 {
        // SAFETY: rule 2; the call reads the flags of a descriptor, whatever it is.
        let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
        let is_write_only = descriptor == libc::STDIN_FILENO && flags & libc::O_ACCMODE == libc::O_WRONLY;
        if flags < 0 || is_write_only {
            CLOSED.fetch_or(1 << descriptor, Ordering::Relaxed);
        }
    }
}
