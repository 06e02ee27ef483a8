//! Room in a lane, as its writer knows it: how far it may write before it has to look at the reader again.
//!
//! The reserve of a lane is room that ordinary claims leave alone. A record that would cross the end of the ring needs
//! an entry and some bytes for the skip before it.

use super::LaneOptions;
use super::entry_position::EntryPosition;
use super::ring::Ring;

/// The limits of the writer. Where the reader has freed more since, they lag.
#[derive(Debug)]
pub(super) struct Room {
    /// Entry index up to which there is known to be room beside the reserve.
    index_limit: u64,
    /// Byte position up to which there is known to be room beside the reserve.
    byte_position_limit: u64,
    /// The same, or the end of the ring that comes first: up to here a record needs no skip. 0 while claims are
    /// refused.
    straight_limit: u64,
    /// Claims are to be refused.
    is_held_back: bool,
}

impl Room {
    /// Of an empty ring that is the first of its lane.
    pub(super) fn new(options: LaneOptions) -> Self {
        let mut room = Self { index_limit: 0, byte_position_limit: 0, straight_limit: 0, is_held_back: false };
        room.freed_to(EntryPosition::default(), options);
        room.straight_limit = room.byte_position_limit;
        room
    }

    /// The reader has freed everything before this, of a ring with these options.
    pub(super) fn freed_to(&mut self, freed: EntryPosition, options: LaneOptions) {
        let (reserve_bytes, reserve_events) = options.reserve();
        self.index_limit = freed.index + options.capacity_events as u64 - reserve_events;
        self.byte_position_limit = freed.bytes + options.capacity_bytes as u64 - reserve_bytes;
    }

    /// Returns whether a record of so many bytes is known to have room after `end` without a skip.
    #[inline(always)]
    pub(super) fn has_straight(&self, end: EntryPosition, bytes: usize) -> bool {
        end.bytes + bytes as u64 <= self.straight_limit && end.index < self.index_limit
    }

    /// Returns whether what ends at `end` is known to have room, with so many bytes and entries of the reserve.
    #[inline]
    pub(super) fn has(&self, end: EntryPosition, (bytes, entries): (u64, u64)) -> bool {
        end.index <= self.index_limit + entries && end.bytes <= self.byte_position_limit + bytes
    }

    /// The writer is at `end` of this ring.
    pub(super) fn limit_to_straight(&mut self, end: EntryPosition, ring: &Ring) {
        let ring_end = end.bytes + ring.bytes_to_end(end.bytes) as u64;
        self.straight_limit = if self.is_held_back { 0 } else { ring_end.min(self.byte_position_limit) };
    }

    /// Returns whether claims are to be refused.
    pub(super) fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    /// Has claims refused from the next [`Room::limit_to_straight`] on.
    pub(super) fn hold_back(&mut self) {
        self.is_held_back = true;
    }

    /// Has claims refused no more, from the next [`Room::limit_to_straight`] on.
    pub(super) fn let_through(&mut self) {
        self.is_held_back = false;
    }
}
