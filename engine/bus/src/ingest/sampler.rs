//! Keeping one event in so many, of each session.

use tapeline_storage::format::SessionId;

/// Slots of the table of sessions: 128 KiB.
const SLOTS: usize = 4_096;

/// Sessions that it counts at the same time.
const SESSIONS_MAX: usize = SLOTS / 2;

/// Counts the events of each session and keeps one in `rate`. Has a bounded number of sessions, and allocates only when
/// it is made: where there are more, all begin anew.
#[derive(Debug)]
pub(super) struct Sampler {
    rate: u32,
    slots: Box<[Slot]>,
    sessions: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    session: SessionId,
    /// Events until one is kept. [`Slot::FREE`]: a slot that no session has.
    left: u32,
}

impl Slot {
    const FREE: u32 = u32::MAX;
    const UNUSED: Self = Self { session: SessionId::NONE, left: Self::FREE };
}

impl Sampler {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate: rate.clamp(1, u32::MAX - 1), slots: vec![Slot::UNUSED; SLOTS].into(), sessions: 0 }
    }

    /// Returns whether the next event of the session is kept. Some nanoseconds, and a cache miss.
    pub(super) fn keeps(&mut self, session: SessionId) -> bool {
        let hash = xxhash_rust::xxh3::xxh3_64(&session.0.to_le_bytes());
        if self.sessions >= SESSIONS_MAX {
            self.slots.fill(Slot::UNUSED);
            self.sessions = 0;
        }
        let mut at = hash as usize % SLOTS;
        while self.slots[at].left != Slot::FREE && self.slots[at].session != session {
            at = (at + 1) % SLOTS;
        }
        let slot = &mut self.slots[at];
        if slot.left == Slot::FREE {
            // Sessions that begin at the same time do not keep the same events.
            *slot = Slot { session, left: (hash >> 32) as u32 % self.rate };
            self.sessions += 1;
        }
        let keeps = slot.left == 0;
        slot.left = if keeps { self.rate - 1 } else { slot.left - 1 };
        keeps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_so_many_of_each_session_is_kept_whatever_the_others_do() {
        for rate in [1, 2, 7, 100] {
            let mut sampler = Sampler::new(rate);
            let mut kept = [0; 3];
            for round in 0..rate * 50 {
                for (session, kept) in kept.iter_mut().enumerate() {
                    // The last one speaks ten times as often.
                    for _ in 0..if session == 2 { 10 } else { 1 } {
                        *kept += u32::from(sampler.keeps(SessionId(session as u128)));
                    }
                }
                let _ = round;
            }
            assert_eq!(kept, [50, 50, 500], "one in {rate}");
        }
    }

    #[test]
    fn more_sessions_than_it_counts_are_thinned_out_all_the_same() {
        let mut sampler = Sampler::new(10);
        let events = 200_000;
        let kept = (0..events).filter(|event| sampler.keeps(SessionId(*event))).count();
        assert!((events as usize / 12..events as usize / 8).contains(&kept), "{kept} of {events}");
    }
}
