//! The functions that C programs call, and all unsafe code of the package.
//!
//! Rules; each unsafe block names the one that makes it sound:
//!
//! 1. **Memory of the caller.** The caller promises that a pointer which is not null refers to memory of the stated
//!    length that nothing else writes during the call: to read from, or to write to where the function says so. Null
//!    and unaligned pointers are found and refused; a length of 0 refers to nothing.
//! 2. **Texts of the caller** end with a 0, and are as under 1.
//! 3. **Producers.** A slot's cell is touched only by the thread that the slot's `owner` names, and by one call of it
//!    at a time (`producers`).
//! 4. **The system's functions** are called with arguments that they allow, as stated beside each call.
//! 5. **Callbacks.** The caller promises that the function it gave may be called on another thread, with its `user`
//!    pointer, until the reader is closed.
//!
//! A panic ends in `call`, through which every function goes that can fail.

#![allow(unsafe_code)]
#![allow(non_camel_case_types)]
// The rules above are what each function asks of its caller.
#![allow(clippy::missing_safety_doc)]

mod bus;
mod capabilities;
mod cursors;
mod descriptor;
mod info;
mod log;
mod memory;
mod page;
mod producer;
mod producers;
mod readers;
mod requests;
mod sessions;
mod shards;
mod trim;
mod types;

pub use bus::*;
pub use capabilities::*;
pub use cursors::*;
pub use info::*;
pub use log::*;
pub use page::*;
pub use producer::*;
pub use readers::*;
pub use sessions::*;
pub use shards::*;
pub use trim::*;
pub use types::*;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::Failure;

/// Runs a function's body: its result as a code, and no panic beyond here.
#[inline(always)]
fn call(body: impl FnOnce() -> Result<(), Failure>) -> i32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => failure.report(),
        Err(panic) => Failure::panicked(&*panic).report(),
    }
}

/// Has this process count its forks.
fn watch_forks() {
    use std::sync::atomic::{AtomicBool, Ordering};
    // No `Once`: a child that was forked in its midst would wait for ever.
    static WATCHES: AtomicBool = AtomicBool::new(false);
    extern "C" fn count() {
        crate::forks::count();
    }
    if !WATCHES.swap(true, Ordering::Relaxed) {
        // SAFETY: rule 4: the handler only adds to an atomic, which is allowed in a forked child. The call can fail
        // only for want of memory; the bus then still finds forks by its own handler.
        unsafe { libc::pthread_atfork(None, None, Some(count)) };
    }
}
