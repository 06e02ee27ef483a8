//! The names in an open directory.

use std::fs::File;
use std::io;

use super::call;

const BUFFER_BYTES: usize = 32 * 1024;

/// Offsets in the kernel's `linux_dirent64`.
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

/// All names but `.` and `..`. Bytes that are not UTF-8 are replaced: such a name is foreign, and only reported.
pub(super) fn names(directory: &File) -> io::Result<Vec<String>> {
    let directory = call::reopen_directory(directory)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut names = Vec::new();
    loop {
        let filled = call::directory_entries(&directory, &mut buffer)?;
        if filled == 0 {
            return Ok(names);
        }
        let mut rest = &buffer[..filled];
        while let Some((name, after)) = split_entry(rest) {
            if !matches!(name, b"." | b"..") {
                names.push(String::from_utf8_lossy(name).into_owned());
            }
            rest = after;
        }
    }
}

/// Splits off the name of the first entry. Returns it and the remaining entries.
fn split_entry(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = entries.get(LENGTH_AT..LENGTH_AT + size_of::<u16>())?.try_into().ok()?;
    let (entry, after) = entries.split_at_checked(usize::from(u16::from_ne_bytes(length)))?;
    let name = entry.get(NAME_AT..)?;
    let end = name.iter().position(|&byte| byte == 0)?;
    Some((&name[..end], after))
}
