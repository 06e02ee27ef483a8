//! Names that stand for something else than a regular file, as errors that say so.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A name was not opened: what has it is no regular file.
#[derive(Debug, thiserror::Error)]
#[error("this is {0}, not a regular file")]
struct NotAFile(&'static str);

/// The error of something of this mode that is to be a regular file. `None` if it is one.
pub(super) fn not_a_file(mode: libc::mode_t) -> Option<io::Error> {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFREG => return None,
        libc::S_IFDIR => "a directory",
        libc::S_IFIFO => "a named pipe",
        libc::S_IFSOCK => "a socket",
        libc::S_IFBLK | libc::S_IFCHR => "a device",
        _ => "something else",
    };
    Some(io::Error::new(io::ErrorKind::InvalidInput, NotAFile(kind)))
}

/// The error of a name that stands for something else than a regular file. `None` also where nothing has the name.
pub(crate) fn not_a_file_at(path: &Path) -> Option<io::Error> {
    not_a_file(path.metadata().ok()?.mode())
}

/// Returns whether a name was not opened because it is that of a directory, a pipe, a socket or a device, or of a
/// symbolic link to one: it holds none of the log's bytes.
pub(crate) fn is_no_file(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<NotAFile>())
}

/// A name was not opened: it is a symbolic link, and there is nothing where it leads. What it led to may come back.
#[derive(Debug, thiserror::Error)]
#[error(
    "this is a symbolic link to {target}, and nothing is there; bring that back (is its disk mounted?), or remove the link if it is gone for good"
)]
pub(in crate::device) struct DanglingLink {
    target: String,
}

impl DanglingLink {
    /// The error. Its kind is not `NotFound`: a file that is not found is one that the log may do without.
    pub(super) fn error(target: String) -> io::Error {
        io::Error::other(Self { target })
    }
}
