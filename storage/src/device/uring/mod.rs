//! The driver over a raw io_uring.
//!
//! Costs, per block: one system call to submit, and one to run the completion if the shard has not napped meanwhile.
//! [`Device::complete`] makes no system call while there is nothing to collect.
//!
//! The files say what a completion means: with O_DIRECT and O_DSYNC the bytes are durable. Writes into the page cache
//! are slow through a ring (each is passed to a kernel worker); use the blocking driver there.
//!
//! Rules of the unsafe code here:
//! 1. A write's memory belongs to `flight` from before its request is queued until its last completion was seen.
//! 2. What the kernel may still read is never freed: `drop` waits for all completions, and where the ring itself fails
//!    the memory is leaked.

mod buffers;
mod files;
mod flight;
mod ring;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::Timespec;
use io_uring::{opcode, squeue, types};

use self::buffers::BufferTable;
use self::files::FileTable;
use self::flight::{Flight, InFlight};
use self::ring::Ring;
pub(super) use self::ring::try_ring;
use super::fs::{DirectoryLock, Progress};
use super::memory::{NAP_MAX, nap};
use super::{BlockMemory, Completion, Device, Doorbell, Write};

/// Requests that may be queued besides writes: doorbell polls.
const BELLS: u32 = 2;

/// User data of a doorbell's poll: this, plus its descriptor. Below are the indices of writes.
const BELL: u64 = 1 << 32;

/// Settings of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UringOptions {
    /// Writes in flight at once, from 1 to 1024.
    pub depth: u32,
}

impl UringOptions {
    const DEPTH_MAX: u32 = 1024;
}

impl Default for UringOptions {
    fn default() -> Self {
        Self { depth: 8 }
    }
}

/// A write queue over a ring of its own. Stays on the thread that made it.
pub struct UringDevice {
    ring: Ring,
    flight: Flight,
    files: FileTable,
    buffers: BufferTable,
    /// Ended, and not handed out yet.
    ended: Vec<Completion>,
    /// Descriptor of the doorbell that the kernel watches.
    watched: Option<RawFd>,
    /// Writes that used registered memory.
    fixed_writes: u64,
}

impl UringDevice {
    /// Creates a ring on this thread, which must be the one that uses it.
    ///
    /// # Errors
    /// The kernel's; see [`super::probe::io_uring_available`] for their causes. `InvalidInput` for a depth out of
    /// range.
    pub fn new(options: UringOptions) -> io::Result<Self> {
        if !(1..=UringOptions::DEPTH_MAX).contains(&options.depth) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "depth of the ring is out of range"));
        }
        Ok(Self::over(Ring::new(Self::entries(options))?, options))
    }

    fn entries(options: UringOptions) -> u32 {
        (options.depth + BELLS).next_power_of_two()
    }

    fn over(ring: Ring, options: UringOptions) -> Self {
        Self {
            flight: Flight::new(options.depth as usize),
            files: FileTable::new(&ring.submitter()),
            buffers: BufferTable::new(),
            ring,
            ended: Vec::new(),
            watched: None,
            fixed_writes: 0,
        }
    }

    /// Has the kernel hold the lock of the log's directory for as long as it works on a write of this device. A process
    /// that is killed leaves writes in flight, which land when the disk gets to them; until then no other process may
    /// write the log.
    ///
    /// # Errors
    /// The kernel's: it holds no files for rings, and the lock is free as soon as the process has ended.
    pub fn hold(&mut self, lock: &DirectoryLock) -> io::Result<()> {
        self.files.hold(&self.ring.submitter(), lock)
    }

    /// Writes so far that used registered memory.
    pub fn fixed_writes(&self) -> u64 {
        self.fixed_writes
    }

    /// Submits what is queued, and runs the completions that the kernel has put off.
    fn enter(&mut self) {
        let entered = self.ring.submit();
        self.end_all_if_failed(entered);
    }

    /// Ends every write with the ring's own error, if it has failed.
    fn end_all_if_failed(&mut self, entered: Result<(), i32>) {
        let Err(number) = entered else { return };
        for index in 0..self.flight.depth() {
            let Some(InFlight { write, .. }) = self.flight.remove(index) else { continue };
            // Rule 2: held for ever, so that it is neither freed nor taken back into use.
            std::mem::forget(Arc::clone(&write.memory));
            self.end(write, Err(io::Error::from_raw_os_error(number)));
        }
    }

    fn end(&mut self, write: Write, result: io::Result<()>) {
        self.ended.push(Completion { write, result });
    }

    /// Takes what the kernel has completed, and continues short writes.
    fn reap(&mut self) {
        let mut continued = false;
        let (mut queue, completions) = self.ring.queues();
        for completion in completions {
            let index = completion.user_data();
            if index >= BELL {
                self.watched = self.watched.filter(|&bell| BELL + bell as u64 != index);
                continue;
            }
            let index = index as usize;
            let Some(in_flight) = self.flight.get_mut(index) else {
                debug_assert!(false, "a completion of no write");
                continue;
            };
            let result = match completion.result() {
                written @ 0.. => Ok(written as usize),
                error => Err(io::Error::from_raw_os_error(-error)),
            };
            let result = in_flight.progress.step(result);
            if result.is_ok() && in_flight.progress.rest() > 0 {
                push(&mut queue, &in_flight.entry(index));
                continued = true;
            } else if let Some(InFlight { write, target, .. }) = self.flight.remove(index) {
                self.files.release(target);
                self.ended.push(Completion { write, result });
            }
        }
        drop(queue);
        if continued {
            self.enter();
        }
    }

    /// Has the kernel watch the doorbell, unless it does already.
    #[allow(unsafe_code)]
    fn watch(&mut self, bell: RawFd) {
        if self.watched == Some(bell) {
            return;
        }
        let poll = opcode::PollAdd::new(types::Fd(bell), libc::POLLIN as u32).build().user_data(BELL + bell as u64);
        // SAFETY: the request refers to no memory.
        if unsafe { self.ring.requests().push(&poll) }.is_ok() {
            self.watched = Some(bell);
        }
    }
}

