//! Abilities that this machine gives a process, found by trying.

use std::fs;
use std::io;

use super::uring;

const CAP_IPC_LOCK: u32 = 14;

/// Tests whether io_uring works here: creates a ring as [`uring::UringDevice`] does, and passes one request through it.
///
/// Must run before anything that cannot live without io_uring, such as glommio, is started. Costs some 100 us.
///
/// # Errors
/// The kernel's error, with a sentence on what usually causes it.
pub fn io_uring_available() -> io::Result<()> {
    uring::try_ring().map_err(|error| {
        let cause = match error.raw_os_error() {
            Some(libc::EPERM) => match io_uring_disabled().as_str() {
                "" | "0" => "a container's seccomp profile or a security module forbids it",
                "1" => "kernel.io_uring_disabled is 1, and this process is not in kernel.io_uring_group",
                _ => "kernel.io_uring_disabled is 2",
            },
            Some(libc::ENOSYS) => "the kernel has none, or a container's seccomp profile hides it",
            Some(libc::ENOMEM) => "the memlock limit is too small for a ring, or memory has run out",
            Some(libc::EMFILE | libc::ENFILE) => "file descriptors have run out",
            _ => "the kernel is too old, or lacks what is needed",
        };
        io::Error::new(error.kind(), format!("io_uring: {error}: {cause}"))
    })
}

fn io_uring_disabled() -> String {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default().trim().to_owned()
}

/// Bytes that this process may lock in memory, registered buffers among them; `u64::MAX` without a limit. In a user
/// namespace the capability that lifts the limit has no effect on io_uring, and is believed all the same.
pub fn memlock_limit() -> u64 {
    if effective_capabilities() & 1 << CAP_IPC_LOCK != 0 {
        return u64::MAX;
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[allow(unsafe_code)]
    // SAFETY: the kernel writes to a live value.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } != 0;
    match limit.rlim_cur {
        _ if failed => 0,
        libc::RLIM_INFINITY => u64::MAX,
        bytes => bytes,
    }
}

/// 0 where `/proc` is not mounted.
fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
