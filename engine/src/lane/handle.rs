//! The numbers of a lane: what its two ends tell each other and everybody else.

use super::sync::{Arc, AtomicBool, AtomicU64, Ordering};

/// What the two ends share beside the ring. Lives as long as the last [`LaneHandle`]; the ring's memory does not.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) writer: WriterNumbers,
    pub(super) reader: ReaderNumbers,
    pub(super) unpublished: Unpublished,
    pub(super) ends: Ends,
}

/// Stored by the writer, read by whoever wants to know what is still to come. On a line of its own: no reader of the
/// lane takes it away.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Unpublished {
    /// No record that was begun and is not published is earlier; `u64::MAX` where there is none.
    pub(super) since: AtomicU64,
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
}

/// Stored by the reader.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct ReaderNumbers {
    /// Entry index below which length entries may be overwritten.
    pub(super) released: AtomicU64,
    /// Byte position, skipped bytes included, below which bytes may be overwritten.
    pub(super) released_bytes: AtomicU64,
    /// Entry index below which everything has what its durability level promises.
    pub(super) durable: AtomicU64,
}

/// Each is set once. On a line of their own: the producer looks at them without a miss.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Ends {
    /// The reader reads no more.
    pub(super) closed: AtomicBool,
    /// The writer is gone.
    pub(super) abandoned: AtomicBool,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            writer: WriterNumbers {
                published: AtomicU64::new(0),
                published_bytes: AtomicU64::new(0),
                published_skips: AtomicU64::new(0),
            },
            reader: ReaderNumbers {
                released: AtomicU64::new(0),
                released_bytes: AtomicU64::new(0),
                durable: AtomicU64::new(0),
            },
            unpublished: Unpublished { since: AtomicU64::new(u64::MAX) },
            ends: Ends { closed: AtomicBool::new(false), abandoned: AtomicBool::new(false) },
        }
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
        // SYNC: pairs with the Release store in LaneReader::release. Released first: the reader saw the matching
        // `published_bytes`, so the difference is not negative.
        let released = self.reader.released_bytes.load(Ordering::Acquire);
        self.writer.published_bytes.load(Ordering::Relaxed).saturating_sub(released)
    }
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
        self.numbers.writer.published.load(Ordering::Acquire)
    }

    /// No record that is not published is earlier than this; `u64::MAX` where there is none. [`LaneHandle::published`],
    /// read after this, counts all the others.
    pub(crate) fn unpublished_since(&self) -> u64 {
        // SYNC: pairs with the Release store in LaneWriter::publish.
        self.numbers.unpublished.since.load(Ordering::Acquire)
    }

    /// Records published. Exact once the writer rests; while it works, two numbers of one moment that move.
    pub(crate) fn events(&self) -> u64 {
        let published = self.published();
        published.saturating_sub(self.numbers.writer.published_skips.load(Ordering::Relaxed))
    }

    /// Whether both are views of one lane.
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

    /// Whether the reader will take no more. [`LaneHandle::released`] and [`LaneHandle::durable`], read after this said
    /// `true`, are what they were when the lane closed, or later.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.numbers.is_closed()
    }

    /// Whether the writer is gone. [`LaneHandle::published`], read after this said `true`, is final.
    #[cfg(all(test, not(tapeline_loom)))]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.numbers.is_abandoned()
    }

    /// Bytes published and not yet released, bytes skipped at the end of the ring included. A snapshot of two numbers
    /// that move.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.numbers.pending_bytes()
    }
}
