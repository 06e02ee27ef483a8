//! The names of sessions: the event that opens a session has one.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use tapeline_storage::format::{ArchivedIndexedSession, ArchivedSegmentIndex, Kind, RecordView, Sequence, SessionId};
use tapeline_storage::log::LogView;
use tapeline_storage::read::{Block, LogReader, ReadError, Step};

use super::opening::has_others;
use super::walk::{Passage, Walk};

/// The payload of a session's open event.
#[derive(Deserialize)]
struct SessionOpened<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// The name that an open event gives its session, if it gives one.
pub(super) fn opened_name(payload: &[u8]) -> Option<String> {
    serde_json::from_slice::<SessionOpened<'_>>(payload).ok().map(|opened| opened.name.into_owned())
}

/// The names that are given to sessions in parts of shards. What cannot be read gives none.
#[derive(Debug)]
pub(crate) struct Openings {
    names: HashMap<SessionId, String>,
    bytes_left: usize,
}

/// Bytes of a name beside its text: twice a map's entry.
const ENTRY_BYTES: usize = 2 * size_of::<(SessionId, String)>();

impl Openings {
    /// No names yet; later as many as fit so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { names: HashMap::new(), bytes_left: bytes_max }
    }

    /// Adds what a shard says in these sequences. A session keeps the first name that it is given.
    pub(crate) fn add(&mut self, view: &Arc<LogView>, range: Range<Sequence>) {
        let mut walk = Walk::new(view, range);
        loop {
            match walk.step() {
                Ok(Passage::End) => return,
                Ok(Passage::Segment(segment)) => {
                    match segment.with_index(|index| self.add_index(view, index)) {
                        Ok(Some(())) => {}
                        // An index that cannot be read is none: the blocks are read.
                        _ => walk.enter(&segment),
                    }
                }
                Ok(Passage::Block(block)) => of_block(&block, |session, name| self.name(session, name)),
                Err(_) => walk.pass_damage(),
            }
        }
    }

    fn add_index(&mut self, view: &Arc<LogView>, index: &ArchivedSegmentIndex) {
        for entry in index.sessions.iter() {
            if let Some(name) = repeated_name(index, entry) {
                self.name(SessionId(entry.session.to_native()), name);
            }
        }
        of_long_openings(view, index, |session, name| self.name(session, name));
    }

    /// The session is called so, unless it has a name.
    pub(crate) fn name(&mut self, session: SessionId, name: String) {
        let bytes = ENTRY_BYTES + name.len();
        if let Entry::Vacant(vacant) = self.names.entry(session)
            && let Some(left) = self.bytes_left.checked_sub(bytes)
        {
            self.bytes_left = left;
            vacant.insert(name);
        }
    }

    /// The name of a session.
    pub(crate) fn get(&self, session: SessionId) -> Option<&str> {
        self.names.get(&session).map(String::as_str)
    }

    /// The names.
    pub(crate) fn into_names(self) -> HashMap<SessionId, String> {
        self.names
    }
}

/// The name that the index of a segment gives a session.
pub(super) fn repeated_name(index: &ArchivedSegmentIndex, entry: &ArchivedIndexedSession) -> Option<String> {
    let changes = [index.opening_of(entry), index.last_change_of(entry)];
    changes.into_iter().flatten().find_map(opened_name)
}

/// Returns whether the segment may have an event about the session that its index does not repeat: one that is too long
/// for it, or that stands between others.
pub(super) fn may_have_others(index: &ArchivedSegmentIndex, entry: &ArchivedIndexedSession) -> bool {
    entry.is_change_left_out() || index.opening_of(entry).is_some()
}

/// The name that the blocks of a segment give a session.
pub(super) fn name_in_blocks(view: &Arc<LogView>, entry: &ArchivedIndexedSession) -> Option<String> {
    let [first, last] = [entry.first_sequence, entry.last_sequence].map(|at| Sequence::new(at.to_native()));
    first_name(view, first..last.plus(1), SessionId(entry.session.to_native()))
}

