//! The write queue of the simulated machine.

use std::time::Duration;

use super::image::errno;
use super::{SimDisk, SimFile};
use crate::device::{Completion, Device, Doorbell, Write};
use crate::format::PAGE_BYTES;

/// A [`Device`] of a [`SimDisk`]. Each look completes any number of the writes in flight, in any order.
///
/// Without power, writes that are submitted vanish and nothing completes.
#[derive(Debug)]
pub struct SimDevice {
    disk: SimDisk,
    depth: usize,
    /// With their numbers.
    flights: Vec<(u64, Write)>,
    /// Writes to files that cannot be written.
    refused: Vec<Completion>,
    /// Looks in a row that completed nothing though something was in flight.
    empty_looks: u32,
    /// Simulated time has passed: the next look finds something.
    is_due: bool,
}

impl SimDevice {
    const EMPTY_LOOKS_MAX: u32 = 3;

    pub(super) fn new(disk: SimDisk, depth: usize) -> Self {
        assert!(depth > 0, "a device has a depth of at least 1");
        Self { disk, depth, flights: Vec::new(), refused: Vec::new(), empty_looks: 0, is_due: false }
    }

    fn target<'a>(&self, write: &'a Write) -> Option<&'a SimFile> {
        write.file.simulated().filter(|file| file.is_writable_on(&self.disk))
    }

    /// The power is gone, and with it everything under way.
    fn die(&mut self) {
        self.flights.clear();
        self.refused.clear();
    }
}

impl Device for SimDevice {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn depth(&self) -> usize {
        self.depth
    }

    /// # Panics
    /// If the caller breaks a rule of [`Device::submit`] or [`Write`].
    fn submit(&mut self, write: Write) {
        assert!(self.flights.len() + self.refused.len() < self.depth, "more than {} writes in flight", self.depth);
        assert!(write.length.is_multiple_of(PAGE_BYTES), "a write has whole pages");
        assert!(write.offset.is_multiple_of(PAGE_BYTES as u64), "a write starts at a page");
        let Some(file) = self.target(&write).map(SimFile::id) else {
            self.refused.push(Completion { write, result: Err(errno(libc::EBADF)) });
            return;
        };
        let launched = self.disk.lock().launch(self.disk.boot(), file, &write);
        match launched {
            Some(nth) => self.flights.push((nth, write)),
            None => self.die(),
        }
    }

    fn complete(&mut self, done: &mut Vec<Completion>) {
        let disk = self.disk.clone();
        let mut machine = disk.lock();
        if !machine.is_on(disk.boot()) {
            return self.die();
        }
        done.append(&mut self.refused);
        if self.flights.is_empty() {
            return;
        }
        let least = usize::from(self.is_due || self.empty_looks == Self::EMPTY_LOOKS_MAX);
        let count = least as u64 + machine.random.below((self.flights.len() + 1 - least) as u64);
        self.empty_looks = if count == 0 { self.empty_looks + 1 } else { 0 };
        self.is_due = false;
        for _ in 0..count {
            let at = machine.random.below(self.flights.len() as u64) as usize;
            let (nth, write) = self.flights.swap_remove(at);
            match machine.land(disk.boot(), nth) {
                Some(result) => done.push(Completion { write, result }),
                None => return self.die(),
            }
        }
    }

    /// Passes simulated time: returns at once, and the next look completes something if anything is in flight.
    fn wait(&mut self, _doorbell: &Doorbell, _timeout: Duration) {
        self.is_due = !self.flights.is_empty();
    }
}

impl Drop for SimDevice {
    fn drop(&mut self) {
        let mut machine = self.disk.lock();
        for (nth, _) in self.flights.drain(..) {
            // No waiter is left to get the result.
            let _ = machine.land(self.disk.boot(), nth);
        }
    }
}
