//! Runs a command as an ordinary container would: without io_uring, or with little memory to lock.
//!
//! `confine [--no-io-uring] [--memlock BYTES] -- COMMAND [ARGUMENT...]`
//!
//! The first installs a seccomp filter that answers io_uring's system calls with EPERM; the second drops
//! CAP_IPC_LOCK and lowers RLIMIT_MEMLOCK. Both hold for the command and everything it starts.

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

const CAP_IPC_LOCK: libc::c_ulong = 14;

fn main() -> ExitCode {
    match confine(std::env::args().skip(1).collect()) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("confine: {error}");
            ExitCode::from(2)
        }
    }
}

fn confine(arguments: Vec<String>) -> io::Result<std::convert::Infallible> {
    let usage = || io::Error::other("usage: confine [--no-io-uring] [--memlock BYTES] -- COMMAND [ARGUMENT...]");
    let mut arguments = arguments.into_iter();
    loop {
        match arguments.next().ok_or_else(usage)?.as_str() {
            "--no-io-uring" => refuse_io_uring()?,
            "--memlock" => {
                let bytes = arguments.next().and_then(|bytes| bytes.parse().ok()).ok_or_else(usage)?;
                limit_memlock(bytes)?;
            }
            "--" => break,
            _ => return Err(usage()),
        }
    }
    let program = arguments.next().ok_or_else(usage)?;
    Err(Command::new(program).args(arguments).exec())
}

fn limit_memlock(bytes: u64) -> io::Result<()> {
    // SAFETY: no pointers. Only root has the capability to drop; for others the call fails and nothing is lost.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) };
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: a pointer to a live structure.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) })
}

fn refuse_io_uring() -> io::Result<()> {
    let instruction = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    // `seccomp_data` starts with the number of the system call; io_uring has 425 to 427 on every architecture.
    let mut filter = [
        instruction(0x20, 0, 0, 0),
        instruction(0x35, 425, 0, 2),
        instruction(0x25, 427, 1, 0),
        instruction(0x06, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
        instruction(0x06, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: the program and its instructions live until the call returns.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) })
}

fn check(outcome: libc::c_int) -> io::Result<()> {
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
