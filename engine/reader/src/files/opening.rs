//! The events that open sessions, found through the indexes of a log's segments instead of a pass over its events.
//!
//! An index repeats the first opening of each session in its segment, and the last event about it. A search goes from
//! the newest segment to the oldest and reads blocks where an index does not determine a session's last opening: in the
//! segment that reaches over the time in question, in one without an index, and in one with more events about sessions
//! than its index repeats. It reads at most `READ_BYTES_MAX` of a shard; of older segments the word of the index has
//! to do.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tapeline_capability::{CapabilitySet, RequiredCapability};
use tapeline_storage::format::{ArchivedIndexedSession, ArchivedSegmentIndex, Kind, Sequence, SessionId, SessionNames};
use tapeline_storage::log::{LogDirectory, LogView, Segment};
use tapeline_storage::read::{Block, Visibility};

use super::contents::SessionSummary;
use crate::filter::Selection;
use crate::session::SessionOpening;
use crate::source::{Next, Source};

/// Most bytes of payloads that one search reads of one shard.
const READ_BYTES_MAX: usize = 1 << 30;

/// Has a selection that asks about sources know the openings before these positions of shards. `kept` calls what it is
/// given with the openings that the log keeps of sessions whose opening event was trimmed.
pub fn learn(
    selection: &Selection,
    positions: &[(Arc<LogView>, Sequence)],
    kept: impl FnOnce(&mut dyn FnMut(SessionId, SessionOpening)),
) {
    if !selection.needs_openings() {
        return;
    }
    let openings = openings_at(positions, selection.sessions(), kept);
    openings.iter().for_each(|(session, opening)| selection.know_opening(*session, opening));
}

/// The last openings of these sessions before these positions of shards; `None`: of all sessions. `kept` as of
/// [`learn`].
pub(crate) fn openings_at(
    positions: &[(Arc<LogView>, Sequence)],
    sessions: Option<&[SessionId]>,
    kept: impl FnOnce(&mut dyn FnMut(SessionId, SessionOpening)),
) -> HashMap<SessionId, SessionOpening> {
    let mut search = OpeningSearch::new(0, sessions);
    for (view, next) in positions.iter().filter(|(view, next)| *next > view.trimmed()) {
        search.time = time_at(view, *next);
        search.add(view);
    }
    kept(&mut |session, opening| search.add_kept(session, opening));
    search.into_openings()
}

/// Has `each` called with the openings that the log at `path` keeps of sessions whose opening event was trimmed. A file
/// that cannot be read has none.
pub(crate) fn each_kept(path: &Path, each: &mut dyn FnMut(SessionId, SessionOpening)) {
    kept_at(path).iter().for_each(|(session, opening)| each(session, SessionOpening::parse(opening.as_bytes())));
}

/// The openings that the log at `path` keeps. A file that cannot be read has none.
pub(crate) fn kept_at(path: &Path) -> SessionNames {
    LogDirectory::open_read_only(path).and_then(|directory| directory.names()).unwrap_or_default()
}

/// Leaves the sessions whose last opening states capabilities that meet a requirement.
pub fn retain_meeting(
    sessions: &mut Vec<SessionSummary>,
    openings: &HashMap<SessionId, SessionOpening>,
    wanted: &RequiredCapability,
) {
    let of_none = wanted.evaluate(&CapabilitySet::new());
    let meets = |opening: &SessionOpening| wanted.evaluate(&opening.metadata.capabilities());
    sessions.retain(|summary| openings.get(&summary.session).map_or(of_none, meets));
}

/// The last openings in these shards, and those that the log keeps, as of [`learn`].
pub fn last_openings(
    views: &[Arc<LogView>],
    kept: impl FnOnce(&mut dyn FnMut(SessionId, SessionOpening)),
) -> HashMap<SessionId, SessionOpening> {
    let mut search = OpeningSearch::new(u64::MAX, None);
    views.iter().for_each(|view| search.add(view));
    kept(&mut |session, opening| search.add_kept(session, opening));
    search.into_openings()
}

