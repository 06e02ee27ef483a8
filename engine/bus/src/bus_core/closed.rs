//! The sessions that are closed: events of them are refused until they are opened again.
//!
//! A producer asks with each event, so that the answer "open" has to be cheap: [`ClosedSessions::may_be`] is a load of
//! a slot of a table, by a hash of the session. A slot has room for the tags of four closed sessions; one that is
//! [`FULL`] has more. Only where one of the tags is the asker's, or the slot is full, the exact list is looked at,
//! under a lock.
//!
//! A close stores the slot before it returns. An event whose call begins after that, by whatever message between the
//! two threads, finds the slot stored: loads and stores of one atomic are coherent.
//!
//! An open and a close of one session may run at the same time. The one whose event is later in the log counts, and the
//! times of the two events say which that is: both are taken down until neither runs ([`Change`]), also before there
//! is a table: the first close may run beside an open.
//!
//! The list holds the [`CLOSED_MAX`] sessions that were closed last. Table and list are made for the first close, count
//! in the bus's memory budget, and never grow.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tapeline_storage::format::SessionId;

use crate::core::budget::{MemoryBudget, MemoryShare};

/// Most closed sessions that are remembered.
const CLOSED_MAX: usize = 16_384;

/// Slots of the table: four for each closed session, so that one in 150,000 is full.
const SLOTS: usize = 4 * CLOSED_MAX;
const SLOT_BITS: u32 = SLOTS.trailing_zeros();

const TAG_BITS: u32 = 16;
const TAGS: u32 = u64::BITS / TAG_BITS;
/// A tag's lowest bit, in each of a slot's tags.
const LOW: u64 = u64::MAX / 0xffff;
/// A tag's highest bit, in each of a slot's tags.
const HIGH: u64 = LOW << (TAG_BITS - 1);

/// A slot of more closed sessions than it has room for.
const FULL: u64 = u64::MAX;

/// Bytes of the table, and of the list when it is full: a map's slack included.
pub(crate) const CLOSED_BYTES: usize = SLOTS * 8 + CLOSED_MAX * (2 * 48 + 2 * 32);

/// The sessions of a bus that are closed. On a line of its own: producers look at it with each event.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ClosedSessions {
    /// Made for the first close.
    slots: OnceLock<Box<[AtomicU64]>>,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    closed: HashMap<SessionId, Close>,
    /// By number of their close; a session that was opened again is in it still.
    order: VecDeque<(u64, SessionId)>,
    closes: u64,
    /// Sessions that are being opened or closed.
    changes: HashMap<SessionId, Change>,
    _memory: MemoryShare,
}

#[derive(Debug, Clone, Copy)]
struct Close {
    number: u64,
    /// Time of its event.
    time: u64,
}

/// The calls that open or close one session at present.
#[derive(Debug, Default)]
struct Change {
    calls: u32,
    /// Time of the latest event of those that have returned.
    last: Option<u64>,
}

impl ClosedSessions {
    /// Returns whether a session may be closed: [`ClosedSessions::is_closed`] knows. At most two loads of lines that
    /// change only when sessions are closed and opened again.
    #[inline(always)]
    pub(crate) fn may_be(&self, session: SessionId) -> bool {
        match self.slots.get() {
            None => false,
            Some(slots) => {
                let (slot, tag) = hash(session);
                // SYNC: coherence alone; see the module.
                let found = slots[slot].load(Ordering::Relaxed);
                found != 0 && (found == FULL || has_tag(found, tag))
            }
        }
    }

    /// Returns whether a session is closed. A lock.
    #[cold]
    pub(crate) fn is_closed(&self, session: SessionId) -> bool {
        self.lock().closed.contains_key(&session)
    }

