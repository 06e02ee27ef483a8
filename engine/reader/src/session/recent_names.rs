//! The names of sessions that were used last, in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tapeline_storage::format::SessionId;

use super::SESSION_NAME_BYTES_MAX;

/// Bytes of a name beside its text: twice a map's entry, and the counts of an `Arc`.
const ENTRY_BYTES: usize = 2 * size_of::<(SessionId, Arc<str>)>() + 16;

/// Names in two generations: what was used since the older one was dropped is kept. Of names that were dropped, it is
/// known that there were such, for those dropped last.
#[derive(Debug)]
pub struct RecentNames {
    younger: HashMap<SessionId, Arc<str>>,
    older: HashMap<SessionId, Arc<str>>,
    /// Bytes of the younger.
    bytes: usize,
    /// Most bytes of one generation.
    bytes_max: usize,
    /// The sessions of generations that were dropped, ascending: the lower halves of their ids, which are hashes.
    dropped: VecDeque<Box<[u64]>>,
    /// Most of them.
    dropped_max: usize,
}

impl RecentNames {
    /// No names yet; later of so many bytes at most, of which a quarter is for sessions whose names were dropped.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            younger: HashMap::new(),
            older: HashMap::new(),
            bytes: 0,
            bytes_max: bytes_max / 8 * 3,
            dropped: VecDeque::new(),
            dropped_max: bytes_max / 4 / size_of::<u64>(),
        }
    }

    /// Returns whether the session's name was known, and may have been dropped.
    pub fn may_have_dropped(&self, session: SessionId) -> bool {
        self.dropped.iter().any(|sessions| sessions.binary_search(&(session.0 as u64)).is_ok())
    }

    /// The name of a session, which is thereby used.
    pub fn get(&mut self, session: SessionId) -> Option<Arc<str>> {
        if let Some(name) = self.younger.get(&session) {
            return Some(Arc::clone(name));
        }
        let name = self.older.remove(&session)?;
        self.put(session, Arc::clone(&name));
        Some(name)
    }

    /// Remembers a name, unless it is longer than those that a bus opens sessions by.
    pub fn put(&mut self, session: SessionId, name: Arc<str>) {
        if name.len() > SESSION_NAME_BYTES_MAX {
            return;
        }
        self.older.remove(&session);
        let bytes = ENTRY_BYTES + name.len();
        if self.bytes + bytes > self.bytes_max {
            self.forget_older();
        }
        self.bytes += bytes;
        if let Some(before) = self.younger.insert(session, name) {
            self.bytes -= ENTRY_BYTES + before.len();
        }
    }

    /// Forgets the names that were not used for the longest time.
    fn forget_older(&mut self) {
        let dropped = std::mem::replace(&mut self.older, std::mem::take(&mut self.younger));
        self.bytes = 0;
        let mut sessions: Box<[u64]> = dropped.keys().map(|session| session.0 as u64).collect();
        sessions.sort_unstable();
        self.dropped.push_back(sessions);
        while self.dropped.iter().map(|sessions| sessions.len()).sum::<usize>() > self.dropped_max {
            self.dropped.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_names_in_use_stay() {
        let mut names = RecentNames::new(2 << 20);
        names.put(SessionId(7), "seven".into());
        for session in 100..100_000 {
            names.put(SessionId(session), session.to_string().into());
            assert_eq!(names.get(SessionId(7)).as_deref(), Some("seven"), "{session}");
        }
        let bytes = |names: &HashMap<SessionId, Arc<str>>| names.values().map(|name| ENTRY_BYTES + name.len()).sum();
        let (young, old): (usize, usize) = (bytes(&names.younger), bytes(&names.older));
        assert_eq!(young, names.bytes);
        assert!(young <= 768 << 10 && old <= 768 << 10, "{young} {old}");
        assert!(names.younger.len() + names.older.len() > 5_000);
        let dropped: usize = names.dropped.iter().map(|sessions| sessions.len()).sum();
        assert!((50_000..=65_536).contains(&dropped), "{dropped}");
        assert!(names.may_have_dropped(SessionId(80_000)) && !names.may_have_dropped(SessionId(100)), "the last stay");
    }

    #[test]
    fn of_names_that_were_dropped_it_is_known_that_there_were_such() {
        let mut names = RecentNames::new(2 << 20);
        for session in 0..20_000 {
            names.put(SessionId(session), session.to_string().into());
        }
        let is_remembered: Vec<bool> = (0..20_000)
            .map(|session| {
                names.older.contains_key(&SessionId(session)) || names.younger.contains_key(&SessionId(session))
            })
            .collect();
        assert!(is_remembered.contains(&false) && is_remembered.contains(&true));
        for (session, is_remembered) in (0..).zip(is_remembered) {
            assert_ne!(names.may_have_dropped(SessionId(session)), is_remembered, "{session}");
        }
        assert!(!names.may_have_dropped(SessionId(20_000)), "it was never known");
    }

    #[test]
    fn names_up_to_the_bound_are_remembered() {
        let mut names = RecentNames::new(2 << 20);
        for (session, bytes) in [(7, SESSION_NAME_BYTES_MAX), (8, SESSION_NAME_BYTES_MAX + 1)] {
            names.put(SessionId(session), "n".repeat(bytes).into());
            assert_eq!(names.get(SessionId(session)).is_some(), bytes == SESSION_NAME_BYTES_MAX);
        }
    }
}
