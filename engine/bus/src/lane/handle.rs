//! The numbers of a lane: what its two ends show each other and other threads.

use std::ops::Range;
// Not loom's: nothing of a model happens under it.
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry_position::EntryPosition;
use super::evict::{Evicted, Hold};
use super::groups::Groups;
use super::large_events::{self, LargeEvents};
use super::losses::LossBook;
use super::mark::Mark;
use super::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use super::{Drops, LaneOptions};
use crate::core::refusals::Refusals;
use tapeline_storage::log::LargeBlock;

/// The numbers that the two ends share beside the ring. They live as long as the last [`LaneHandle`]; the ring's memory
/// does not.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) writer: WriterNumbers,
    pub(super) reader: ReaderNumbers,
    pub(super) begun: Begun,
    pub(super) losses: LossBook,
    pub(super) hold: Hold,
    pub(super) ends: Ends,
    pub(super) size: Size,
    pub(super) lists: Lists,
    producer: u64,
}

/// The lists of a lane, each under a lock of its own. Ordinary records need none of them.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The writer takes the lock when it evicts, holders of tickets when they ask. No atomic of the lane is touched
    /// under it.
    evicted: Mutex<Evicted>,
    pub(super) groups: Groups,
    large_events: LargeEvents,
}

impl Lists {
    fn evicted(&self) -> MutexGuard<'_, Evicted> {
        // A panic of another holder leaves ranges, which are whole after every statement.
        self.evicted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stored by the writer when the lane grows, or cannot. Statistics only.
#[derive(Debug)]
pub(super) struct Size {
    /// Of the last ring.
    capacity_bytes: AtomicU64,
    /// Bytes to which the lane can grow.
    room_bytes: AtomicU64,
    room_events: AtomicU64,
}

impl Size {
    /// The last ring is of this size from now on.
    pub(super) fn set_capacity(&self, ring: LaneOptions) {
        self.capacity_bytes.store(ring.capacity_bytes as u64, Ordering::Relaxed);
    }

    /// The lane can become as large as this and no larger.
    pub(super) fn set_room(&self, largest: LaneOptions) {
        self.room_bytes.store(largest.capacity_bytes as u64, Ordering::Relaxed);
        self.room_events.store(largest.capacity_events as u64, Ordering::Relaxed);
    }
}

/// Stored by the writer, read by threads that want to know what is still to come. On a line of its own: no reader of
/// the lane takes it away.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Begun {
    /// A [`Mark`].
    pub(super) mark: AtomicU64,
}

/// Stored by the writer. 128 bytes: the prefetcher of x86 takes cache lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct WriterNumbers {
    /// Entry index below which everything may be read.
    pub(super) published: AtomicU64,
    /// Byte position, skipped bytes included, that belongs to `published`. Statistics only.
    pub(super) published_bytes: AtomicU64,
    /// Skips among the published entries. Statistics only.
    pub(super) published_skips: AtomicU64,
    /// Groups published.
    pub(super) groups: AtomicU64,
}

impl WriterNumbers {
    /// The end of what is published, for the writer itself: its own numbers need no order.
    pub(super) fn own_end(&self) -> EntryPosition {
        let index = self.published.load(Ordering::Relaxed);
        EntryPosition { index, bytes: self.published_bytes.load(Ordering::Relaxed) }
    }
}

/// Stored by the reader; the first two by the writer while it holds the beginning of an evicting lane.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct ReaderNumbers {
    /// Entry index below which length entries may be overwritten.
    pub(super) freed: AtomicU64,
    /// Byte position, skipped bytes included, below which bytes may be overwritten.
    pub(super) freed_bytes: AtomicU64,
    /// Entry index below which everything can be read from the log.
    pub(super) released: AtomicU64,
    /// Entry index below which everything has what its durability level promises.
    pub(super) durable: AtomicU64,
    /// Records that the reader has taken over. Statistics only.
    pub(super) taken: AtomicU64,
}

impl ReaderNumbers {
    /// The beginning of an evicting lane, for the end that has its hold, which orders these two.
    pub(super) fn held_beginning(&self) -> EntryPosition {
        let index = self.freed.load(Ordering::Relaxed);
        EntryPosition { index, bytes: self.freed_bytes.load(Ordering::Relaxed) }
    }
}

