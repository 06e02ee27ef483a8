//! The machine of a [`SimDisk`](super::SimDisk): its steps, its power, and the writes in flight.

use std::io;
use std::sync::Arc;

use super::change::Change;
use super::image::{FileId, Image, errno};
use super::tear::tear;
use super::{Faults, Random};
use crate::device::{BlockMemory, Write};
use crate::format::crc32c;

/// A write that was submitted and not completed. Its number among all writes, from 1, is its name.
struct Flight {
    nth: u64,
    file: FileId,
    offset: u64,
    length: usize,
    memory: Arc<BlockMemory>,
    /// Of the bytes at submission.
    checksum: u32,
}

impl Flight {
    /// # Panics
    /// If the bytes have changed since submission.
    fn bytes(&self) -> &[u8] {
        let bytes = self.memory.closed_bytes(self.length);
        // A test that fails has enough to say already.
        if !std::thread::panicking() {
            assert_eq!(crc32c(bytes), self.checksum, "write {} changed while it was in flight", self.nth);
        }
        bytes
    }
}

/// The disk, what is under way, and what goes wrong.
pub(super) struct Machine {
    pub(super) image: Image,
    pub(super) random: Random,
    pub(super) faults: Faults,
    steps: u64,
    writes: u64,
    calls: u64,
    boot: u64,
    is_on: bool,
    flights: Vec<Flight>,
}

impl Machine {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            image: Image::new(),
            random: Random::new(seed),
            faults,
            steps: 0,
            writes: 0,
            calls: 0,
            boot: 0,
            is_on: true,
            flights: Vec::new(),
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn is_on(&self, boot: u64) -> bool {
        self.is_on && self.boot == boot
    }

    /// Begins the next boot, after the power has gone; returns its number.
    pub(super) fn reboot(&mut self, faults: Faults) -> u64 {
        self.crash();
        self.image.forget_removed();
        self.faults = faults;
        self.is_on = true;
        self.boot += 1;
        self.boot
    }

    /// Takes the power away, if there still is any.
    pub(super) fn crash(&mut self) {
        self.is_on = false;
        for flight in std::mem::take(&mut self.flights) {
            self.interrupt(&flight);
        }
    }

    /// Counts a step. `Ok(true)` if the power is to go in it, an error if it went earlier.
    fn begin_step(&mut self, boot: u64) -> io::Result<bool> {
        if !self.is_on(boot) {
            return Err(off());
        }
        self.steps += 1;
        Ok(self.faults.crash_at == Some(self.steps))
    }

    /// Takes a step. An error if the power went in it or before.
    fn step(&mut self, boot: u64) -> io::Result<()> {
        if self.begin_step(boot)? {
            self.crash();
            return Err(off());
        }
        Ok(())
    }

    fn draw_call_fault(&mut self) -> Option<i32> {
        self.calls += 1;
        self.faults.of_call(self.calls, &mut self.random)
    }

    /// A blocking call that only looks.
    pub(super) fn look<T>(
        &mut self,
        boot: u64,
        look: impl FnOnce(&Image, &mut Random) -> io::Result<T>,
    ) -> io::Result<T> {
        self.step(boot)?;
        match self.draw_call_fault() {
            Some(number) => Err(errno(number)),
            None => look(&self.image, &mut self.random),
        }
    }

    /// A blocking call that changes the disk. Returns the file that was created.
    pub(super) fn change(&mut self, boot: u64, change: Change<'_>) -> io::Result<Option<FileId>> {
        self.step(boot)?;
        change.check()?;
        if self.begin_step(boot)? {
            change.interrupt(&mut self.image, &mut self.random);
            self.crash();
            return Err(off());
        }
        if let Some(number) = self.draw_call_fault() {
            change.fail(number, &mut self.image, &mut self.random);
            return Err(errno(number));
        }
        let result = change.apply(&mut self.image);
        self.step(boot)?;
        result
    }

    /// Takes a write in flight; returns its number, `None` if there is no power any more.
    pub(super) fn launch(&mut self, boot: u64, file: FileId, write: &Write) -> Option<u64> {
        if !self.is_on(boot) {
            return None;
        }
        self.writes += 1;
        self.flights.push(Flight {
            nth: self.writes,
            file,
            offset: write.offset,
            length: write.length,
            memory: Arc::clone(&write.memory),
            checksum: crc32c(write.memory.closed_bytes(write.length)),
        });
        self.step(boot).ok().map(|()| self.writes)
    }

    /// Ends a write in flight. Returns the result for its owner, `None` if there is no power any more.
    pub(super) fn land(&mut self, boot: u64, nth: u64) -> Option<io::Result<()>> {
        // The write is still in flight in this step: it may be on the disk before a waiter knows of it.
        self.step(boot).ok()?;
        let flight = self.take_flight(nth)?;
        if let Some(number) = self.faults.of_write(nth, &mut self.random) {
            if number != libc::ENOSPC {
                self.interrupt(&flight);
            }
            return Some(Err(errno(number)));
        }
        let bytes = flight.bytes();
        if self.faults.lose_write(nth, &mut self.random) {
            return Some(Ok(()));
        }
        Some(self.image.write(flight.file, bytes, flight.offset))
    }

    fn take_flight(&mut self, nth: u64) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| flight.nth == nth)?;
        Some(self.flights.remove(at))
    }

    /// Puts what reaches the disk of an interrupted write there.
    fn interrupt(&mut self, flight: &Flight) {
        let bytes = flight.bytes();
        for part in tear(&mut self.random, bytes.len()) {
            // Where the disk is full, this part did not reach it.
            let _ = self.image.write(flight.file, &bytes[part.clone()], flight.offset + part.start as u64);
        }
    }
}

fn off() -> io::Error {
    io::Error::other("simulated machine is off")
}
