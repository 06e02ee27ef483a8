//! Directories that go away, and buses in them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use futures_lite::future::block_on;
use tapeline::{EventBus, EventBusConfig, EventBusConfigBuilder};

/// A directory of its own for one test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{name}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    /// In a file system in memory, where there is one: for logs of many files, which a disk takes long to sync.
    pub(crate) fn in_memory(name: &str) -> Self {
        let scratch = Self::new(name);
        let memory = Path::new("/dev/shm");
        let path = memory.join(format!("tapeline-{}", scratch.0.file_name().unwrap_or_default().display()));
        match memory.is_dir() {
            true => Self(path),
            false => scratch,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A configuration of a bus here, with small segments.
    pub(crate) fn config(&self) -> EventBusConfigBuilder {
        EventBusConfig::builder().directory(&self.0).segment_bytes(4 << 20)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The seed of a randomised test: `TAPELINE_SEED`, or the same one each time. Prints it, so that a failure can be
/// repeated.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("TAPELINE_SEED").map_or(1, |seed| seed.parse().expect("TAPELINE_SEED is a number"));
    println!("TAPELINE_SEED={seed}");
    seed
}

pub(crate) fn open(config: EventBusConfigBuilder) -> EventBus {
    block_on(EventBus::new(config.build().expect("configuration"))).expect("opens")
}
