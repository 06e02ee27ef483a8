//! The names of sessions that were opened before the positions at which a reader of files begins.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use tapeline_storage::format::{ArchivedSegmentIndex, Sequence, SessionId, SessionNames};
use tapeline_storage::log::{LogView, Segment};

use super::names::{Openings, long_opening};
use super::opening::{has_others, kept_at};
use crate::process::lock;
use crate::session::SessionOpening;
use crate::session::naming::{KnownName, NameLookup, RecentNames};

/// Most bytes of names that a reader of files has met or asked for.
const RECENT_BYTES: usize = 16 << 20;

/// Most bytes of names in segments without an index.
const UNINDEXED_BYTES: usize = 64 << 20;

/// Finds the name of a session when a reader first meets it without its opening.
#[derive(Debug)]
pub(crate) struct NamedBefore {
    positions: Vec<(Arc<LogView>, Sequence)>,
    path: PathBuf,
    recent: Mutex<RecentNames>,
    unindexed: OnceLock<Openings>,
    kept: OnceLock<SessionNames>,
    /// The segments, by shard and base, that were asked about, and whether they have openings that their indexes do not
    /// repeat.
    have_others: Mutex<HashMap<(u16, Sequence), bool>>,
}

impl NamedBefore {
    /// Those before these positions in the log at `path`.
    pub(crate) fn new(path: &Path, positions: Vec<(Arc<LogView>, Sequence)>) -> Arc<Self> {
        Arc::new(Self {
            positions,
            path: path.to_owned(),
            recent: Mutex::new(RecentNames::new(RECENT_BYTES)),
            unindexed: OnceLock::new(),
            kept: OnceLock::new(),
            have_others: Mutex::default(),
        })
    }

    /// Returns whether the segment has the session, and an opening that its index does not repeat.
    fn may_open_unrepeated(&self, view: &LogView, segment: &Segment, session: SessionId) -> bool {
        let is_there = segment.footer().is_some_and(|footer| footer.index.is_some());
        is_there && segment.may_hold_any(&[session]) && {
            let place = (view.shard(), segment.base());
            let look = || matches!(segment.with_index(has_others), Ok(Some(true)));
            *lock(&self.have_others).entry(place).or_insert_with(look)
        }
    }

    /// In an index; where that repeats no opening of the session because they are long, in the block where it begins.
    fn indexed(&self, session: SessionId) -> Option<Arc<str>> {
        self.positions.iter().find_map(|(view, _)| {
            if let KnownName::Named(name) = indexed_name(std::slice::from_ref(view), session) {
                return Some(name);
            }
            let segments = view.segments();
            let mut unrepeated = segments.iter().filter(|segment| self.may_open_unrepeated(view, segment, session));
            unrepeated.find_map(|segment| long_opening(view, segment, session)).map(Into::into)
        })
    }

    /// Reads the blocks before the positions that no index covers, the newest segment first.
    fn read_unindexed(&self) -> Openings {
        let mut openings = Openings::new(UNINDEXED_BYTES);
        for (view, next) in &self.positions {
            let segments = view.segments();
            let sealed_end = segments.iter().rev().find(|segment| segment.footer().is_some());
            let sealed_end = sealed_end.map_or(view.trimmed(), |segment| segment.end_sequence());
            openings.add(view, sealed_end.max(view.trimmed())..*next);
            for segment in segments.iter().rev().filter(|segment| segment.footer().is_some()) {
                if !matches!(segment.with_index(|_| ()), Ok(Some(()))) {
                    openings.add(view, segment.base()..segment.end_sequence().min(*next));
                }
            }
        }
        openings
    }

    fn find(&self, session: SessionId) -> Option<Arc<str>> {
        let unindexed = || self.unindexed.get_or_init(|| self.read_unindexed()).get(session).map(Into::into);
        let kept = || {
            let opening = self.kept.get_or_init(|| kept_at(&self.path)).get(session)?;
            SessionOpening::parse(opening.as_bytes()).name.map(Into::into)
        };
        self.indexed(session).or_else(kept).or_else(unindexed)
    }
}

impl NameLookup for NamedBefore {
    fn name_of(&self, session: SessionId) -> KnownName {
        if let Some(name) = lock(&self.recent).get(session) {
            return KnownName::Named(name);
        }
        let Some(name) = self.find(session) else { return KnownName::Unnamed };
        lock(&self.recent).put(session, Arc::clone(&name));
        KnownName::Named(name)
    }

    fn learn(&self, session: SessionId, name: &Arc<str>) {
        lock(&self.recent).put(session, Arc::clone(name));
    }
}

/// The name that the indexes of these shards' sealed segments give a session: a look at the filter of each segment, and
/// at the indexes of those that hold the session. [`KnownName::NotYet`] if a sealed segment has no index yet.
pub fn indexed_name(views: &[Arc<LogView>], session: SessionId) -> KnownName {
    let mut found = KnownName::Unnamed;
    let sealed = views.iter().flat_map(|view| view.segments().into_iter().rev());
    for segment in sealed.filter(|segment| segment.footer().is_some() && segment.may_hold_any(&[session])) {
        let name = |index: &ArchivedSegmentIndex| {
            let entry = index.session(session)?;
            let openings = [index.opening_of(entry), index.last_change_of(entry)];
            openings.into_iter().flatten().find_map(|payload| SessionOpening::parse(payload).name)
        };
        match segment.with_index(name) {
            Ok(Some(Some(name))) => return KnownName::Named(name.into()),
            Ok(Some(None)) => {}
            Ok(None) | Err(_) if segment.footer().is_some_and(|footer| footer.index.is_none()) => {
                found = KnownName::NotYet;
            }
            Ok(None) | Err(_) => {}
        }
    }
    found
}
