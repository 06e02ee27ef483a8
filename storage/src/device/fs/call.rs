//! The system calls on files that `std` lacks, with errors as [`io::Error`]. Interrupted calls are repeated.
//!
//! Rule of the unsafe code here: every pointer passed lives until the call returns, and the kernel keeps none.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::{mem, ptr};

use libc::{c_int, c_uint};

use super::kind::{DanglingLink, not_a_file};
use crate::device::Space;

/// Mode of the files of a log.
pub(super) const FILE_MODE: libc::mode_t = 0o600;

/// An exceeded quota is a full disk to us: new events are refused until there is space again.
pub(in crate::device) fn kernel_error(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EDQUOT) => io::Error::new(io::ErrorKind::StorageFull, error),
        _ => error,
    }
}

fn check(mut call: impl FnMut() -> c_int) -> io::Result<c_int> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(kernel_error(error));
        }
    }
}

/// A name as the kernel wants it. One name: no path, so that no directory is left through it.
///
/// # Errors
/// `InvalidInput` for anything but a plain file name.
pub(super) fn plain_name(name: &str) -> io::Result<CString> {
    let plain = !matches!(name, "" | "." | "..") && !name.contains('/');
    let name = CString::new(name).ok().filter(|_| plain);
    name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a plain file name"))
}

/// Opens a regular file. A symbolic link is followed, unless `flags` create the file.
///
/// # Errors
/// The kernel's; [`not_a_file`], or [`dangling_link`] where that is the reason.
pub(super) fn open_at(directory: &File, name: &CStr, flags: c_int) -> io::Result<File> {
    let creates = flags & libc::O_CREAT != 0;
    let flags = flags | libc::O_CLOEXEC | if creates { libc::O_NOFOLLOW } else { 0 };
    // The open of a named pipe would wait for the other end. The flag goes again: io_uring would not wait for the disk.
    let file = match open_any(directory, name, flags | libc::O_NONBLOCK) {
        Err(error) if !creates => return Err(reason_for(error, directory, name)),
        opened => opened?,
    };
    match not_a_file(file.metadata()?.mode()) {
        Some(error) => return Err(error),
        None => set_flags(&file, flags)?,
    }
    Ok(file)
}

/// The error of an open that was refused, in words that say more where the name is no regular file's.
fn reason_for(error: io::Error, directory: &File, name: &CStr) -> io::Error {
    match mode_at(directory, name, 0) {
        Ok(mode) => not_a_file(mode).unwrap_or(error),
        Err(_) if error.kind() == io::ErrorKind::NotFound => dangling_link(directory, name).unwrap_or(error),
        Err(_) => error,
    }
}

/// Sets the flags of an open file that can change.
fn set_flags(file: &File, flags: c_int) -> io::Result<()> {
    // SAFETY: no pointers are involved.
    check(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) }).map(drop)
}

/// The mode of what has a name in a directory; `flags` are those of `fstatat`.
fn mode_at(directory: &File, name: &CStr, flags: c_int) -> io::Result<libc::mode_t> {
    // SAFETY: zeros are a valid value of the structure.
    let mut found: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: the rule of this module.
    check(|| unsafe { libc::fstatat(directory.as_raw_fd(), name.as_ptr(), &raw mut found, flags) })?;
    Ok(found.st_mode)
}

/// The error of a name that leads nowhere, if it is a symbolic link.
pub(super) fn dangling_link(directory: &File, name: &CStr) -> Option<io::Error> {
    let mode = mode_at(directory, name, libc::AT_SYMLINK_NOFOLLOW).ok()?;
    if mode & libc::S_IFMT != libc::S_IFLNK {
        return None;
    }
    let mut target = [0u8; libc::PATH_MAX as usize];
    let (start, length) = (target.as_mut_ptr().cast(), target.len());
    // SAFETY: the rule of this module; the kernel writes at most `length` bytes.
    let call = || unsafe { libc::readlinkat(directory.as_raw_fd(), name.as_ptr(), start, length) } as c_int;
    let length = usize::try_from(check(call).ok()?).ok()?;
    Some(DanglingLink::error(String::from_utf8_lossy(target.get(..length)?).into_owned()))
}

/// Opens the directory once more, with a position of its own.
pub(super) fn reopen_directory(directory: &File) -> io::Result<File> {
    open_any(directory, c".", libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)
}

