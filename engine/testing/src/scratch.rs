//! Directories that go away.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty directory for one test, which its drop removes.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// On the disk that holds what Cargo builds, so that a test that writes past the page cache can.
    pub fn new(name: &str) -> Self {
        let program = std::env::current_exe().expect("a program has a path");
        // target/PROFILE/deps/PROGRAM
        let target = program.ancestors().nth(3).expect("tests lie below target");
        Self::below(&target.join("tmp"), name)
    }

    /// In a file system in memory, where there is one: it has no direct writes, and syncs many files at no cost.
    pub fn in_memory(name: &str) -> Option<Self> {
        let memory = Path::new("/dev/shm");
        if !memory.is_dir() {
            println!("there is no {}", memory.display());
            return None;
        }
        Some(Self::below(memory, name))
    }

    fn below(root: &Path, name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("tapeline-{name}-{}-{number}", std::process::id()));
        // An earlier process of the same number may have been killed before it removed its own.
        let _ = std::fs::remove_dir_all(&path);
        DirBuilder::new().recursive(true).mode(0o700).create(&path).expect("a directory for a test");
        Self(path)
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_empty_apart_and_gone_afterwards() {
        let (one, other) = (Scratch::new("same"), Scratch::new("same"));
        assert_ne!(one.path(), other.path());
        std::fs::write(one.path().join("file"), "x").expect("writes");
        assert_eq!(std::fs::read_dir(other.path()).expect("is there").count(), 0);
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && other.path().exists());
    }
}
