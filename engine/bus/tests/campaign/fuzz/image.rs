//! A log's directory in memory: made, changed, and put on a disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The meaning of a name in a log's directory.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// A file of these bytes, and of zeros without blocks up to this length.
    File(Vec<u8>, u64),
    /// An empty directory.
    Directory,
    /// A symbolic link.
    Link(String),
    /// A named pipe, which a plain open waits on for ever.
    Pipe,
}

/// The files of a log by their paths in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image(pub(crate) BTreeMap<String, Entry>);

impl Image {
    /// The files below a directory.
    pub(crate) fn load(root: &Path) -> Self {
        let mut image = Self::default();
        image.load_below(root, root);
        image
    }

    fn load_below(&mut self, root: &Path, directory: &Path) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.load_below(root, &path);
            } else {
                let name = path.strip_prefix(root).expect("below it").to_str().expect("text");
                self.put(name, fs::read(&path).expect("a file"));
            }
        }
    }

    pub(crate) fn put(&mut self, name: &str, bytes: Vec<u8>) {
        self.0.insert(name.to_owned(), Entry::File(bytes, 0));
    }

    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        match self.0.get(name) {
            Some(Entry::File(bytes, _)) => bytes,
            _ => &[],
        }
    }

    pub(crate) fn bytes_mut(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        match self.0.get_mut(name)? {
            Entry::File(bytes, _) => Some(bytes),
            _ => None,
        }
    }

    /// Names of regular files.
    pub(crate) fn files(&self) -> Vec<String> {
        let is_file = |entry: &Entry| matches!(entry, Entry::File(..));
        self.0.iter().filter(|(_, entry)| is_file(entry)).map(|(name, _)| name.clone()).collect()
    }

    /// Names of segments, the spare one included.
    pub(crate) fn segments(&self) -> Vec<String> {
        self.files().into_iter().filter(|name| name.ends_with(".seg")).collect()
    }

    /// Puts everything into a directory, in place of what it holds.
    pub(crate) fn store(&self, root: &Path) {
        let _ = fs::remove_dir_all(root);
        fs::create_dir_all(root).expect("a directory");
        for (name, entry) in &self.0 {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
            match entry {
                Entry::File(bytes, length) => {
                    fs::write(&path, bytes).expect("a file");
                    if *length > bytes.len() as u64 {
                        let file = fs::File::options().write(true).open(&path).expect("opens");
                        file.set_len(*length).expect("grows");
                    }
                }
                Entry::Directory => fs::create_dir_all(&path).expect("a directory"),
                Entry::Link(to) => std::os::unix::fs::symlink(to, &path).expect("a link"),
                Entry::Pipe => make_pipe(&path),
            }
        }
    }
}

#[allow(unsafe_code, reason = "mkfifo")]
fn make_pipe(path: &Path) {
    let name = std::ffi::CString::new(path.to_str().expect("text")).expect("no zeros");
    // SAFETY: a string that lives through the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
}
