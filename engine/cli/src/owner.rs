//! The user that a log belongs to: files that another user's process makes in it, as root's does, are closed to that
//! user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::message;

/// Says so where the files that this process makes in a log do not belong to the log's user.
pub(crate) fn warn_of_another(log: &Path) {
    // The directory of the process itself belongs to its effective user.
    let (Ok(meta), Ok(process)) = (fs::metadata(log.join("meta")), fs::metadata("/proc/self")) else { return };
    let (owner, user) = (meta.uid(), process.uid());
    if owner != user {
        message::note(format_args!(
            "warning: the log belongs to user {owner}, and files that user {user} makes in it are closed to that user: a \
             service that writes the log can neither read nor write them; run this as its user: sudo -u '#{owner}'"
        ));
    }
}
