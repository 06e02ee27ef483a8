//! Signals that ask a program to end, read as data. A signal that was ignored when the program started stays ignored.
//!
//! Rules of the unsafe code:
//! 1. A pointer handed to the kernel points to a live, initialised value of the type that the call takes.
//! 2. A signal set is initialised by `sigemptyset` before anything else reads it.
//! 3. The handler does what may be done at any moment, and lives as long as the program.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// SIGINT and SIGTERM. They are held back from this thread and from those that it starts; a handler takes them on the
/// other threads, as those of an executor that was there before.
pub(crate) struct EndSignals(libc::sigset_t);

/// True if the handler has taken a signal that was not waited for yet.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

extern "C" fn take(_: libc::c_int) {
    // SYNC: a flag alone; pairs with the swap in wait().
    IS_TAKEN.store(true, Ordering::Relaxed);
}

impl EndSignals {
    /// Holds the signals back, and takes the place of their handlers. Called before other threads are started, so that
    /// these hold the signals back as well.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn hold() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: rule 1; the call initialises the set and cannot fail.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: rule 2.
        let mut set = unsafe { set.assume_init() };
        for signal in [libc::SIGINT, libc::SIGTERM] {
            if !is_ignored(signal) {
                handle(signal)?;
                // SAFETY: rule 1. The number is that of a signal, so that the call cannot fail.
                unsafe { libc::sigaddset(&raw mut set, signal) };
            }
        }
        // SAFETY: rule 1; a null pointer asks for no old mask.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) } {
            0 => Ok(Self(set)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Waits so long for one of the signals; returns whether one has come. One that another thread takes does not end
    /// the waiting.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: rule 1 for both; a null pointer asks for no facts about the signal.
        let has_come = unsafe { libc::sigtimedwait(&raw const self.0, ptr::null_mut(), &raw const timeout) > 0 };
        // SYNC: a flag alone; pairs with the store in take().
        IS_TAKEN.swap(false, Ordering::Relaxed) || has_come
    }
}

/// # Errors
/// The kernel's.
fn handle(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: all zeros are a value of the type: no flags, no other signal held back.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = take as extern "C" fn(libc::c_int) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: rules 1 and 3; a null pointer asks for no former handler.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: rule 1; a null pointer changes nothing.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros are a value of the type, should the call not have written one.
    let action = unsafe { action.assume_init() };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}