/// Set seldom, and looked at often. On a line of their own, which both ends have in their caches: the reader, who looks
/// at the route whenever it looks at what is published, would take that line from the writer twice.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Ends {
    /// The route that the writer uses.
    pub(super) route: AtomicU64,
    /// Entry index from which on it does.
    pub(super) route_entry: AtomicU64,
    /// The reader reads no more.
    pub(super) closed: AtomicBool,
    /// The writer is gone.
    pub(super) abandoned: AtomicBool,
    /// Entry index of the first large event that the reader has not taken.
    large: AtomicU64,
}

impl Numbers {
    /// Of a lane that begins with a ring of this size and may become as large as `most`.
    pub(super) fn new(first: LaneOptions, most: LaneOptions, producer: u64) -> Self {
        let zero = || AtomicU64::new(0);
        let number = |number: usize| AtomicU64::new(number as u64);
        Self {
            writer: WriterNumbers {
                published: zero(),
                published_bytes: zero(),
                published_skips: zero(),
                groups: zero(),
            },
            reader: ReaderNumbers {
                freed: zero(),
                freed_bytes: zero(),
                released: zero(),
                durable: zero(),
                taken: zero(),
            },
            begun: Begun { mark: AtomicU64::new(Mark::NONE.word()) },
            losses: LossBook::new(),
            hold: Hold::new(),
            ends: Ends {
                route: zero(),
                route_entry: zero(),
                closed: AtomicBool::new(false),
                abandoned: AtomicBool::new(false),
                large: AtomicU64::new(large_events::NONE),
            },
            size: Size {
                capacity_bytes: number(first.capacity_bytes),
                room_bytes: number(most.capacity_bytes),
                room_events: number(most.capacity_events),
            },
            lists: Lists::default(),
            producer,
        }
    }

    /// Entry index below which everything may be read, for the reader.
    #[inline]
    pub(super) fn published(&self) -> u64 {
        // SYNC: pairs with the Release store in LaneWriter::publish: the records and lengths below are complete.
        self.writer.published.load(Ordering::Acquire)
    }

    /// Entry index of the first large event that is published or about to be, and not taken; [`large_events::NONE`].
    #[inline(always)]
    pub(super) fn first_large(&self) -> u64 {
        self.ends.large.load(Ordering::Relaxed)
    }

    /// The writer adds a large event, whose record is to have this entry index.
    pub(super) fn add_large(&self, entry: u64, block: Box<LargeBlock>) {
        self.lists.large_events.add(&self.ends.large, entry, block);
    }

    /// The reader takes the large event of this entry.
    pub(super) fn take_large(&self, entry: u64) -> Option<Box<LargeBlock>> {
        self.lists.large_events.take(&self.ends.large, entry)
    }

    /// The reader puts back what it took.
    pub(super) fn put_large_back(&self, entry: u64, block: Box<LargeBlock>) {
        self.lists.large_events.put_back(&self.ends.large, entry, block);
    }

    /// Drops the large events of entries that were given up.
    pub(super) fn drop_large_below(&self, entry: u64) {
        self.lists.large_events.drop_below(&self.ends.large, entry);
    }

    /// Drops the large events of entries that will not be read.
    pub(super) fn drop_large_from(&self, entry: u64) {
        if self.first_large() != large_events::NONE {
            self.lists.large_events.drop_from(&self.ends.large, entry);
        }
    }

    /// The writer gives up these entries.
    pub(super) fn note_evicted(&self, range: Range<u64>) {
        self.lists.evicted().note(range);
    }

    /// Returns whether the record before this entry index was given up, or is of a time that is not remembered.
    pub(super) fn was_evicted(&self, entry: u64) -> bool {
        self.lists.evicted().may_hold(entry.saturating_sub(1))
    }

    /// The writer's mark.
    pub(super) fn mark(&self) -> Mark {
        // SYNC: pairs with the Release store in LaneWriter::mark.
        Mark::from_word(self.begun.mark.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        // SYNC: pairs with the Release store in LaneReader::close; the numbers read after it are final.
        self.ends.closed.load(Ordering::Acquire)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        // SYNC: pairs with the Release store in the drop of LaneWriter; `published` read after it is final.
        self.ends.abandoned.load(Ordering::Acquire)
    }

    pub(super) fn pending_bytes(&self) -> u64 {
        // SYNC: pairs with the Release store in LaneReader::free. Freed first: the reader saw the matching
        // `published_bytes`, so the difference is not negative.
        let freed = self.reader.freed_bytes.load(Ordering::Acquire);
        self.writer.published_bytes.load(Ordering::Relaxed).saturating_sub(freed)
    }
}

/// Statistics of a lane. Exact once both ends rest; while they work, numbers of one moment that move, of which none is
/// ahead of what it is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LaneCounts {
    /// Records published, notes included, but for those that were withdrawn.
    pub(crate) records: u64,
    /// Those among them that report drops.
    pub(crate) notes: u64,
    /// Records that the reader has taken over.
    pub(crate) taken: u64,
    /// Events that the writer dropped.
    pub(crate) drops: Drops,
    /// Events that went back to their producer.
    pub(crate) refused: Refusals,
    /// Bytes published that are not taken over, bytes skipped at the end of the ring included.
    pub(crate) pending_bytes: u64,
}

