//! A disk whose power can be cut: an ext4 file system in a file, on a loop device.
//!
//! The test orders the file system to stop without writing anything more, neither data nor its journal. Mounted again,
//! it is what it would be after a power cut, but for one thing: the device keeps all it was given, flushed or not.
//!
//! The image may lie on another such disk, which can be frozen: then what this one is given stays in flight.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::PATIENCE;
use crate::scratch::Scratch;

/// Of the file system; the file that holds it is sparse.
const DISK_BYTES: u64 = 1 << 30;

/// A mounted file system. Dropping it unmounts, which detaches the loop device, and removes it.
pub(super) struct Disk {
    scratch: Scratch,
    /// The file that the file system is in.
    image: PathBuf,
    is_mounted: bool,
    cuts: u64,
}

impl Disk {
    pub(super) fn new() -> Self {
        let scratch = Scratch::new("power");
        let image = scratch.path().join("image");
        Self::make(scratch, image, DISK_BYTES)
    }

    /// A disk whose image lies on this one. Drop it first.
    pub(super) fn on(other: &Self) -> Self {
        Self::make(Scratch::new("power-upper"), other.mount_point().join("image"), DISK_BYTES / 2)
    }

    fn make(scratch: Scratch, image: PathBuf, bytes: u64) -> Self {
        let mut disk = Self { scratch, image, is_mounted: false, cuts: 0 };
        std::fs::create_dir_all(disk.mount_point()).expect("creates");
        File::create(&disk.image).and_then(|file| file.set_len(bytes)).expect("creates the image");
        run("mkfs.ext4", &["-q", "-F"], &[&disk.image]).expect("makes a file system");
        disk.mount();
        disk
    }

    pub(super) fn mount_point(&self) -> PathBuf {
        self.scratch.path().join("mount")
    }

    /// A file that is not synced: it must be gone after a cut, else that was none. A new file each time, because ext4
    /// hurries to write what replaces another.
    fn unsynced(&self) -> PathBuf {
        self.mount_point().join(format!("unsynced-{}", self.cuts))
    }

    /// From here on nothing reaches the disk.
    pub(super) fn cut(&mut self) {
        // EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH of the kernel's fs/ext4/ext4.h.
        const SHUTDOWN: libc::Ioctl = libc::_IOR::<u32>(b'X' as u32, 125);
        let no_log_flush: u32 = 2;
        self.cuts += 1;
        std::fs::write(self.unsynced(), "not gone").expect("writes");
        let root = File::open(self.mount_point()).expect("opens");
        // SAFETY: the kernel reads one u32, which lives until the call returns.
        #[allow(unsafe_code, reason = "the standard library has no ioctl")]
        let result = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const no_log_flush) };
        assert_eq!(result, 0, "cannot stop the file system: {}", std::io::Error::last_os_error());
    }

    /// Nothing is written to this disk until what is returned is dropped.
    pub(super) fn freeze(&self) -> Frozen {
        run("fsfreeze", &["--freeze"], &[&self.mount_point()]).expect("freezes");
        Frozen(self.mount_point())
    }

    /// Writes that the disk was given and has not done.
    pub(super) fn writes_in_flight(&self) -> u64 {
        let device = std::fs::metadata(self.mount_point()).expect("mounted").dev();
        let path = format!("/sys/dev/block/{}:{}/inflight", libc::major(device), libc::minor(device));
        let counts = std::fs::read_to_string(path).expect("the device's counts");
        counts.split_whitespace().nth(1).and_then(|writes| writes.parse().ok()).expect("reads and writes")
    }

    /// Off and on again.
    pub(super) fn restart(&mut self) {
        self.unmount().expect("unmounts");
        self.mount();
        let unsynced = std::fs::read_to_string(self.unsynced()).unwrap_or_default();
        assert_eq!(unsynced, "", "the power cut was none");
    }

    /// Mounts, which replays the journal.
    fn mount(&mut self) {
        run("mount", &["-t", "ext4", "-o", "loop"], &[&self.image, &self.mount_point()]).expect("mounts");
        self.is_mounted = true;
    }

    /// The kernel clears a process's ring away after the process has ended, and the ring holds its files: the file
    /// system is busy until then, and the kernel does not report when that is.
    fn unmount(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            match run("umount", &[], &[&self.mount_point()]) {
                Err(error) if error.contains("busy") && start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                outcome => {
                    self.is_mounted = outcome.is_err();
                    return outcome;
                }
            }
        }
    }
}

/// A disk that stands still.
pub(super) struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        run("fsfreeze", &["--unfreeze"], &[&self.0]).expect("thaws");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted && self.unmount().is_err() {
            let _ = run("umount", &["-l"], &[&self.mount_point()]);
        }
    }
}

/// Runs a tool, in English.
fn run(tool: &str, arguments: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output = Command::new(tool).args(arguments).args(paths).env("LC_ALL", "C").output();
    let output = output.map_err(|error| format!("{tool}: {error}; install e2fsprogs (mkfs.ext4) and mount (mount)"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{tool}: {}; this test needs root", String::from_utf8_lossy(&output.stderr).trim_end()))
    }
}
