//! Builds the index of a segment from its blocks. About 20 ns an event: one look-up of its session.

use std::cmp::Ordering;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher};

use super::{ArchivedIndexedSession, IndexedBlock, IndexedSession, KindTotal, OPENING_BYTES_MAX, Part, SegmentIndex};
use crate::format::{BlockHeader, BlockView, Epoch, Kind, RecordError, RecordView, SessionId};

/// Most sessions that an index lists.
pub(super) const SESSIONS_MAX: usize = 100_000;

/// Most bytes that sessions, postings and openings take in an index.
const SESSIONS_BYTES_MAX: usize = 16 << 20;

/// Bytes that the sessions may take in any case, and the part of the blocks' bytes that they may take beyond that:
/// readers find a session sooner by reading the blocks than by an index that is not much shorter.
const SESSIONS_BYTES_LEAST: usize = 64 << 10;
const SESSIONS_SHARE: u64 = 16;

/// Most blocks that an index lists, 32 MiB.
const BLOCKS_MAX: usize = 1 << 20;

/// Takes blocks in order, in bounded memory: at most about 100 MiB, for a segment of 256 MiB with short events 50 MiB.
#[derive(Debug)]
pub struct IndexBuilder {
    pub(super) index: SegmentIndex,
    /// Blocks so far, and their bytes.
    blocks: usize,
    block_bytes: u64,
    known: HashMap<SessionId, u32, SessionHash>,
    /// Session and block, in order of blocks.
    postings: Vec<(u32, u32)>,
    /// The last block with an event of each session.
    last_block: Vec<u32>,
    /// Payloads of the last events of kind session, of sessions that had another before; empty for one too long.
    changes: BTreeMap<u32, Vec<u8>>,
    change_bytes: usize,
    /// The entry of the last event's session: streams come in runs.
    recent: Option<(SessionId, usize)>,
}

impl IndexBuilder {
    /// For a segment of this epoch, which is random and so makes the hashes hard to foresee.
    pub fn new(epoch: Epoch) -> Self {
        Self {
            index: SegmentIndex::default(),
            blocks: 0,
            block_bytes: 0,
            known: HashMap::with_hasher(SessionHash::new(epoch)),
            postings: Vec::new(),
            last_block: Vec::new(),
            changes: BTreeMap::new(),
            change_bytes: 0,
            recent: None,
        }
    }

    /// Adds the block at `offset`.
    ///
    /// # Errors
    /// [`RecordError`] where a record is none.
    pub fn add(&mut self, offset: u64, block: &BlockView<'_>) -> Result<(), RecordError> {
        let header = block.header();
        let number = self.blocks as u32;
        self.blocks += 1;
        self.block_bytes += u64::from(header.block_bytes);
        self.list_block(offset, header);
        for (sequence, record) in (header.first_sequence.get()..).zip(block.records()) {
            self.add_record(number, sequence, &record?);
        }
        Ok(())
    }

    fn add_record(&mut self, block: u32, sequence: u64, record: &RecordView<'_>) {
        let bytes = record.payload().len() as u64;
        self.count(record.kind(), bytes);
        if self.index.sessions_left_out {
            return;
        }
        if record.kind().is_note() {
            if self.index.notes.last() != Some(&block) {
                self.index.notes.push(block);
            }
            return;
        }
        let at = self.place_of(sequence, record);
        if self.last_block[at] != block {
            self.last_block[at] = block;
            self.postings.push((at as u32, block));
        }
        let entry = &mut self.index.sessions[at];
        entry.last_sequence = sequence;
        entry.first_timestamp = entry.first_timestamp.min(record.timestamp());
        entry.last_timestamp = entry.last_timestamp.max(record.timestamp());
        if record.kind() != Kind::SESSION {
            entry.events += 1;
            entry.bytes += bytes;
        } else {
            self.add_change(at, record.payload());
        }
        if self.index.sessions.len() > SESSIONS_MAX || self.sessions_bytes() > SESSIONS_BYTES_MAX {
            self.leave_out_sessions();
        }
    }

    /// Adds the payload of an event of kind session.
    fn add_change(&mut self, at: usize, payload: &[u8]) {
        let (entry, is_short) = (&mut self.index.sessions[at], payload.len() <= OPENING_BYTES_MAX);
        let before = if is_short && entry.opening.count == 0 {
            entry.opening = Part { start: self.index.openings.len() as u32, count: payload.len() as u32 };
            self.index.openings.extend_from_slice(payload);
            self.changes.remove(&(at as u32))
        } else {
            let kept = if is_short { payload } else { &[] };
            self.change_bytes += kept.len();
            self.changes.insert(at as u32, kept.to_vec())
        };
        self.change_bytes -= before.map_or(0, |before| before.len());
    }

