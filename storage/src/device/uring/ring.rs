//! A ring, with the best setup that the kernel knows.

use std::io;

use io_uring::{Builder, IoUring, opcode};

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

/// Creates a ring. Returns it and the setup it has. The calling thread must be the one that uses it.
///
/// # Errors
/// The kernel's; `Unsupported` before Linux 5.11, which cannot wait with a timeout.
pub(super) fn create(entries: u32) -> io::Result<(IoUring, &'static str)> {
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for (name, set_up) in SETUPS {
        let mut builder = IoUring::builder();
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
