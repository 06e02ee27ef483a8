//! The names of sessions, as one reader knows them: each event that it hands out says how its session is called.
//!
//! A reader learns a name from the event that opens the session, if it passes that, and asks a [`NameLookup`] for those
//! that were opened before its start: once for each session. An id is made of its name, so a name is that of all events
//! of its session, whichever opening states it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use tapeline_storage::format::SessionId;

use super::SessionOpening;
pub use super::recent_names::RecentNames;

/// Most sessions that a reader knows at a time, and most bytes of their names. It asks again for those beyond.
const SESSIONS_MAX: usize = 4096;
const NAMES_BYTES_MAX: usize = 256 << 10;

/// The name of a session, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownName {
    /// It has this one.
    Named(Arc<str>),
    /// No event gives it a name.
    Unnamed,
    /// A part of the log that may name it cannot be asked yet.
    NotYet,
}

/// Knows names of sessions that were opened before a reader's start.
pub trait NameLookup: Debug + Send + Sync {
    /// The name of a session.
    fn name_of(&self, session: SessionId) -> KnownName;

    /// A reader has met an event that gives a session this name.
    fn learn(&self, session: SessionId, name: &Arc<str>) {
        let _ = (session, name);
    }
}

/// The names that one reader knows. A reader without a lookup names no session.
#[derive(Debug, Default)]
pub struct ReaderNames {
    lookup: Option<Arc<dyn NameLookup>>,
    known: Mutex<Known>,
}

/// `None`: the session has no name.
type Name = Option<Arc<str>>;

#[derive(Debug, Default)]
struct Known {
    /// The session of the last event: streams come in runs, and many readers have but one session.
    recent: Option<(SessionId, Name)>,
    others: HashMap<SessionId, Name>,
    bytes: usize,
}

/// The names of a reader while it looks at a block.
#[derive(Debug)]
pub struct NamesInUse<'n> {
    lookup: Option<&'n Arc<dyn NameLookup>>,
    /// `None` while another thread uses them: then each name is asked for.
    known: Option<MutexGuard<'n, Known>>,
    /// A session whose name cannot be asked for before the next block.
    not_yet: Option<SessionId>,
}

impl ReaderNames {
    /// Those of a reader that asks this one.
    pub fn new(lookup: Arc<dyn NameLookup>) -> Self {
        Self { lookup: Some(lookup), known: Mutex::default() }
    }

    /// The names, for as long as a look at a block takes. A lock, for which no thread waits.
    pub fn open(&self) -> NamesInUse<'_> {
        let known = match self.known.try_lock() {
            Ok(known) => Some(known),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        NamesInUse { lookup: self.lookup.as_ref(), known, not_yet: None }
    }
}

impl NamesInUse<'_> {
    /// Takes in what an event of kind session says.
    #[cold]
    pub fn meet(&mut self, session: SessionId, payload: &[u8]) {
        let Some(lookup) = self.lookup else { return };
        let Some(name) = SessionOpening::parse(payload).name else { return };
        let name = Arc::from(name);
        lookup.learn(session, &name);
        self.not_yet = self.not_yet.filter(|not_yet| *not_yet != session);
        if let Some(known) = &mut self.known {
            known.forget(session);
            known.put(session, Some(name));
        }
    }

    /// The name of a session. A comparison, where the last event was of it, too.
    #[inline]
    pub fn of(&mut self, session: SessionId) -> Option<Arc<str>> {
        match self.known.as_ref().and_then(|known| known.recent.as_ref()) {
            Some((recent, name)) if *recent == session => name.clone(),
            _ => self.find(session),
        }
    }

    fn find(&mut self, session: SessionId) -> Option<Arc<str>> {
        let lookup = self.lookup?;
        if session == SessionId::NONE || self.not_yet == Some(session) {
            return None;
        }
        let name = match self.known.as_ref().and_then(|known| known.others.get(&session)) {
            Some(name) => name.clone(),
            None => match lookup.name_of(session) {
                KnownName::Named(name) => Some(name),
                KnownName::Unnamed => None,
                KnownName::NotYet => {
                    self.not_yet = Some(session);
                    return None;
                }
            },
        };
        if let Some(known) = &mut self.known {
            known.put(session, name.clone());
        }
        name
    }
}

impl Known {
    /// Knows a session, as that of the last event.
    fn put(&mut self, session: SessionId, name: Name) {
        let Some((before, its_name)) = self.recent.replace((session, name)) else { return };
        if before == session || self.others.contains_key(&before) {
            return;
        }
        self.bytes += its_name.as_ref().map_or(0, |name| name.len());
        if self.others.len() >= SESSIONS_MAX || self.bytes > NAMES_BYTES_MAX {
            self.others.clear();
            self.bytes = its_name.as_ref().map_or(0, |name| name.len());
        }
        self.others.insert(before, its_name);
    }

