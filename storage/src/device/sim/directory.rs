//! A directory on the simulated disk.

use std::io;
use std::sync::Arc;

use super::change::{Change, check_plain};
use super::image::{FileId, Image};
use super::{Random, SimDisk, SimFile};
use crate::device::{Access, Directory, SegmentFile, Space, another_file};

/// A [`Directory`] of a [`SimDisk`].
#[derive(Debug)]
pub(super) struct SimDirectory {
    disk: SimDisk,
    name: Arc<str>,
}

impl SimDirectory {
    pub(super) fn new(disk: SimDisk, name: &str) -> Self {
        Self { disk, name: name.into() }
    }

    fn look<T>(&self, look: impl FnOnce(&Image, &mut Random) -> io::Result<T>) -> io::Result<T> {
        self.disk.lock().look(self.disk.boot(), look)
    }

    fn change(&self, change: Change<'_>) -> io::Result<Option<FileId>> {
        self.disk.lock().change(self.disk.boot(), change)
    }

    fn file(&self, id: FileId, access: Access) -> Arc<dyn SegmentFile> {
        Arc::new(SimFile::new(self.disk.clone(), Arc::clone(&self.name), id, access))
    }
}

impl Directory for SimDirectory {
    fn list(&self) -> io::Result<Vec<String>> {
        self.look(|image, random| {
            let mut names = image.names(&self.name)?;
            random.shuffle(&mut names);
            Ok(names)
        })
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let created = self.change(Change::Create { directory: &self.name, name, length })?;
        let id = created.ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(id, Access::Write))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn SegmentFile>> {
        let id = self.look(|image, _| check_plain(name).and_then(|()| image.find(&self.name, name)))?;
        Ok(self.file(id, access))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Change::Rename { directory: &self.name, from, to }).map(drop)
    }

    fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Change::Replace { directory: &self.name, from, to }).map(drop)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(Change::Link { directory: &self.name, from, to }).map(drop)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(Change::Remove { directory: &self.name, name }).map(drop)
    }

    fn remove_own(&self, name: &str, own: &dyn SegmentFile) -> io::Result<()> {
        let id = self.look(|image, _| check_plain(name).and_then(|()| image.find(&self.name, name)))?;
        if own.simulated().is_some_and(|file| file.id() == id) { self.remove(name) } else { Err(another_file(name)) }
    }

    fn space(&self) -> io::Result<Space> {
        self.look(|image, _| Ok(image.space()))
    }

    /// There is nothing that is not durable yet: only fails.
    fn sync(&self) -> io::Result<()> {
        self.look(|_, _| Ok(()))
    }

    fn path(&self) -> String {
        format!("sim:{}", self.name)
    }
}
