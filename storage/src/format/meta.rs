//! The meta file of a log directory, and the check that all pages share.

use super::bytes::{get, get_u32, get_u64, put};
use super::checksum::{crc32c, crc32c_of};
use super::{FORMAT_VERSION, LogId, PageError};

/// First bytes of the meta file.
pub const META_MAGIC: [u8; 8] = *b"TAPELOG1";

/// Most shards that a log may have.
pub const SHARDS_MAX: u16 = 4096;

/// Bytes of the meta file.
pub const META_BYTES: usize = 64;

const CRC: usize = 8;
const VERSION: usize = 12;
const LOG_ID: usize = 16;
const SHARDS: usize = 32;
const CREATED: usize = 40;

/// The contents of the file `meta` of a log's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Identity of the log.
    pub log_id: LogId,
    /// Shard directories there are: shards 0 to `shards - 1`.
    pub shards: u16,
    /// Creation time, nanoseconds since the Unix epoch.
    pub created: u64,
}

impl Meta {
    /// The file as it is written.
    pub fn encode(&self) -> [u8; META_BYTES] {
        let mut page = [0; META_BYTES];
        put(&mut page, 0, META_MAGIC);
        put(&mut page, VERSION, FORMAT_VERSION.to_le_bytes());
        put(&mut page, LOG_ID, self.log_id.0);
        put(&mut page, SHARDS, u32::from(self.shards).to_le_bytes());
        put(&mut page, CREATED, self.created.to_le_bytes());
        let crc = crc32c(&page[VERSION..]);
        put(&mut page, CRC, crc.to_le_bytes());
        page
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`PageError`] naming what is wrong.
    pub fn decode(page: &[u8]) -> Result<Self, PageError> {
        check_page(page, META_BYTES, META_MAGIC)?;
        let shards = get_u32(page, SHARDS);
        match u16::try_from(shards) {
            Ok(shards) if (1..=SHARDS_MAX).contains(&shards) => {
                Ok(Self { log_id: LogId(get(page, LOG_ID)), shards, created: get_u64(page, CREATED) })
            }
            _ => Err(PageError::Field { field: "shards", found: u64::from(shards) }),
        }
    }
}

/// Checks length, magic, checksum and version of a page laid out as magic, checksum, version, fields.
/// Returns the checksum.
pub(super) fn check_page(page: &[u8], needed: usize, magic: [u8; 8]) -> Result<u32, PageError> {
    let Some(page) = page.get(..needed) else {
        return Err(PageError::Short { needed, found: page.len() });
    };
    let found = get(page, 0);
    if found != magic {
        return Err(PageError::Magic { expected: magic, found });
    }
    // The version comes before the checksum: a newer format may compute it otherwise, and deserves its own error.
    let version = get_u32(page, VERSION);
    if version > FORMAT_VERSION && !is_damaged_version(page) {
        return Err(PageError::Version { found: version });
    }
    let (expected, found) = (crc32c(&page[VERSION..]), get_u32(page, CRC));
    if expected != found {
        return Err(PageError::Checksum { expected, found });
    }
    if version != FORMAT_VERSION {
        return Err(PageError::Version { found: version });
    }
    Ok(found)
}

/// Returns whether the page's checksum is right once its version is this format's: then its version alone is damaged.
fn is_damaged_version(page: &[u8]) -> bool {
    let rest = &page[VERSION + size_of::<u32>()..];
    crc32c_of(&[&FORMAT_VERSION.to_le_bytes(), rest]) == get_u32(page, CRC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_shards_than_a_log_has_are_refused() {
        let meta = |shards| Meta { log_id: LogId([1; 16]), shards, created: 5 };
        for (shards, is_good) in [(0, false), (1, true), (SHARDS_MAX, true), (SHARDS_MAX + 1, false), (65_281, false)] {
            assert_eq!(Meta::decode(&meta(shards).encode()).is_ok(), is_good, "{shards}");
        }
    }
}
