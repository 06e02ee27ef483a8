//! The names of sessions that were opened before the positions at which a reader of files begins.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use tapeline_storage::format::{ArchivedIndexedSession, ArchivedSegmentIndex, Sequence, SessionId, SessionNames};
use tapeline_storage::log::{LogView, Segment};

use super::names::{Openings, first_name, may_have_others, name_in_blocks, repeated_name};
use super::opening::kept_at;
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
        })
    }

    /// Reads the blocks before the positions that no index covers, the newest segment first.
    fn read_unindexed(&self) -> Openings {
        let mut openings = Openings::new(UNINDEXED_BYTES);
        for (view, next) in &self.positions {
            let segments = view.segments();
            openings.add(view, sealed_end(view)..*next);
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
        let views: Vec<_> = self.positions.iter().map(|(view, _)| Arc::clone(view)).collect();
        match indexed_name(&views, session) {
            KnownName::Named(name) => Some(name),
            KnownName::Unnamed | KnownName::NotYet => {
                kept().or_else(|| unrepeated_name(&views, session)).or_else(unindexed)
            }
        }
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
    find(views, session, |_, index, entry| repeated_name(index, entry))
}

/// The name that the blocks of these shards' sealed segments give a session, where their indexes do not repeat it: as
/// far as a look at 4 MiB of those finds it that hold the session.
pub fn unrepeated_name(views: &[Arc<LogView>], session: SessionId) -> Option<Arc<str>> {
    let found = find(views, session, |view, index, entry| {
        may_have_others(index, entry).then(|| name_in_blocks(view, entry)).flatten()
    });
    if let KnownName::Named(name) = found { Some(name) } else { None }
}

/// The name that `name` finds for a session by its entry in an index, that of a later segment first.
fn find(
    views: &[Arc<LogView>],
    session: SessionId,
    name: impl Fn(&Arc<LogView>, &ArchivedSegmentIndex, &ArchivedIndexedSession) -> Option<String>,
) -> KnownName {
    let mut found = KnownName::Unnamed;
    let segments = views.iter().flat_map(|view| view.segments().into_iter().rev().map(move |segment| (view, segment)));
    let holds = |segment: &Segment| segment.footer().is_some() && segment.may_hold_any(&[session]);
    for (view, segment) in segments.filter(|(_, segment)| holds(segment)) {
        match segment.with_index(|index| name(view, index, index.session(session)?)) {
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

/// The name that the blocks of these shards give a session that no sealed segment holds, as far as a look at 4 MiB of
/// each shard's blocks finds it.
pub fn unsealed_name(views: &[Arc<LogView>], session: SessionId) -> Option<Arc<str>> {
    views.iter().find_map(|view| first_name(view, sealed_end(view)..view.appended(), session)).map(Into::into)
}

/// The sequence from which on no sealed segment holds a shard's events.
fn sealed_end(view: &LogView) -> Sequence {
    let segments = view.segments();
    let sealed = segments.iter().rev().find(|segment| segment.footer().is_some());
    sealed.map_or(view.trimmed(), |segment| segment.end_sequence().max(view.trimmed()))
}
