//! Notes: records that the bus itself writes into a log, for its readers.
//!
//! Here as well: the reasons and the numbers of dropped events ([`DropReason`], [`Drops`]).
//!
//! A note takes a sequence like an event, and its kind is one of those that are reserved. Its payload is JSON, so that
//! any tool can show it. A [`DropNote`] reports events that were dropped before they reached the log; a [`CursorNote`]
//! is the position of a named cursor, which a crash leaves together with the events that were published with it.

use std::io::Write;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use tapeline_storage::format::{Kind, Record, RecordView, SessionId, archive_into, archived_bytes, set_timestamp};

use crate::kinds;

/// Largest payload of a note, in bytes.
const PAYLOAD_MAX: usize = 144 + DroppedSessions::NAMED_MAX * 58;

/// Largest record of a note, in bytes.
pub const RECORD_MAX: usize = archived_bytes(PAYLOAD_MAX);

/// Returns whether the bus alone writes events of this kind.
#[inline(always)]
pub fn is_reserved(kind: Kind) -> bool {
    kind.0 >= kinds::RESERVED.start
}

/// The reason for which an event was dropped.
///
/// ```
/// use tapeline_reader::{DropReason, GapReason};
///
/// fn was_sampled(reason: &GapReason) -> bool {
///     matches!(reason, GapReason::Overflow { reason: DropReason::Sampled, .. })
/// }
/// assert!(!was_sampled(&GapReason::Trimmed));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Its lane was full, and it was the newest.
    Newest,
    /// Its lane was full, and it was the oldest.
    Oldest,
    /// Its lane was filling up, and others were kept for it.
    Sampled,
    /// Its lane was full, and it went back to its producer, which may have ingested it again: in mode `FailAndReport`.
    /// No drop: [`Drops`] does not count it.
    Refused,
}

impl DropReason {
    const ALL: [Self; 4] = [Self::Newest, Self::Oldest, Self::Sampled, Self::Refused];

    /// The number of reasons.
    #[doc(hidden)]
    pub const COUNT: usize = Self::ALL.len();

    /// Its word in a note: a part of the log's format.
    fn word(self) -> &'static str {
        match self {
            Self::Newest => "drop-newest",
            Self::Oldest => "drop-oldest",
            Self::Sampled => "sampled",
            Self::Refused => "refused",
        }
    }

    /// The reason that has this word in a note.
    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }

    /// Its number, from 0, in the order of [`Drops`]; the last is not in them.
    #[doc(hidden)]
    pub fn index(self) -> usize {
        match self {
            Self::Newest => 0,
            Self::Oldest => 1,
            Self::Sampled => 2,
            Self::Refused => 3,
        }
    }
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Numbers of dropped events, by reason. Every one is reported to readers in a [`Gap`](crate::Gap).
///
/// ```
/// use tapeline_reader::Drops;
///
/// // As the statistics of lanes and shards have them.
/// let report = |drops: Drops| format!("{} dropped, {} of them by sampling", drops.total(), drops.sampled);
/// assert_eq!(report(Drops::default()), "0 dropped, 0 of them by sampling");
/// ```
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
        match reason {
            DropReason::Newest => self.newest += events,
            DropReason::Oldest => self.oldest += events,
            DropReason::Sampled => self.sampled += events,
            DropReason::Refused => {}
        }
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

/// The sessions whose events are missing, and how many events of each: exactly, up to a bound.
///
/// Part of [`GapReason::Overflow`](crate::GapReason::Overflow).
///
/// ```
/// use tapeline_reader::{DroppedSessions, session_id};
///
/// # let mut dropped = DroppedSessions::default();
/// # dropped.count(session_id("chat-42"));
/// for (session, events) in dropped.named() {
///     println!("{events} events of session {session} are missing");
/// }
/// println!("and {} of others", dropped.others());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DroppedSessions {
    named: Vec<(SessionId, u64)>,
    others: u64,
}

impl DroppedSessions {
    /// Most sessions that are named. The events of those that come later count as others'.
    pub const NAMED_MAX: usize = 64;

    /// So many events of sessions that are not known.
    #[doc(hidden)]
    pub fn unknown(events: u64) -> Self {
        Self { named: Vec::new(), others: events }
    }

