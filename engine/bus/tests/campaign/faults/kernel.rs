//! A kernel that refuses: a seccomp filter hands the calls of one kind to a thread, which answers some of them with an
//! error and lets the others go on.
//!
//! The filter holds for the thread that installs it and for those that it starts from then on; the thread that answers
//! is older. It allocates nothing while it answers, because a caller may hold the allocator's lock.

#![allow(unsafe_code, reason = "prctl, seccomp, ioctl")]

use std::io;
use std::mem::zeroed;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use libc::{c_int, c_long};

use crate::life::surroundings::KERNEL_THREAD;

/// Calls that are answered with an error: the `first`-th of its kind, counted from 0, and those that follow it, `count`
/// in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) call: c_long,
    pub(crate) error: c_int,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// The stack of a thread is larger.
const STACK_BYTES_MIN: u64 = 1 << 20;

/// Calls of the kind so far.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Returns whether calls have been refused, and none will be any more.
pub(crate) fn is_over(refusal: &Refusal) -> bool {
    CALLS.load(Ordering::SeqCst) >= refusal.first + refusal.count
}

/// Has the kernel refuse calls of this thread, and of the threads that it starts from now on, until this process ends.
///
/// # Errors
/// The kernel's, where it lets no process filter its own calls.
pub(crate) fn refuse(refusal: Refusal) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().name(KERNEL_THREAD.into()).spawn(move || {
        if let Ok(listener) = receiver.recv() {
            answer(listener, &refusal);
        }
    })?;
    let listener = install(refusal.call)?;
    sender.send(listener).map_err(io::Error::other)
}

/// Installs the filter; returns the descriptor through which calls are answered.
fn install(call: c_long) -> io::Result<c_int> {
    let instruction = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    // `seccomp_data` starts with the number of the system call.
    let mut filter = [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, call as u32, 0, 1),
        instruction(0x06, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        instruction(0x06, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: no pointers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the program and its instructions live until the call returns.
    let listener = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    c_int::try_from(listener).ok().filter(|&listener| listener >= 0).ok_or_else(io::Error::last_os_error)
}

/// Answers calls for as long as the process lives.
fn answer(listener: c_int, refusal: &Refusal) {
    loop {
        // SAFETY: plain numbers; the kernel wants zeros.
        let mut call: libc::seccomp_notif = unsafe { zeroed() };
        // SAFETY: a pointer to a live structure of the size that the kernel knows.
        if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) } != 0 {
            // A signal, or a caller that is gone.
            continue;
        }
        // SAFETY: plain numbers.
        let mut response: libc::seccomp_notif_resp = unsafe { zeroed() };
        response.id = call.id;
        if is_of_the_test(&call.data) || is_memory_of_the_allocator(&call.data) || !is_refused(refusal) {
            response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        } else {
            response.error = -refusal.error;
        }
        // SAFETY: a pointer to a live structure. A caller that is gone needs no answer.
        unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response) };
    }
}

fn is_refused(refusal: &Refusal) -> bool {
    let number = CALLS.fetch_add(1, Ordering::SeqCst);
    (refusal.first..refusal.first + refusal.count).contains(&number)
}

/// Returns whether the call is a case's report to its parent.
fn is_of_the_test(call: &libc::seccomp_data) -> bool {
    c_long::from(call.nr) == libc::SYS_write && call.args[0] <= 2
}

/// The allocator ends the process where it gets no memory, and so does the standard library where a thread gets none
/// for its signals. A mapping of a file, or of a thread's stack, is refused like any call.
fn is_memory_of_the_allocator(call: &libc::seccomp_data) -> bool {
    let [_, length, _, flags, ..] = call.args;
    let is_stack = flags as c_int & libc::MAP_STACK != 0 && length > STACK_BYTES_MIN;
    c_long::from(call.nr) == libc::SYS_mmap && flags as c_int & libc::MAP_ANONYMOUS != 0 && !is_stack
}
