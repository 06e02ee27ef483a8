//! The device, written raw: the log's block size, mode and depth, without a log.
//!
//! Blocks go into a new, allocated file through a ring of the same depth as the log's driver, with O_DIRECT and O_DSYNC
//! and registered memory. Where io_uring is refused, one block at a time is written by `pwrite`, as the log's blocking
//! driver does.
//!
//! Rules of the unsafe code here:
//! 1. The buffers outlive the ring that has their addresses.
//! 2. A write names a buffer and a file that live until its completion has been taken: `write_blocks` returns only when
//!    nothing is in flight. Meanwhile no thread writes to the buffers; the kernel only reads them.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::types::{self, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use memmap2::MmapMut;

use super::{BLOCK_BYTES, DEPTH};
use crate::harness::{Outcome, files};

/// Size of the file that is written.
const FILE_BYTES: u64 = 1 << 30;

/// Longest measurement; a slow device is judged by what it writes in this time.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Longest wait for a completion before the queue is looked at again.
const WAIT: Timespec = Timespec::new().nsec(100_000_000);

/// The rate at which the device was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteLimit {
    /// Bytes a second.
    pub(crate) bytes_per_second: f64,
    /// `io_uring` or `pwrite`.
    pub(crate) driver: &'static str,
}

/// Writes a file in `directory` and removes it. `durable`: with O_DIRECT and O_DSYNC, else into the page cache.
pub(crate) fn write_rate(directory: &Path, durable: bool) -> Outcome<WriteLimit> {
    let path = directory.join("limit");
    let file = create(&path, durable).map_err(|error| format!("create {}: {error}", path.display()))?;
    let written = files::allocate(&file, FILE_BYTES).map_err(Into::into).and_then(|()| measure(&file, durable));
    std::fs::remove_file(&path)?;
    written
}

fn create(path: &Path, durable: bool) -> io::Result<File> {
    let open = |flags| OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path);
    if durable {
        open(libc::O_DIRECT | libc::O_DSYNC).or_else(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => open(libc::O_DSYNC),
            _ => Err(error),
        })
    } else {
        open(0)
    }
}

fn measure(file: &File, durable: bool) -> Outcome<WriteLimit> {
    let memory = (0..DEPTH).map(|number| filled(number as u8)).collect::<io::Result<Vec<_>>>()?;
    let ring = if durable { IoUring::new(DEPTH.next_power_of_two() as u32).ok() } else { None };
    let start = Instant::now();
    let (bytes, driver) = match ring {
        Some(mut ring) => (write_blocks(&mut ring, file, &memory)?, "io_uring"),
        None => (write_one_by_one(file, &memory)?, "pwrite"),
    };
    Ok(WriteLimit { bytes_per_second: bytes as f64 / start.elapsed().as_secs_f64(), driver })
}

fn filled(byte: u8) -> io::Result<MmapMut> {
    let mut memory = MmapMut::map_anon(BLOCK_BYTES)?;
    memory.fill(byte);
    Ok(memory)
}

fn write_one_by_one(file: &File, memory: &[MmapMut]) -> io::Result<u64> {
    let start = Instant::now();
    let mut offset = 0;
    for block in memory.iter().cycle() {
        if offset >= FILE_BYTES || start.elapsed() >= TIME_MAX {
            break;
        }
        file.write_all_at(block, offset)?;
        offset += BLOCK_BYTES as u64;
    }
    Ok(offset)
}

/// Has the kernel know the buffers.
fn register(ring: &IoUring, memory: &[MmapMut]) -> io::Result<()> {
    let vectors: Vec<libc::iovec> = memory
        .iter()
        .map(|block| libc::iovec { iov_base: block.as_ptr().cast_mut().cast(), iov_len: block.len() })
        .collect();
    // SAFETY: rule 1: the caller owns both and drops the ring first.
    unsafe { ring.submitter().register_buffers(&vectors) }
}

/// Keeps a write in flight from each buffer until the file or the time ends. Returns the bytes written.
fn write_blocks(ring: &mut IoUring, file: &File, memory: &[MmapMut]) -> io::Result<u64> {
    // A memlock limit below the buffers' size leaves plain writes.
    let registered = register(ring, memory).is_ok();
    let start = Instant::now();
    let (mut next, mut done, mut in_flight) = (0, 0, 0);
    let mut idle: Vec<usize> = (0..memory.len()).collect();
    let mut outcome = Ok(());
    loop {
        while outcome.is_ok() && next < FILE_BYTES && start.elapsed() < TIME_MAX {
            let Some(buffer) = idle.pop() else { break };
            let entry = entry(file, &memory[buffer], buffer, next, registered);
            // SAFETY: rule 2.
            if unsafe { ring.submission().push(&entry) }.is_err() {
                outcome = Err(io::Error::other("the submission queue is smaller than the depth"));
                break;
            }
            next += BLOCK_BYTES as u64;
            in_flight += 1;
        }
        if in_flight == 0 {
            return outcome.map(|()| done);
        }
        // Going on waiting is all that can be done about an error: writes are in flight. The wait is timed, so that a
        // wake-up that is lost costs this round, not the run.
        let _ = ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&WAIT));
        for completion in ring.completion() {
            in_flight -= 1;
            idle.push(completion.user_data() as usize);
            match completion.result() {
                written if written as usize == BLOCK_BYTES => done += BLOCK_BYTES as u64,
                errno if errno < 0 => outcome = Err(io::Error::from_raw_os_error(-errno)),
                _ => outcome = Err(io::ErrorKind::WriteZero.into()),
            }
        }
    }
}

fn entry(file: &File, block: &MmapMut, buffer: usize, offset: u64, registered: bool) -> squeue::Entry {
    let descriptor = types::Fd(file.as_raw_fd());
    let (address, length) = (block.as_ptr(), BLOCK_BYTES as u32);
    let entry = if registered {
        opcode::WriteFixed::new(descriptor, address, length, buffer as u16).offset(offset).build()
    } else {
        opcode::Write::new(descriptor, address, length).offset(offset).build()
    };
    entry.user_data(buffer as u64)
}
