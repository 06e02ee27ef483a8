//! Directories that a run makes and takes away again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Outcome;

/// A new directory, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A directory below `parent`, or below the system's directory for temporary files.
    pub(crate) fn below(parent: Option<&Path>) -> Outcome<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("tapeline-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("create {}: {error}", path.display()))?;
        Ok(Self(path))
    }

    /// The directory's path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the directory's owner; the measurement stands.
        let _ = fs::remove_dir_all(&self.0);
    }
}
