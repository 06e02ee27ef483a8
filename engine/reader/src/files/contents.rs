//! The contents of a log, by session and by kind: out of the indexes of sealed segments, and by reading where there is
//! none.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tapeline_storage::format::{ArchivedIndexedSession, ArchivedSegmentIndex, Kind, RecordView, Sequence, SessionId};
use tapeline_storage::log::LogView;
use tapeline_storage::read::Block;

use super::names::{may_have_others, name_in_blocks, of_long_openings, opened_name, repeated_name};
use super::walk::{Passage, Walk};
use crate::error::{ConsumerError, ConsumerResult};
use crate::session::{SessionChange, SessionMetadata, SessionOpening, SessionState};

/// The events of one session in a log.
///
/// From [`LogFiles::sessions`](crate::LogFiles::sessions), and from a bus.
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-session-summary-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// for session in LogFiles::open(&directory)?.sessions()? {
///     println!("{:?}: {} events, {} bytes", session.name, session.events, session.bytes);
/// }
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSummary {
    /// Its id.
    pub session: SessionId,
    /// Its name, if it was opened by name.
    pub name: Option<String>,
    /// Events, not counting those of kind [`kinds::SESSION`](crate::kinds::SESSION).
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Time of the first event of any kind: nanoseconds since the Unix epoch.
    pub first_insertion_ts: u64,
    /// Time of the last event of any kind.
    pub last_insertion_ts: u64,
    /// Its metadata, as an event says that opened it: the last one that the indexes of the log repeat.
    pub metadata: SessionMetadata,
    /// Its state.
    pub state: SessionState,
    /// True if an event opened it.
    pub was_opened: bool,
}

/// The events of one kind in a log.
///
/// ```
/// use tapeline_reader::{LogFiles, LogRestore};
///
/// let directory = std::env::temp_dir().join(format!("tapeline-kind-summary-{}", std::process::id()));
/// LogRestore::create(&directory, None)?.finish()?;
/// for kind in LogFiles::open(&directory)?.kinds()? {
///     println!("kind {}: {} events", kind.kind.0, kind.events);
/// }
/// std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindSummary {
    /// The kind. Those from [`kinds::RESERVED`](crate::kinds::RESERVED) on are notes of the bus.
    pub kind: Kind,
    /// Events.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// Sessions and kinds of some shards.
#[derive(Debug, Default)]
pub struct Contents {
    sessions: HashMap<SessionId, SessionSummary>,
    /// A time that is not earlier than that of the last change of each session.
    changed: HashMap<SessionId, u64>,
    kinds: BTreeMap<Kind, KindSummary>,
}

impl Contents {
    /// Adds all that is readable of a shard. Gaps are passed over.
    pub fn add_shard(&mut self, view: &Arc<LogView>) -> ConsumerResult<()> {
        let mut walk = Walk::new(view, view.trimmed()..Sequence::new(u64::MAX));
        loop {
            match walk.step()? {
                Passage::End => return Ok(()),
                Passage::Segment(segment) => {
                    // An index that cannot be read now is none: the blocks are read.
                    match segment.with_index(|index| self.add_index(view, index)) {
                        Ok(Some(())) => {}
                        _ => walk.enter(&segment),
                    }
                }
                Passage::Block(block) => self.add_block(view.shard(), &block)?,
            }
        }
    }

    /// Adds what is readable of one session in a shard. Gaps are passed over, and segments and blocks that do not hold
    /// the session, as far as indexes know.
    pub fn add_session(&mut self, view: &Arc<LogView>, session: SessionId) -> ConsumerResult<()> {
        let mut walk = Walk::new(view, view.trimmed()..Sequence::new(u64::MAX)).seeking(session);
        loop {
            match walk.step()? {
                Passage::End => return Ok(()),
                Passage::Segment(segment) if !segment.may_hold_any(&[session]) => {}
                Passage::Segment(segment) => {
                    let look = |index: &ArchivedSegmentIndex| {
                        if let Some(entry) = index.session(session) {
                            self.add_entry(index, entry);
                            let is_named = self.sessions.get(&session).is_some_and(|known| known.name.is_some());
                            if !is_named
                                && may_have_others(index, entry)
                                && let Some(name) = name_in_blocks(view, entry)
                            {
                                self.name(session, name);
                            }
                        }
                        index.sessions_left_out
                    };
                    if !matches!(segment.with_index(look), Ok(Some(false))) {
                        walk.enter(&segment);
                    }
                }
                Passage::Block(block) => {
                    for record in block.records().flatten().filter(|record| record.session() == session) {
                        self.add_record(&record);
                    }
                }
            }
        }
    }

    fn add_index(&mut self, view: &Arc<LogView>, index: &ArchivedSegmentIndex) {
        let is_of_users = |entry: &&ArchivedIndexedSession| entry.session.to_native() != SessionId::CURSORS.0;
        for entry in index.sessions.iter().filter(is_of_users) {
            self.add_entry(index, entry);
        }
        of_long_openings(view, index, |session, name| self.name(session, name));
        for total in index.kinds.iter() {
            self.count(Kind(total.kind.to_native()), total.events.to_native(), total.bytes.to_native());
        }
    }

    fn add_entry(&mut self, index: &ArchivedSegmentIndex, entry: &ArchivedIndexedSession) {
        let found = SessionSummary::of_entry(entry);
        // Most sessions are in one segment, and names are parsed once.
        let (session, time) = (found.session, found.last_insertion_ts);
        let summary = match self.sessions.entry(session) {
            Entry::Occupied(known) => known.into_mut().merge(&found),
            Entry::Vacant(new) => new.insert(found),
        };
        if summary.name.is_none() {
            summary.name = repeated_name(index, entry);
        }
        if let Some(payload) = index.opening_of(entry) {
            self.change(session, time, payload);
        }
        match index.last_change_of(entry) {
            Some(payload) => self.change(session, time, payload),
            // What is too long for an index opens its session.
            None if entry.is_change_left_out() => {
                self.apply(session, time, SessionChange::Opened { name: None, metadata: SessionMetadata::new() })
            }
            None => {}
        }
    }

