//! The names of sessions that a bus knows, for all of its readers.
//!
//! Those of sessions that this process opens by name, and of openings that its readers meet, are remembered while they
//! are used. The others stand in sealed segments, in the log's file of names, and in the blocks that are not sealed
//! yet. What is remembered is a part of the bus's budget.

use std::sync::{Arc, Mutex};

use tapeline_reader::SessionOpening;
use tapeline_reader::fork;
use tapeline_reader::named_before::{indexed_name, unrepeated_name, unsealed_name};
use tapeline_reader::naming::{KnownName, NameLookup, RecentNames};
use tapeline_reader::trim::NameStore;
use tapeline_storage::format::{SessionId, SessionNames as KeptNames};
use tapeline_storage::log::LogView;

use crate::core::budget::{MemoryBudget, MemoryShare};
use crate::core::lock::lock;

/// Most bytes of names that are remembered, and what is asked for where the budget has not so many.
const RECENT_BYTES: [usize; 3] = [2 << 20, 256 << 10, 32 << 10];

/// The names that a bus knows.
#[derive(Debug)]
pub(crate) struct SessionNames {
    recent: Mutex<Recent>,
    store: NameStore,
    /// The log's file, once it was asked and where there is memory for it.
    kept: Mutex<Option<(KeptNames, MemoryShare)>>,
    memory: Arc<MemoryBudget>,
}

/// Names that are remembered, and their memory. Without memory none are.
#[derive(Debug, Default)]
struct Recent(Option<(RecentNames, MemoryShare)>);

impl SessionNames {
    pub(super) fn new(store: NameStore, memory: &Arc<MemoryBudget>) -> Self {
        Self { recent: Mutex::default(), store, kept: Mutex::default(), memory: Arc::clone(memory) }
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
        self.remember(session, name.into());
    }

    fn remember(&self, session: SessionId, name: Arc<str>) {
        let mut recent = lock(&self.recent);
        if recent.0.is_none() {
            let take = |bytes| Some((RecentNames::new(bytes), self.memory.take_for_event(bytes).ok()?));
            recent.0 = RECENT_BYTES.into_iter().find_map(take);
        }
        if let Some((names, _)) = &mut recent.0 {
            names.put(session, name);
        }
    }

    fn recent(&self, session: SessionId) -> Option<Arc<str>> {
        lock(&self.recent).0.as_mut()?.0.get(session)
    }

    /// The name in the blocks that no sealed segment has, of a session whose name was remembered.
    fn unsealed(&self, views: &[Arc<LogView>], session: SessionId) -> Option<Arc<str>> {
        let was_known = lock(&self.recent).0.as_ref().is_some_and(|(names, _)| names.may_have_dropped(session));
        was_known.then(|| unsealed_name(views, session)).flatten()
    }

    /// The name in the log's file. Where there is no memory for that, each question reads it.
    fn kept(&self, session: SessionId) -> Option<Arc<str>> {
        let mut kept = lock(&self.kept);
        if let Some((names, _)) = &*kept {
            return name_in(names, session);
        }
        let names = self.store.read();
        let name = name_in(&names, session);
        *kept = self.memory.take_for_event(names.memory_bytes()).ok().map(|share| (names, share));
        name
    }
}

fn name_in(names: &KeptNames, session: SessionId) -> Option<Arc<str>> {
    SessionOpening::parse(names.get(session)?.as_bytes()).name.map(Into::into)
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
        if let Some(name) = self.names.recent(session) {
            return KnownName::Named(name);
        }
        let name = match indexed_name(&self.views, session) {
            KnownName::Named(name) => KnownName::Named(name),
            unknown => {
                let found = self.names.kept(session).or_else(|| self.names.unsealed(&self.views, session));
                found.or_else(|| unrepeated_name(&self.views, session)).map_or(unknown, KnownName::Named)
            }
        };
        if let KnownName::Named(name) = &name {
            self.names.remember(session, Arc::clone(name));
        }
        name
    }

    fn learn(&self, session: SessionId, name: &Arc<str>) {
        if !self.is_forked() {
            self.names.remember(session, Arc::clone(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tapeline_storage::format::{LogId, Meta};
    use tapeline_storage::log::LogDirectory;
    use tapeline_testing::Scratch;

    use super::*;

    const OPENING: &str = r#"{"type":"session.open","name":"seven"}"#;

    /// The log at this path, with a file of names.
    fn log_with_names(path: &Path) -> KeptNames {
        let meta = Meta { log_id: LogId([1; 16]), shards: 1, created: 1 };
        let mut directory = LogDirectory::create(path, meta).expect("a log");
        let mut kept = KeptNames::default();
        kept.extend((0..1000).map(|id| (SessionId(id), OPENING.to_owned())), |_, later| later.to_owned());
        directory.save_names(&kept).expect("saved");
        directory.complete().expect("complete");
        KeptNames::decode(&kept.encode()).expect("whole")
    }

    #[test]
    fn names_are_a_part_of_the_budget_and_found_without_it() {
        let scratch = Scratch::new("kept-names");
        let path = scratch.path().join("log");
        let kept_bytes = log_with_names(&path).memory_bytes();
        let [most, .., least] = RECENT_BYTES;
        for (budget, recent_bytes, kept_bytes) in [(64 << 20, most, kept_bytes), (40 << 10, least, 0), (1 << 10, 0, 0)]
        {
            let memory = MemoryBudget::new(budget);
            let names = SessionNames::new(NameStore::new(Some(&path)), &memory);
            names.learn(SessionId(2000), "other");
            assert_eq!((names.recent(SessionId(2000)).is_some(), memory.used()), (recent_bytes > 0, recent_bytes));
            for _ in 0..2 {
                assert_eq!(names.kept(SessionId(7)).as_deref(), Some("seven"));
                assert_eq!(names.kept(SessionId(1000)), None);
            }
            assert_eq!(memory.used(), recent_bytes + kept_bytes);
            names.forget_kept();
            assert_eq!(memory.used(), recent_bytes);
        }
    }
}
