//! The large events of a lane: what does not fit its rings.
//!
//! The writer puts such an event into the list before it publishes a record without a payload in its place, which keeps
//! the event's turn, session, kind and time. The reader finds in the list what belongs to that record. So a lane's
//! rings, marks, drops and barriers know nothing of large events, and small ones cost nothing more: the reader looks at
//! one number of a line that it looks at anyway, once for each run.

// Not loom's: nothing of a model happens under the lock.
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tapeline_storage::log::LargeBlock;

use super::sync::{AtomicU64, Ordering};

/// The number of a lane without large events.
pub(super) const NONE: u64 = u64::MAX;

/// Large events by the entry indices of their records, ascending.
#[derive(Debug, Default)]
pub(super) struct LargeEvents(Mutex<VecDeque<(u64, Box<LargeBlock>)>>);

impl LargeEvents {
    fn change<T>(&self, first: &AtomicU64, change: impl FnOnce(&mut VecDeque<(u64, Box<LargeBlock>)>) -> T) -> T {
        // A panic of another holder leaves a list that is whole.
        let mut blocks: MutexGuard<'_, _> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut blocks);
        // The number is stored under the lock alone. The publish of the record orders it for the reader.
        first.store(blocks.front().map_or(NONE, |(entry, _)| *entry), Ordering::Relaxed);
        outcome
    }

    /// The writer adds an event, whose record will have this entry index.
    pub(super) fn add(&self, first: &AtomicU64, entry: u64, block: Box<LargeBlock>) {
        self.change(first, |blocks| blocks.push_back((entry, block)));
    }

    /// The reader takes the event of this entry.
    pub(super) fn take(&self, first: &AtomicU64, entry: u64) -> Option<Box<LargeBlock>> {
        self.change(first, |blocks| {
            blocks.front().filter(|(front, _)| *front == entry)?;
            blocks.pop_front().map(|(_, block)| block)
        })
    }

    /// The reader puts back what the log did not take.
    pub(super) fn put_back(&self, first: &AtomicU64, entry: u64, block: Box<LargeBlock>) {
        self.change(first, |blocks| blocks.push_front((entry, block)));
    }

    /// Drops events of records that the writer gave up.
    pub(super) fn drop_below(&self, first: &AtomicU64, entry: u64) {
        let after = |blocks: &mut VecDeque<(u64, Box<LargeBlock>)>| {
            let gone = blocks.partition_point(|(front, _)| *front < entry);
            blocks.drain(..gone).collect::<Vec<_>>()
        };
        drop(self.change(first, after));
    }

    /// Drops events of records that were taken back, or that no reader will take.
    pub(super) fn drop_from(&self, first: &AtomicU64, entry: u64) {
        let from = |blocks: &mut VecDeque<(u64, Box<LargeBlock>)>| {
            let kept = blocks.partition_point(|(front, _)| *front < entry);
            blocks.split_off(kept)
        };
        drop(self.change(first, from));
    }
}

#[cfg(test)]
#[cfg(not(tapeline_loom))]
mod tests {
    use std::io;

    use tapeline_storage::format::{Kind, SessionId};

    use super::*;

    /// An event of so many bytes, by which it is known again.
    fn event(payload_bytes: usize) -> Box<LargeBlock> {
        let nothing = |_: &mut [u8]| Ok::<(), io::Error>(());
        Box::new(LargeBlock::new((SessionId(1), Kind(256)), payload_bytes, Box::new(()), nothing).expect("memory"))
    }

    /// Events of the entries 10, 20 and 30.
    fn three() -> (LargeEvents, AtomicU64) {
        let (events, first) = (LargeEvents::default(), AtomicU64::new(NONE));
        (1..4).for_each(|number| events.add(&first, number * 10, event(number as usize * 1000)));
        (events, first)
    }

    /// Takes all that are left: their entries.
    fn entries(events: &LargeEvents, first: &AtomicU64) -> Vec<u64> {
        let next = || match first.load(Ordering::Relaxed) {
            NONE => None,
            entry => events.take(first, entry).map(|_| entry),
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn an_event_that_is_put_back_is_the_next_again() {
        let (events, first) = three();
        assert!(events.take(&first, 20).is_none(), "its turn has not come");
        let taken = events.take(&first, 10).expect("the first");
        let bytes = taken.record_bytes();
        assert_eq!(first.load(Ordering::Relaxed), 20);
        events.put_back(&first, 10, taken);
        assert_eq!(events.take(&first, 10).map(|again| again.record_bytes()), Some(bytes));
        assert_eq!(entries(&events, &first), [20, 30]);
    }

    #[test]
    fn events_of_entries_that_no_reader_takes_are_dropped() {
        let (events, first) = three();
        events.drop_from(&first, 20);
        assert_eq!(entries(&events, &first), [10]);
        let (events, first) = three();
        events.drop_below(&first, 20);
        assert_eq!(entries(&events, &first), [20, 30]);
        let (events, first) = three();
        events.drop_from(&first, 0);
        assert_eq!(first.load(Ordering::Relaxed), NONE);
    }
}
