//! Chores that wait for their turn.

use std::collections::VecDeque;
use std::io;

use super::Chore;
use super::outage::Outage;

/// Chores in order, of which one runs at a time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Chore>,
    pub(super) runs: bool,
    pub(super) rest: Option<Rest>,
}

/// A pause after an error that passes: the chore that met it comes again before all others, because a name or a footer
/// relies on what came before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    pub(super) outage: Outage,
    pub(super) until: u64,
    pub(super) is_full: bool,
    /// The operation that met the error.
    pub(super) operation: &'static str,
}

impl Queue {
    /// Returns whether none of its chores runs, and none rests.
    pub(super) fn is_ready(&self, now: u64) -> bool {
        !self.runs && self.rest.is_none_or(|rest| now >= rest.until)
    }

    /// The next chore, if its time has come.
    pub(super) fn take(&mut self, now: u64) -> Option<Chore> {
        if !self.is_ready(now) {
            return None;
        }
        let chore = self.waiting.pop_front()?;
        self.runs = true;
        Some(chore)
    }

    /// Returns whether there is nothing to do, and nothing is being done.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.runs
    }

    /// The chore that ran is back: `again` if it met an error that passes, which is tried once `pause` nanoseconds have
    /// gone.
    pub(super) fn take_back(&mut self, again: Option<(Chore, &io::Error)>, now: u64, pause: u64) {
        self.runs = false;
        let before = self.rest.take().map(|rest| rest.outage);
        if let Some((chore, error)) = again {
            let is_full = error.kind() == io::ErrorKind::StorageFull;
            let operation = chore.label().kind.name();
            let outage = Outage::add(before, now);
            self.rest = Some(Rest { outage, until: now.saturating_add(pause), is_full, operation });
            self.waiting.push_front(chore);
        }
    }
}
