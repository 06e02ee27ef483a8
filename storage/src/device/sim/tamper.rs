//! Changes that tests make to a disk past the device. None of them is a step, and none of them draws a random number.

use super::SimDisk;
use super::image::FileId;
use super::machine::Machine;
use super::sparse::SparseFile;

/// All of these panic if the directory or the file is not there: a test that damages nothing would prove nothing.
impl SimDisk {
    /// File names in a directory, in order; none if there is no such directory.
    pub fn files(&self, directory: &str) -> Vec<String> {
        self.lock().image.names(directory).unwrap_or_default()
    }

    /// The bytes of a file.
    ///
    /// # Panics
    /// If it is not there.
    pub fn read_file(&self, directory: &str, name: &str) -> Vec<u8> {
        self.with(directory, name, |file| {
            let mut bytes = vec![0; file.length() as usize];
            file.copy_to(&mut bytes);
            bytes
        })
    }

    /// Makes reads of the page at `offset` fail with `EIO`. Lasts until the page is cut off.
    ///
    /// # Panics
    /// If the file is not there.
    pub fn set_unreadable(&self, directory: &str, name: &str, offset: u64) {
        self.with(directory, name, |file| file.set_unreadable(offset));
    }

    /// Changes one byte.
    ///
    /// # Panics
    /// If the file is not there or ends before the byte.
    pub fn corrupt(&self, directory: &str, name: &str, offset: u64, damage: impl FnOnce(u8) -> u8) {
        self.with(directory, name, |file| {
            let mut byte = [0];
            assert_eq!(file.read(&mut byte, offset), 1, "{directory}/{name} ends before {offset}");
            file.write(&[damage(byte[0])], offset);
        });
    }

    /// Writes over the bytes at `offset`; the file grows if it must.
    ///
    /// # Panics
    /// If the file is not there.
    pub fn overwrite(&self, directory: &str, name: &str, offset: u64, bytes: &[u8]) {
        self.with(directory, name, |file| file.write(bytes, offset));
    }

    /// Puts a file with these bytes in a directory, in place of one of that name.
    pub fn put_file(&self, directory: &str, name: &str, bytes: &[u8]) {
        let mut file = SparseFile::default();
        file.write(bytes, 0);
        put(&mut self.lock(), directory, name, file);
    }

    /// Copies a file, in place of one of the other name.
    ///
    /// # Panics
    /// If the file is not there.
    pub fn copy_file(&self, directory: &str, from: &str, to: &str) {
        let copy = self.with(directory, from, |file| file.clone());
        put(&mut self.lock(), directory, to, copy);
    }

    /// Renames a file, in place of one of the other name.
    ///
    /// # Panics
    /// If the file is not there.
    pub fn rename_file(&self, directory: &str, from: &str, to: &str) {
        let mut machine = self.lock();
        find(&machine, directory, from);
        if from != to {
            let _ = machine.image.remove(directory, to);
        }
        let _ = machine.image.rename(directory, from, to);
    }

    /// Removes a file.
    ///
    /// # Panics
    /// If it is not there.
    pub fn remove_file(&self, directory: &str, name: &str) {
        let removed = self.lock().image.remove(directory, name);
        assert!(removed.is_ok(), "there is no {directory}/{name}");
    }

    fn with<T>(&self, directory: &str, name: &str, work: impl FnOnce(&mut SparseFile) -> T) -> T {
        let mut machine = self.lock();
        let id = find(&machine, directory, name);
        match machine.image.file_mut(id) {
            Ok(file) => work(file),
            Err(_) => unreachable!("a name leads to a file"),
        }
    }
}

fn find(machine: &Machine, directory: &str, name: &str) -> FileId {
    let found = machine.image.find(directory, name);
    assert!(found.is_ok(), "there is no {directory}/{name}");
    found.unwrap_or_default()
}

fn put(machine: &mut Machine, directory: &str, name: &str, file: SparseFile) {
    machine.image.add_directory(directory);
    let _ = machine.image.insert(directory, name, file);
}