    /// An event of kind session says this, at this time or before.
    fn change(&mut self, session: SessionId, time: u64, payload: &[u8]) {
        if let Some(change) = SessionChange::parse(payload) {
            self.apply(session, time, change);
        }
    }

    fn apply(&mut self, session: SessionId, time: u64, change: SessionChange) {
        let Some(summary) = self.sessions.get_mut(&session) else { return };
        // Of a session that moved, the shards are added one after the other.
        let is_last = self.changed.get(&session).is_none_or(|known| *known <= time);
        if is_last {
            self.changed.insert(session, time);
        }
        match change {
            SessionChange::Opened { metadata, .. } => {
                summary.was_opened = true;
                if is_last {
                    (summary.metadata, summary.state) = (metadata, SessionState::Open);
                } else if summary.metadata == SessionMetadata::default() {
                    summary.metadata = metadata;
                }
            }
            SessionChange::Closed { outcome } if is_last => summary.state = SessionState::Closed { outcome },
            SessionChange::Closed { .. } => {}
        }
    }

    fn add_record(&mut self, record: &RecordView<'_>) {
        let summary = self.sessions.entry(record.session());
        summary.or_insert_with(|| SessionSummary::begin(record)).add(record);
        if record.kind() == Kind::SESSION {
            self.change(record.session(), record.timestamp(), record.payload());
        }
    }

    fn add_block(&mut self, shard: u16, block: &Block) -> ConsumerResult<()> {
        for (at, record) in block.records().enumerate() {
            let record = record.map_err(|error| ConsumerError::Record {
                shard_id: shard,
                sequence: block.first_sequence().plus(at as u64),
                message: error.to_string(),
            })?;
            self.count(record.kind(), 1, record.payload().len() as u64);
            if !record.kind().is_reserved() {
                self.add_record(&record);
            }
        }
        Ok(())
    }

    fn count(&mut self, kind: Kind, events: u64, bytes: u64) {
        let total = self.kinds.entry(kind).or_insert(KindSummary { kind, events: 0, bytes: 0 });
        // The numbers of an index are the file's word.
        (total.events, total.bytes) = (total.events.saturating_add(events), total.bytes.saturating_add(bytes));
    }

    /// A session was opened so before all of its events that are here, if it is here.
    pub fn opened_before(&mut self, session: SessionId, opening: SessionOpening) {
        let SessionOpening { name, metadata, .. } = opening;
        self.apply(session, 0, SessionChange::Opened { name: None, metadata });
        if let Some(name) = name {
            self.name(session, name);
        }
    }

    /// The session is called so, if it is there and has no name yet.
    fn name(&mut self, session: SessionId, name: String) {
        if let Some(summary) = self.sessions.get_mut(&session)
            && summary.name.is_none()
        {
            summary.name = Some(name);
        }
    }

    /// The sessions, by time of their first event.
    pub fn into_sessions(self) -> Vec<SessionSummary> {
        let mut sessions: Vec<_> = self.sessions.into_values().collect();
        sessions.sort_by_key(|summary| (summary.first_insertion_ts, summary.session));
        sessions
    }

    /// The kinds, by number.
    pub fn into_kinds(self) -> Vec<KindSummary> {
        self.kinds.into_values().collect()
    }
}

impl SessionSummary {
    fn begin(first: &RecordView<'_>) -> Self {
        Self {
            session: first.session(),
            name: None,
            events: 0,
            bytes: 0,
            first_insertion_ts: first.timestamp(),
            last_insertion_ts: first.timestamp(),
            metadata: SessionMetadata::new(),
            state: SessionState::Open,
            was_opened: false,
        }
    }

    fn of_entry(entry: &ArchivedIndexedSession) -> Self {
        Self {
            session: SessionId(entry.session.to_native()),
            name: None,
            events: entry.events.to_native(),
            bytes: entry.bytes.to_native(),
            first_insertion_ts: entry.first_timestamp.to_native(),
            last_insertion_ts: entry.last_timestamp.to_native(),
            metadata: SessionMetadata::new(),
            state: SessionState::Open,
            was_opened: false,
        }
    }

    fn merge(&mut self, more: &Self) -> &mut Self {
        self.events = self.events.saturating_add(more.events);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.first_insertion_ts = self.first_insertion_ts.min(more.first_insertion_ts);
        self.last_insertion_ts = self.last_insertion_ts.max(more.last_insertion_ts);
        self
    }

    fn add(&mut self, record: &RecordView<'_>) {
        self.first_insertion_ts = self.first_insertion_ts.min(record.timestamp());
        self.last_insertion_ts = self.last_insertion_ts.max(record.timestamp());
        if record.kind() != Kind::SESSION {
            self.events = self.events.saturating_add(1);
            self.bytes = self.bytes.saturating_add(record.payload().len() as u64);
        } else if self.name.is_none() {
            self.name = opened_name(record.payload());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_that_files_state_do_not_overflow() {
        let most = SessionSummary {
            session: SessionId(1),
            name: None,
            events: u64::MAX,
            bytes: u64::MAX,
            first_insertion_ts: 1,
            last_insertion_ts: 2,
            metadata: SessionMetadata::new(),
            state: SessionState::Open,
            was_opened: false,
        };
        let mut sum = most.clone();
        sum.merge(&most);
        assert_eq!(sum, most);
    }
}