fn open_any(directory: &File, name: &CStr, flags: c_int) -> io::Result<File> {
    // SAFETY: the rule of this module.
    let descriptor = check(|| unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr(), flags, FILE_MODE) })?;
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Returns whether the name exists, even as a dangling link.
pub(super) fn exists_at(directory: &File, name: &CStr) -> io::Result<bool> {
    match open_any(directory, name, libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file.
pub(super) fn unlink_at(directory: &File, name: &CStr) -> io::Result<()> {
    // SAFETY: the rule of this module.
    check(|| unsafe { libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
}

/// Renames within a directory; `flags` are those of `renameat2`.
pub(super) fn rename_at(directory: &File, from: &CStr, to: &CStr, flags: c_uint) -> io::Result<()> {
    let directory = directory.as_raw_fd();
    // SAFETY: the rule of this module.
    check(|| unsafe { libc::renameat2(directory, from.as_ptr(), directory, to.as_ptr(), flags) }).map(drop)
}

/// Gives a file of a directory a second name in it.
pub(super) fn link_at(directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
    let directory = directory.as_raw_fd();
    // SAFETY: the rule of this module.
    check(|| unsafe { libc::linkat(directory, from.as_ptr(), directory, to.as_ptr(), 0) }).map(drop)
}

/// Allocates the file's first `length` bytes, which then read as zeros.
pub(super) fn allocate(file: &File, length: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(length).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    // SAFETY: no pointers are involved.
    check(|| unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) }).map(drop)
}

/// Space of the file system that the file lies in.
pub(super) fn space(file: &File) -> io::Result<Space> {
    // SAFETY: zeros are a valid value of plain numbers.
    let mut found: libc::statvfs = unsafe { mem::zeroed() };
    // SAFETY: the rule of this module.
    check(|| unsafe { libc::fstatvfs(file.as_raw_fd(), &raw mut found) })?;
    let unit = found.f_frsize;
    match found.f_blocks {
        // Some file systems do not say.
        0 => Ok(Space::UNKNOWN),
        blocks => Ok(Space { free: found.f_bavail.saturating_mul(unit), total: blocks.saturating_mul(unit) }),
    }
}

/// Drops the file's clean pages from the page cache.
pub(super) fn drop_cache(file: &File) -> io::Result<()> {
    advise(file, 0, 0, libc::POSIX_FADV_DONTNEED)
}

/// Begins to bring a part of the file into the page cache.
pub(super) fn fetch(file: &File, part: Range<u64>) -> io::Result<()> {
    let too_far = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let (from, length) =
        (part.start.try_into().map_err(too_far)?, (part.end - part.start).try_into().map_err(too_far)?);
    advise(file, from, length, libc::POSIX_FADV_WILLNEED)
}

fn advise(file: &File, from: libc::off_t, length: libc::off_t, advice: c_int) -> io::Result<()> {
    // SAFETY: no pointers are involved.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), from, length, advice) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Takes the exclusive `flock` of the open file; `WouldBlock` if another open file holds it.
pub(super) fn try_lock(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: no pointers are involved.
    check(|| unsafe { libc::flock(descriptor, libc::LOCK_EX | libc::LOCK_NB) }).map(drop)
}

/// Closes a descriptor that the caller owns. May be called in a forked child.
pub(super) fn close(descriptor: RawFd) {
    // SAFETY: no pointers are involved. An error leaves the descriptor closed, too.
    unsafe { libc::close(descriptor) };
}

/// Returns whether the name in the directory is that of the open file. A symbolic link is not.
pub(super) fn is_name_of(directory: &File, name: &CStr, descriptor: RawFd) -> io::Result<bool> {
    // SAFETY: zeros are a valid value of the structure.
    let zeroed: libc::stat = unsafe { mem::zeroed() };
    let (mut named, mut open) = (zeroed, zeroed);
    let no_link = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: the rule of this module.
    check(|| unsafe { libc::fstatat(directory.as_raw_fd(), name.as_ptr(), &raw mut named, no_link) })?;
    // SAFETY: the rule of this module.
    check(|| unsafe { libc::fstat(descriptor, &raw mut open) })?;
    Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino))
}

/// Puts `O_DIRECT` on an open file.
pub(super) fn set_direct(file: &File) -> io::Result<()> {
    set_flags(file, flags(file)? | libc::O_DIRECT)
}

/// Takes `O_DIRECT` off an open file.
pub(super) fn set_buffered(file: &File) -> io::Result<()> {
    set_flags(file, flags(file)? & !libc::O_DIRECT)
}

/// The status flags of an open file.
fn flags(file: &File) -> io::Result<c_int> {
    // SAFETY: no pointers are involved.
    check(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) })
}

/// Reads directory entries as the kernel lays them out (`linux_dirent64`); 0 at the end.
pub(super) fn directory_entries(directory: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let (start, length) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the rule of this module; the kernel writes at most `length` bytes.
    let call = || unsafe { libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), start, length) } as c_int;
    check(call).map(|bytes| bytes as usize)
}

/// Copies one byte out of each of `addresses` of this process. Where a load would raise SIGBUS or SIGSEGV, this fails.
pub(super) fn touch(addresses: &[*const u8]) -> io::Result<()> {
    let mut bytes = vec![0u8; addresses.len()];
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let remote = |address: &*const u8| libc::iovec { iov_base: address.cast_mut().cast(), iov_len: 1 };
    let remote: Vec<_> = addresses.iter().map(remote).collect();
    let count = remote.len() as libc::c_ulong;
    // SAFETY: plain system call.
    let process = unsafe { libc::getpid() };
    // SAFETY: the rule of this module; the kernel writes into `bytes` alone and checks the addresses it reads.
    let copied = unsafe { libc::process_vm_readv(process, ptr::from_ref(&local), 1, remote.as_ptr(), count, 0) };
    match usize::try_from(copied) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(copied) if copied < bytes.len() => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Ok(_) => Ok(()),
    }
}
