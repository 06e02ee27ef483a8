//! The sessions that are closed: events of them are refused until they are opened again.
//!
//! A producer asks with each event, so that the answer "open" has to be cheap: [`ClosedSessions::may_be`] is a load of
//! a slot of a table, by a hash of the session. A slot that is 0 belongs to no closed session; one that holds a tag, to
//! the closed session of that tag; one that holds [`SEVERAL`], to several. Only where the tag is the asker's, or the
//! slot has several, the exact list is looked at, under a lock.
//!
//! A close stores the slot before it returns. An event whose call begins after that, by whatever message between the
//! two threads, finds the slot stored: loads and stores of one atomic are coherent.
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

/// Slots of the table: four for each closed session at least, so that few hold several.
const SLOTS: usize = 4 * CLOSED_MAX;
const SLOT_BITS: u32 = SLOTS.trailing_zeros();

/// A slot of several closed sessions.
const SEVERAL: u64 = u64::MAX;

/// Bytes of the table, and of the list when it is full: a map's slack included.
pub(crate) const CLOSED_BYTES: usize = SLOTS * 8 + CLOSED_MAX * (2 * 48 + 2 * 32);

/// The sessions of a bus that are closed.
#[derive(Debug, Default)]
pub(crate) struct ClosedSessions {
    /// Made for the first close.
    slots: OnceLock<Box<[AtomicU64]>>,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    /// Each with the number of its close.
    closed: HashMap<SessionId, u64>,
    /// By number of their close; a session that was opened again is in it still.
    order: VecDeque<(u64, SessionId)>,
    closes: u64,
    _memory: MemoryShare,
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
                found != 0 && (found == tag || found == SEVERAL)
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

    /// From when this returns on the session is closed, until it is opened. The table is prepared. Forgets the session
    /// that was closed longest ago where there are too many.
    pub(crate) fn close(&self, session: SessionId) {
        let Some(slots) = self.slots.get() else { return };
        let mut list = self.lock();
        list.closes += 1;
        let number = list.closes;
        if list.closed.insert(session, number).is_none() {
            let (slot, tag) = hash(session);
            let found = slots[slot].load(Ordering::Relaxed);
            slots[slot].store(if found == 0 { tag } else { SEVERAL }, Ordering::Relaxed);
        }
        list.order.push_back((number, session));
        while list.closed.len() > CLOSED_MAX {
            let Some((number, oldest)) = list.order.pop_front() else { return };
            if list.closed.get(&oldest) == Some(&number) {
                forget(&mut list, slots, oldest);
            }
        }
        if list.order.len() >= 2 * CLOSED_MAX {
            let List { closed, order, .. } = &mut *list;
            order.retain(|(number, session)| closed.get(session) == Some(number));
        }
    }

    /// From when this returns on the session is open.
    pub(crate) fn open(&self, session: SessionId) {
        let Some(slots) = self.slots.get() else { return };
        let mut list = self.lock();
        if list.closed.contains_key(&session) {
            forget(&mut list, slots, session);
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a session out of the list, and its slot back to what the others of it say.
fn forget(list: &mut List, slots: &[AtomicU64], session: SessionId) {
    list.closed.remove(&session);
    let (slot, _) = hash(session);
    let present = match slots[slot].load(Ordering::Relaxed) {
        // Rare: about one slot in forty, where the list is full.
        SEVERAL => {
            let mut others = list.closed.keys().map(|other| hash(*other)).filter(|(other, _)| *other == slot);
            match (others.next(), others.next()) {
                (None, _) => 0,
                (Some((_, tag)), None) => tag,
                _ => SEVERAL,
            }
        }
        _ => 0,
    };
    slots[slot].store(present, Ordering::Relaxed);
}

/// The slot of a session, and its tag: neither 0 nor [`SEVERAL`]. Ids are given by users, too: small numbers must
/// spread.
#[inline(always)]
fn hash(session: SessionId) -> (usize, u64) {
    let folded = (session.0 as u64) ^ ((session.0 >> 64) as u64).rotate_left(29);
    let mixed = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let slot = (mixed >> (64 - SLOT_BITS)) as usize;
    (slot, (mixed & !1).max(2))
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
                        sessions.close(id);
                        model.insert(id);
                    }
                    _ => {
                        sessions.open(id);
                        model.remove(&id);
                    }
                }
                for id in &ids {
                    assert_eq!(sessions.is_closed(*id), model.contains(id), "{seed}");
                    assert!(!model.contains(id) || sessions.may_be(*id), "{seed}");
                }
            }
            ids.iter().for_each(|id| sessions.open(*id));
            assert!(ids.iter().all(|id| !sessions.may_be(*id)), "{seed}: slots of no closed session are 0");
        }
    }

    #[test]
    fn memory_is_bounded_and_those_closed_longest_ago_are_forgotten() {
        let sessions = prepared();
        let closes = 3 * CLOSED_MAX as u128;
        for id in 1..=closes {
            sessions.close(SessionId(id));
            // One that is closed again and again stays.
            sessions.close(SessionId(7));
        }
        let list = sessions.lock();
        assert!(list.closed.len() <= CLOSED_MAX && list.order.len() <= 2 * CLOSED_MAX);
        drop(list);
        assert!(sessions.is_closed(SessionId(7)) && sessions.is_closed(SessionId(closes)));
        assert!(!sessions.is_closed(SessionId(8)));
        let kept = (1..=closes).filter(|id| sessions.is_closed(SessionId(*id))).count();
        assert_eq!(kept, CLOSED_MAX);
        let open = (closes + 1..closes + 10_001).filter(|id| sessions.may_be(SessionId(*id))).count();
        assert!(open < 1_000, "{open} of 10,000 open sessions have to ask the list");
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
}
