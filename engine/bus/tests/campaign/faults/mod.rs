//! A kernel that refuses some system calls of a bus on a real disk: each is reported or tried again, and nothing that
//! was acknowledged is lost.
//!
//! Each seed draws a system call, an error, and the calls that fail with it (`kernel`), and a bus that is opened,
//! written, read, trimmed and closed meanwhile (`workload`). On a kernel that lets no process filter its own calls the
//! campaign says so, and tests nothing.

mod kernel;
mod workload;

use std::time::Duration;

use libc::{
    EAGAIN, EBUSY, EFAULT, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EPERM, SYS_clone3, SYS_eventfd2, SYS_fallocate,
    SYS_fcntl, SYS_fdatasync, SYS_flock, SYS_fsync, SYS_ftruncate, SYS_getdents64, SYS_io_uring_enter,
    SYS_io_uring_register, SYS_io_uring_setup, SYS_linkat, SYS_madvise, SYS_mkdirat, SYS_mmap, SYS_openat, SYS_pread64,
    SYS_preadv, SYS_pwrite64, SYS_pwritev2, SYS_read, SYS_renameat2, SYS_statx, SYS_unlinkat, SYS_write, c_int, c_long,
};
use tapeline::config::Durability;
use tapeline_storage::device::sim::Random;

use crate::runner::{Campaign, child, note};
use kernel::Refusal;

/// A system call, its name, and the errors that a kernel may answer it with.
type Kind = (c_long, &'static str, &'static [c_int]);

const KINDS: &[Kind] = &[
    (SYS_openat, "openat", &[EMFILE, ENFILE, ENOMEM, EINTR, EIO, ENOSPC]),
    (SYS_mkdirat, "mkdirat", &[ENOSPC, EIO, ENOMEM]),
    (SYS_ftruncate, "ftruncate", &[ENOSPC, EINTR, EIO]),
    (SYS_fallocate, "fallocate", &[ENOSPC, EINTR, EIO]),
    (SYS_fsync, "fsync", &[EIO, ENOSPC, EINTR]),
    (SYS_fdatasync, "fdatasync", &[EIO, ENOSPC, EINTR]),
    (SYS_renameat2, "renameat2", &[ENOSPC, EIO, ENOMEM]),
    (SYS_linkat, "linkat", &[ENOSPC, EIO, ENOMEM]),
    (SYS_unlinkat, "unlinkat", &[EIO, ENOMEM, ENOSPC]),
    (SYS_mmap, "mmap", &[ENOMEM, EAGAIN, ENFILE]),
    (SYS_madvise, "madvise", &[ENOMEM, EAGAIN, EINTR, EFAULT]),
    (SYS_pwritev2, "pwritev2", &[EIO, ENOSPC, EINTR, EAGAIN, ENOMEM]),
    (SYS_pwrite64, "pwrite64", &[EIO, ENOSPC, EINTR, EAGAIN, ENOMEM]),
    (SYS_write, "write", &[EIO, ENOSPC, EINTR]),
    (SYS_preadv, "preadv", &[EIO, EINTR, ENOMEM]),
    (SYS_pread64, "pread64", &[EIO, EINTR, ENOMEM]),
    (SYS_read, "read", &[EIO, EINTR]),
    (SYS_statx, "statx", &[EIO, ENOMEM]),
    (SYS_fcntl, "fcntl", &[EINTR, ENOMEM]),
    (SYS_flock, "flock", &[EINTR, ENOMEM]),
    (SYS_getdents64, "getdents64", &[EIO, ENOMEM]),
    (SYS_eventfd2, "eventfd2", &[EMFILE, ENFILE, ENOMEM]),
    (SYS_clone3, "clone3", &[EAGAIN, ENOMEM]),
    (SYS_io_uring_setup, "io_uring_setup", &[ENOMEM, EMFILE, EPERM]),
    (SYS_io_uring_register, "io_uring_register", &[ENOMEM, EBUSY]),
    (SYS_io_uring_enter, "io_uring_enter", &[EINTR, EAGAIN, EBUSY]),
];

/// Errors that pass: what a caller may try again. Any other answer to a write or a sync is final.
const PASSING: [c_int; 7] = [EMFILE, ENFILE, ENOMEM, ENOSPC, EINTR, EAGAIN, EBUSY];
/// The calls that make data durable: after one of them failed nothing is known of the data.
const FINAL: [c_long; 5] = [SYS_fsync, SYS_fdatasync, SYS_pwritev2, SYS_pwrite64, SYS_io_uring_enter];

#[test]
#[ignore = "a campaign: scripts/crash faults runs it"]
fn refused_calls_are_reported_or_tried_again() {
    let campaign = Campaign {
        child: "faults::case",
        repeat: "scripts/crash faults 1",
        cases_per_process: 1,
        patience: Duration::from_secs(60),
        cases: ("TAPELINE_FAULTS", 40),
    };
    campaign.run();
}

#[test]
fn case() {
    child(|seed| {
        let mut random = Random::new(seed);
        let (refusal, name) = draw(&mut random);
        let error = std::io::Error::from_raw_os_error(refusal.error);
        note(&format!("{name} call {} and {} more: {error}", refusal.first, refusal.count - 1));
        workload::run(refusal, &mut random)
    });
}

fn draw(random: &mut Random) -> (Refusal, &'static str) {
    let (call, name, errors) = KINDS[random.below(KINDS.len() as u64) as usize];
    let error = errors[random.below(errors.len() as u64) as usize];
    // Mostly early: a bus makes few calls of most kinds.
    let most = [4, 16, 64, 300][random.below(4) as usize];
    let count = [1, 1, 2, 5, 20][random.below(5) as usize];
    (Refusal { call, error, first: random.below(most), count }, name)
}

/// Returns whether a bus may end its log on the word of such a call. A sync of bytes that are in the page cache is
/// final whatever its number: the kernel may have dropped them.
fn may_be_final(refusal: &Refusal, durability: Durability) -> bool {
    let is_sync_of_cache = durability == Durability::PageCache && [SYS_fsync, SYS_fdatasync].contains(&refusal.call);
    let is_data = FINAL.contains(&refusal.call);
    let is_final = !PASSING.contains(&refusal.error) || is_data && ![EINTR, EAGAIN, ENOSPC].contains(&refusal.error);
    is_final || is_sync_of_cache
}
