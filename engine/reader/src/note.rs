//! Notes: records that the bus itself writes into a log, for its readers.
//!
//! Here as well: the reasons and the numbers of dropped events ([`DropReason`], [`Drops`]).
//!
//! A note takes a sequence like an event, and its kind is one of those that are reserved. Its payload is JSON, so that
//! any tool can show it. The one kind there is reports events that were dropped before they reached the log.

use std::io::Write;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use tapeline_storage::format::{Kind, Record, RecordView, SessionId, archive_into, archived_bytes};

use crate::kinds;

/// Largest payload of a note, in bytes.
const PAYLOAD_MAX: usize = 128;

/// Largest record of a note, in bytes.
pub const RECORD_MAX: usize = archived_bytes(PAYLOAD_MAX);

/// Returns whether the bus alone writes events of this kind.
#[inline(always)]
pub fn is_reserved(kind: Kind) -> bool {
    kind.0 >= kinds::RESERVED.start
}

/// The reason for which an event was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Its lane was full, and it was the newest.
    Newest,
    /// Its lane was full, and it was the oldest.
    Oldest,
    /// Its lane was filling up, and others were kept for it.
    Sampled,
}

impl DropReason {
    /// Its number, from 0, in the order of [`Drops`].
    #[doc(hidden)]
    pub fn index(self) -> usize {
        match self {
            Self::Newest => 0,
            Self::Oldest => 1,
            Self::Sampled => 2,
        }
    }
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Newest => "drop-newest",
            Self::Oldest => "drop-oldest",
            Self::Sampled => "sampled",
        })
    }
}

/// Numbers of dropped events, by reason. Every one is reported to readers in a [`Gap`](crate::Gap).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drops {
    /// [`DropReason::Newest`].
    pub newest: u64,
    /// [`DropReason::Oldest`].
    pub oldest: u64,
    /// [`DropReason::Sampled`].
    pub sampled: u64,
}

impl Drops {
    /// So many by [`DropReason::index`].
    #[doc(hidden)]
    pub fn of([newest, oldest, sampled]: [u64; 3]) -> Self {
        Self { newest, oldest, sampled }
    }

    /// Counts events.
    #[doc(hidden)]
    pub fn count(&mut self, reason: DropReason, events: u64) {
        *[&mut self.newest, &mut self.oldest, &mut self.sampled][reason.index()] += events;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.newest + self.oldest + self.sampled
    }

    /// Each reason that has any.
    #[doc(hidden)]
    pub fn reasons(self) -> impl Iterator<Item = (DropReason, u64)> {
        let all =
            [(DropReason::Newest, self.newest), (DropReason::Oldest, self.oldest), (DropReason::Sampled, self.sampled)];
        all.into_iter().filter(|(_, events)| *events > 0)
    }

    /// The events dropped since `earlier`.
    #[doc(hidden)]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            newest: self.newest.saturating_sub(earlier.newest),
            oldest: self.oldest.saturating_sub(earlier.oldest),
            sampled: self.sampled.saturating_sub(earlier.sampled),
        }
    }
}

impl AddAssign for Drops {
    fn add_assign(&mut self, other: Self) {
        self.newest += other.newest;
        self.oldest += other.oldest;
        self.sampled += other.sampled;
    }
}

/// "In this place so many events of a producer were dropped."
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropNote {
    pub producer: u64,
    /// The session of all of them, or none.
    pub session: SessionId,
    pub reason: DropReason,
    pub events: u64,
}

#[derive(Serialize, Deserialize)]
struct DropText<'a> {
    r#type: &'a str,
    reason: &'a str,
    events: u64,
    producer: u64,
}

impl DropNote {
    /// The note of a record, if it is one of drops.
    #[cold]
    pub fn read(record: &RecordView<'_>) -> Option<Self> {
        if record.kind() != kinds::GAP {
            return None;
        }
        let text: DropText<'_> = serde_json::from_slice(record.payload()).ok()?;
        let reasons = [DropReason::Newest, DropReason::Oldest, DropReason::Sampled];
        let reason = reasons.into_iter().find(|reason| reason.to_string() == text.reason)?;
        Some(Self { producer: text.producer, session: record.session(), reason, events: text.events })
    }

    /// Its record.
    pub fn record(self, timestamp: u64) -> NoteRecord {
        let mut payload = [0; PAYLOAD_MAX];
        let mut rest = &mut payload[..];
        let Self { producer, session, reason, events } = self;
        // Three numbers and a word fit; if they did not, the text would end early and no reader would accept it.
        let _ = write!(rest, r#"{{"type":"gap","reason":"{reason}","events":{events},"producer":{producer}}}"#);
        let left = rest.len();
        let payload = &payload[..PAYLOAD_MAX - left];
        let mut record = NoteRecord { bytes: [0; RECORD_MAX], length: archived_bytes(payload.len()) };
        let event = Record { session, timestamp, kind: kinds::GAP, payload };
        archive_into(&event, &mut record.bytes[..record.length]);
        record
    }
}

/// A note's record, aligned as records are.
#[repr(align(16))]
pub struct NoteRecord {
    bytes: [u8; RECORD_MAX],
    length: usize,
}

impl NoteRecord {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_note_fits_and_is_read_back() {
        for reason in [DropReason::Newest, DropReason::Oldest, DropReason::Sampled] {
            let note = DropNote { producer: u64::MAX, session: SessionId(7), reason, events: u64::MAX };
            let record = note.record(5);
            let view = RecordView::parse(record.bytes()).expect("a record");
            assert_eq!((view.timestamp(), DropNote::read(&view)), (5, Some(note)));
        }
    }
}