    fn forget(&mut self, session: SessionId) {
        if let Some(Some(name)) = self.others.remove(&session) {
            self.bytes -= name.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Names the sessions with even ids, and counts questions.
    #[derive(Debug, Default)]
    struct Even {
        asked: AtomicUsize,
        is_ready: std::sync::atomic::AtomicBool,
    }

    impl NameLookup for Even {
        fn name_of(&self, session: SessionId) -> KnownName {
            self.asked.fetch_add(1, Ordering::Relaxed);
            match session.0 {
                _ if !self.is_ready.load(Ordering::Relaxed) => KnownName::NotYet,
                even if even % 2 == 0 => KnownName::Named(even.to_string().into()),
                _ => KnownName::Unnamed,
            }
        }
    }

    fn reader(is_ready: bool) -> (Arc<Even>, ReaderNames) {
        let even = Arc::new(Even::default());
        even.is_ready.store(is_ready, Ordering::Relaxed);
        (Arc::clone(&even), ReaderNames::new(even))
    }

    #[test]
    fn a_session_is_looked_up_once_by_a_reader_whether_it_has_a_name_or_not() {
        let (even, names) = reader(true);
        for _ in 0..3 {
            for session in [2, 2, 3, 4, 3, 2] {
                let expected = (session % 2 == 0).then(|| session.to_string());
                assert_eq!(names.open().of(SessionId(session)).as_deref(), expected.as_deref());
            }
        }
        assert_eq!(even.asked.load(Ordering::Relaxed), 3);
        assert_eq!(names.open().of(SessionId::NONE), None);
        assert_eq!(even.asked.load(Ordering::Relaxed), 3, "there is no session to ask about");
    }

    #[test]
    fn an_opening_that_is_met_names_its_session_from_then_on() {
        let (even, names) = reader(true);
        for session in [5, 7] {
            assert_eq!(names.open().of(SessionId(session)), None);
        }
        let opening = br#"{"type":"session.open","name":"five"}"#;
        names.open().meet(SessionId(5), opening);
        for session in [5, 7, 5] {
            let expected = (session == 5).then_some("five");
            assert_eq!(names.open().of(SessionId(session)).as_deref(), expected);
        }
        names.open().meet(SessionId(5), br#"{"type":"session.close"}"#);
        assert_eq!(names.open().of(SessionId(5)).as_deref(), Some("five"), "a close takes no name away");
        assert_eq!(even.asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_cannot_be_asked_yet_is_asked_again_with_the_next_block() {
        let (even, names) = reader(false);
        let mut block = names.open();
        for _ in 0..3 {
            assert_eq!(block.of(SessionId(2)), None);
        }
        drop(block);
        assert_eq!(even.asked.load(Ordering::Relaxed), 1);
        even.is_ready.store(true, Ordering::Relaxed);
        assert_eq!(names.open().of(SessionId(2)).as_deref(), Some("2"));
    }

    #[test]
    fn an_opening_that_is_met_ends_the_wait_for_a_name() {
        let (_, names) = reader(false);
        let mut block = names.open();
        assert_eq!(block.of(SessionId(2)), None);
        for (session, name) in [(2, "two"), (4, "four")] {
            block.meet(SessionId(session), format!(r#"{{"type":"session.open","name":"{name}"}}"#).as_bytes());
        }
        assert_eq!(block.of(SessionId(2)).as_deref(), Some("two"), "in the same block");
    }

    #[test]
    fn names_that_another_thread_uses_are_asked_for() {
        let (even, names) = reader(true);
        let first = names.open();
        assert_eq!(names.open().of(SessionId(2)).as_deref(), Some("2"));
        drop(first);
        assert_eq!(names.open().of(SessionId(2)).as_deref(), Some("2"));
        assert_eq!(even.asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn memory_for_names_is_bounded() {
        let (_, names) = reader(true);
        for session in 0..3 * SESSIONS_MAX as u128 {
            names.open().of(SessionId(session));
        }
        assert!(names.known.lock().expect("free").others.len() <= SESSIONS_MAX);
        let name = "n".repeat(NAMES_BYTES_MAX / 4);
        for session in 0..40 {
            let payload = format!(r#"{{"type":"session.open","name":"{session}{name}"}}"#);
            names.open().meet(SessionId(session), payload.as_bytes());
        }
        let known = names.known.lock().expect("free");
        let bytes = known.others.values().flatten().map(|name| name.len()).sum::<usize>();
        assert_eq!(bytes, known.bytes);
        assert!(bytes <= NAMES_BYTES_MAX, "{bytes}");
    }
}
