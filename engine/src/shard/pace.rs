//! Spinning and napping: how a shard spends the time when nothing moves.
//!
//! While events stream in faster than turns go round, it gathers: every look at a lane takes cache lines away from its
//! producer, so a look that finds a handful of events costs both sides more than it moves. Gathering for some two
//! microseconds doubles what a producer gets through that publishes each event (15 to 31 M/s on two cores of a VM).
//! When nothing moves, it spins for [`SPIN_NS`], so that a busy shard never sleeps, then naps in its own ring, first
//! briefly and then longer, up to [`NAP_MAX`], and up to [`DOZE_MAX`] once nothing has moved for [`DOZE_AFTER_NS`]:
//! what an idle shard costs is the kernel's price of a wake-up (10 to 50 us on a VM), whatever the shard does then. No
//! producer wakes it but one that finds its lane full: an event waits for one nap at most.

use std::time::Duration;

use super::Turn;

/// How long a shard looks again at once before it naps, in nanoseconds.
const SPIN_NS: u64 = 20_000;

/// Events in one turn that are a stream, and few enough to wait for more.
const STREAM_EVENTS: std::ops::Range<usize> = 2..256;

/// Pauses of the processor while gathering.
const GATHER_PAUSES: u32 = 100;

/// Waits a moment, without giving the core away.
pub(super) fn gather() {
    for _ in 0..GATHER_PAUSES {
        std::hint::spin_loop();
    }
}

/// The first nap.
const NAP_MIN: Duration = Duration::from_micros(50);

/// The longest nap between bursts.
const NAP_MAX: Duration = Duration::from_millis(1);

/// How long nothing moves on a bus that nobody uses at present, in nanoseconds.
const DOZE_AFTER_NS: u64 = 1_000_000_000;

/// The longest nap there.
const DOZE_MAX: Duration = Duration::from_millis(8);

/// The longest nap while a chore runs elsewhere.
const NAP_CHORE: Duration = Duration::from_micros(200);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Look again.
    Spin,
    /// Look again in a moment.
    Gather,
    /// Sleep for at most this long.
    Nap(Duration),
}

/// How long nothing has moved.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    idle_since: Option<u64>,
    nap: Duration,
}

impl Pacer {
    /// After a turn at `now`.
    pub(super) fn after(&mut self, turn: Turn, now: u64, has_chore: bool) -> Pace {
        if turn.moved {
            *self = Self::default();
            return if STREAM_EVENTS.contains(&turn.drained) { Pace::Gather } else { Pace::Spin };
        }
        let since = *self.idle_since.get_or_insert(now);
        if now.saturating_sub(since) < SPIN_NS {
            return Pace::Spin;
        }
        let longest = match now.saturating_sub(since) {
            _ if has_chore => NAP_CHORE,
            idle if idle < DOZE_AFTER_NS => NAP_MAX,
            _ => DOZE_MAX,
        };
        self.nap = (self.nap * 2).clamp(NAP_MIN, longest);
        Pace::Nap(self.nap)
    }
}

#[cfg(test)]
mod tests;