    /// Counts an event. Costs a look at each session that is named.
    #[doc(hidden)]
    pub fn count(&mut self, session: SessionId) {
        self.count_near(session, &mut 0);
    }

    /// As [`DroppedSessions::count`], looking first where the event before was counted: streams come in runs, or in
    /// turns.
    #[doc(hidden)]
    pub fn count_near(&mut self, session: SessionId, near: &mut usize) {
        self.add(session, 1, near);
    }

    /// Counts what others has, too.
    #[doc(hidden)]
    pub fn absorb(&mut self, others: Self) {
        let mut near = 0;
        others.named.into_iter().for_each(|(session, events)| self.add(session, events, &mut near));
        self.others += others.others;
    }

    fn add(&mut self, session: SessionId, events: u64, near: &mut usize) {
        let (before, after) = self.named.split_at((*near).min(self.named.len()));
        let is_it = |(named, _): &(SessionId, u64)| *named == session;
        let found = after.iter().position(is_it).map(|at| before.len() + at).or_else(|| before.iter().position(is_it));
        match found {
            Some(at) => {
                self.named[at].1 += events;
                *near = at;
            }
            None if self.named.len() < Self::NAMED_MAX => self.named.push((session, events)),
            None => self.others += events,
        }
    }

    /// The sessions that are named, each with its number of events. Events without a session are those of session 0.
    pub fn named(&self) -> &[(SessionId, u64)] {
        &self.named
    }

    /// Events of sessions that are not named: any session may have lost some of them.
    pub fn others(&self) -> u64 {
        self.others
    }

    /// All events.
    pub fn events(&self) -> u64 {
        self.named.iter().map(|(_, events)| events).sum::<u64>() + self.others
    }

    /// The session of all events, if it is one.
    fn only(&self) -> SessionId {
        match (&self.named[..], self.others) {
            (&[(session, _)], 0) => session,
            _ => SessionId::NONE,
        }
    }

    /// Those that one of these sessions may miss.
    pub(crate) fn of(self, is_wanted: impl Fn(SessionId) -> bool) -> Self {
        let Self { mut named, others } = self;
        named.retain(|(session, _)| is_wanted(*session));
        Self { named, others }
    }
}

/// "In this place these events of a producer were dropped."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropNote {
    pub producer: u64,
    pub reason: DropReason,
    pub sessions: DroppedSessions,
}

#[derive(Deserialize)]
struct DropText<'a> {
    reason: &'a str,
    producer: u64,
    /// Sessions as 32 hexadecimal digits, and the events of each.
    #[serde(borrow)]
    sessions: Vec<(&'a str, u64)>,
    /// Events of sessions that are not named.
    others: u64,
}

impl DropNote {
    /// The note of a record, if it is one of drops.
    #[cold]
    pub fn read(record: &RecordView<'_>) -> Option<Self> {
        if record.kind() != kinds::GAP {
            return None;
        }
        let text: DropText<'_> = serde_json::from_slice(record.payload()).ok()?;
        let reason = DropReason::of_word(text.reason)?;
        let session = |(id, events): (&str, u64)| Some((SessionId(u128::from_str_radix(id, 16).ok()?), events));
        let named = text.sessions.into_iter().map(session).collect::<Option<_>>()?;
        let sessions = DroppedSessions { named, others: text.others };
        Some(Self { producer: text.producer, reason, sessions })
    }

