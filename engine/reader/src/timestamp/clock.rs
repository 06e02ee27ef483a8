//! The clock that all timestamps of a process come from.
//!
//! Set to the wall once, then run with the machine's uptime, suspended time included. Where the kernel keeps time by
//! the TSC, the clock reads the TSC itself, calibrated at the start and steered once a second; elsewhere it asks the
//! vDSO. The kernel has checked what a program cannot: that the TSC is invariant, does not stop, and agrees between the
//! cores.
//!
//! A suspend, a hibernation or a migration may set the TSC to any value and change its rate. A rate that was measured
//! over such an event says nothing: it is refused, and measured anew. The clock then steps to the time where it is
//! behind. Where it is ahead, it goes on at the right rate, less 500 ppm: it never stands and never goes back.

use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};
use std::sync::{Mutex, OnceLock, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(any(test, feature = "seam"))]
use super::machine::Machine;
use super::scale::{KeptScale, Scale, ScaleCell};

/// Two readings further apart than this are good for a rate.
const CALIBRATION: Duration = Duration::from_millis(5);

/// [`Clock::discipline`] does nothing sooner than this after the last time.
const DISCIPLINE_MIN_NS: u64 = 100_000_000;

/// Shortest time in which an error is steered away.
const HORIZON_MIN_NS: u64 = 1_000_000_000;

/// Largest part, as one in so many, by which a counter's rate changes by itself: 1,000 ppm.
const RATE_DRIFT_PART: u64 = 1_000;

/// A change of the error within [`DISCIPLINE_MIN_NS`] that no drift explains, in nanoseconds.
const JUMP_NS: u64 = 10_000_000;

/// Tries to read counter and clock at one moment; the closest one counts.
const SIMULTANEOUS_TRIES: usize = 8;

/// Looks at a clock that does not move on, before [`Clock::past`] takes it for one that was set back.
const PAST_LOOKS: usize = 1_000;

/// The counter that the clock reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counter {
    #[cfg(target_arch = "x86_64")]
    Tsc,
    Uptime,
    /// One that tests set.
    #[cfg(any(test, feature = "seam"))]
    Set(&'static Machine),
}

/// A clock that starts at the wall's time, never stops and never goes back, but for the time between an event that sets
/// the counter back and the next steering.
#[derive(Debug)]
pub struct Clock {
    counter: Counter,
    scale: ScaleCell,
    uptime: Uptime,
    /// Zero of the raw counter where it is the uptime, and of the steering.
    start: u64,
    /// Nanoseconds since the Unix epoch at `start`.
    start_wall: u64,
    /// The last steering; locked by the thread that steers.
    steering: Mutex<Steering>,
    newest: Newest,
}

/// The largest ordered time of a clock that may stand still for longer than an event takes.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Newest(AtomicU64);

impl Newest {
    /// This time, or the next one that was not given out.
    fn after(&self, nanos: u64) -> u64 {
        // SYNC: pairs with itself: threads that draw one after the other see each other's.
        if self.0.fetch_max(nanos, Ordering::AcqRel) < nanos {
            nanos
        } else {
            self.0.fetch_add(1, Ordering::AcqRel) + 1
        }
    }
}

/// Counter and time at one moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    raw: u64,
    /// Nanoseconds since the Unix epoch, by the uptime.
    nanos: u64,
}

/// A steering.
#[derive(Debug, Clone, Copy)]
struct Steering {
    at: Moment,
    /// The counter's measured rate.
    rate: u64,
    /// Nanoseconds by which the clock was ahead afterwards.
    ahead: i64,
}

