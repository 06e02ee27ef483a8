//! Who steps a shard. All hosts run the same [`Shard`](super::Shard).

mod background;
pub(super) mod glommio;
pub(super) mod thread;

use ::glommio::LocalExecutor;
use tapeline_storage::device::probe;

pub(super) use background::ThreadBackground;

use crate::config::Host;
use crate::timestamp::Clock;

/// The clock of a host, which keeps the process's clock in step.
#[derive(Debug, Default)]
struct HostClock {
    steered: u64,
}

impl HostClock {
    /// Nanoseconds since the Unix epoch.
    fn now(&mut self) -> u64 {
        let now = Clock::global().now();
        if now.saturating_sub(self.steered) > STEER_NS {
            Clock::global().discipline();
            self.steered = now;
        }
        now
    }
}

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
