//! The size that a lane and its rings may reach, and the action when it is nearly full.

use std::io;

use super::UNIT_BYTES;

/// The action of a writer on a lane that is nearly full. The reserve is the part that [`LaneWriter::claim`] leaves
/// free: [`LaneWriter::claim_reserve`] takes from it.
///
/// [`LaneWriter::claim`]: super::LaneWriter::claim
/// [`LaneWriter::claim_reserve`]: super::LaneWriter::claim_reserve
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// Nothing. No reserve.
    Refuse,
    /// Choose what to take, from half a lane on.
    Choose,
    /// Give up the oldest records, from seven eighths on: what it writes into while the reader copies.
    Evict,
}

/// Size of a ring, or of the largest ring that a lane may grow to. Its memory is `capacity_bytes + 2 *
/// capacity_events`, all of it resident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneOptions {
    /// Bytes of records: a power of two, at least [`LaneOptions::CAPACITY_BYTES_MIN`]. Half of it is the longest
    /// record.
    pub capacity_bytes: usize,
    /// Records: a power of two, from 2 to `capacity_bytes / 16`. A skip at the end of the byte ring takes one, too.
    pub capacity_events: usize,
    /// The action of the writer when the lane is nearly full.
    pub overflow: Overflow,
}

impl LaneOptions {
    /// Smallest `capacity_bytes`.
    // The models of loom explore every interleaving, so their lanes are a few records long.
    pub(crate) const CAPACITY_BYTES_MIN: usize = if cfg!(tapeline_loom) { 64 } else { 64 << 10 };

    /// Bytes of the first ring: some tens of events.
    pub(crate) const FIRST_BYTES: usize = if cfg!(tapeline_loom) { 64 } else { 4 << 10 };

    /// The factor by which the next ring is larger.
    const STEP: usize = if cfg!(tapeline_loom) { 2 } else { 4 };

    /// Longest record in bytes: half a lane, so that a record fits an empty lane at whatever offset it stands, and no
    /// more than a length entry can say.
    pub(crate) const fn largest_record(self) -> usize {
        let largest_entry = u16::MAX as usize * UNIT_BYTES;
        let half = self.capacity_bytes / 2;
        if half < largest_entry { half } else { largest_entry }
    }

    /// Bytes and entries that are left free for [`Overflow`].
    pub(super) const fn reserve(self) -> (u64, u64) {
        let (bytes, events) = (self.capacity_bytes as u64, self.capacity_events as u64);
        match self.overflow {
            Overflow::Refuse => (0, 0),
            Overflow::Choose => (bytes / 2, events / 2),
            Overflow::Evict => (bytes / 8, events / 8),
        }
    }

    /// The ring that a lane of this size begins with.
    pub(crate) fn first(self) -> Self {
        self.sized(Self::FIRST_BYTES)
    }

    /// The ring after `ring` in a lane of this size: four times as large, and such that a record of `record_bytes` fits
    /// it empty. `None` where there is none larger.
    pub(super) fn after(self, ring: Self, record_bytes: usize) -> Option<Self> {
        let bytes = (ring.capacity_bytes * Self::STEP).max((2 * record_bytes).next_power_of_two());
        let next = self.sized(bytes);
        (next.capacity_bytes > ring.capacity_bytes).then_some(next)
    }

    /// A ring of so many bytes, at most those of a lane of this size, which holds as many events for each byte as such
    /// a lane, or one for 64 bytes where those are more.
    fn sized(self, bytes: usize) -> Self {
        let capacity_bytes = bytes.min(self.capacity_bytes);
        let in_proportion = capacity_bytes / (self.capacity_bytes / self.capacity_events);
        let capacity_events = in_proportion.max(capacity_bytes / 64).clamp(2, self.capacity_events);
        Self { capacity_bytes, capacity_events, ..self }
    }

    /// Bytes of both rings.
    pub(crate) const fn memory_bytes(self) -> usize {
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
