//! The totals of the sessions of an active segment.
//!
//! A session has the number of its place among them, in the order in which their first events came.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::format::{Epoch, Kind, RecordView, Sequence, SessionHash, SessionId};

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

/// Sessions and their totals.
#[derive(Debug)]
pub(super) struct SessionTotals {
    /// The number of each session.
    numbers: HashMap<SessionId, u32, SessionHash>,
    sessions: Vec<ActiveSession>,
    /// The last block with an event of each session.
    last_block: Vec<u32>,
    /// The session of the last event, and its number: streams come in runs.
    recent: Option<(SessionId, usize)>,
}

impl SessionTotals {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            numbers: HashMap::with_hasher(SessionHash::new(epoch)),
            sessions: Vec::new(),
            last_block: Vec::new(),
            recent: None,
        }
    }

    /// In the order of their numbers.
    pub(super) fn sessions(&self) -> &[ActiveSession] {
        &self.sessions
    }

    /// Counts an event of this block. Returns whether it is the block's first of its session.
    #[inline]
    pub(super) fn add(&mut self, block: u32, sequence: Sequence, record: &RecordView<'_>) -> bool {
        let number = self.number_of(sequence, record);
        let entry = &mut self.sessions[number];
        entry.last_sequence = sequence;
        entry.first_timestamp = entry.first_timestamp.min(record.timestamp());
        entry.last_timestamp = entry.last_timestamp.max(record.timestamp());
        if record.kind() != Kind::SESSION {
            entry.events += 1;
            entry.bytes += record.payload().len() as u64;
        }
        std::mem::replace(&mut self.last_block[number], block) != block
    }

    fn number_of(&mut self, sequence: Sequence, record: &RecordView<'_>) -> usize {
        let session = record.session();
        if let Some((recent, number)) = self.recent
            && recent == session
        {
            return number;
        }
        let number = match self.numbers.entry(session) {
            Entry::Occupied(known) => *known.get() as usize,
            Entry::Vacant(new) => {
                let number = self.sessions.len();
                new.insert(number as u32);
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
                number
            }
        };
        self.recent = Some((session, number));
        number
    }

    /// Bytes of memory once each list that is full has grown.
    pub(super) fn bytes_when_grown(&self) -> usize {
        let numbers = if self.numbers.len() == self.numbers.capacity() { 2 } else { 1 } * self.numbers.capacity();
        super::grown(&self.sessions) * (size_of::<ActiveSession>() + size_of::<u32>())
            + numbers * 2 * size_of::<(SessionId, u32)>()
    }
}
