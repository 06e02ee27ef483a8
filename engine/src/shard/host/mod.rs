//! Who steps a shard. All hosts run the same [`Shard`](super::Shard).

mod background;
pub(super) mod glommio;
pub(super) mod thread;

use std::time::Instant;

use ::glommio::LocalExecutor;
use tapeline_storage::device::probe;

pub(super) use background::ThreadBackground;

use crate::config::Host;
use crate::timestamp::Clock;

/// The clock of a host, which keeps the process's clock in step.
#[derive(Debug, Default)]
struct HostClock {
    steered: u64,
    /// When it was steered last, by a clock that no suspend puts out of step.
    steered_at: Option<Instant>,
    /// Readings since the last look at that clock.
    readings: u32,
}

impl HostClock {
    /// Nanoseconds since the Unix epoch.
    fn now(&mut self) -> u64 {
        let now = Clock::global().now();
        self.readings += 1;
        if now.abs_diff(self.steered) > STEER_NS {
            return self.steer();
        }
        if self.readings >= READINGS {
            self.look();
        }
        now
    }

    /// Steers the clock if it is time, whatever the clock itself says: it may stand, or crawl.
    fn look(&mut self) {
        self.readings = 0;
        if self.steered_at.is_none_or(|at| at.elapsed().as_nanos() > u128::from(STEER_NS)) {
            self.steer();
        }
    }

    fn steer(&mut self) -> u64 {
        Clock::global().discipline();
        self.steered_at = Some(Instant::now());
        self.steered = Clock::global().now();
        self.steered
    }
}

/// Readings of the clock after which another one is asked whether it is time to steer.
const READINGS: u32 = 4_096;

/// How often the clock is steered, in nanoseconds.
const STEER_NS: u64 = 1_000_000_000;

/// Memory that a glommio executor locks.
const GLOMMIO_MEMLOCK_BYTES: u64 = 512 << 10;

/// A host that is ready to run.
pub(super) enum ChosenHost {
    /// An executor of this thread.
    Glommio(Box<LocalExecutor>),
    /// This thread itself.
    Thread,
}

impl ChosenHost {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Glommio(_) => "glommio",
            Self::Thread => "thread",
        }
    }
}

/// The wanted host, or the thread where glommio cannot run and may be replaced; notes why.
pub(super) fn choose(wanted: Host, notes: &mut Vec<String>) -> Result<ChosenHost, String> {
    if wanted == Host::Thread {
        return Ok(ChosenHost::Thread);
    }
    match executor() {
        Ok(executor) => Ok(ChosenHost::Glommio(Box::new(executor))),
        Err(reason) if wanted == Host::Glommio => Err(reason),
        Err(reason) => {
            notes.push(reason);
            Ok(ChosenHost::Thread)
        }
    }
}

/// glommio panics or ends the process where it cannot have its rings, so the kernel is asked first.
fn executor() -> Result<LocalExecutor, String> {
    probe::io_uring_available().map_err(|error| format!("glommio: io_uring: {error}"))?;
    let limit = probe::memlock_limit();
    if limit < GLOMMIO_MEMLOCK_BYTES {
        return Err(format!("glommio: the memlock limit is {limit} bytes, {GLOMMIO_MEMLOCK_BYTES} are needed"));
    }
    glommio::executor().map_err(|error| format!("glommio: {error}"))
}
