//! The followers that wait for the events of some sessions.
//!
//! 1. One of them is rung when the watermark that it waits for passes a record of its sessions, or a note, which
//!    concerns the readers of all. The shard finds the sessions in the blocks that it has just written.
//! 2. Where that costs more than to ring all of them, or the blocks are not known, all are rung: to be rung for nothing
//!    does no harm.
//! 3. All are rung up to the beginning of a new route: a reader hands out what other shards wrote by it only once it
//!    has passed that.
//! 4. Each is rung now and then, whatever its sessions get (see `round`).
//!
//! Where there is such a follower, a record costs a look in a table once the shard has written it; else nothing.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use tapeline_storage::device::BlockMemory;
use tapeline_storage::format::{Sequence, SessionId};
use tapeline_storage::log::LogView;
use tapeline_storage::read::Visibility;

use super::new_blocks::NewBlocks;
use super::round::Round;
use super::{Watermarks, wants_durable};
use crate::feed::{Follower, Surveys};

/// Records whose sessions are looked up rather than wake a follower in vain: an estimate of what either costs.
const RECORDS_PER_FOLLOWER: u64 = 16;

/// Followers of sessions.
#[derive(Debug, Default)]
pub(super) struct SessionFollowers {
    surveys: Surveys,
    present: Vec<Follower>,
    /// Their places in `present`.
    places: HashMap<SessionId, Vec<usize>>,
    /// Those that want to see what is durable.
    durable: usize,
    blocks: NewBlocks,
    /// The sequence at which the last route began.
    boundary: Sequence,
    round: Round,
    /// The next one to look at.
    next: usize,
    /// The places of those that a stretch concerns; its memory serves from ring to ring.
    concerned: Vec<usize>,
}

impl SessionFollowers {
    pub(super) fn new(surveys: Surveys) -> Self {
        Self { surveys, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    pub(super) fn want_durability(&self) -> bool {
        self.durable > 0
    }

    pub(super) fn admit(&mut self, follower: Follower) {
        follower.begin();
        self.durable += usize::from(wants_durable(&follower));
        self.list(&follower, self.present.len());
        self.present.push(follower);
    }

    fn list(&mut self, follower: &Follower, place: usize) {
        for session in follower.sessions().unwrap_or_default() {
            self.places.entry(*session).or_default().push(place);
        }
    }

    fn unlist(&mut self, follower: &Follower, place: usize) {
        for session in follower.sessions().unwrap_or_default() {
            let Some(places) = self.places.get_mut(session) else { continue };
            places.retain(|listed| *listed != place);
            if places.is_empty() {
                self.places.remove(session);
            }
        }
    }

    /// Looks at so many of them, for whether they are gone.
    pub(super) fn forget_some(&mut self, looks: usize) {
        for _ in 0..looks.min(self.present.len()) {
            self.next = if self.next < self.present.len() { self.next } else { 0 };
            if self.present[self.next].is_gone() {
                self.forget(self.next);
            } else {
                self.next += 1;
            }
        }
        if self.present.is_empty() {
            self.blocks.clear();
        }
    }

    fn forget(&mut self, place: usize) {
        let gone = self.present.swap_remove(place);
        self.durable -= usize::from(wants_durable(&gone));
        self.unlist(&gone, place);
        // The last one has taken its place.
        let last = self.present.len();
        let moved = self.present.get(place).and_then(Follower::sessions).unwrap_or_default();
        for session in moved {
            let places = self.places.get_mut(session).into_iter().flatten();
            places.filter(|listed| **listed == last).for_each(|listed| *listed = place);
        }
    }

    /// A block was begun.
    pub(super) fn announce(&mut self, view: &LogView, block: &Arc<BlockMemory>) {
        if !self.present.is_empty() {
            self.blocks.keep(view, block);
        }
    }

    /// See rule 3.
    pub(super) fn begin_route(&mut self, boundary: Sequence) {
        self.boundary = boundary;
    }

    /// Wakes those whose sessions have got something between the watermarks; all of them where none are known from
    /// before. Comes after a `SeqCst` fence. Returns how many were woken.
    pub(super) fn ring(&mut self, before: Option<Watermarks>, now: Watermarks) -> u64 {
        if self.present.is_empty() {
            return 0;
        }
        let mut woken = 0;
        for visibility in [Visibility::Appended, Visibility::Durable] {
            let known = before.filter(|before| before.durable >= self.boundary);
            woken += match known {
                Some(before) => self.ring_for(visibility, before.of(visibility)..now.of(visibility)),
                None => self.ring_all(visibility, now.of(visibility)),
            };
        }
        self.blocks.forget_below(if self.durable > 0 { now.durable } else { now.appended });
        let records = before.map_or(0, |before| now.appended.since(before.appended));
        self.round.extend(self.present.len(), records);
        woken
    }

    /// Surveys these sequences, and wakes those of this visibility whose sessions it sees.
    fn ring_for(&mut self, visibility: Visibility, stretch: Range<Sequence>) -> u64 {
        let durable = self.durable;
        let waiting = if visibility == Visibility::Durable { durable } else { self.present.len() - durable };
        if waiting == 0 || stretch.is_empty() {
            return 0;
        }
        let is_worth_it = stretch.end.since(stretch.start) <= RECORDS_PER_FOLLOWER * waiting as u64;
        if !is_worth_it || !self.survey(visibility, &stretch) {
            return self.ring_all(visibility, stretch.end);
        }
        self.surveys.of(visibility).extend(&stretch);
        // SYNC: pairs with the fence in Bell::arm: a follower that is woken passes over what was surveyed.
        fence(Ordering::SeqCst);
        let woken = self.concerned.iter().filter(|place| self.present[**place].ring()).count();
        woken as u64
    }

    /// Looks for the followers of this visibility that the stretch concerns, and notes for each what it sees. Returns
    /// whether it has seen all of it, and no note to all.
    fn survey(&mut self, visibility: Visibility, stretch: &Range<Sequence>) -> bool {
        self.concerned.clear();
        let Self { places, present, concerned, .. } = self;
        let mut last = None;
        self.blocks.visit(stretch, |sequence, record| {
            if last.replace(record.session()) != Some(record.session()) {
                let places = places.get(&record.session()).into_iter().flatten().copied();
                let waiting = places.filter(|place| present[*place].visibility() == Some(visibility));
                concerned.extend(waiting.filter(|place| present[*place].note(sequence, stretch)));
            }
            !record.kind().is_note()
        })
    }

    /// Wakes all of this visibility, who do not know what lies before `end`.
    fn ring_all(&self, visibility: Visibility, end: Sequence) -> u64 {
        self.surveys.of(visibility).begin_at(end);
        // SYNC: as above.
        fence(Ordering::SeqCst);
        let waiting = self.present.iter().filter(|follower| follower.visibility() == Some(visibility));
        waiting.filter(|follower| follower.ring()).count() as u64
    }

    /// Wakes the few that are due, whatever has come.
    pub(super) fn go_round(&mut self, now: u64) {
        if self.present.is_empty() {
            return;
        }
        let mut due = self.round.due(self.present.len(), now).peekable();
        if due.peek().is_none() {
            return;
        }
        // SYNC: pairs with the fence in Bell::arm.
        fence(Ordering::SeqCst);
        for place in due {
            self.present[place].ring();
        }
    }
}
