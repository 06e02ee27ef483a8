//! How large a lane is.

use std::io;

use super::UNIT_BYTES;

/// Size of a lane. Its memory is `capacity_bytes + 2 * capacity_events`, all of it resident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneOptions {
    /// Bytes of records: a power of two, at least [`LaneOptions::CAPACITY_BYTES_MIN`]. Half of it is the longest
    /// record.
    pub capacity_bytes: usize,
    /// Records: a power of two, from 2 to `capacity_bytes / 16`. A skip at the end of the byte ring takes one, too.
    pub capacity_events: usize,
}

impl LaneOptions {
    /// Smallest `capacity_bytes`.
    // The models of loom explore every interleaving, so their lanes are a few records long.
    pub(crate) const CAPACITY_BYTES_MIN: usize = if cfg!(tapeline_loom) { 64 } else { 64 << 10 };

    /// Longest record in bytes: half a lane, so that a record fits an empty lane at whatever offset it stands, and no
    /// more than a length entry can say.
    pub(crate) const fn largest_record(self) -> usize {
        let largest_entry = u16::MAX as usize * UNIT_BYTES;
        let half = self.capacity_bytes / 2;
        if half < largest_entry { half } else { largest_entry }
    }

    /// Bytes of both rings.
    pub(super) const fn memory_bytes(self) -> usize {
        self.capacity_bytes + self.capacity_events * size_of::<u16>()
    }

    /// # Errors
    /// `InvalidInput`, naming the field.
    pub(super) fn validate(self) -> io::Result<()> {
        let bytes = self.capacity_bytes;
        let events = self.capacity_events;
        // A quarter of the address space keeps every sum of sizes far from overflow.
        if !bytes.is_power_of_two() || !(Self::CAPACITY_BYTES_MIN..=usize::MAX / 4).contains(&bytes) {
            let least = Self::CAPACITY_BYTES_MIN;
            return Err(invalid(format!("capacity_bytes is {bytes}, expected a power of two, at least {least}")));
        }
        let most = bytes / UNIT_BYTES;
        if !events.is_power_of_two() || !(2..=most).contains(&events) {
            return Err(invalid(format!("capacity_events is {events}, expected a power of two from 2 to {most}")));
        }
        Ok(())
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