/// A view of a lane's numbers, for tickets, statistics and waiters. Cheap to clone; keeps no ring memory alive. Each
/// call costs one load, and a cache miss while the lane is busy.
#[derive(Debug, Clone)]
pub(crate) struct LaneHandle {
    pub(super) numbers: Arc<Numbers>,
}

impl LaneHandle {
    /// Entry index after the last published record.
    pub(crate) fn published(&self) -> u64 {
        self.numbers.published()
    }

    /// No record that is not published is earlier than this; `u64::MAX` where there is none. [`LaneHandle::published`],
    /// read after this, counts all the others.
    pub(crate) fn unpublished_since(&self) -> u64 {
        self.numbers.mark().since()
    }

    /// Records published, notes included. Exact once the writer rests; while it works, two numbers of one moment that
    /// move.
    pub(crate) fn records(&self) -> u64 {
        let published = self.published();
        published.saturating_sub(self.numbers.writer.published_skips.load(Ordering::Relaxed))
    }

    /// Statistics. A dozen loads.
    pub(crate) fn counts(&self) -> LaneCounts {
        let Numbers { reader, losses, .. } = &*self.numbers;
        // What was taken or dropped before what was published, so that nothing counts as gone that has not come.
        let taken = reader.taken.load(Ordering::Acquire);
        let drops = losses.drops();
        let notes = losses.notes();
        LaneCounts {
            records: self.records().saturating_sub(losses.withdrawn()),
            notes,
            taken,
            drops,
            refused: losses.refused(),
            pending_bytes: self.numbers.pending_bytes(),
        }
    }

    /// Number of the producer.
    pub(crate) fn producer(&self) -> u64 {
        self.numbers.producer
    }

    /// Bytes that the lane holds at present.
    pub(crate) fn capacity_bytes(&self) -> u64 {
        self.numbers.size.capacity_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that the lane can hold: as large as it may become, or as it is if there is no memory for more.
    pub(crate) fn room_bytes(&self) -> u64 {
        self.numbers.size.room_bytes.load(Ordering::Relaxed)
    }

    /// Events that the lane can hold.
    pub(crate) fn room_events(&self) -> u64 {
        self.numbers.size.room_events.load(Ordering::Relaxed)
    }

    /// Returns whether the record before this entry index was given up, or is of a time that is not remembered. A lock.
    pub(crate) fn was_evicted(&self, entry: u64) -> bool {
        self.numbers.was_evicted(entry)
    }

    /// Returns whether any record was given up. A lock.
    pub(crate) fn has_evicted(&self) -> bool {
        !self.numbers.lists.evicted().is_empty()
    }

    /// Returns whether both are views of one lane.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.numbers, &other.numbers)
    }

    /// Entry index after the last record that the reader has taken over and made visible.
    pub(crate) fn released(&self) -> u64 {
        // SYNC: pairs with the Release store in LaneReader::release; what the reader did before it is seen.
        self.numbers.reader.released.load(Ordering::Acquire)
    }

    /// Entry index after the last record that the reader has acknowledged.
    pub(crate) fn durable(&self) -> u64 {
        // SYNC: pairs with the Release store in LaneReader::acknowledge.
        self.numbers.reader.durable.load(Ordering::Acquire)
    }

    /// Returns whether the reader will take no more. [`LaneHandle::released`] and [`LaneHandle::durable`], read after
    /// this said `true`, are what they were when the lane closed, or later.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.numbers.is_closed()
    }

    /// Returns whether the writer is gone. [`LaneHandle::published`], read after this said `true`, is final.
    #[cfg(all(test, not(tapeline_loom)))]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.numbers.is_abandoned()
    }
}
