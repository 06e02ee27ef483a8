//! Logs within logs: a new one is refused there, because whatever removes or copies the outer log would take it along.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::format::META_MAGIC;

/// The file that makes a directory a log.
pub(super) const META: &str = "meta";

/// The log that a new one at `path` would lie in.
pub(super) fn log_around(path: &Path) -> Option<PathBuf> {
    existing(path)?.ancestors().find(|place| is_log(place)).map(Path::to_owned)
}

fn is_log(place: &Path) -> bool {
    let (meta, mut magic) = (place.join(META), [0; META_MAGIC.len()]);
    // A named pipe would wait for its writer.
    meta.is_file() && File::open(&meta).and_then(|mut meta| meta.read_exact(&mut magic)).is_ok() && magic == META_MAGIC
}

/// The part of a path that exists.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|part| {
        let part = if part.as_os_str().is_empty() { Path::new(".") } else { part };
        part.canonicalize().ok()
    })
}
