//! Classes of failed calls: an error passes, or it is final.

use std::io;

use super::fs::DanglingLink;

/// Returns whether the call may succeed when it is made again: descriptors, memory or space have run out for a while,
/// or it was interrupted. A failed sync never passes, whatever its number: see `SyncFailed`.
pub fn is_passing(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    // An exceeded quota comes as a full disk without a number.
    error.kind() == io::ErrorKind::StorageFull
        || matches!(
            number,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOSPC | libc::EDQUOT | libc::EINTR | libc::EAGAIN)
        )
}

/// Returns whether a call failed for a reason that lies outside of the files' contents: a limit, a permission, a disk
/// or a file server that does not answer, a symbolic link that leads nowhere. The file may be intact then.
pub fn is_of_environment(error: &io::Error) -> bool {
    let is_known = errno_of(error).is_some() || error.kind() == io::ErrorKind::OutOfMemory;
    is_known || error.get_ref().is_some_and(|source| source.is::<DanglingLink>())
}

/// Returns whether a read failed because the device does not return what was written to it. Reading again gives the
/// same, as a rule.
pub(crate) fn is_of_medium(error: &io::Error) -> bool {
    matches!(errno_of(error), Some(libc::EIO | libc::EREMOTEIO | libc::EBADMSG | libc::EUCLEAN | libc::ENODATA))
}

/// The advice to the operator about an error of the kernel, as the end of a message. Empty where the error says it.
pub fn advice(error: &io::Error) -> &'static str {
    match errno_of(error) {
        Some(libc::EISDIR) => "; this is a directory, name a file",
        Some(libc::ENOTDIR) => "; this is below a file, name another place",
        Some(libc::EEXIST) => "; something of this name is there already, choose another",
        Some(libc::EMFILE) => "; raise the process's limit of open files (ulimit -n), or close some",
        Some(libc::ENFILE) => "; the machine has as many open files as it may, close some or raise fs.file-max",
        Some(libc::ENOSPC) => "; free space and try again",
        Some(libc::EDQUOT) => "; free space or raise the quota, and try again",
        Some(libc::EROFS) => "; choose a file system that is writable",
        Some(libc::EACCES | libc::EPERM) => "; check its owner and permissions, or run this as its owner",
        Some(libc::ENOMEM) => "; free memory and try again",
        Some(libc::ENAMETOOLONG) => "; choose a shorter name",
        Some(libc::ELOOP) => "; a symbolic link leads in a circle, or is not followed here, name the place itself",
        Some(libc::EAGAIN) => "; free threads or memory and try again (ulimit -u)",
        Some(libc::EFBIG) => "; raise the process's limit of file sizes (ulimit -f), or choose smaller files",
        Some(libc::ETXTBSY) => "; a program runs from this file, end that first",
        Some(libc::EBUSY) => "; something else uses it, end that first",
        Some(libc::EIO | libc::EREMOTEIO | libc::EBADMSG | libc::EUCLEAN | libc::ENODATA) => {
            "; the disk fails: see the kernel's messages (dmesg), and copy the log to another disk"
        }
        Some(libc::ENXIO | libc::ENODEV) => "; the device is gone, bring it back and try again",
        Some(libc::ESTALE) => "; the file server has lost it, mount it anew and try again",
        Some(
            libc::ETIMEDOUT
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOTCONN
            | libc::ECONNREFUSED
            | libc::ECONNRESET
            | libc::ESHUTDOWN,
        ) => "; the file server does not answer, try again when it does",
        _ => "",
    }
}

/// The sync of what was written before has failed: the kernel may have dropped the bytes, and calls them clean from now
/// on, so that the next sync would succeed without them. Final.
#[derive(Debug, thiserror::Error)]
#[error("sync: {0}")]
pub(crate) struct SyncFailed(io::Error);

impl SyncFailed {
    /// The error of a sync, as one that is final.
    pub(crate) fn of(error: io::Error) -> io::Error {
        io::Error::other(Self(error))
    }
}

/// The kernel's number for an error, also of one that is wrapped.
pub(crate) fn errno_of(error: &io::Error) -> Option<i32> {
    let wrapped = || {
        let source = error.get_ref()?;
        let sync = source.downcast_ref::<SyncFailed>().map(|failed| &failed.0);
        errno_of(sync.or_else(|| source.downcast_ref::<io::Error>())?)
    };
    error.raw_os_error().or_else(wrapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_a_person_can_do_something_about_say_what() {
        for number in [
            libc::EISDIR,
            libc::ENOTDIR,
            libc::EEXIST,
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOSPC,
            libc::EDQUOT,
            libc::EROFS,
            libc::EACCES,
            libc::EPERM,
            libc::ENOMEM,
            libc::ENAMETOOLONG,
            libc::ELOOP,
            libc::EAGAIN,
            libc::EFBIG,
            libc::ETXTBSY,
            libc::EBUSY,
            libc::EIO,
            libc::EBADMSG,
            libc::ENODEV,
            libc::ESTALE,
            libc::ETIMEDOUT,
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert!(advice(&error).starts_with("; "), "{error}");
            assert_eq!(advice(&io::Error::other(error)), advice(&io::Error::from_raw_os_error(number)), "{number}");
        }
        assert_eq!(advice(&io::Error::from_raw_os_error(libc::EBADF)), "");
        assert_eq!(advice(&io::Error::other("the file has more bytes")), "");
    }

    #[test]
    fn passing_errors_pass_and_a_failed_sync_never_does() {
        let passing = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSPC, libc::EDQUOT, libc::EINTR, libc::EAGAIN];
        for number in passing {
            let error = || io::Error::from_raw_os_error(number);
            assert!(is_passing(&error()), "{number}");
            let failed = SyncFailed::of(error());
            assert!(!is_passing(&failed), "{number}");
            assert_eq!(errno_of(&failed), Some(number));
        }
        for number in [libc::EIO, libc::EROFS, libc::EBADF, libc::ENOENT, libc::EACCES] {
            assert!(!is_passing(&io::Error::from_raw_os_error(number)), "{number}");
        }
        let quota = io::Error::new(io::ErrorKind::StorageFull, io::Error::from_raw_os_error(libc::EDQUOT));
        assert!(is_passing(&quota));
        assert_eq!(errno_of(&quota), Some(libc::EDQUOT));
    }
}
