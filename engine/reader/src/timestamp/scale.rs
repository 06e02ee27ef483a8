//! The scale: how ticks of a counter become nanoseconds, and the cell that many threads read it from.

use std::sync::atomic::{AtomicU64, Ordering, fence};

const FRACTION_BITS: u32 = 32;

/// Largest part, as one in so many, by which steering changes the rate to bring a scale back that is ahead: 500 ppm, as
/// the kernel's own steering.
const STEER_PART: u64 = 2_000;

/// A straight line: `nanos` at `tick`, and `rate` nanoseconds a tick from there, with 32 fraction bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) tick: u64,
    pub(super) nanos: u64,
    pub(super) rate: u64,
}

impl Scale {
    /// One tick is one nanosecond.
    pub(super) const RATE_ONE: u64 = 1 << FRACTION_BITS;

    /// The rate of a counter that went `ticks` in `nanos`; `None` where that says nothing.
    pub(super) fn rate_of(ticks: u64, nanos: u64) -> Option<u64> {
        let rate = (u128::from(nanos) << FRACTION_BITS).checked_div(u128::from(ticks))?;
        // At least one tick an hour and at most 2^31 a nanosecond; keeps `at` within i64.
        u64::try_from(rate).ok().filter(|&rate| rate > 1 && rate < i64::MAX as u64)
    }

    /// The nanoseconds of a tick, before or after the scale's own.
    #[inline(always)]
    pub(super) fn at(&self, tick: u64) -> u64 {
        let ticks = tick.wrapping_sub(self.tick) as i64;
        self.nanos.wrapping_add_signed(((i128::from(ticks) * i128::from(self.rate as i64)) >> FRACTION_BITS) as i64)
    }

    /// Nanoseconds that `ticks` take.
    #[inline]
    pub(super) fn span(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.rate)) >> FRACTION_BITS) as u64
    }

    /// The scale that goes on from `tick`, never back, and nears `target`, the true time of that tick. `rate` is the
    /// measured one and `horizon` the nanoseconds in which the error is to be gone. A scale that is behind by more than
    /// steering mends by then steps forward; one that is ahead runs slower, by at most 500 ppm, until time has caught
    /// up.
    pub(super) fn steered(&self, tick: u64, target: u64, rate: u64, horizon: u64) -> Self {
        let here = self.at(tick);
        let reach = horizon / STEER_PART;
        if here < target && target - here > reach {
            return Self { tick, nanos: target, rate };
        }
        let error = here.abs_diff(target).min(reach);
        let correction = (u128::from(rate) * u128::from(error) / u128::from(horizon)) as u64;
        let rate = if here < target { rate + correction } else { rate - correction };
        Self { tick, nanos: here, rate }
    }
}

/// A scale as a thread last read it, so that it need not read all of it each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeptScale {
    /// Even: of a whole scale.
    version: u64,
    pub(super) scale: Scale,
}

/// A scale that one thread at a time replaces and any number read. A seqlock: readers never wait for each other, and
/// retry only while the scale is replaced, some ns once a second.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct ScaleCell {
    /// Odd while the scale is being replaced.
    version: AtomicU64,
    tick: AtomicU64,
    nanos: AtomicU64,
    rate: AtomicU64,
}

impl ScaleCell {
    pub(super) fn new(scale: Scale) -> Self {
        Self {
            version: AtomicU64::new(0),
            tick: AtomicU64::new(scale.tick),
            nanos: AtomicU64::new(scale.nanos),
            rate: AtomicU64::new(scale.rate),
        }
    }

    /// Reads a counter by the scale, when the scale did not change meanwhile: a counter read inside is converted by the
    /// scale that was in force.
    #[inline]
    pub(super) fn read<T>(&self, reading: impl Fn(&Scale) -> T) -> T {
        self.read_versioned(reading).1
    }

    /// The scale, to be kept until it changes.
    #[cold]
    pub(super) fn keep(&self) -> KeptScale {
        let (version, scale) = self.read_versioned(|scale| *scale);
        KeptScale { version, scale }
    }

    /// Returns whether this is still the scale in force. One load.
    #[inline(always)]
    pub(super) fn is_in_force(&self, kept: &KeptScale) -> bool {
        // SYNC: pairs with the second Release store in `replace`.
        self.version.load(Ordering::Acquire) == kept.version
    }

    #[inline]
    fn read_versioned<T>(&self, reading: impl Fn(&Scale) -> T) -> (u64, T) {
        loop {
            // SYNC: pairs with the second Release store in `replace`.
            let version = self.version.load(Ordering::Acquire);
            let scale = Scale {
                tick: self.tick.load(Ordering::Relaxed),
                nanos: self.nanos.load(Ordering::Relaxed),
                rate: self.rate.load(Ordering::Relaxed),
            };
            let result = reading(&scale);
            // SYNC: pairs with the Release fence in `replace`: a load above that saw a new value makes the load below
            // see the new version.
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version {
                return (version, result);
            }
            std::hint::spin_loop();
        }
    }

    /// Replaces the scale. One thread at a time: the caller holds the clock's steering lock.
    pub(super) fn replace(&self, scale: Scale) {
        let version = self.version.load(Ordering::Relaxed);
        debug_assert!(version.is_multiple_of(2), "two threads replace the scale");
        self.version.store(version + 1, Ordering::Relaxed);
        // SYNC: pairs with the Acquire fence in `read`.
        fence(Ordering::Release);
        self.tick.store(scale.tick, Ordering::Relaxed);
        self.nanos.store(scale.nanos, Ordering::Relaxed);
        self.rate.store(scale.rate, Ordering::Relaxed);
        // SYNC: pairs with the first Acquire load in `read`.
        self.version.store(version + 2, Ordering::Release);
    }
}
