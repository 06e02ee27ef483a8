//! The names of sessions that were opened before the positions at which a reader of files begins.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tapeline_storage::format::{ArchivedSegmentIndex, Sequence, SessionId};
use tapeline_storage::log::LogView;

use super::opening::{each_kept, openings_at};
use crate::session::SessionOpening;
use crate::session::naming::{KnownName, NameLookup};

/// Finds them when a reader first meets a session whose opening it has not passed, all at once.
#[derive(Debug)]
pub(crate) struct NamedBefore {
    positions: Vec<(Arc<LogView>, Sequence)>,
    path: PathBuf,
    names: OnceLock<HashMap<SessionId, Arc<str>>>,
}

impl NamedBefore {
    /// Those before these positions in the log at `path`.
    pub(crate) fn new(path: &Path, positions: Vec<(Arc<LogView>, Sequence)>) -> Arc<Self> {
        Arc::new(Self { positions, path: path.to_owned(), names: OnceLock::new() })
    }

    fn find(&self) -> HashMap<SessionId, Arc<str>> {
        let openings = openings_at(&self.positions, None, |each| each_kept(&self.path, each));
        let named = |(session, opening): (SessionId, SessionOpening)| Some((session, opening.name?.into()));
        openings.into_iter().filter_map(named).collect()
    }
}

impl NameLookup for NamedBefore {
    fn name_of(&self, session: SessionId) -> KnownName {
        let name = self.names.get_or_init(|| self.find()).get(&session);
        name.map_or(KnownName::Unnamed, |name| KnownName::Named(Arc::clone(name)))
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
