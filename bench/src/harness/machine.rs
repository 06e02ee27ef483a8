//! The machine that a figure belongs to.

use std::fs;
use std::path::Path;

use super::report::Fields;

/// Describes this machine, and the file system that `directory` lies on.
pub(crate) fn describe(directory: &Path) -> Fields {
    let mut fields = Fields::default();
    fields.set("cpu", cpu_model().unwrap_or_else(|| std::env::consts::ARCH.to_owned()));
    fields.set("cores", std::thread::available_parallelism().map_or(0, |cores| cores.get()));
    fields.set("kernel", line_of("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()));
    fields.set("memory_bytes", memory_bytes().unwrap_or(0));
    if let Some((file_system, device)) = mount_of(directory) {
        fields.set("filesystem", file_system);
        fields.set("device", device);
    }
    fields
}

fn line_of(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned())
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}

/// File system type and device of the mount that holds `directory`: the longest mount point that leads to it.
fn mount_of(directory: &Path) -> Option<(String, String)> {
    let path = directory.canonicalize().ok()?;
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = text.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = Path::new(before.split(' ').nth(4)?);
        let mut kind = after.split(' ');
        path.starts_with(point).then_some((point.as_os_str().len(), kind.next()?.to_owned(), kind.next()?.to_owned()))
    });
    mounts.max_by_key(|(length, ..)| *length).map(|(_, file_system, device)| (file_system, device))
}