    /// Makes the table and counts its memory, unless that is done.
    ///
    /// # Errors
    /// The bytes that are left in the budget, where they are fewer than [`CLOSED_BYTES`].
    pub(crate) fn prepare(&self, budget: &Arc<MemoryBudget>) -> Result<(), usize> {
        let mut list = self.lock();
        if self.slots.get().is_none() {
            list._memory = budget.take(CLOSED_BYTES)?;
            self.slots.get_or_init(|| (0..SLOTS).map(|_| AtomicU64::new(0)).collect());
        }
        Ok(())
    }

    /// Closes a session with `put`, which writes the event of that and gives its time. The table is prepared. From when
    /// this returns on the session is closed, until it is opened. Forgets the session that was closed longest ago where
    /// there are too many.
    ///
    /// # Errors
    /// Those of `put`; the session is as it was.
    pub(crate) fn close<T, E>(&self, session: SessionId, put: impl FnOnce() -> Result<(T, u64), E>) -> Result<T, E> {
        self.lock().begin(session);
        let outcome = put();
        let mut list = self.lock();
        let outcome = outcome.map(|(value, time)| {
            if list.is_latest(session, time)
                && let Some(slots) = self.slots.get()
            {
                list.close(slots, session, time);
            }
            value
        });
        list.end(session);
        outcome
    }

    /// Opens a session with `put`, which writes the event of that and gives its time. The session is open for every
    /// thread that sees the event.
    ///
    /// # Errors
    /// Those of `put`; the session is as it was.
    pub(crate) fn open<T, E>(&self, session: SessionId, put: impl FnOnce() -> Result<(T, u64), E>) -> Result<T, E> {
        let mut list = self.lock();
        list.begin(session);
        let before = self.slots.get().and_then(|slots| list.open(slots, session));
        drop(list);
        let outcome = put();
        let mut list = self.lock();
        let outcome = match outcome {
            Ok((value, time)) => {
                if list.is_latest(session, time)
                    && let Some(slots) = self.slots.get()
                {
                    list.open(slots, session);
                }
                Ok(value)
            }
            Err(error) => {
                if let Some(close) = before
                    && list.is_latest(session, close.time)
                    && let Some(slots) = self.slots.get()
                {
                    list.close(slots, session, close.time);
                }
                Err(error)
            }
        };
        list.end(session);
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn begin(&mut self, session: SessionId) {
        self.changes.entry(session).or_default().calls += 1;
    }

    fn end(&mut self, session: SessionId) {
        if let Some(change) = self.changes.get_mut(&session) {
            change.calls -= 1;
            if change.calls == 0 {
                self.changes.remove(&session);
            }
        }
    }

    /// Takes down the event of a change, and returns whether none that has returned is later.
    fn is_latest(&mut self, session: SessionId, time: u64) -> bool {
        let change = self.changes.entry(session).or_default();
        let is_latest = change.last.is_none_or(|last| last <= time);
        if is_latest {
            change.last = Some(time);
        }
        is_latest
    }

    fn close(&mut self, slots: &[AtomicU64], session: SessionId, time: u64) {
        self.closes += 1;
        let number = self.closes;
        if self.closed.insert(session, Close { number, time }).is_none() {
            let (slot, tag) = hash(session);
            let found = slots[slot].load(Ordering::Relaxed);
            slots[slot].store(with_tag(found, tag), Ordering::Relaxed);
        }
        self.order.push_back((number, session));
        while self.closed.len() > CLOSED_MAX {
            let Some((number, oldest)) = self.order.pop_front() else { return };
            if self.closed.get(&oldest).is_some_and(|close| close.number == number) {
                self.open(slots, oldest);
            }
        }
        if self.order.len() >= 2 * CLOSED_MAX {
            let Self { closed, order, .. } = self;
            order.retain(|(number, session)| closed.get(session).is_some_and(|close| close.number == *number));
        }
    }

    /// Takes a session out, and its tag out of its slot. Returns its close.
    fn open(&mut self, slots: &[AtomicU64], session: SessionId) -> Option<Close> {
        let close = self.closed.remove(&session)?;
        let (slot, tag) = hash(session);
        let present = match slots[slot].load(Ordering::Relaxed) {
            FULL => {
                let others = self.closed.keys().map(|other| hash(*other)).filter(|(other, _)| *other == slot);
                others.fold(0, |found, (_, tag)| with_tag(found, tag))
            }
            found => without_tag(found, tag),
        };
        slots[slot].store(present, Ordering::Relaxed);
        Some(close)
    }
}

/// The tags of a slot, the first in the lowest bits. A tag is not 0, which is room for one.
fn tags(slot: u64) -> impl Iterator<Item = (u32, u64)> {
    (0..TAGS).map(move |at| (at * TAG_BITS, (slot >> (at * TAG_BITS)) & 0xffff))
}

/// Returns whether one of the tags of a slot is this one; perhaps also where one is alike.
#[inline(always)]
fn has_tag(slot: u64, tag: u64) -> bool {
    // A tag that is equal becomes 0, from which a borrow reaches its highest bit.
    let differences = slot ^ (tag * LOW);
    differences.wrapping_sub(LOW) & !differences & HIGH != 0
}

fn with_tag(slot: u64, tag: u64) -> u64 {
    match tags(slot).find(|(_, found)| *found == 0) {
        Some((at, _)) => slot | (tag << at),
        None => FULL,
    }
}

fn without_tag(slot: u64, tag: u64) -> u64 {
    match tags(slot).find(|(_, found)| *found == tag) {
        Some((at, _)) => slot & !(0xffff << at),
        None => slot,
    }
}

/// The slot of a session, and its tag: neither 0 nor all ones. Ids are given by users, too: small numbers must spread.
#[inline(always)]
fn hash(session: SessionId) -> (usize, u64) {
    let folded = (session.0 as u64) ^ ((session.0 >> 64) as u64).rotate_left(29);
    let mixed = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let slot = (mixed >> (64 - SLOT_BITS)) as usize;
    (slot, ((mixed >> (64 - SLOT_BITS - TAG_BITS)) & 0xfffe).max(2))
}

#[cfg(test)]
mod tests {
    use tapeline_testing::{Random, seeds};