/// The time of the first event at this position or after it, as far as it can be read.
fn time_at(view: &Arc<LogView>, next: Sequence) -> u64 {
    let mut source = Source::at(view, next, Visibility::Appended);
    loop {
        match source.step() {
            Ok(Next::Block(block)) => {
                if let Some(record) = block.records().flatten().next() {
                    return record.timestamp();
                }
            }
            Ok(Next::Gap(_)) => {}
            Ok(Next::End) | Err(_) => return u64::MAX,
        }
    }
}

/// The openings of one shard, and a time that each of them is not later than.
type Found = HashMap<SessionId, (u64, SessionOpening)>;

/// A search for the openings of sessions before a time.
#[derive(Debug)]
pub(crate) struct OpeningSearch {
    time: u64,
    /// `None`: of all sessions.
    sessions: Option<Vec<SessionId>>,
    /// In the shards that were searched.
    found: Found,
}

impl OpeningSearch {
    pub(crate) fn new(time: u64, sessions: Option<&[SessionId]>) -> Self {
        Self { time, sessions: sessions.map(<[SessionId]>::to_vec), found: Found::new() }
    }

    /// Searches a shard. What cannot be read says nothing.
    pub(super) fn add(&mut self, view: &Arc<LogView>) {
        self.add_between(view, Sequence::ZERO..Sequence::new(u64::MAX));
    }

    /// Searches the segments of a shard that lie between two sequences.
    pub(crate) fn add_between(&mut self, view: &Arc<LogView>, Range { start, end }: Range<Sequence>) {
        let (mut found, mut bytes_left) = (Found::new(), READ_BYTES_MAX);
        let segments = view.segments();
        if segments.is_empty() {
            // It is in memory.
            found = self.read(view, view.trimmed()..view.appended(), &mut bytes_left);
        }
        let newest = segments.last().map(|segment| segment.base());
        if let Some(sealed) =
            segments.last().filter(|segment| segment.footer().is_some() && segment.end_sequence() < end)
        {
            // Events that no segment holds yet come after it.
            let unwritten = sealed.end_sequence()..view.appended().min(end);
            found = self.read(view, unwritten, &mut bytes_left);
        }
        let is_between = |segment: &Arc<Segment>| start <= segment.base() && segment.end_sequence() <= end;
        for segment in segments.into_iter().rev().filter(is_between) {
            if segment.footer().is_some_and(|footer| footer.first_timestamp >= self.time) {
                continue;
            }
            let look = |index: &ArchivedSegmentIndex| self.add_index(&segment, index, bytes_left, &mut found);
            if !matches!(segment.with_index(look), Ok(Some(Answer::Complete))) {
                let appended = Some(view.appended()).filter(|_| newest == Some(segment.base()));
                let to = segment.end_sequence().max(appended.unwrap_or_default());
                let here = self.read(view, segment.base()..to, &mut bytes_left);
                here.into_iter().for_each(|(session, (time, opening))| prepend(&mut found, session, time, opening));
            }
        }
        for (session, (time, opening)) in found {
            match self.found.get_mut(&session) {
                // A session that moved between shards was opened in both.
                Some((known, later)) if *known > time => amend_earlier(later, opening),
                Some((known, earlier)) => {
                    *known = time;
                    earlier.amend(opening);
                }
                None => drop(self.found.insert(session, (time, opening))),
            }
        }
    }

    /// Adds what the log keeps of openings whose events are gone: they came before all that there are.
    pub(super) fn add_kept(&mut self, session: SessionId, opening: SessionOpening) {
        if self.sessions.as_ref().is_none_or(|sessions| sessions.contains(&session)) {
            prepend(&mut self.found, session, 0, opening);
        }
    }

    /// The openings that were found.
    pub(crate) fn into_openings(self) -> HashMap<SessionId, SessionOpening> {
        self.found.into_iter().map(|(session, (_, opening))| (session, opening)).collect()
    }

