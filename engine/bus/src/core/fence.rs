//! A fence in every thread of the process, paid by the caller alone.
//!
//! Ingest publishes an event and then looks whether its lane was closed, without a fence between. The thread that
//! closes a lane and calls this before its last look either sees the event or is seen by the producer. The horizon
//! relies on the same.

use std::sync::OnceLock;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

/// Makes every thread of the process execute a full fence before this returns.
///
/// If `membarrier` is refused, waits for long enough that stores have left every store buffer.
pub(crate) fn all_threads() {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = *REGISTERED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));
    if !(registered && membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)) {
        std::thread::sleep(Duration::from_millis(1));
    }
    fence(Ordering::SeqCst);
}

#[allow(unsafe_code)]
fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes no pointers.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
