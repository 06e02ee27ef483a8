//! A directory of segment files.

use std::ffi::CStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::FsFile;
use super::kind::DanglingLink;
use super::{WriteMode, call, listing};
use crate::device::{Access, Directory, SegmentFile, Space, another_file};

const DIRECTORY_MODE: u32 = 0o700;

/// An open directory. Holds one descriptor.
#[derive(Debug)]
pub struct FsDirectory {
    directory: File,
    path: PathBuf,
    mode: WriteMode,
}

impl FsDirectory {
    /// Opens an existing directory, or the one that a symbolic link leads to.
    ///
    /// # Errors
    /// The kernel's; `NotFound` if there is nothing of this name, which a link that leads nowhere is not.
    pub fn open(path: &Path, mode: WriteMode) -> io::Result<Self> {
        Ok(Self { directory: open_directory(path).map_err(|error| link_or(error, path))?, path: path.to_owned(), mode })
    }

    /// Gives a created file its length. Its name becomes durable last, so that no crash leaves a file behind that is
    /// shorter than its name promises, except one that was never reported.
    fn fill(&self, file: &FsFile, length: u64) -> io::Result<()> {
        file.allocate(length)?;
        sync_directory(&self.directory)
    }
}

impl Directory for FsDirectory {
    fn list(&self) -> io::Result<Vec<String>> {
        listing::names(&self.directory)
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let name = call::plain_name(name)?;
        // Nothing is removed where this fails: the name may be that of a file that was there before.
        let file = FsFile::create(&self.directory, &name, self.mode)?;
        if let Err(error) = self.fill(&file, length) {
            let _ = call::unlink_at(&self.directory, &name);
            let _ = sync_directory(&self.directory);
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn SegmentFile>> {
        let name = call::plain_name(name)?;
        Ok(Arc::new(FsFile::open(&self.directory, &name, self.mode, access)?))
    }

    /// If the file system has no rename that refuses to replace, this looks `to` up first; the log's lock keeps other
    /// writers away meanwhile.
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (call::plain_name(from)?, call::plain_name(to)?);
        match call::rename_at(&self.directory, &from, &to, libc::RENAME_NOREPLACE) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                rename_checked(&self.directory, &from, &to)?;
            }
            renamed => renamed?,
        }
        sync_directory(&self.directory)
    }

    fn replace(&self, from: &str, to: &str) -> io::Result<()> {
        call::rename_at(&self.directory, &call::plain_name(from)?, &call::plain_name(to)?, 0)?;
        sync_directory(&self.directory)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        call::link_at(&self.directory, &call::plain_name(from)?, &call::plain_name(to)?)?;
        sync_directory(&self.directory)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        call::unlink_at(&self.directory, &call::plain_name(name)?)?;
        sync_directory(&self.directory)
    }

    /// The log's lock keeps others from changing the name between the look and the removal.
    fn remove_own(&self, name: &str, own: &dyn SegmentFile) -> io::Result<()> {
        let plain = call::plain_name(name)?;
        let descriptor = own.descriptor().ok_or(io::ErrorKind::InvalidInput)?;
        if call::is_name_of(&self.directory, &plain, descriptor)? { self.remove(name) } else { Err(another_file(name)) }
    }

    fn space(&self) -> io::Result<Space> {
        call::space(&self.directory)
    }

    fn sync(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }
}

pub(super) fn rename_checked(directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
    if call::exists_at(directory, to)? {
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    call::rename_at(directory, from, to, 0)
}

/// Creates a directory and those above it that are missing, with mode 0700, durably. One that exists is left as it is.
///
/// # Errors
/// The kernel's; `AlreadyExists` if the path names something else.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    let create = || DirBuilder::new().mode(DIRECTORY_MODE).create(path);
    let created = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_directory(parent).and_then(|()| create()),
        created => created,
    };
    let existed = match created {
        Ok(()) => false,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => true,
        Err(error) => return Err(link_or(error, path)),
    };
    // Also where it existed: the process that created it may have died before this.
    match open_directory(parent) {
        Err(error) if existed && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        parent => sync_directory(&parent?),
    }
}

/// Opens a directory for look-ups, listing and syncing (which O_PATH would not allow).
pub(super) fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)
}

/// The error of a path that cannot be used as a directory: where it is a symbolic link that leads nowhere, that one.
fn link_or(error: io::Error, path: &Path) -> io::Error {
    match path.read_link() {
        Ok(target) if !path.exists() => DanglingLink::error(target.display().to_string()),
        _ => error,
    }
}

/// Makes the names in a directory durable. File systems that cannot sync a directory say `EINVAL` and are believed to
/// need none.
pub(super) fn sync_directory(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        synced => synced.map_err(call::kernel_error),
    }
}
