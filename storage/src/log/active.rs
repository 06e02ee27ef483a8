//! Sessions of the segment that is being written: which of its blocks may hold which, and how much there is of each.
//!
//! The shard's thread adds blocks once they are durable, in order, as far as its time allows (see `dense`). A filter is
//! kept of each block's sessions, 10 bits a session: readers of a session pass over the other blocks, and look at one
//! block in 50 in vain. A block that the shard's thread had no time for may hold any session.
//!
//! In bounded memory: what does not fit is not known.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use crate::format::{Epoch, Kind, RecordView, Records, Sequence, SessionHash, SessionId, mix};

/// Bits of a filter for each session of its block.
const BITS_PER_SESSION: usize = 10;

/// Words of 64 bits that a filter has at most: then 16 bits of a hash say where a probe looks.
const FILTER_WORDS_MAX: usize = 1024;

/// Bits that each session sets in a filter.
const PROBES: u32 = 4;

/// Blocks that one call looks at, at most: some 20 us, for which the shard's thread may have to wait.
const LOOK_BLOCKS: usize = 4096;

/// Stretches that one look finds, at most: thousands of readers hold what they have looked up.
pub(super) const STRETCHES_MAX: usize = 64;

/// The totals of one session in the active segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveSession {
    /// The session.
    pub session: SessionId,
    /// Events, without those of kind [`Kind::SESSION`].
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Sequence of its first event, of any kind.
    pub first_sequence: Sequence,
    /// Sequence of its last event, of any kind.
    pub last_sequence: Sequence,
    /// Smallest timestamp.
    pub first_timestamp: u64,
    /// Largest timestamp.
    pub last_timestamp: u64,
}

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

/// The stretches in which events of some sessions may be.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Ranges of sequences, ascending.
    pub(super) stretches: Vec<(Sequence, Sequence)>,
    /// Nothing is known from this sequence on.
    pub(super) end: Sequence,
}

/// A block, and its filter's part of the words; a filter without words lets every session through.
#[derive(Debug, Clone, Copy)]
struct Listed {
    first: Sequence,
    word: u32,
    words: u32,
}

/// The sessions of an active segment.
#[derive(Debug)]
pub(super) struct ActiveIndex {
    bytes_max: usize,
    /// Everything below is known; nothing from here on.
    end: Sequence,
    blocks: Vec<Listed>,
    words: Vec<u64>,
    known: HashMap<SessionId, u32, SessionHash>,
    sessions: Vec<ActiveSession>,
    /// The last block with an event of each session.
    last_block: Vec<u32>,
    /// The sessions of the block that is being added; its memory serves from block to block.
    of_block: Vec<SessionId>,
    /// The session of the last event, and its number: streams come in runs.
    recent: Option<(SessionId, usize)>,
    is_full: bool,
}

impl ActiveIndex {
    /// Of a segment of this epoch that begins with `base`, in so many bytes.
    pub(super) fn new(epoch: Epoch, base: Sequence, bytes_max: usize) -> Self {
        Self {
            bytes_max,
            end: base,
            blocks: Vec::new(),
            words: Vec::new(),
            known: HashMap::with_hasher(SessionHash::new(epoch)),
            sessions: Vec::new(),
            last_block: Vec::new(),
            of_block: Vec::new(),
            recent: None,
            is_full: bytes_max == 0,
        }
    }

    /// Adds the block of these records, the first of which is `first`. What lies between it and the blocks so far is
    /// listed as unknown. About 15 ns a record.
    pub(super) fn add(&mut self, first: Sequence, records: Records<'_>) {
        self.add_unknown(first);
        if self.is_full || self.end != first {
            return;
        }
        let (block, count) = (self.blocks.len() as u32, records.remaining());
        self.of_block.clear();
        let is_known = records.enumerate().all(|(at, record)| {
            let added = record.map(|record| self.add_record(block, first.plus(at as u64), &record));
            added.is_ok()
        });
        let word = self.words.len() as u32;
        if is_known {
            self.add_filter();
        }
        let words = self.words.len() as u32 - word;
        self.blocks.push(Listed { first, word, words });
        self.end = first.plus(count as u64);
        self.is_full = self.bytes_when_grown() > self.bytes_max;
    }

    /// Any session may be in what lies before `to` and is not listed.
    pub(super) fn add_unknown(&mut self, to: Sequence) {
        if self.is_full || to <= self.end {
            return;
        }
        self.blocks.push(Listed { first: self.end, word: 0, words: 0 });
        self.end = to;
        self.is_full = self.bytes_when_grown() > self.bytes_max;
    }

    fn add_record(&mut self, block: u32, sequence: Sequence, record: &RecordView<'_>) {
        if record.kind().is_reserved() {
            // Notes concern the readers of all sessions. Filters list them as one.
            if self.of_block.first() != Some(&SessionId::NOTES) {
                self.of_block.insert(0, SessionId::NOTES);
            }
            return;
        }
        let at = self.place_of(sequence, record);
        if self.last_block[at] != block {
            self.last_block[at] = block;
            self.of_block.push(record.session());
        }
        let entry = &mut self.sessions[at];
        entry.last_sequence = sequence;
        entry.first_timestamp = entry.first_timestamp.min(record.timestamp());
        entry.last_timestamp = entry.last_timestamp.max(record.timestamp());
        if record.kind() != Kind::SESSION {
            entry.events += 1;
            entry.bytes += record.payload().len() as u64;
        }
    }