/// Most bytes of blocks that are looked at for one session's name: a millisecond, or three where they are read.
const LOOK_BYTES: usize = 4 << 20;

/// The first name that the blocks of these sequences give a session, as far as a look at 4 MiB of those finds it that
/// may hold the session.
pub(super) fn first_name(view: &Arc<LogView>, range: Range<Sequence>, session: SessionId) -> Option<String> {
    let mut walk = Walk::new(view, range).seeking(session);
    let mut bytes_left = LOOK_BYTES;
    loop {
        match walk.step().ok()? {
            Passage::End => return None,
            Passage::Segment(segment) => walk.enter(&segment),
            Passage::Block(block) => {
                let is_opening =
                    |record: &RecordView<'_>| (record.session(), record.kind()) == (session, Kind::SESSION);
                let mut openings = block.records().flatten().filter(is_opening);
                let found = openings.find_map(|opening| opened_name(opening.payload()));
                bytes_left = bytes_left.saturating_sub(block.payload_bytes_max());
                if found.is_some() || bytes_left == 0 {
                    return found;
                }
            }
        }
    }
}

/// Adds to `found` which of the sessions `wanted` have events in these sequences of a shard.
///
/// # Errors
/// The first that cannot be read: it may hold any.
pub(crate) fn find_sessions(
    view: &Arc<LogView>,
    range: Range<Sequence>,
    wanted: &HashSet<SessionId>,
    found: &mut HashSet<SessionId>,
) -> Result<(), ReadError> {
    let mut walk = Walk::new(view, range);
    loop {
        match walk.step()? {
            Passage::End => return Ok(()),
            Passage::Segment(segment) => {
                let listed = segment.with_index(|index| {
                    let listed = index.sessions.iter().map(|entry| SessionId(entry.session.to_native()));
                    found.extend(listed.filter(|session| wanted.contains(session)));
                });
                if !matches!(listed, Ok(Some(()))) {
                    walk.enter(&segment);
                }
            }
            Passage::Block(block) => {
                let sessions = block.records().flatten().map(|record| record.session());
                found.extend(sessions.filter(|session| wanted.contains(session)));
            }
        }
    }
}

/// Names in open events that an index does not repeat. Reads the blocks in which such sessions begin, and of those
/// whose last event about them is too long for an index what [`name_in_blocks`] reads.
pub(super) fn of_long_openings(
    view: &Arc<LogView>,
    index: &ArchivedSegmentIndex,
    mut each: impl FnMut(SessionId, String),
) {
    if !has_others(index) {
        return;
    }
    let is_elsewhere =
        |entry: &&ArchivedIndexedSession| may_have_others(index, entry) && repeated_name(index, entry).is_none();
    let mut entries: Vec<_> = index.sessions.iter().filter(is_elsewhere).collect();
    entries.sort_unstable_by_key(|entry| entry.first_sequence.to_native());
    let (mut reader, mut named) = (LogReader::new(Arc::clone(view), Sequence::default()), HashSet::new());
    for entry in &entries {
        let begin = Sequence::new(entry.first_sequence.to_native());
        // Unless the block that holds it has been read with one before.
        if begin >= reader.next_sequence() || begin == Sequence::default() {
            reader.return_to(begin);
            if let Ok(Step::Block(block)) = reader.step() {
                of_block(&block, |session, name| {
                    named.insert(session);
                    each(session, name);
                });
            }
        }
    }
    for entry in entries.into_iter().filter(|entry| entry.is_change_left_out()) {
        let session = SessionId(entry.session.to_native());
        if !named.contains(&session)
            && let Some(name) = name_in_blocks(view, entry)
        {
            each(session, name);
        }
    }
}

fn of_block(block: &Block, mut each: impl FnMut(SessionId, String)) {
    for record in block.records().flatten().filter(|record| record.kind() == Kind::SESSION) {
        if let Some(name) = opened_name(record.payload()) {
            each(record.session(), name);
        }
    }
}
