//! The names of sessions that were used last, in bounded memory.

use std::collections::HashMap;
use std::sync::Arc;

use tapeline_storage::format::SessionId;

/// Bytes of a name beside its text: twice a map's entry, and the counts of an `Arc`.
const ENTRY_BYTES: usize = 2 * size_of::<(SessionId, Arc<str>)>() + 16;

/// Longest name that is remembered, so that one of them does not take the place of thousands.
const NAME_BYTES_MAX: usize = 4096;

/// Names in two generations: what was used since the older one was dropped is kept.
#[derive(Debug)]
pub struct RecentNames {
    younger: HashMap<SessionId, Arc<str>>,
    older: HashMap<SessionId, Arc<str>>,
    /// Bytes of the younger.
    bytes: usize,
    /// Most bytes of one generation.
    bytes_max: usize,
}

impl RecentNames {
    /// No names yet; later of so many bytes at most.
    pub fn new(bytes_max: usize) -> Self {
        Self { younger: HashMap::new(), older: HashMap::new(), bytes: 0, bytes_max: bytes_max / 2 }
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

    /// Remembers a name, unless it is too long.
    pub fn put(&mut self, session: SessionId, name: Arc<str>) {
        if name.len() > NAME_BYTES_MAX {
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
        (self.older, self.bytes) = (std::mem::take(&mut self.younger), 0);
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
        assert!(young <= 1 << 20 && old <= 1 << 20, "{young} {old}");
        assert!(names.younger.len() + names.older.len() > 5_000);
    }

    #[test]
    fn a_name_beyond_the_bound_is_not_remembered() {
        let mut names = RecentNames::new(2 << 20);
        names.put(SessionId(7), "n".repeat(NAME_BYTES_MAX + 1).into());
        assert_eq!(names.get(SessionId(7)), None);
    }
}
