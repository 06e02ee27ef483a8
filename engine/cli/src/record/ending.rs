//! The end of a recording when a signal asks for it.
//!
//! The first signal lets a pipe come to its end, so that what its writer says last is recorded: on a terminal the
//! signal reaches the writer as well. SIGTERM is sent by those who kill soon, so that a pipe has [`TERM_PATIENCE`]
//! then. The second signal ends the recording at once, and so does the first where no pipe is read.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::recorder::Stop;
use crate::exit::Failure;
use crate::message;
use crate::signal::{Interrupt, Wake};

/// Longest time that a pipe may take to end after SIGTERM.
const TERM_PATIENCE: Duration = Duration::from_secs(5);

/// The end that signals have asked for.
#[derive(Debug)]
pub(crate) struct Ending {
    interrupt: Interrupt,
    state: Cell<State>,
    /// True if what is read comes to an end by itself once it is asked to.
    drains: Cell<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No signal has come.
    Unasked,
    /// The recorder waits for the rest of the pipe; until this time.
    Draining(Option<Instant>),
    /// It is to end at once.
    Due,
}

impl Ending {
    /// Holds the signals back, as [`Interrupt::catch`] does.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let interrupt = Interrupt::catch().map_err(|error| Failure::failed(format_args!("signals: {error}")))?;
        Ok(Self { interrupt, state: Cell::new(State::Unasked), drains: Cell::new(false) })
    }

    /// From now on the recorder reads a pipe to its end, or does not.
    pub(super) fn drain(&self, drains: bool) {
        self.drains.set(drains);
    }

    /// True if a signal has come.
    pub(crate) fn is_asked(&self) -> bool {
        self.state.get() != State::Unasked
    }

    /// Looks whether the recording is to end now.
    pub(super) fn is_due(&self) -> Result<bool, Stop> {
        let failed = |error: io::Error| Failure::failed(format_args!("waiting for signals: {error}"));
        if let Some(signal) = self.interrupt.pending().map_err(failed)? {
            self.answer(signal);
        }
        Ok(self.is_over())
    }

    /// Waits until `input` can be read without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`]: the recording is to end now; the kernel's.
    pub(super) fn wait(&self, input: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let patience = match self.state.get() {
                State::Draining(Some(until)) => Some(until.saturating_duration_since(Instant::now())),
                _ => None,
            };
            let wake = self.interrupt.wait(input, patience)?;
            if let Wake::Interrupted(signal) = wake {
                self.answer(signal);
            }
            if self.is_over() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if wake == Wake::Readable {
                return Ok(());
            }
        }
    }

    fn is_over(&self) -> bool {
        match self.state.get() {
            State::Unasked | State::Draining(None) => false,
            State::Draining(Some(until)) => Instant::now() >= until,
            State::Due => true,
        }
    }

    fn answer(&self, signal: i32) {
        let state = match (self.state.get(), self.drains.get()) {
            (State::Unasked, true) => {
                message::plain("recording to the end of the pipe; a second signal ends it now");
                State::Draining((signal == libc::SIGTERM).then(|| Instant::now() + TERM_PATIENCE))
            }
            _ => State::Due,
        };
        self.state.set(state);
    }
}
