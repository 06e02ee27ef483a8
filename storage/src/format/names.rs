//! The names file of a log: what sessions are called whose opening events the log does not hold any more.
//!
//! Retention removes the segment in which a session was opened while the session goes on in later ones. Its name is
//! kept here. A name is an ornament: a log without this file, or with one that does not check, is whole.

use std::collections::HashSet;

use super::bytes::get;
use super::entries::{self, Entries, HEADER_BYTES};
use super::{PageError, SessionId};

/// First bytes of the file.
pub const NAMES_MAGIC: [u8; 8] = *b"TAPENAM1";

/// Largest file in bytes: room for some 300,000 names.
pub const NAMES_BYTES_MAX: usize = 16 << 20;

const ENTRY_BYTES: usize = 20;
const LENGTH: usize = 16;

/// Names of sessions, in the order in which they were kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionNames(Vec<(SessionId, String)>);

impl SessionNames {
    /// Returns whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The names, those kept first in front.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &str)> {
        self.0.iter().map(|(session, name)| (*session, name.as_str()))
    }

    /// Adds names after those there are. A session that has one already keeps it.
    pub fn extend(&mut self, names: impl IntoIterator<Item = (SessionId, String)>) {
        let mut known: HashSet<_> = self.0.iter().map(|(session, _)| *session).collect();
        self.0.extend(names.into_iter().filter(|(session, _)| known.insert(*session)));
    }

    /// Drops the names of sessions that `is_left` says no to.
    pub fn retain(&mut self, is_left: impl Fn(SessionId) -> bool) {
        self.0.retain(|(session, _)| is_left(*session));
    }

    /// Drops names, those kept first in front, until the file has [`NAMES_BYTES_MAX`] bytes or fewer. Returns how many.
    pub fn shorten(&mut self) -> usize {
        let mut bytes = self.file_bytes();
        let fits = |(_, name): &(SessionId, String)| {
            let is_surplus = bytes > NAMES_BYTES_MAX;
            bytes -= if is_surplus { ENTRY_BYTES + name.len() } else { 0 };
            !is_surplus
        };
        let surplus = self.0.iter().position(fits).unwrap_or(self.0.len());
        self.0.drain(..surplus);
        surplus
    }

    fn file_bytes(&self) -> usize {
        HEADER_BYTES + self.0.iter().map(|(_, name)| ENTRY_BYTES + name.len()).sum::<usize>()
    }

    /// The file as it is written.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.file_bytes());
        bytes.resize(HEADER_BYTES, 0);
        for (session, name) in &self.0 {
            bytes.extend(session.0.to_le_bytes());
            // A name is part of a payload, which is at most 1 MiB.
            bytes.extend((name.len() as u32).to_le_bytes());
            bytes.extend(name.as_bytes());
        }
        entries::seal(&mut bytes, NAMES_MAGIC, self.0.len());
        bytes
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`PageError`] naming what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let mut entries = Entries::open(bytes, NAMES_MAGIC)?;
        let mut names = Vec::new();
        for _ in 0..entries.count() {
            let head = entries.take(ENTRY_BYTES)?;
            let name = entries.take(u32::from_le_bytes(get(head, LENGTH)) as usize)?;
            let name = str::from_utf8(name).map_err(|error| PageError::Field {
                field: "UTF-8 bytes of a name",
                found: error.valid_up_to() as u64,
            })?;
            names.push((SessionId(u128::from_le_bytes(get(head, 0))), name.to_owned()));
        }
        entries.end("bytes after the last name").map(|()| Self(names))
    }
}

#[cfg(test)]
mod tests {
    use super::super::bytes::put;
    use super::super::crc32c;
    use super::*;

    /// Offsets of the checksum, the version and the number of names.
    const CRC: usize = 8;
    const VERSION: usize = 12;
    const COUNT: usize = 16;

    fn names(all: &[(u128, &str)]) -> SessionNames {
        let mut names = SessionNames::default();
        names.extend(all.iter().map(|(id, name)| (SessionId(*id), (*name).to_owned())));
        names
    }

    #[test]
    fn files_are_read_back_and_every_damage_is_named() {
        let names = names(&[(7, "chat"), (u128::MAX, ""), (9, "größer\n")]);
        let bytes = names.encode();
        assert_eq!(SessionNames::decode(&bytes), Ok(names));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(SessionNames::decode(&damaged).is_err(), "byte {at}");
            assert!(SessionNames::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(SessionNames::decode(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn fields_that_lie_are_refused_though_the_sum_is_right() {
        let bytes = names(&[(7, "chat")]).encode();
        let lying = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            let crc = crc32c(&bytes[VERSION..]);
            put(&mut bytes, CRC, crc.to_le_bytes());
            SessionNames::decode(&bytes)
        };
        // A count of names, a length, and a byte that is no text.
        assert!(lying(COUNT, 2).is_err() && lying(COUNT + 7, 255).is_err() && lying(COUNT, 0).is_err());
        assert!(lying(HEADER_BYTES + LENGTH, 3).is_err() && lying(HEADER_BYTES + LENGTH + 3, 255).is_err());
        assert!(lying(HEADER_BYTES + ENTRY_BYTES, 0xff).is_err());
    }

    #[test]
    fn the_first_name_of_a_session_stays() {
        let mut names = names(&[(7, "chat"), (7, "other")]);
        names.extend([(SessionId(7), "third".to_owned()), (SessionId(8), "next".to_owned())]);
        assert_eq!(names.iter().collect::<Vec<_>>(), [(SessionId(7), "chat"), (SessionId(8), "next")]);
        names.retain(|session| session == SessionId(8));
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn the_file_is_bounded_and_the_oldest_names_go() {
        let long = "x".repeat(1 << 20);
        let mut names = names(&(0..20).map(|id| (id, long.as_str())).collect::<Vec<_>>());
        assert_eq!((names.shorten(), names.shorten(), names.len()), (5, 0, 15));
        assert!(names.encode().len() <= NAMES_BYTES_MAX);
        assert_eq!(names.iter().next().map(|(session, _)| session), Some(SessionId(5)));
    }
}
