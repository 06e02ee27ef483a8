//! The names of sessions that a bus knows, for all of its readers.
//!
//! Those of sessions that this process opens by name, and of openings that its readers meet, are remembered in two
//! generations: what was used since the older one was dropped is kept. The others stand in the indexes of sealed
//! segments and in the log's file of names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tapeline_reader::fork;
use tapeline_reader::named_before::indexed_name;
use tapeline_reader::naming::{KnownName, NameLookup};
use tapeline_reader::trim::NameStore;
use tapeline_storage::format::SessionId;
use tapeline_storage::log::LogView;

use crate::core::lock::lock;

/// Most bytes of one generation.
const GENERATION_BYTES: usize = 1 << 20;

/// Bytes of a name beside its text: twice a map's entry, and the counts of an `Arc`.
const ENTRY_BYTES: usize = 2 * size_of::<(SessionId, Arc<str>)>() + 16;

/// Longest name that is remembered, so that one of them does not take the place of thousands.
const NAME_BYTES_MAX: usize = 4096;

/// The names that a bus knows.
#[derive(Debug)]
pub(crate) struct SessionNames {
    recent: Mutex<Recent>,
    store: NameStore,
    /// The names in the log's file, once they were asked for.
    kept: Mutex<Option<HashMap<SessionId, Arc<str>>>>,
}

#[derive(Debug, Default)]
struct Recent {
    names: HashMap<SessionId, Arc<str>>,
    older: HashMap<SessionId, Arc<str>>,
    /// Bytes of `names`.
    bytes: usize,
}

impl SessionNames {
    pub(super) fn new(store: NameStore) -> Self {
        Self { recent: Mutex::default(), store, kept: Mutex::default() }
    }

    /// The log's file of names.
    pub(crate) fn store(&self) -> &NameStore {
        &self.store
    }

    /// The log's file of names was written.
    pub(crate) fn forget_kept(&self) {
        *lock(&self.kept) = None;
    }

    /// A session was opened by this name.
    pub(crate) fn learn(&self, session: SessionId, name: &str) {
        if name.len() <= NAME_BYTES_MAX {
            lock(&self.recent).put(session, name.into());
        }
    }

    fn kept(&self, session: SessionId) -> Option<Arc<str>> {
        let mut kept = lock(&self.kept);
        let kept = kept.get_or_insert_with(|| {
            let mut names = HashMap::new();
            self.store.each(|session, opening| {
                opening.name.into_iter().for_each(|name| drop(names.insert(session, name.into())));
            });
            names
        });
        kept.get(&session).cloned()
    }
}

impl Recent {
    fn get(&mut self, session: SessionId) -> Option<Arc<str>> {
        if let Some(name) = self.names.get(&session) {
            return Some(Arc::clone(name));
        }
        let name = self.older.remove(&session)?;
        self.put(session, Arc::clone(&name));
        Some(name)
    }

    fn put(&mut self, session: SessionId, name: Arc<str>) {
        self.older.remove(&session);
        let bytes = ENTRY_BYTES + name.len();
        if self.bytes + bytes > GENERATION_BYTES {
            (self.older, self.bytes) = (std::mem::take(&mut self.names), 0);
        }
        self.bytes += bytes;
        if let Some(before) = self.names.insert(session, name) {
            self.bytes -= ENTRY_BYTES + before.len();
        }
    }
}

/// The names that a reader of these shards asks for.
#[derive(Debug)]
pub(super) struct NamesOfShards {
    names: Arc<SessionNames>,
    views: Vec<Arc<LogView>>,
    /// Of the process that asks: in a forked child a thread of the parent may hold a lock for ever.
    fork_generation: u32,
}

impl NamesOfShards {
    pub(super) fn new(names: &Arc<SessionNames>, views: Vec<Arc<LogView>>) -> Self {
        Self { names: Arc::clone(names), views, fork_generation: fork::generation() }
    }

    fn is_forked(&self) -> bool {
        fork::generation() != self.fork_generation
    }
}

impl NameLookup for NamesOfShards {
    fn name_of(&self, session: SessionId) -> KnownName {
        if self.is_forked() {
            return KnownName::Unnamed;
        }
        if let Some(name) = lock(&self.names.recent).get(session) {
            return KnownName::Named(name);
        }
        let name = match indexed_name(&self.views, session) {
            KnownName::Named(name) => KnownName::Named(name),
            unknown => self.names.kept(session).map_or(unknown, KnownName::Named),
        };
        if let KnownName::Named(name) = &name {
            self.names.learn(session, name);
        }
        name
    }

    fn learn(&self, session: SessionId, name: &Arc<str>) {
        if !self.is_forked() {
            self.names.learn(session, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_names_in_use_stay() {
        let names = SessionNames::new(NameStore::new(None));
        names.learn(SessionId(7), "seven");
        for session in 100..100_000 {
            names.learn(SessionId(session), &session.to_string());
            assert_eq!(lock(&names.recent).get(SessionId(7)).as_deref(), Some("seven"), "{session}");
        }
        let recent = lock(&names.recent);
        let bytes = |names: &HashMap<SessionId, Arc<str>>| names.values().map(|name| ENTRY_BYTES + name.len()).sum();
        let (young, old): (usize, usize) = (bytes(&recent.names), bytes(&recent.older));
        assert_eq!(young, recent.bytes);
        assert!(young <= GENERATION_BYTES && old <= GENERATION_BYTES, "{young} {old}");
        assert!(recent.names.len() + recent.older.len() > 5_000);
    }

    #[test]
    fn a_name_beyond_the_bound_is_not_remembered() {
        let names = SessionNames::new(NameStore::new(None));
        names.learn(SessionId(7), &"n".repeat(NAME_BYTES_MAX + 1));
        assert_eq!(lock(&names.recent).get(SessionId(7)), None);
    }
}
