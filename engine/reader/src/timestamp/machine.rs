//! A machine whose clocks tests set.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A machine's clocks, until a test sets them: a counter of nanoseconds that stands for the TSC, and the uptime.
#[derive(Debug)]
pub struct Machine {
    offset: AtomicU64,
    per_mille: AtomicU64,
    slept: AtomicU64,
    is_present: AtomicBool,
}

/// The change that a suspend, a hibernation or a migration makes to the clocks of a machine.
#[derive(Debug, Clone, Copy)]
pub struct MachineEvent {
    /// By how much the counter jumps.
    pub ticks: i64,
    /// Ticks of the counter in 1,000 ns from then on.
    pub per_mille: u64,
    /// Nanoseconds for which the machine was suspended.
    pub slept: u64,
}

impl MachineEvent {
    /// The things that a suspend, a hibernation or a migration may do to a counter.
    pub const EXAMPLES: [Self; 7] = [
        Self::of(HOUR, 1_000),
        Self::of(-HOUR, 1_000),
        Self::of(-1_000 * HOUR, 1_000),
        Self::of(0, 1_300),
        Self::of(0, 400),
        Self::of(HOUR, 1_100),
        Self::of(-HOUR, 900),
    ];

    const fn of(ticks: i64, per_mille: u64) -> Self {
        Self { ticks, per_mille, slept: 0 }
    }
}

/// In nanoseconds.
const HOUR: i64 = 3_600_000_000_000;

/// The machine of the process's clock, if it is present.
static OF_PROCESS: Machine = Machine::new();

impl PartialEq for Machine {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Machine {}

impl Machine {
    pub(crate) const fn new() -> Self {
        Self {
            offset: AtomicU64::new(1 << 60),
            per_mille: AtomicU64::new(1_000),
            slept: AtomicU64::new(0),
            is_present: AtomicBool::new(false),
        }
    }

    /// Takes the place of the machine on which this process runs. Before the process first asks for the time.
    pub fn replace_real() -> &'static Self {
        OF_PROCESS.is_present.store(true, Ordering::SeqCst);
        &OF_PROCESS
    }

    pub(crate) fn of_process() -> Option<&'static Self> {
        OF_PROCESS.is_present.load(Ordering::SeqCst).then_some(&OF_PROCESS)
    }

    /// The counter when the machine has been up for so many nanoseconds.
    pub(crate) fn read(&self, uptime: u64) -> u64 {
        let ticks = u128::from(uptime) * u128::from(self.per_mille.load(Ordering::Relaxed)) / 1_000;
        self.offset.load(Ordering::Relaxed).wrapping_add(ticks as u64)
    }

    /// Nanoseconds that the machine was suspended for.
    pub fn slept(&self) -> u64 {
        self.slept.load(Ordering::Relaxed)
    }

    /// Has the event happen to the machine.
    pub fn happen(&self, event: MachineEvent) {
        self.slept.fetch_add(event.slept, Ordering::Relaxed);
        self.offset.fetch_add(event.ticks as u64, Ordering::Relaxed);
        self.per_mille.store(event.per_mille, Ordering::Relaxed);
    }
}
