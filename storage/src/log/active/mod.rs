//! Sessions of the segment that is being written: which of its blocks may hold which, and how much there is of each.
//!
//! The shard's thread adds blocks once they are durable, in order, as far as its time allows (see `dense`). A filter is
//! kept of each block's sessions, 10 bits a session: readers of a session pass over the other blocks, and look at one
//! block in 50 in vain. A block that the shard's thread had no time for may hold any session.
//!
//! In bounded memory: what does not fit is not known.

mod block_filters;
mod session_totals;

use std::ops::Range;

use block_filters::BlockFilters;
pub(super) use block_filters::{Places, STRETCHES_MAX};
pub use session_totals::ActiveSession;
use session_totals::SessionTotals;

use crate::format::{Epoch, RecordView, Records, Sequence, SessionId};

/// A part of the sessions of the active segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActiveSessions {
    /// Sessions in the order in which their first events came.
    pub sessions: Vec<ActiveSession>,
    /// Sequences whose events are not counted in `sessions`: they have to be read.
    pub unknown: Vec<Range<Sequence>>,
    /// Nothing is known from this sequence on: what follows has to be read.
    pub end: Sequence,
}

/// The sessions of an active segment.
#[derive(Debug)]
pub(super) struct ActiveIndex {
    bytes_max: usize,
    is_full: bool,
    filters: BlockFilters,
    totals: SessionTotals,
    /// The sessions of the block that is being added; its memory serves from block to block.
    of_block: Vec<SessionId>,
}

impl ActiveIndex {
    /// Of a segment of this epoch that begins with `base`, in so many bytes.
    pub(super) fn new(epoch: Epoch, base: Sequence, bytes_max: usize) -> Self {
        Self {
            bytes_max,
            is_full: bytes_max == 0,
            filters: BlockFilters::new(base),
            totals: SessionTotals::new(epoch),
            of_block: Vec::new(),
        }
    }

    /// Adds the block of these records, the first of which is `first`. What lies between it and the blocks so far is
    /// listed as unknown. About 15 ns a record.
    pub(super) fn add(&mut self, first: Sequence, records: Records<'_>) {
        self.add_unknown(first);
        if self.is_full || self.filters.end() != first {
            return;
        }
        let (block, end) = (self.filters.next_block(), first.plus(records.remaining() as u64));
        self.of_block.clear();
        let is_known = records.enumerate().all(|(at, record)| {
            let added = record.map(|record| self.add_record(block, first.plus(at as u64), &record));
            added.is_ok()
        });
        self.filters.add(is_known.then_some(self.of_block.as_slice()), end);
        self.is_full = self.bytes_when_grown() > self.bytes_max;
    }

    /// Any session may be in what lies before `to` and is not listed.
    pub(super) fn add_unknown(&mut self, to: Sequence) {
        if self.is_full || to <= self.filters.end() {
            return;
        }
        self.filters.add(None, to);
        self.is_full = self.bytes_when_grown() > self.bytes_max;
    }

    fn add_record(&mut self, block: u32, sequence: Sequence, record: &RecordView<'_>) {
        if record.kind().is_note() {
            // Notes concern the readers of all sessions. Filters list them as one.
            if self.of_block.first() != Some(&SessionId::NOTES) {
                self.of_block.insert(0, SessionId::NOTES);
            }
        } else if self.totals.add(block, sequence, record) {
            self.of_block.push(record.session());
        }
    }

    /// The stretches at `from` or later in which events of any of the sessions may be.
    pub(super) fn places(&self, sessions: &[SessionId], from: Sequence) -> Places {
        self.filters.places(sessions, from)
    }

    /// Sessions from number `from` on, at most `count`.
    pub(super) fn sessions(&self, from: usize, count: usize) -> ActiveSessions {
        let sessions = self.totals.sessions().iter().skip(from).take(count).copied().collect();
        ActiveSessions { sessions, unknown: self.filters.unknown().collect(), end: self.filters.end() }
    }

    /// Bytes of memory once each list that is full has grown.
    fn bytes_when_grown(&self) -> usize {
        self.filters.bytes_when_grown() + self.totals.bytes_when_grown()
    }
}

