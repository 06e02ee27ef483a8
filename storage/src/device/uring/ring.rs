//! A ring, with the best setup that the kernel knows, until it fails.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{Builder, CompletionQueue, IoUring, SubmissionQueue, Submitter, opcode};

use crate::device::fs::OwnDescriptor;

/// One way to set a ring up, best first. All run completions on the thread that asks for them, and none interrupts it
/// but the last.
pub(super) type Setup = (&'static str, fn(&mut Builder));

pub(super) const SETUPS: [Setup; 4] = [
    ("single issuer, deferred completions, no index array", |builder| {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_no_sqarray();
    }),
    ("single issuer, deferred completions", |builder| {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    }),
    ("cooperative completions", |builder| {
        builder.setup_coop_taskrun().setup_taskrun_flag();
    }),
    ("plain", |_| ()),
];

/// A ring.
///
/// 1. It stays on the thread that made it: the kernel refuses others.
/// 2. After an error that passes, requests that are queued stay so, and go with the next call.
/// 3. Any other error ends it. The first such error stays, and the ring is not entered again.
/// 4. A forked child has neither its descriptor nor its memory: while one of them is left, the kernel keeps the ring,
///    and what the ring holds.
pub(super) struct Ring {
    /// Rule 4. Dropped before the ring, whose number may be another file's afterwards.
    _own: OwnDescriptor,
    ring: IoUring,
    setup: &'static str,
    /// The error of rule 3.
    failed: Option<i32>,
    /// Rule 1.
    _not_send: PhantomData<*const ()>,
}

impl Ring {
    /// Creates a ring on this thread, which must be the one that uses it.
    ///
    /// # Errors
    /// As [`create`].
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        Self::make(|| create(entries))
    }

    /// The ring that `create` makes, and the name of its setup.
    ///
    /// # Errors
    /// Those of `create`.
    pub(super) fn make(create: impl FnOnce() -> io::Result<(IoUring, &'static str)>) -> io::Result<Self> {
        let (own, (ring, setup)) = OwnDescriptor::open(create, |(ring, _)| ring.as_raw_fd())?;
        Ok(Self { _own: own, ring, setup, failed: None, _not_send: PhantomData })
    }

    /// The name of its setup.
    pub(super) fn setup(&self) -> &'static str {
        self.setup
    }

    /// The number of the error that ended it, if one did.
    pub(super) fn failed(&self) -> Option<i32> {
        self.failed
    }

    /// Submits what is queued, and runs the completions that the kernel has put off.
    ///
    /// # Errors
    /// The number of an error that ends the ring.
    pub(super) fn submit(&mut self) -> Result<(), i32> {
        let result = self.ring.submit();
        self.check(result)
    }

    /// As [`Ring::submit`]; waits for a completion.
    pub(super) fn submit_and_wait(&mut self) -> Result<(), i32> {
        let result = self.ring.submit_and_wait(1);
        self.check(result)
    }

    /// As [`Ring::submit_and_wait`], for as long as `timeout`.
    pub(super) fn submit_and_wait_within(&mut self, timeout: Timespec) -> Result<(), i32> {
        let result = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout));
        self.check(result)
    }

    /// Rules 2 and 3.
    pub(super) fn check(&mut self, result: io::Result<usize>) -> Result<(), i32> {
        let Err(error) = result else { return Ok(()) };
        match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM | libc::ETIME) => Ok(()),
            number => Err(*self.failed.get_or_insert(number.unwrap_or(libc::EIO))),
        }
    }

    /// Returns whether there is anything to submit, or a completion that the kernel has put off.
    pub(super) fn is_pending(&mut self) -> bool {
        let queue = self.ring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    pub(super) fn requests(&mut self) -> SubmissionQueue<'_> {
        self.ring.submission()
    }

    /// The queue of requests, and the completions that are there.
    pub(super) fn queues(&mut self) -> (SubmissionQueue<'_>, CompletionQueue<'_>) {
        let (_, requests, completions) = self.ring.split();
        (requests, completions)
    }
}

/// Creates a ring. Returns it and the setup it has.
///
/// # Errors
/// The kernel's; `Unsupported` before Linux 5.11, which cannot wait with a timeout.
fn create(entries: u32) -> io::Result<(IoUring, &'static str)> {
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for (name, set_up) in SETUPS {
        let mut builder = IoUring::builder();
        // Rule 4 of `Ring`: a mapping keeps it as a descriptor does.
        builder.dontfork();
        set_up(&mut builder);
        match builder.build(entries) {
            Ok(ring) if ring.params().is_feature_ext_arg() && ring.params().is_feature_nodrop() => {
                return Ok((ring, name));
            }
            Ok(_) => return Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring without timed waits")),
            // What kernels say to flags they do not know.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// Creates a ring and passes one request through it.
///
/// # Errors
/// As [`create`], and the kernel's.
#[allow(unsafe_code)]
pub(in crate::device) fn try_ring() -> io::Result<()> {
    let (mut ring, _) = create(1)?;
    let nop = opcode::Nop::new().build();
    // SAFETY: the request refers to no memory.
    let pushed = unsafe { ring.submission().push(&nop) };
    pushed.map_err(io::Error::other)?;
    while let Err(error) = ring.submit_and_wait(1) {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    match ring.completion().next() {
        Some(entry) if entry.result() < 0 => Err(io::Error::from_raw_os_error(-entry.result())),
        Some(_) => Ok(()),
        None => Err(io::Error::other("no completion for a request")),
    }
}
