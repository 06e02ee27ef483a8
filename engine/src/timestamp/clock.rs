//! The clock that all timestamps of a process come from.
//!
//! Set to the wall once, then run with `CLOCK_MONOTONIC`. Where the kernel keeps time by the TSC, the clock reads the
//! TSC itself, calibrated at the start and steered once a second; elsewhere it asks the vDSO. The kernel has checked
//! what a program cannot: that the TSC is invariant, does not stop, and agrees between the cores.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::scale::{KeptScale, Scale, ScaleCell};

/// Two readings further apart than this are good for a rate.
const CALIBRATION: Duration = Duration::from_millis(5);

/// [`Clock::discipline`] does nothing sooner than this after the last time.
const DISCIPLINE_MIN_NS: u64 = 100_000_000;

/// Shortest time in which an error is steered away.
const HORIZON_MIN_NS: u64 = 1_000_000_000;

/// Tries to read counter and clock at one moment; the closest one counts.
const SIMULTANEOUS_TRIES: usize = 8;

/// What the clock counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counter {
    #[cfg(target_arch = "x86_64")]
    Tsc,
    Monotonic,
}

/// A clock that starts at the wall's time, never stops and never is set.
#[derive(Debug)]
pub struct Clock {
    counter: Counter,
    scale: ScaleCell,
    /// Zero of the raw counter where it is `CLOCK_MONOTONIC`, and of the steering.
    start: Instant,
    /// Nanoseconds since the Unix epoch at `start`.
    start_wall: u64,
    /// The last steering; locked by whoever steers.
    steering: Mutex<Moment>,
}

/// Counter and time at one moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    raw: u64,
    /// Nanoseconds since the Unix epoch, by `CLOCK_MONOTONIC`.
    nanos: u64,
}

impl Clock {
    /// The clock of the process. The first call makes it and takes some 5 ms.
    pub fn global() -> &'static Self {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        CLOCK.get_or_init(Self::new)
    }

    /// A clock on the best counter of the machine.
    fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if kernel_trusts_tsc()
            && let Some(clock) = Self::tsc()
        {
            return clock;
        }
        Self::monotonic()
    }

    /// A clock on `CLOCK_MONOTONIC`, through the vDSO.
    pub fn monotonic() -> Self {
        let (start, start_wall) = set_to_wall();
        let scale = ScaleCell::new(Scale { tick: 0, nanos: start_wall, rate: Scale::RATE_ONE });
        let steering = Mutex::new(Moment { raw: 0, nanos: start_wall });
        Self { counter: Counter::Monotonic, scale, start, start_wall, steering }
    }

    /// A clock on the TSC, or `None` if its rate cannot be found out. Spins for [`CALIBRATION`].
    #[cfg(target_arch = "x86_64")]
    fn tsc() -> Option<Self> {
        let mut clock = Self { counter: Counter::Tsc, ..Self::monotonic() };
        let first = clock.moment();
        while clock.start.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let last = clock.moment();
        let rate = Scale::rate_of(last.raw.wrapping_sub(first.raw), last.nanos - first.nanos)?;
        clock.scale = ScaleCell::new(Scale { tick: last.raw, nanos: last.nanos, rate });
        clock.steering = Mutex::new(last);
        Some(clock)
    }

    /// Nanoseconds since the Unix epoch. Does not go back on one thread but for 1 us.
    #[inline]
    pub fn now(&self) -> u64 {
        self.scale.read(|scale| scale.at(self.raw()))
    }

    /// The scale that is in force, for [`Clock::now_by`].
    pub(super) fn keep(&self) -> KeptScale {
        self.scale.keep()
    }

    /// As [`Clock::now`], by a scale that the caller keeps.
    #[inline(always)]
    pub(super) fn now_by(&self, kept: &mut KeptScale) -> u64 {
        if !self.scale.is_in_force(kept) {
            *kept = self.scale.keep();
        }
        kept.scale.at(self.raw())
    }

    /// Whether the clock reads the TSC, for statistics.
    pub fn is_tsc(&self) -> bool {
        self.counter != Counter::Monotonic
    }

    /// The counter.
    #[inline(always)]
    pub(super) fn raw(&self) -> u64 {
        match self.counter {
            #[cfg(target_arch = "x86_64")]
            Counter::Tsc => tsc(),
            Counter::Monotonic => self.start.elapsed().as_nanos() as u64,
        }
    }

    /// The time of a reading of the counter.
    #[inline]
    pub(super) fn nanos_at(&self, raw: u64) -> u64 {
        self.scale.read(|scale| scale.at(raw))
    }

    /// Nanoseconds between two readings of the counter.
    #[inline]
    pub(super) fn delta_ns(&self, start: u64, end: u64) -> u64 {
        self.scale.read(|scale| scale.span(end.saturating_sub(start)))
    }

    /// Steers the clock to `CLOCK_MONOTONIC`, without letting it go back. Shards call it about once a second, from any
    /// thread; calls that come too soon, or while another thread steers, do nothing. Some 2 us.
    pub fn discipline(&self) {
        if self.counter == Counter::Monotonic {
            return;
        }
        let Ok(mut steering) = self.steering.try_lock() else { return };
        let moment = self.moment();
        let nanos = moment.nanos - steering.nanos;
        if nanos < DISCIPLINE_MIN_NS {
            return;
        }
        let measured = Scale::rate_of(moment.raw.wrapping_sub(steering.raw), nanos);
        // The next call is expected after as long as this one. Sooner would steer too far, and further each time.
        let horizon = nanos.max(HORIZON_MIN_NS);
        let scale = self.scale.read(|scale| {
            // A counter that was set back (a restored virtual machine) tells no rate; the time is put right all the
            // same.
            scale.steered(moment.raw, moment.nanos, measured.unwrap_or(scale.rate), horizon)
        });
        self.scale.replace(scale);
        *steering = moment;
    }

    /// Counter and time at one moment, to some 20 ns: of several tries the one whose two readings of the counter are
    /// closest, so that an interrupt between them does not count.
    fn moment(&self) -> Moment {
        let once = || {
            let before = self.raw();
            let nanos = self.start_wall + self.start.elapsed().as_nanos() as u64;
            let width = self.raw().wrapping_sub(before);
            (width, Moment { raw: before.wrapping_add(width / 2), nanos })
        };
        let tries = (1..SIMULTANEOUS_TRIES).map(|_| once());
        tries.fold(once(), |best, next| if next.0 < best.0 { next } else { best }).1
    }
}

/// A moment of `CLOCK_MONOTONIC` and its nanoseconds since the Unix epoch; a wall before 1970 counts as 1970.
fn set_to_wall() -> (Instant, u64) {
    let once = || {
        let before = Instant::now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let width = before.elapsed();
        (width, before + width / 2, wall.as_nanos() as u64)
    };
    let tries = (1..SIMULTANEOUS_TRIES).map(|_| once());
    let (_, start, wall) = tries.fold(once(), |best, next| if next.0 < best.0 { next } else { best });
    (start, wall)
}

/// Whether the kernel itself keeps time by the TSC. Where it does not say, no.
#[cfg(target_arch = "x86_64")]
fn kernel_trusts_tsc() -> bool {
    const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(CURRENT).is_ok_and(|name| name.trim_end() == "tsc")
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code)]
fn tsc() -> u64 {
    // SAFETY: every x86_64 has the instruction. A process that is forbidden it (PR_SET_TSC) cannot use the vDSO's clock
    // either.
    unsafe { core::arch::x86_64::_rdtsc() }
}
