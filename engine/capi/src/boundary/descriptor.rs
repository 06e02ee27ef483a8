//! Descriptors that a program polls for a reader.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::wait::{Descriptor, Timed};

/// A descriptor that is readable after a ring and, if this is given, each time that so much time has passed.
pub(super) fn open(every: Option<Duration>) -> Result<Descriptor> {
    let eventfd = eventfd()?;
    let Some(every) = every else { return Ok(Descriptor { eventfd, timed: None }) };
    let (epoll, timer) = (epoll()?, timer(every)?);
    watch(&epoll, &eventfd)?;
    watch(&epoll, &timer)?;
    Ok(Descriptor { eventfd, timed: Some(Timed { timer, epoll }) })
}

/// The descriptor that a system call returned.
fn owned(fd: i32) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: rule 4: the descriptor is new, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn eventfd() -> Result<File> {
    // SAFETY: rule 4: has no conditions.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(File::from)
}

fn timer(every: Duration) -> Result<File> {
    // SAFETY: rule 4: has no conditions.
    let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) })?;
    let time = libc::timespec { tv_sec: every.as_secs() as i64, tv_nsec: every.subsec_nanos().into() };
    let times = libc::itimerspec { it_interval: time, it_value: time };
    // SAFETY: rule 4: the descriptor is a timer, the times are there, and the old ones are not asked for.
    match unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &times, std::ptr::null_mut()) } {
        0 => Ok(timer.into()),
        _ => Err(Error::last_os_error()),
    }
}

/// A descriptor that is readable when one of those is that it watches.
fn epoll() -> Result<OwnedFd> {
    // SAFETY: rule 4: has no conditions.
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

fn watch(epoll: &OwnedFd, file: &File) -> Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    // SAFETY: rule 4: both descriptors are open, and the event is there.
    match unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, file.as_raw_fd(), &mut event) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}