/// Elements that a list has memory for once it has grown, if it is full.
fn grown<T>(list: &Vec<T>) -> usize {
    if list.len() == list.capacity() { 2 * list.capacity() } else { list.capacity() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Kind, Record, archive_into, archived_bytes, mix};
    use rkyv::util::AlignedVec;

    fn block(sessions: &[u128]) -> (AlignedVec<16>, Vec<u8>) {
        let (mut bytes, mut column) = (AlignedVec::<16>::new(), Vec::new());
        for (at, session) in sessions.iter().enumerate() {
            let length = archived_bytes(8);
            let start = bytes.len();
            bytes.resize(start + length, 0);
            let (kind, timestamp) = (Kind(1), 100 + at as u64);
            let record = Record { session: SessionId(*session), timestamp, kind, payload: &[7; 8] };
            archive_into(&record, &mut bytes[start..]);
            column.extend(((length / 16) as u16).to_le_bytes());
        }
        (bytes, column)
    }

    fn add(index: &mut ActiveIndex, first: u64, sessions: &[u128]) {
        let (bytes, column) = block(sessions);
        index.add(Sequence::new(first), Records::new(&bytes, &column));
    }

    fn index(bytes_max: usize) -> ActiveIndex {
        ActiveIndex::new(Epoch::new(9), Sequence::new(100), bytes_max)
    }

    #[test]
    fn every_block_of_a_session_is_found_and_few_others() {
        let mut index = index(1 << 20);
        let spread = |session: u64| u128::from(mix(session)) << 64 | u128::from(mix(!session));
        for block in 0..1000u64 {
            let sessions: Vec<u128> = (0..50).map(|at| spread(block % 20 * 50 + at)).collect();
            add(&mut index, 100 + 50 * block, &sessions);
        }
        let mut vain = 0;
        for session in [0, 49, 50, 777, 999] {
            let (mut stretches, mut from) = (Vec::new(), Sequence::ZERO);
            while from < Sequence::new(100 + 50_000) {
                let places = index.places(&[SessionId(spread(session))], from);
                assert!(places.stretches.len() <= STRETCHES_MAX && places.end > from);
                stretches.extend(places.stretches);
                from = places.end;
            }
            let holds = |block: u64| {
                let first = Sequence::new(100 + 50 * block);
                stretches.iter().any(|(start, end)| (*start..*end).contains(&first))
            };
            assert!((0..1000).filter(|block| block % 20 == session / 50).all(holds), "session {session}");
            vain += (0..1000).filter(|block| block % 20 != session / 50 && holds(*block)).count();
        }
        assert!(vain < 5 * 950 / 20, "{vain} blocks in vain");
        let listed = index.sessions(0, usize::MAX);
        assert_eq!((listed.sessions.len(), listed.sessions[0].events, listed.sessions[0].bytes), (1000, 50, 400));
        assert_eq!(listed.sessions[999].last_sequence, Sequence::new(100 + 50_000 - 1));
    }

    #[test]
    fn what_is_not_listed_may_hold_any_session() {
        let mut index = index(1 << 20);
        add(&mut index, 100, &[1, 2]);
        add(&mut index, 110, &[3]);
        let places = index.places(&[SessionId(3)], Sequence::new(100));
        assert_eq!(places.stretches, [(Sequence::new(102), Sequence::new(111))]);
        assert_eq!(index.sessions(1, 1).sessions[0].session, SessionId(2));
        assert_eq!(index.sessions(0, 9).unknown, [Sequence::new(102)..Sequence::new(110)]);
    }

    #[test]
    fn full_index_keeps_what_it_knows_and_takes_no_more() {
        let mut index = index(256 << 10);
        (0..100_000).for_each(|block| add(&mut index, 100 + block, &[u128::from(block)]));
        let places = index.places(&[SessionId(0)], Sequence::new(100));
        assert!(places.end > Sequence::new(100) && index.filters.end() < Sequence::new(100_000));
        assert!(index.bytes_when_grown() < 512 << 10);
        assert_eq!(places.stretches.first(), Some(&(Sequence::new(100), Sequence::new(101))));
    }
}
