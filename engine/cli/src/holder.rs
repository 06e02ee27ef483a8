//! The process that has a log open for writing, as the kernel lists the locks of files.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

/// The holder of the lock of the log in this directory, for messages. `None` where the kernel does not list it: a
/// process of another container or machine.
pub(crate) fn of(directory: &Path) -> Option<String> {
    let lock = fs::metadata(directory.join("lock")).ok()?;
    let device = lock.st_dev();
    let file = format!("{:02x}:{:02x}:{}", libc::major(device), libc::minor(device), lock.st_ino());
    let process = holder_of(&fs::read_to_string("/proc/locks").ok()?, &file)?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    match name.trim() {
        "" => Some(format!("process {process}")),
        name => Some(format!("process {process} ({name})")),
    }
}

/// The process that holds a lock of this file, by `major:minor:inode`, in the lines of `/proc/locks`.
fn holder_of(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        // A process that waits for a lock has `->` in place of the type.
        let [_, "FLOCK", _, _, process, place, ..] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        (place == file).then(|| process.parse().ok().filter(|&process| process > 0))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_found_and_those_that_wait_are_none() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fe:00:12 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 8 fe:00:1234 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 fe:00:13 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 9 fe:00:12 0 EOF\n\
                     4: -> FLOCK  ADVISORY  WRITE 10 fe:00:14 0 EOF\n";
        assert_eq!(holder_of(locks, "fe:00:12"), Some(9));
        assert_eq!(holder_of(locks, "fe:00:1234"), Some(8));
        // In another container.
        assert_eq!(holder_of(locks, "fe:00:13"), None);
        assert_eq!(holder_of(locks, "fe:00:14"), None);
    }
}