    use super::*;

    fn prepared() -> ClosedSessions {
        let sessions = ClosedSessions::default();
        sessions.prepare(&MemoryBudget::new(CLOSED_BYTES)).expect("room");
        sessions
    }

    fn close(sessions: &ClosedSessions, id: SessionId) {
        let Ok(()) = sessions.close(id, || Ok::<_, std::convert::Infallible>(((), 1)));
    }

    fn open(sessions: &ClosedSessions, id: SessionId) {
        let Ok(()) = sessions.open(id, || Ok::<_, std::convert::Infallible>(((), 1)));
    }

    #[test]
    fn table_and_list_agree_with_a_model() {
        for seed in seeds(4) {
            let mut random = Random::new(seed);
            let (sessions, mut model) = (prepared(), std::collections::HashSet::new());
            // Several to a slot: ids whose hashes differ in low bits alone.
            let ids: Vec<_> = (0..64u128).map(|id| SessionId(id % 8 + ((id / 8) << 64) + 1)).collect();
            for _ in 0..5_000 {
                let id = random.pick(&ids);
                match random.below(2_u64) {
                    0 => {
                        close(&sessions, id);
                        model.insert(id);
                    }
                    _ => {
                        open(&sessions, id);
                        model.remove(&id);
                    }
                }
                for id in &ids {
                    assert_eq!(sessions.is_closed(*id), model.contains(id), "{seed}");
                    assert!(!model.contains(id) || sessions.may_be(*id), "{seed}");
                }
            }
            ids.iter().for_each(|id| open(&sessions, *id));
            assert!(ids.iter().all(|id| !sessions.may_be(*id)), "{seed}: slots of no closed session are 0");
        }
    }

