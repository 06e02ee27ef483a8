//! Signals: a closed pipe ends the program without a word, and an interrupted recording still acknowledges what it
//! read. A signal that was ignored when the program started stays ignored, as `nohup` and background jobs of a shell
//! have it.
//!
//! Unsafe code, with these rules:
//! 1. A pointer handed to the kernel points to a live, initialised value of the type that the call takes.
//! 2. A descriptor taken from the kernel has no other owner.
//! 3. A signal set is initialised by `sigemptyset` before anything else reads it.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// Lets SIGPIPE end the process, as other programs of a pipeline do; Rust's runtime ignores it.
pub(crate) fn end_quietly_on_closed_pipes() {
    // SAFETY: the default disposition runs no code of this process.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Has a write beyond the limit of file sizes (`ulimit -f`) fail with EFBIG, which is reported, instead of ending the
/// process by SIGXFSZ.
pub(crate) fn report_limits_of_file_sizes() {
    // SAFETY: an ignored signal runs no code of this process.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Ends the process as a write to a closed pipe does.
pub(crate) fn die_of_closed_pipe() -> ! {
    // SAFETY: no pointers are involved; the disposition is the default, which ends the process.
    unsafe { libc::raise(libc::SIGPIPE) };
    // Only if the process blocks the signal.
    std::process::abort()
}

/// Those of SIGINT, SIGTERM and SIGHUP that are not ignored, held back from this thread and the threads it starts,
/// and read as data.
///
/// Dropped, the signals act as usual again; one that came and was not seen ends the process then.
#[derive(Debug)]
pub(crate) struct Interrupt {
    signals: OwnedFd,
    set: SignalSet,
}

/// The reason why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// There is something to read, or the end of it.
    Readable,
    /// A signal asks to end: this one.
    Interrupted(i32),
    /// The reader of the output has gone.
    Closed,
    /// Nothing happened.
    TimedOut,
}

impl Interrupt {
    /// Holds the signals back. Called before other threads are started, so that these hold them back as well.
    pub(crate) fn catch() -> io::Result<Self> {
        let set = SignalSet::of(
            [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)),
        );
        set.apply(libc::SIG_BLOCK)?;
        // SAFETY: rule 1 for the set.
        let signals = unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if signals < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: rule 2.
        let signals = unsafe { OwnedFd::from_raw_fd(signals) };
        Ok(Self { signals, set })
    }

    /// Waits until `input` can be read without waiting, or a signal has come; so long at most, if `timeout` is given.
    pub(crate) fn wait(&self, input: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<Wake> {
        let readable = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // Rounded up, so that a wait that ends early is not begun anew without end.
        let timeout = timeout.map_or(-1, |timeout| milliseconds(timeout + Duration::from_micros(999)));
        let [signal, input] = poll([readable(self.signals.as_raw_fd()), readable(input.as_raw_fd())], timeout)?;
        Ok(match (self.taken(signal), input.revents != 0) {
            (Some(signal), _) => Wake::Interrupted(signal),
            (None, true) => Wake::Readable,
            (None, false) => Wake::TimedOut,
        })
    }

    /// Waits so long for a signal, or for the pipe that `output` is to be closed at its other end.
    pub(crate) fn wait_for(&self, output: BorrowedFd<'_>, timeout: Duration) -> io::Result<Wake> {
        let signals = libc::pollfd { fd: self.signals.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // Errors are reported without being asked for.
        let output = libc::pollfd { fd: output.as_raw_fd(), events: 0, revents: 0 };
        let [signals, output] = poll([signals, output], milliseconds(timeout))?;
        Ok(match (self.taken(signals), output.revents & libc::POLLERR != 0) {
            (Some(signal), _) => Wake::Interrupted(signal),
            (None, true) => Wake::Closed,
            (None, false) => Wake::TimedOut,
        })
    }

    /// Waits so long for a signal.
    pub(crate) fn sleep(&self, timeout: Duration) -> io::Result<Wake> {
        let signals = libc::pollfd { fd: self.signals.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let [signals] = poll([signals], milliseconds(timeout))?;
        Ok(self.taken(signals).map_or(Wake::TimedOut, Wake::Interrupted))
    }

    /// The signal that has come, if one has.
    pub(crate) fn pending(&self) -> io::Result<Option<i32>> {
        match self.sleep(Duration::ZERO)? {
            Wake::Interrupted(signal) => Ok(Some(signal)),
            _ => Ok(None),
        }
    }

    /// Takes the signal that is there, so that it does not end the process when this is dropped; a second one does.
    fn taken(&self, polled: libc::pollfd) -> Option<i32> {
        if polled.revents == 0 {
            return None;
        }
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        // SAFETY: rule 1, as many bytes as the array has. The descriptor does not block.
        let read = unsafe { libc::read(self.signals.as_raw_fd(), info.as_mut_ptr().cast(), info.len()) };
        // The number leads; what was not read whole was not there.
        (read == info.len().cast_signed()).then(|| i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))
    }
}

/// Returns whether a read of `input` would not wait, as far as the kernel says.
pub(crate) fn is_readable(input: BorrowedFd<'_>) -> bool {
    let input = libc::pollfd { fd: input.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    poll([input], 0).is_ok_and(|[input]| input.revents != 0)
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // It took this set when it was caught; there is nothing to do about a refusal now.
        let _ = self.set.apply(libc::SIG_UNBLOCK);
    }
}

struct SignalSet(libc::sigset_t);

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSet")
    }
}

impl SignalSet {
    fn of(numbers: impl IntoIterator<Item = libc::c_int>) -> Self {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: rule 1; the call initialises the set and cannot fail.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: rule 3.
        let mut set = unsafe { set.assume_init() };
        for number in numbers {
            // SAFETY: rule 1. The numbers are signals, so that the call cannot fail.
            unsafe { libc::sigaddset(&raw mut set, number) };
        }
        Self(set)
    }

    fn apply(&self, how: libc::c_int) -> io::Result<()> {
        // SAFETY: rule 1; a null pointer asks for no old mask.
        match unsafe { libc::pthread_sigmask(how, &raw const self.0, ptr::null_mut()) } {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// True if a signal was ignored when this process was started.
fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: rule 1; a null pointer changes nothing.
    let asked = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros are a value of the type, should the call not have written one.
    let action = unsafe { action.assume_init() };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Waits until something can be written without waiting.
pub(crate) fn wait_writable(output: BorrowedFd<'_>) -> io::Result<()> {
    poll([libc::pollfd { fd: output.as_raw_fd(), events: libc::POLLOUT, revents: 0 }], -1).map(drop)
}

fn milliseconds(timeout: Duration) -> libc::c_int {
    libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX)
}

/// Waits until one of the descriptors has something to say, for `timeout` milliseconds at most (-1: for ever).
fn poll<const N: usize>(mut polled: [libc::pollfd; N], timeout: libc::c_int) -> io::Result<[libc::pollfd; N]> {
    loop {
        // SAFETY: rule 1, for as many entries as the array has.
        if unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, timeout) } >= 0 {
            return Ok(polled);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