    /// Its record.
    #[cold]
    pub fn record(&self, timestamp: u64) -> NoteRecord {
        let Self { producer, reason, sessions } = self;
        let reason = reason.word();
        let mut payload = [0; PAYLOAD_MAX];
        let mut rest = &mut payload[..];
        // All of it fits; if it did not, the text would end early and no reader would accept it.
        let events = sessions.events();
        let _ =
            write!(rest, r#"{{"type":"gap","reason":"{reason}","events":{events},"producer":{producer},"sessions":["#);
        for (number, (session, events)) in sessions.named.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(rest, r#"{comma}["{session}",{events}]"#);
        }
        let _ = write!(rest, r#"],"others":{}}}"#, sessions.others);
        let left = rest.len();
        let payload = &payload[..PAYLOAD_MAX - left];
        let mut record = NoteRecord { bytes: [0; RECORD_MAX], length: archived_bytes(payload.len()) };
        let event = Record { session: sessions.only(), timestamp, kind: kinds::GAP, payload };
        archive_into(&event, &mut record.bytes[..record.length]);
        record
    }

    /// The same without names: any session may have lost some of the events. Its record is short.
    #[must_use]
    pub fn without_names(&self) -> Self {
        Self { sessions: DroppedSessions::unknown(self.sessions.events()), ..*self }
    }
}

/// "The cursor of this name is here since the events before this." In the session [`SessionId::CURSORS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "cursor")]
pub struct CursorNote {
    pub name: String,
    pub cursor: String,
}

impl CursorNote {
    /// The note of a record, if it is one of a cursor.
    pub fn read(record: &RecordView<'_>) -> Option<Self> {
        match record.kind() {
            kinds::CURSOR => serde_json::from_slice(record.payload()).ok(),
            _ => None,
        }
    }

    /// The payload of its record.
    ///
    /// # Errors
    /// None: what it has is text.
    pub fn payload(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// A note's record, aligned as records are.
#[repr(align(16))]
pub struct NoteRecord {
    bytes: [u8; RECORD_MAX],
    length: usize,
}

impl NoteRecord {
    /// Gives it another time.
    pub fn set_timestamp(&mut self, timestamp: u64) {
        set_timestamp(&mut self.bytes[..self.length], timestamp);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_note_fits_and_is_read_back() {
        for reason in DropReason::ALL {
            let events = u64::MAX / 128;
            let named = (0..64).map(|number| (SessionId(u128::MAX - number), events)).collect();
            let sessions = DroppedSessions { named, others: events };
            let note = DropNote { producer: u64::MAX, reason, sessions };
            for note in [note.without_names(), note] {
                let record = note.record(5);
                let view = RecordView::parse(record.bytes()).expect("a record");
                assert_eq!((view.timestamp(), view.session()), (5, SessionId::NONE));
                assert_eq!(DropNote::read(&view), Some(note));
            }
        }
    }

    #[test]
    fn words_of_reasons_are_those_of_the_format() {
        let words = [("drop-newest", DropReason::Newest), ("drop-oldest", DropReason::Oldest)];
        let more = [("sampled", DropReason::Sampled), ("refused", DropReason::Refused)];
        for (word, reason) in words.into_iter().chain(more) {
            let payload =
                format!(r#"{{"type":"gap","reason":"{word}","events":1,"producer":7,"sessions":[],"others":1}}"#);
            let note = DropNote { producer: 7, reason, sessions: DroppedSessions::unknown(1) };
            let record = note.record(5);
            let view = RecordView::parse(record.bytes()).expect("a record");
            assert_eq!((view.payload(), DropNote::read(&view)), (payload.as_bytes(), Some(note)));
        }
    }

    #[test]
    fn sessions_are_counted_exactly_up_to_the_bound_and_the_others_together() {
        let mut dropped = DroppedSessions::default();
        for number in 0..70 {
            (0..=number).for_each(|_| dropped.count(SessionId(number)));
        }
        assert_eq!(dropped.events(), (1..=70).sum::<u64>());
        assert_eq!(dropped.others(), (65..=70).sum::<u64>());
        assert!(dropped.named().iter().all(|(session, events)| u128::from(*events) == session.0 + 1));
        // In turns, and added in two parts, they are the same.
        let (mut near, mut parts) = (0, [DroppedSessions::default(), DroppedSessions::default()]);
        for turn in 0..70_u128 {
            let part = &mut parts[usize::from(turn > 2)];
            (turn..70).for_each(|number| part.count_near(SessionId(number), &mut near));
        }
        let [mut first, second] = parts;
        first.absorb(second);
        let named =
            |sessions: &DroppedSessions| sessions.named.iter().copied().collect::<std::collections::BTreeMap<_, _>>();
        assert_eq!((named(&first), first.others()), (named(&dropped), dropped.others()));
        let of_one = dropped.clone().of(|session| session == SessionId(3));
        assert_eq!((of_one.named(), of_one.others()), (&[(SessionId(3), 4)][..], dropped.others()));
        let mut one = DroppedSessions::default();
        (0..3).for_each(|_| one.count(SessionId(9)));
        let note = DropNote { producer: 1, reason: DropReason::Newest, sessions: one };
        let record = note.record(0);
        assert_eq!(RecordView::parse(record.bytes()).expect("a record").session(), SessionId(9));
    }
}
