//! The names of sessions: the event that opens a session has one.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use tapeline_storage::format::{ArchivedSegmentIndex, Kind, Sequence, SessionId};
use tapeline_storage::log::{LogView, Segment};
use tapeline_storage::read::{Block, LogReader, ReadError, Step};

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
            if let Some(name) = index.opening_of(entry).and_then(opened_name) {
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

/// The name in an opening that is too long for the segment's index to repeat: that of the block in which the session
/// begins.
pub(super) fn long_opening(view: &Arc<LogView>, segment: &Segment, session: SessionId) -> Option<String> {
    let begin = segment.with_index(|index| Some(index.session(session)?.first_sequence.to_native())).ok()???;
    let mut reader = LogReader::new(Arc::clone(view), Sequence::new(begin));
    let Ok(Step::Block(block)) = reader.step() else { return None };
    let mut found = None;
    of_block(&block, |opened, name| {
        if opened == session {
            found.get_or_insert(name);
        }
    });
    found
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

/// Names in open events that are too long for an index to repeat. Reads the blocks in which sessions begin that the
/// index has no opening of, if it counts more openings than it repeats.
pub(super) fn of_long_openings(
    view: &Arc<LogView>,
    index: &ArchivedSegmentIndex,
    mut each: impl FnMut(SessionId, String),
) {
    let opened = index.kinds.iter().filter(|total| Kind(total.kind.to_native()) == Kind::SESSION);
    let opened: u64 = opened.map(|total| total.events.to_native()).sum();
    let is_repeated = |entry: &&_| index.opening_of(entry).is_some();
    if index.sessions.iter().filter(is_repeated).count() as u64 >= opened {
        return;
    }
    let begins = index.sessions.iter().filter(|entry| !is_repeated(entry));
    let mut begins: Vec<_> = begins.map(|entry| Sequence::new(entry.first_sequence.to_native())).collect();
    begins.sort_unstable();
    let mut reader = LogReader::new(Arc::clone(view), Sequence::default());
    for begin in begins {
        // Unless the block that holds it has been read with one before.
        if begin >= reader.next_sequence() || begin == Sequence::default() {
            reader.return_to(begin);
            if let Ok(Step::Block(block)) = reader.step() {
                of_block(&block, &mut each);
            }
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