/// Queues the request of a write that is in `flight`.
#[allow(unsafe_code)]
fn push(queue: &mut squeue::SubmissionQueue<'_>, entry: &squeue::Entry) {
    // SAFETY: rule 1.
    let pushed = unsafe { queue.push(entry) };
    assert!(pushed.is_ok(), "the submission queue has a place for each write and doorbell");
}

impl Device for UringDevice {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn depth(&self) -> usize {
        self.flight.depth()
    }

    fn register(&mut self, memory: &[Arc<BlockMemory>]) {
        self.buffers.announce(&self.ring.submitter(), memory);
    }

    /// # Panics
    /// If as many writes as the depth are in flight.
    fn submit(&mut self, write: Write) {
        debug_assert!(write.length <= write.memory.block_bytes());
        if let Some(number) = self.ring.failed() {
            return self.end(write, Err(io::Error::from_raw_os_error(number)));
        }
        let Some(descriptor) = write.file.descriptor() else {
            return self.end(write, Err(io::Error::from_raw_os_error(libc::EBADF)));
        };
        let target = self.files.acquire(&self.ring.submitter(), &write.file, descriptor);
        let buffer = self.buffers.index(&self.ring.submitter(), &write.memory);
        let in_flight = InFlight { progress: Progress::new(write.length), write, target, buffer };
        let entry = self.flight.insert(in_flight);
        push(&mut self.ring.requests(), &entry);
        self.fixed_writes += u64::from(buffer.is_some());
        self.enter();
    }

    fn complete(&mut self, done: &mut Vec<Completion>) {
        if self.ring.failed().is_none() {
            if self.ring.is_pending() {
                self.enter();
            }
            self.reap();
        }
        done.append(&mut self.ended);
    }

    fn wait(&mut self, doorbell: &Doorbell, timeout: Duration) {
        if self.ring.failed().is_some() {
            if self.ended.is_empty() {
                nap(doorbell, timeout);
            }
            return;
        }
        self.reap();
        if !self.ended.is_empty() || doorbell.is_rung() {
            return;
        }
        self.watch(doorbell.descriptor());
        let timeout = Timespec::from(timeout.min(NAP_MAX));
        let entered = self.ring.submit_and_wait_within(timeout);
        self.end_all_if_failed(entered);
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("ring: {}", self.ring.setup()), self.buffers.note()];
        notes.extend(self.files.refused().map(|error| format!("files could not be registered: {error}")));
        notes
    }
}

impl Drop for UringDevice {
    fn drop(&mut self) {
        // Rule 2. Passing errors are met by trying again; a request that the kernel holds does end.
        while !self.flight.is_empty() && self.ring.failed().is_none() {
            let entered = self.ring.submit_and_wait();
            self.end_all_if_failed(entered);
            if self.ring.failed().is_none() {
                self.reap();
            }
        }
        self.files.unregister(&self.ring.submitter());
    }
}

impl fmt::Debug for UringDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringDevice")
            .field("setup", &self.ring.setup())
            .field("flight", &self.flight)
            .finish_non_exhaustive()
    }
}