    #[test]
    fn memory_is_bounded_and_those_closed_longest_ago_are_forgotten() {
        let sessions = prepared();
        let closes = 3 * CLOSED_MAX as u128;
        for id in 1..=closes {
            close(&sessions, SessionId(id));
            // One that is closed again and again stays.
            close(&sessions, SessionId(7));
        }
        let list = sessions.lock();
        assert!(list.closed.len() <= CLOSED_MAX && list.order.len() <= 2 * CLOSED_MAX);
        drop(list);
        assert!(sessions.is_closed(SessionId(7)) && sessions.is_closed(SessionId(closes)));
        assert!(!sessions.is_closed(SessionId(8)));
        let kept = (1..=closes).filter(|id| sessions.is_closed(SessionId(*id))).count();
        assert_eq!(kept, CLOSED_MAX);
        let open = (closes + 1..closes + 10_001).filter(|id| sessions.may_be(SessionId(*id))).count();
        assert!(open < 20, "{open} of 10,000 open sessions have to ask the list");
    }

    #[test]
    fn memory_is_of_the_budget() {
        let (sessions, budget) = (ClosedSessions::default(), MemoryBudget::new(CLOSED_BYTES));
        assert!(!sessions.may_be(SessionId(1)), "nothing is made before the first close");
        let taken = budget.take(1).expect("room");
        assert_eq!(sessions.prepare(&budget), Err(CLOSED_BYTES - 1));
        drop(taken);
        assert_eq!((sessions.prepare(&budget), sessions.prepare(&budget)), (Ok(()), Ok(())));
        assert_eq!(budget.left(), 0);
    }

    #[test]
    fn the_later_event_of_two_changes_counts_whichever_returns_first() {
        let id = SessionId(5);
        for (opened_at, closed_at) in [(10, 20), (20, 10)] {
            for open_returns_last in [false, true] {
                let sessions = prepared();
                let opening = || Ok::<_, ()>(((), opened_at));
                let closing = || Ok::<_, ()>(((), closed_at));
                let outcome = if open_returns_last {
                    sessions.open(id, || sessions.close(id, closing).and_then(|()| opening()))
                } else {
                    sessions.close(id, || sessions.open(id, opening).and_then(|()| closing()))
                };
                assert_eq!(outcome, Ok(()));
                assert_eq!(sessions.is_closed(id), closed_at > opened_at, "{opened_at} {closed_at}");
                assert!(sessions.lock().changes.is_empty());
            }
        }
    }

    #[test]
    fn first_close_counts_if_its_event_is_later_than_that_of_an_open() {
        let id = SessionId(5);
        for (opened_at, closed_at) in [(10, 20), (20, 10)] {
            let sessions = ClosedSessions::default();
            let outcome = sessions.open(id, || {
                sessions.prepare(&MemoryBudget::new(CLOSED_BYTES)).expect("room");
                sessions.close(id, || Ok::<_, ()>(((), closed_at)))?;
                Ok::<_, ()>(((), opened_at))
            });
            assert_eq!(outcome, Ok(()));
            assert_eq!(sessions.is_closed(id), closed_at > opened_at, "{opened_at} {closed_at}");
            assert!(sessions.lock().changes.is_empty());
        }
    }

    #[test]
    fn change_that_fails_leaves_a_session_as_it_was() {
        let (sessions, id) = (prepared(), SessionId(5));
        assert_eq!(sessions.close(id, || Err::<((), u64), _>("full")), Err("full"));
        assert!(!sessions.is_closed(id) && !sessions.may_be(id));
        close(&sessions, id);
        assert_eq!(sessions.open(id, || Err::<((), u64), _>("full")), Err("full"));
        assert!(sessions.is_closed(id) && sessions.may_be(id));
        let seen = sessions.open(id, || Ok::<_, ()>((sessions.may_be(id), 2)));
        assert_eq!(seen, Ok(false), "its readers may answer the event that opens it");
    }
}
