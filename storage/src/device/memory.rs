//! The driver that keeps nothing: every write completes at once. For level `Memory`.

use std::ptr;
use std::time::Duration;

use super::{Completion, Device, Doorbell, Write};

/// A write queue without a file.
#[derive(Debug, Default)]
pub struct MemoryDevice {
    done: Vec<Completion>,
}

impl MemoryDevice {
    const DEPTH: usize = 8;

    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Device for MemoryDevice {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn depth(&self) -> usize {
        Self::DEPTH
    }

    fn submit(&mut self, write: Write) {
        self.done.push(Completion { write, result: Ok(()) });
    }

    fn complete(&mut self, done: &mut Vec<Completion>) {
        done.append(&mut self.done);
    }

    fn wait(&mut self, doorbell: &Doorbell, timeout: Duration) {
        if self.done.is_empty() {
            nap(doorbell, timeout);
        }
    }
}

/// Longest sleep, in place of durations that the kernel's clock cannot hold.
pub(super) const NAP_MAX: Duration = Duration::from_secs(3600);

/// Sleeps until the doorbell has been rung or `timeout` has passed. May wake early.
#[allow(unsafe_code)]
pub(crate) fn nap(doorbell: &Doorbell, timeout: Duration) {
    if doorbell.is_rung() {
        return;
    }
    let timeout = timeout.min(NAP_MAX);
    let mut poll = libc::pollfd { fd: doorbell.descriptor(), events: libc::POLLIN, revents: 0 };
    let timeout =
        libc::timespec { tv_sec: timeout.as_secs() as libc::time_t, tv_nsec: timeout.subsec_nanos() as libc::c_long };
    // SAFETY: both values live until the call returns. Its result does not matter: an error is an early wake.
    unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, ptr::null()) };
}
