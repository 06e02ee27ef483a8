//! Small files that are read and replaced as a whole, such as the meta file of a log.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::call;
use super::directory::{open_directory, sync_directory};

/// Replaces the file `name` in the directory `path`, so that a crash leaves the old bytes or the new. Uses the name
/// `<name>.tmp` meanwhile.
///
/// # Errors
/// The kernel's. The file holds the old bytes, or, if only the last sync failed, perhaps the new ones.
pub fn write_file_durably(path: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (to, from) = (call::plain_name(name)?, call::plain_name(&format!("{name}.tmp"))?);
    let directory = open_directory(path, 0)?;
    // A crash may have left one.
    match call::unlink_at(&directory, &from) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = call::open_at(&directory, &from, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)?;
    // The bytes are synced before the rename, so that the name never stands for less than all of them.
    if let Err(error) = fill(file, bytes).and_then(|()| call::rename_at(&directory, &from, &to, 0)) {
        let _ = call::unlink_at(&directory, &from);
        return Err(error);
    }
    sync_directory(&directory)
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(call::kernel_error)
}

/// Removes the file `name` in the directory `path`, for good when it returns.
///
/// # Errors
/// `NotFound` where there is none; else the kernel's.
pub fn remove_file_durably(path: &Path, name: &str) -> io::Result<()> {
    let directory = open_directory(path, 0)?;
    call::unlink_at(&directory, &call::plain_name(name)?)?;
    sync_directory(&directory)
}

/// Reads the file `name` in the directory `path`.
///
/// # Errors
/// `InvalidData` if it has more than `max` bytes; else the kernel's.
pub fn read_small_file(path: &Path, name: &str, max: usize) -> io::Result<Vec<u8>> {
    let file = call::open_at(&open_directory(path, 0)?, &call::plain_name(name)?, libc::O_RDONLY)?;
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the file has more than {max} bytes")));
    }
    Ok(bytes)
}
