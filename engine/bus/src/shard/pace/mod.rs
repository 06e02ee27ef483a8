//! Spinning and napping: how a shard spends the time when nothing moves.
//!
//! While events stream in faster than turns go round, it gathers: every look at a lane takes cache lines away from its
//! producer, so a look that finds a handful of events costs both sides more than it moves. A few microseconds suffice
//! for a stream. In a flood the shard stays so far behind that what it reads has left the caches of the producer:
//! bursts that publish each event went from 28 to 50 M/s by that (two cores of a VM).
//!
//! When nothing moves, it spins for [`SPIN_NS`], so that a busy shard never sleeps, then naps in its own ring, first
//! briefly and then longer, up to [`NAP_MAX`], and up to [`DOZE_MAX`] once nothing has moved for [`DOZE_AFTER_NS`]:
//! what an idle shard costs is the kernel's price of a wake-up (10 to 50 us on a VM), whatever the shard does then. No
//! producer wakes it but one that finds its lane full: an event waits for one nap at most. A shard that is followed
//! live does not doze, and naps briefly, up to [`NAP_FOLLOWED`], while events come at all ([`IN_USE_NS`]): readers wait
//! for the nap and the write after it, which takes about as long.

use std::time::Duration;

use super::Turn;
use crate::core::config::IdleMode;

/// The time for which a shard looks again at once before it naps, in nanoseconds.
const SPIN_NS: u64 = 20_000;

/// Events in one turn that are a stream.
const STREAM_EVENTS: usize = 2;

/// The time for which a stream is gathered, in nanoseconds.
const GATHER_NS: u64 = 3_000;

/// Events a microsecond that are a flood.
const FLOOD_RATE: u64 = 10;

/// The time for which a flood is gathered, in nanoseconds: then what is read has left the caches of its producer.
const GATHER_FLOOD_NS: u64 = 100_000;

/// Events in one turn that are a backlog: the shard is far enough behind.
const BACKLOG_EVENTS: usize = 4_096;

/// The first nap.
const NAP_MIN: Duration = Duration::from_micros(50);

/// The longest nap between bursts.
const NAP_MAX: Duration = Duration::from_millis(1);

/// The longest nap of a shard that a reader follows, while events come.
const NAP_FOLLOWED: Duration = Duration::from_micros(100);

/// The time after an event for which more are expected, in nanoseconds.
const IN_USE_NS: u64 = 100_000_000;

/// A bus on which nothing has moved for this long is not used at present, in nanoseconds.
const DOZE_AFTER_NS: u64 = 1_000_000_000;

/// The longest nap there.
const DOZE_MAX: Duration = Duration::from_millis(8);

/// The longest nap of a shard that gets no events and has no followers.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The longest nap while a chore runs elsewhere.
const NAP_CHORE: Duration = Duration::from_micros(200);

/// The nap of a shard that polls, while writes are in flight: the kernel ends a write on the core that began it, and
/// needs that core for it. A completion ends the nap.
const NAP_WRITES: Duration = Duration::from_micros(50);

/// The next step of a shard's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Look again.
    Spin,
    /// Look again, as if after a nap.
    Poll,
    /// Look again in so many nanoseconds, or when a caller waits; do not give the core away.
    Gather(u64),
    /// Sleep for at most this long.
    Nap(Duration),
}

/// The reasons that keep a shard from sleeping long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// A chore runs elsewhere.
    pub(super) chore: bool,
    /// A reader follows the shard live.
    pub(super) followed: bool,
    /// No new events come.
    pub(super) retired: bool,
    /// Writes are in flight.
    pub(super) writes: bool,
}

/// Knows how long nothing has moved, and how fast events come.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    idle: IdleMode,
    idle_since: Option<u64>,
    nap: Duration,
    /// The last turn that drained something.
    drained_at: u64,
}

impl Pacer {
    pub(super) fn new(idle: IdleMode) -> Self {
        Self { idle, ..Self::default() }
    }

    /// After a turn at `now`.
    pub(super) fn after(&mut self, turn: Turn, now: u64, needs: Needs) -> Pace {
        if turn.moved {
            (self.idle_since, self.nap) = (None, Duration::ZERO);
            return self.after_drain(turn.drained, now);
        }
        let since = *self.idle_since.get_or_insert(now);
        if now.saturating_sub(since) < SPIN_NS {
            return Pace::Spin;
        }
        if self.idle == IdleMode::BusyPoll && !needs.retired {
            return if needs.writes { Pace::Nap(NAP_WRITES) } else { Pace::Poll };
        }
        let longest = match now.saturating_sub(since) {
            idle if needs.followed && idle < IN_USE_NS => NAP_FOLLOWED,
            _ if needs.chore => NAP_CHORE,
            idle if idle < DOZE_AFTER_NS => NAP_MAX,
            _ if needs.retired && !needs.followed => SLEEP_MAX,
            _ if needs.followed && !needs.retired => NAP_MAX,
            _ => DOZE_MAX,
        };
        self.nap = (self.nap * 2).clamp(NAP_MIN, longest);
        Pace::Nap(self.nap)
    }

    fn after_drain(&mut self, drained: usize, now: u64) -> Pace {
        if drained == 0 {
            return Pace::Spin;
        }
        let elapsed = now.saturating_sub(std::mem::replace(&mut self.drained_at, now));
        let is_flood = drained as u64 * 1_000 > elapsed.saturating_mul(FLOOD_RATE);
        match drained {
            ..STREAM_EVENTS | BACKLOG_EVENTS.. => Pace::Spin,
            _ if is_flood => Pace::Gather(GATHER_FLOOD_NS),
            _ => Pace::Gather(GATHER_NS),
        }
    }
}

#[cfg(test)]
mod tests;
