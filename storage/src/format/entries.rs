//! The small files of a log that hold a number of entries: how they begin, and how the entries are taken out of them.

use super::bytes::{get_u64, put};
use super::checksum::crc32c;
use super::meta::check_page;
use super::{FORMAT_VERSION, PageError};

const CRC: usize = 8;
const VERSION: usize = 12;
const COUNT: usize = 16;

/// Bytes before the first entry: magic, checksum, version, number of entries.
pub(super) const HEADER_BYTES: usize = 24;

/// Puts the beginning into `file`, which has room for it and then all entries.
pub(super) fn seal(file: &mut [u8], magic: [u8; 8], count: usize) {
    put(file, 0, magic);
    put(file, VERSION, FORMAT_VERSION.to_le_bytes());
    put(file, COUNT, (count as u64).to_le_bytes());
    let crc = crc32c(&file[VERSION..]);
    put(file, CRC, crc.to_le_bytes());
}

/// The entries of a file, which are taken one by one.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    file_bytes: usize,
    count: u64,
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Checks the beginning, and the checksum.
    ///
    /// # Errors
    /// [`PageError`] naming what is wrong.
    pub(super) fn open(file: &'a [u8], magic: [u8; 8]) -> Result<Self, PageError> {
        check_page(file, file.len().max(HEADER_BYTES), magic)?;
        Ok(Self { file_bytes: file.len(), count: get_u64(file, COUNT), rest: &file[HEADER_BYTES..] })
    }

    /// The number of entries that the file says to have.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The next bytes.
    ///
    /// # Errors
    /// [`PageError::Short`] where there are fewer.
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], PageError> {
        let short = PageError::Short { needed: self.file_bytes.saturating_add(bytes), found: self.file_bytes };
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// [`PageError::Field`], called `field`.
    pub(super) fn end(&self, field: &'static str) -> Result<(), PageError> {
        match self.rest.len() {
            0 => Ok(()),
            found => Err(PageError::Field { field, found: found as u64 }),
        }
    }
}
