//! The bell that ends a shard's nap: an eventfd.
//!
//! Rung by threads that wait for a shard (poll, flush, subscribe), and by a producer when it first meets the shard or
//! finds its lane full; never by an event that has room.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// A doorbell. Ringing it is cheap while it has been rung already, one system call otherwise.
#[derive(Debug)]
pub struct Doorbell {
    event: OwnedFd,
    rung: AtomicBool,
}

impl Doorbell {
    /// A silent bell.
    ///
    /// # Errors
    /// The kernel's, when descriptors have run out.
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are involved.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and has no other owner.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        Ok(Self { event, rung: AtomicBool::new(false) })
    }

    /// Rings. The shard's present or next nap ends.
    #[allow(unsafe_code)]
    pub fn ring(&self) {
        // SYNC: pairs with the swap in `answer`; what the caller wrote before is seen by the turn that answers.
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1u64;
        // SAFETY: eight bytes of a live value. A full counter (EAGAIN) is readable all the same.
        unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Returns whether it was rung since the last answer.
    pub fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// Silences the bell. A thread that rang before is served by what the caller does next.
    ///
    /// Between the two steps of [`Doorbell::ring`] the bell cannot be silenced and stays rung, so that its descriptor
    /// is never readable while [`Doorbell::is_rung`] is false: that would end every nap at once, with nothing to
    /// answer.
    #[allow(unsafe_code)]
    pub fn answer(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes of a live value. The descriptor does not block.
        let read = unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
        if read < 0 {
            return;
        }
        // SYNC: pairs with the swap in `ring`: who rang since the read found the bell rung and has not written to the
        // descriptor, but what it did before is seen by the caller from here on.
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// The descriptor, readable while the bell rings.
    pub fn descriptor(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}