    fn place_of(&mut self, sequence: Sequence, record: &RecordView<'_>) -> usize {
        let session = record.session();
        if let Some((recent, at)) = self.recent
            && recent == session
        {
            return at;
        }
        let at = match self.known.entry(session) {
            Entry::Occupied(known) => *known.get() as usize,
            Entry::Vacant(new) => {
                let at = self.sessions.len();
                new.insert(at as u32);
                let (first, timestamp) = (sequence, record.timestamp());
                self.sessions.push(ActiveSession {
                    session,
                    events: 0,
                    bytes: 0,
                    first_sequence: first,
                    last_sequence: first,
                    first_timestamp: timestamp,
                    last_timestamp: timestamp,
                });
                self.last_block.push(u32::MAX);
                at
            }
        };
        self.recent = Some((session, at));
        at
    }

    /// Adds the filter of the sessions in `of_block`.
    fn add_filter(&mut self) {
        let words = (self.of_block.len() * BITS_PER_SESSION).div_ceil(64).next_power_of_two().min(FILTER_WORDS_MAX);
        let start = self.words.len();
        self.words.resize(start + words, 0);
        let filter = &mut self.words[start..];
        for session in &self.of_block {
            for bit in bits(hash(*session), words) {
                filter[bit / 64] |= 1 << (bit % 64);
            }
        }
    }

    /// The stretches at `from` or later in which events of any of the sessions may be.
    pub(super) fn places(&self, sessions: &[SessionId], from: Sequence) -> Places {
        let hashes: Vec<u64> = sessions.iter().map(|session| hash(*session)).collect();
        let first = self.blocks.partition_point(|block| block.first <= from).saturating_sub(1);
        let mut last = self.blocks.len().min(first + LOOK_BLOCKS);
        let mut stretches: Vec<(Sequence, Sequence)> = Vec::new();
        for at in first..last {
            if !self.may_hold(&self.blocks[at], &hashes) {
                continue;
            }
            let (start, end) = (self.blocks[at].first, self.first_of(at + 1));
            let count = stretches.len();
            match stretches.last_mut() {
                Some(before) if before.1 == start => before.1 = end,
                _ if count < STRETCHES_MAX => stretches.push((start, end)),
                _ => {
                    last = at;
                    break;
                }
            }
        }
        Places { stretches, end: self.first_of(last) }
    }

    /// The beginning of the block, or the end of all that is known.
    fn first_of(&self, block: usize) -> Sequence {
        self.blocks.get(block).map_or(self.end, |block| block.first)
    }

    fn may_hold(&self, block: &Listed, hashes: &[u64]) -> bool {
        let (start, words) = (block.word as usize, block.words as usize);
        let filter = &self.words[start..start + words];
        let holds = |hash: &u64| bits(*hash, words).all(|bit| filter[bit / 64] >> (bit % 64) & 1 == 1);
        words == 0 || hashes.iter().any(holds)
    }

    /// Sessions from number `from` on, at most `count`.
    pub(super) fn sessions(&self, from: usize, count: usize) -> ActiveSessions {
        let unknown = self.blocks.iter().enumerate().filter(|(_, block)| block.words == 0);
        let unknown = unknown.map(|(at, block)| block.first..self.first_of(at + 1)).collect();
        let sessions = self.sessions.iter().skip(from).take(count).copied().collect();
        ActiveSessions { sessions, unknown, end: self.end }
    }

    /// Bytes of memory once each list that is full has grown.
    fn bytes_when_grown(&self) -> usize {
        fn grown(length: usize, capacity: usize) -> usize {
            if length == capacity { 2 * capacity } else { capacity }
        }
        let sessions = grown(self.sessions.len(), self.sessions.capacity());
        grown(self.blocks.len(), self.blocks.capacity()) * size_of::<Listed>()
            + (grown(self.words.len(), self.words.capacity()) + FILTER_WORDS_MAX) * size_of::<u64>()
            + sessions * (size_of::<ActiveSession>() + size_of::<u32>())
            + grown(self.known.len(), self.known.capacity()) * 2 * size_of::<(SessionId, u32)>()
    }
}

fn hash(session: SessionId) -> u64 {
    mix(session.0 as u64 ^ mix((session.0 >> 64) as u64))
}

/// The bits of a filter of so many words, a power of two, that a session sets.
fn bits(hash: u64, words: usize) -> impl Iterator<Item = usize> {
    (0..PROBES).map(move |probe| (hash >> (16 * probe)) as usize & (words * 64).wrapping_sub(1) & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Record, archive_into, archived_bytes};
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
        assert!(places.end > Sequence::new(100) && index.end < Sequence::new(100_000));
        assert!(index.bytes_when_grown() < 512 << 10);
        assert_eq!(places.stretches.first(), Some(&(Sequence::new(100), Sequence::new(101))));
    }
}