    /// Lists the payloads of the last events of kind session.
    fn list_changes(&mut self) {
        for (at, payload) in std::mem::take(&mut self.changes) {
            let openings = &mut self.index.openings;
            self.index.sessions[at as usize].change = if payload.is_empty() {
                Part::LEFT_OUT
            } else {
                Part { start: openings.len() as u32, count: payload.len() as u32 }
            };
            openings.extend(payload);
        }
    }

    fn list_block(&mut self, offset: u64, header: &BlockHeader) {
        match self.blocks.cmp(&(BLOCKS_MAX + 1)) {
            Ordering::Less => self.index.blocks.push(IndexedBlock {
                offset,
                first_sequence: header.first_sequence.get(),
                first_timestamp: header.first_timestamp,
                last_timestamp: header.last_timestamp,
            }),
            Ordering::Equal => {
                self.index.blocks = Vec::new();
                self.leave_out_sessions();
            }
            Ordering::Greater => {}
        }
    }

    /// Bytes of the index that the sessions take.
    pub(super) fn sessions_bytes(&self) -> usize {
        self.index.sessions.len() * size_of::<ArchivedIndexedSession>()
            + self.postings.len() * size_of::<u32>()
            + self.index.openings.len()
            + self.change_bytes
    }

    fn leave_out_sessions(&mut self) {
        let SegmentIndex { blocks, kinds, .. } = std::mem::take(&mut self.index);
        self.index = SegmentIndex { blocks, kinds, sessions_left_out: true, ..SegmentIndex::default() };
        (self.known, self.postings, self.last_block) =
            (HashMap::with_hasher(*self.known.hasher()), Vec::new(), Vec::new());
        (self.changes, self.change_bytes, self.recent) = (BTreeMap::new(), 0, None);
    }

    fn place_of(&mut self, sequence: u64, record: &RecordView<'_>) -> usize {
        let session = record.session();
        if let Some((recent, at)) = self.recent
            && recent == session
        {
            return at;
        }
        let at = match self.known.entry(session) {
            Entry::Occupied(known) => *known.get() as usize,
            Entry::Vacant(new) => {
                let at = self.index.sessions.len();
                new.insert(at as u32);
                self.index.sessions.push(begin(sequence, record));
                self.last_block.push(u32::MAX);
                at
            }
        };
        self.recent = Some((session, at));
        at
    }

    fn count(&mut self, kind: Kind, bytes: u64) {
        // There are few kinds, and a stream is of one: the last that was counted is in front.
        let kinds = &mut self.index.kinds;
        let at = kinds.iter().position(|total| total.kind == kind.0).unwrap_or_else(|| {
            kinds.push(KindTotal { kind: kind.0, events: 0, bytes: 0 });
            kinds.len() - 1
        });
        kinds.swap(0, at);
        kinds[0].events += 1;
        kinds[0].bytes += bytes;
    }

    /// The index.
    pub fn finish(mut self) -> SegmentIndex {
        let share = usize::try_from(self.block_bytes / SESSIONS_SHARE).unwrap_or(usize::MAX);
        if self.sessions_bytes() > share.max(SESSIONS_BYTES_LEAST) {
            self.leave_out_sessions();
        }
        self.list_changes();
        self.list_postings();
        self.index.sessions.sort_unstable_by_key(|entry| entry.session);
        self.index.kinds.sort_unstable_by_key(|total| total.kind);
        self.index
    }

    /// Sorts the postings by session, keeping the order of blocks.
    fn list_postings(&mut self) {
        for &(session, _) in &self.postings {
            self.index.sessions[session as usize].postings.count += 1;
        }
        let mut start = 0;
        for entry in &mut self.index.sessions {
            entry.postings.start = start;
            start += std::mem::take(&mut entry.postings.count);
        }
        self.index.postings = vec![0; self.postings.len()];
        for &(session, block) in &self.postings {
            let Part { start, count } = &mut self.index.sessions[session as usize].postings;
            self.index.postings[(*start + *count) as usize] = block;
            *count += 1;
        }
    }
}

fn begin(sequence: u64, first: &RecordView<'_>) -> IndexedSession {
    IndexedSession {
        session: first.session().0,
        events: 0,
        bytes: 0,
        first_sequence: sequence,
        last_sequence: sequence,
        first_timestamp: first.timestamp(),
        last_timestamp: first.timestamp(),
        postings: Part::default(),
        opening: Part::default(),
        change: Part::default(),
    }
}

/// Hashes a session id, which is a hash itself, or what a user chose, with a seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionHash(u64);

impl SessionHash {
    /// For what belongs to a segment of this epoch.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self(epoch.get())
    }
}

impl BuildHasher for SessionHash {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for SessionHash {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64(number as u64);
        self.write_u64((number >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