impl Clock {
    /// The clock of the process. The first call makes it and takes some 5 ms.
    pub fn global() -> &'static Self {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        CLOCK.get_or_init(Self::new)
    }

    /// A clock on the best counter of the machine.
    fn new() -> Self {
        #[cfg(any(test, feature = "seam"))]
        if let Some(clock) = Machine::of_process().and_then(Self::set_by) {
            return clock;
        }
        #[cfg(target_arch = "x86_64")]
        if kernel_trusts_tsc()
            && let Some(clock) = Self::tsc()
        {
            return clock;
        }
        Self::monotonic()
    }

    /// A clock on the uptime, through the vDSO.
    pub fn monotonic() -> Self {
        let uptime = Uptime::new();
        let (start, start_wall) = set_to_wall(uptime);
        let scale = ScaleCell::new(Scale { tick: 0, nanos: start_wall, rate: Scale::RATE_ONE });
        let at = Moment { raw: 0, nanos: start_wall };
        let steering = Mutex::new(Steering { at, rate: Scale::RATE_ONE, ahead: 0 });
        Self { counter: Counter::Uptime, scale, uptime, start, start_wall, steering, newest: Newest::default() }
    }

    /// A clock on the TSC, or `None` if its rate cannot be found out. Spins for [`CALIBRATION`].
    #[cfg(target_arch = "x86_64")]
    fn tsc() -> Option<Self> {
        Self::on(Counter::Tsc)
    }

    /// A clock on a counter that tests set.
    #[cfg(any(test, feature = "seam"))]
    pub(super) fn set_by(machine: &'static Machine) -> Option<Self> {
        Self::on(Counter::Set(machine))
    }

    #[cfg(any(target_arch = "x86_64", test, feature = "seam"))]
    fn on(counter: Counter) -> Option<Self> {
        let mut clock = Self { counter, ..Self::monotonic() };
        let rate = clock.calibrate()?;
        let at = clock.moment();
        clock.scale = ScaleCell::new(Scale { tick: at.raw, nanos: at.nanos, rate });
        clock.steering = Mutex::new(Steering { at, rate, ahead: 0 });
        Some(clock)
    }

    /// As if the first calibration had been 1 % off.
    #[cfg(test)]
    pub(super) fn misjudge_rate(&self) {
        let mut steering = self.steering.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        steering.rate += steering.rate / 100;
        self.scale.replace(Scale { rate: steering.rate, ..self.scale.read(|scale| *scale) });
    }

    /// The rate of the counter at present. Spins for [`CALIBRATION`].
    fn calibrate(&self) -> Option<u64> {
        let first = self.moment();
        let until = first.nanos + CALIBRATION.as_nanos() as u64;
        let last = loop {
            let now = self.moment();
            if now.nanos >= until {
                break now;
            }
        };
        Scale::rate_of(last.raw.wrapping_sub(first.raw), last.nanos - first.nanos)
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

    /// As [`Clock::now_by`], once the processor has done everything that precedes the call in the program: larger than
    /// every ordered time that the thread can have seen, on whichever thread it was drawn. The TSC needs no help to be
    /// larger: it moves on within 10 ns, and an event takes longer.
    #[inline(always)]
    pub(super) fn ordered_by(&self, kept: &mut KeptScale) -> u64 {
        loop {
            if !self.scale.is_in_force(kept) {
                *kept = self.scale.keep();
            }
            let nanos = kept.scale.at(self.raw_ordered());
            // The thread may have lost its core meanwhile, and others have drawn times by another scale.
            if self.scale.is_in_force(kept) {
                return match self.counter {
                    #[cfg(target_arch = "x86_64")]
                    Counter::Tsc => nanos,
                    _ => self.newest.after(nanos),
                };
            }
        }
    }

    /// A time that has passed: what was stamped up to it by an ordered time, on any thread, was stamped before this
    /// returns, and what that thread had seen until then is seen by the loads that follow. `u64::MAX` where the counter
    /// has been set back. Some 60 ns.
    pub fn past(&self) -> u64 {
        let present = || self.scale.read(|scale| scale.at(self.raw_ordered()));
        let then = present();
        let has_passed = (0..PAST_LOOKS).any(|_| present() > then);
        load_fence();
        if has_passed { then } else { u64::MAX }
    }

    /// The counter, read once the processor has done everything that precedes it.
    #[inline(always)]
    fn raw_ordered(&self) -> u64 {
        if cfg!(target_arch = "x86_64") {
            load_fence();
        }
        self.raw()
    }

    /// Returns whether the clock reads the TSC, for statistics.
    pub fn is_tsc(&self) -> bool {
        self.counter != Counter::Uptime
    }

    /// The counter.
    #[inline(always)]
    pub(super) fn raw(&self) -> u64 {
        match self.counter {
            #[cfg(target_arch = "x86_64")]
            Counter::Tsc => tsc(),
            Counter::Uptime => self.since_start(),
            #[cfg(any(test, feature = "seam"))]
            Counter::Set(machine) => machine.read(self.since_start()),
        }
    }

    #[inline]
    fn since_start(&self) -> u64 {
        self.uptime.now().saturating_sub(self.start)
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

    /// Steers the clock to the uptime. Shards call it about once a second, from any thread; calls that come too soon,
    /// or while another thread steers, do nothing. Some 2 us; 5 ms after an event that set the counter or changed its
    /// rate.
    pub fn discipline(&self) {
        if self.counter == Counter::Uptime {
            return;
        }
        let mut steering = match self.steering.try_lock() {
            Ok(steering) => steering,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let now = self.moment();
        let nanos = now.nanos.saturating_sub(steering.at.nanos);
        let is_soon = nanos < DISCIPLINE_MIN_NS;
        if is_soon && self.ahead(now).abs_diff(steering.ahead) < JUMP_NS {
            return;
        }
        let measured = Scale::rate_of(now.raw.wrapping_sub(steering.at.raw), nanos);
        let (now, rate) = match measured {
            Some(rate) if !is_soon && is_near(rate, steering.rate) => (now, rate),
            _ => {
                let rate = self.rate_anew(measured, steering.rate);
                (self.moment(), rate)
            }
        };
        // The next call is expected after as long as this one. Sooner would steer too far, and further each time.
        let horizon = nanos.max(HORIZON_MIN_NS);
        self.scale.replace(self.scale.read(|scale| scale.steered(now.raw, now.nanos, rate, horizon)));
        *steering = Steering { at: now, rate, ahead: self.ahead(now) };
    }

    /// Nanoseconds by which the clock was ahead at a moment.
    fn ahead(&self, moment: Moment) -> i64 {
        self.nanos_at(moment.raw).wrapping_sub(moment.nanos) as i64
    }

    /// The rate after one was measured, if one was, that the counter had no reason for: the present one decides, which
    /// is measured over a shorter time.
    fn rate_anew(&self, measured: Option<u64>, before: u64) -> u64 {
        let Some(present) = self.calibrate() else { return before };
        [measured, Some(before)].into_iter().flatten().find(|rate| is_near(*rate, present)).unwrap_or(present)
    }

    /// Counter and time at one moment, to some 20 ns: of several tries the one whose two readings of the counter are
    /// closest, so that an interrupt between them does not count.
    fn moment(&self) -> Moment {
        let once = || {
            let before = self.raw();
            let nanos = self.start_wall + self.since_start();
            let width = self.raw().wrapping_sub(before);
            (width, Moment { raw: before.wrapping_add(width / 2), nanos })
        };
        let tries = (1..SIMULTANEOUS_TRIES).map(|_| once());
        tries.fold(once(), |best, next| if next.0 < best.0 { next } else { best }).1
    }
}

/// Returns whether a counter may have changed from one rate to the other by itself.
fn is_near(rate: u64, other: u64) -> bool {
    rate.abs_diff(other) <= other / RATE_DRIFT_PART
}

/// Measures how long the machine has been up, suspended time included.
#[derive(Debug, Clone, Copy)]
struct Uptime(libc::clockid_t);

impl Uptime {
    fn new() -> Self {
        let works = |clock: &libc::clockid_t| Self(*clock).read().is_some();
        Self([libc::CLOCK_BOOTTIME].into_iter().find(works).unwrap_or(libc::CLOCK_MONOTONIC))
    }

    /// Nanoseconds.
    #[inline]
    fn now(self) -> u64 {
        let uptime = self.read().unwrap_or(0);
        #[cfg(any(test, feature = "seam"))]
        let uptime = uptime + Machine::of_process().map_or(0, Machine::slept);
        uptime
    }

    #[inline]
    #[allow(unsafe_code)]
    fn read(self) -> Option<u64> {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a live structure, which the call fills in.
        let failed = unsafe { libc::clock_gettime(self.0, &raw mut now) } != 0;
        (!failed).then(|| now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }
}

/// A moment of the uptime and its nanoseconds since the Unix epoch; a wall before 1970 counts as 1970.
fn set_to_wall(uptime: Uptime) -> (u64, u64) {
    let once = || {
        let before = uptime.now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let width = uptime.now().saturating_sub(before);
        (width, before + width / 2, wall.as_nanos() as u64)
    };
    let tries = (1..SIMULTANEOUS_TRIES).map(|_| once());
    let (_, start, wall) = tries.fold(once(), |best, next| if next.0 < best.0 { next } else { best });
    (start, wall)
}

/// Returns whether the kernel itself keeps time by the TSC. If it does not say, no.
#[cfg(target_arch = "x86_64")]
fn kernel_trusts_tsc() -> bool {
    const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(CURRENT).is_ok_and(|name| name.trim_end() == "tsc")
}

/// Keeps what follows from being done before what precedes it, reading of the counter included.
#[inline(always)]
#[allow(unsafe_code)]
fn load_fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86_64 has the instruction.
    unsafe {
        core::arch::x86_64::_mm_lfence();
    }
    // Elsewhere the vDSO orders its reading of the counter by itself.
    #[cfg(not(target_arch = "x86_64"))]
    std::sync::atomic::fence(Ordering::SeqCst);
    compiler_fence(Ordering::SeqCst);
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code)]
fn tsc() -> u64 {
    // SAFETY: every x86_64 has the instruction. A process that is forbidden it (PR_SET_TSC) cannot use the vDSO's clock
    // either.
    unsafe { core::arch::x86_64::_rdtsc() }
}
