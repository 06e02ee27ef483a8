//! Support that the tests of the load share.

use std::path::{Path, PathBuf};

use super::lines::Lines;
use crate::harness::scratch::Scratch;

/// A file that is removed again.
pub(super) struct Written {
    _scratch: Scratch,
    path: PathBuf,
}

impl Written {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let scratch = Scratch::below(None).unwrap();
        let path = scratch.path().join(name);
        std::fs::write(&path, text).unwrap();
        Self { _scratch: scratch, path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn lines(&self) -> Lines {
        Lines::open(&self.path).unwrap()
    }
}

/// A published trace. Where there is none, that is said.
pub(super) fn real_trace(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("TAPELINE_DATA").map_or_else(beside, PathBuf::from).join("traces").join(name);
    if !path.is_file() {
        eprintln!("skipped: no {}", path.display());
        return None;
    }
    Some(path)
}