    /// Takes from an index what it determines.
    fn add_index(
        &self,
        segment: &Segment,
        index: &ArchivedSegmentIndex,
        bytes_left: usize,
        found: &mut Found,
    ) -> Answer {
        let opened = opened_in(index);
        let is_open = |entry: &&ArchivedIndexedSession| {
            let known = found.get(&SessionId(entry.session.to_native()));
            known.is_none_or(|(_, opening)| opening.name.is_none() || opening.metadata.model.is_none())
        };
        let entries: Vec<_> = self.entries(index).filter(is_open).collect();
        if opened == 0 || entries.is_empty() {
            return Answer::Complete;
        }
        let repeated = repeated_in(index);
        let reaches_over = segment.footer().is_none_or(|footer| footer.last_timestamp >= self.time);
        if bytes_left > 0 && (reaches_over || repeated < opened) {
            return Answer::Partial;
        }
        for entry in entries {
            let (session, time) = (SessionId(entry.session.to_native()), entry.first_timestamp.to_native());
            for payload in [another_change(index, entry), index.opening_of(entry)].into_iter().flatten() {
                prepend(found, session, time, SessionOpening::parse(payload));
            }
        }
        Answer::Complete
    }

    /// The entries of the sessions that are searched for.
    fn entries<'a>(
        &'a self,
        index: &'a ArchivedSegmentIndex,
    ) -> Box<dyn Iterator<Item = &'a ArchivedIndexedSession> + 'a> {
        match &self.sessions {
            Some(sessions) => Box::new(sessions.iter().filter_map(|session| index.session(*session))),
            None => Box::new(index.sessions.iter()),
        }
    }

    /// Reads the openings in the blocks of these sequences.
    fn read(&self, view: &Arc<LogView>, range: Range<Sequence>, bytes_left: &mut usize) -> Found {
        let mut found = Found::new();
        // Without a filter a selection cannot fail.
        let selection = Selection::new(None, self.sessions.as_deref(), None, None).unwrap_or_default();
        let mut source = Source::at(view, range.start, Visibility::Appended).seeking(&selection);
        while *bytes_left > 0 && source.next_sequence() < range.end {
            match source.step() {
                Ok(Next::Block(block)) => {
                    *bytes_left = bytes_left.saturating_sub(block.payload_bytes_max());
                    self.add_block(&block, &mut found);
                }
                Ok(Next::Gap(_)) => {}
                Ok(Next::End) | Err(_) => break,
            }
        }
        found
    }

    fn add_block(&self, block: &Block, found: &mut Found) {
        let is_wanted = |session| self.sessions.as_ref().is_none_or(|sessions| sessions.contains(&session));
        for record in block.records().flatten() {
            if record.kind() == Kind::SESSION && record.timestamp() < self.time && is_wanted(record.session()) {
                let (time, known) = found.entry(record.session()).or_default();
                *time = record.timestamp();
                known.amend(SessionOpening::parse(record.payload()));
            }
        }
    }
}

/// The answer of an index about the last openings of the sessions of its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Complete,
    Partial,
}

/// The events about sessions in a segment.
fn opened_in(index: &ArchivedSegmentIndex) -> u64 {
    let opened = index.kinds.iter().filter(|total| Kind(total.kind.to_native()) == Kind::SESSION);
    opened.map(|total| total.events.to_native()).sum()
}

/// Those that its index repeats.
fn repeated_in(index: &ArchivedSegmentIndex) -> u64 {
    let changes = |entry| [index.opening_of(entry), another_change(index, entry)].into_iter().flatten().count() as u64;
    index.sessions.iter().map(changes).sum()
}

/// Returns whether the segment has events about sessions that its index does not repeat. A look at each session.
pub(super) fn has_others(index: &ArchivedSegmentIndex) -> bool {
    let opened = opened_in(index);
    opened > 0 && repeated_in(index) < opened
}

/// The last event about a session in a segment, where it is another than the first that opens it.
fn another_change<'a>(index: &'a ArchivedSegmentIndex, entry: &ArchivedIndexedSession) -> Option<&'a [u8]> {
    index.last_change_of(entry).filter(|_| entry.change.count.to_native() > 0)
}

/// Adds an opening that is earlier than those found of its session in this shard.
fn prepend(found: &mut Found, session: SessionId, time: u64, opening: SessionOpening) {
    match found.get_mut(&session) {
        Some((_, later)) => amend_earlier(later, opening),
        None => drop(found.insert(session, (time, opening))),
    }
}

fn amend_earlier(later: &mut SessionOpening, mut earlier: SessionOpening) {
    earlier.amend(std::mem::take(later));
    *later = earlier;
}
