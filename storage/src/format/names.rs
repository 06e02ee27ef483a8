//! The names file of a log: the openings of sessions whose opening events the log does not hold any more.
//!
//! Retention removes the segment in which a session was opened while the session goes on in later ones. Its name, and
//! what else its opening stated, is kept here, as JSON that this package does not look into. It is an ornament: a log
//! without this file, or with one that does not check, is whole.

use std::collections::HashMap;

use super::bytes::get;
use super::entries::{self, Entries, HEADER_BYTES};
use super::{PageError, SessionId};

/// First bytes of the file.
pub const NAMES_MAGIC: [u8; 8] = *b"TAPENAM2";

/// Largest file in bytes: room for some 200,000 openings.
pub const NAMES_BYTES_MAX: usize = 16 << 20;

const ENTRY_BYTES: usize = 20;
const LENGTH: usize = 16;

/// The openings of sessions, in the order in which they were kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionNames(Vec<(SessionId, String)>);

impl SessionNames {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of openings.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The openings, those kept first in front.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &str)> {
        self.0.iter().map(|(session, opening)| (*session, opening.as_str()))
    }

    /// Adds openings after those there are. `amend` makes one of the opening that a session has, and a later one.
    pub fn extend(
        &mut self,
        openings: impl IntoIterator<Item = (SessionId, String)>,
        amend: impl Fn(&str, &str) -> String,
    ) {
        let mut places: HashMap<_, _> = self.0.iter().enumerate().map(|(at, (session, _))| (*session, at)).collect();
        for (session, opening) in openings {
            match places.get(&session) {
                Some(&at) => self.0[at].1 = amend(&self.0[at].1, &opening),
                None => {
                    places.insert(session, self.0.len());
                    self.0.push((session, opening));
                }
            }
        }
    }

    /// Drops the openings of sessions that `is_left` says no to.
    pub fn retain(&mut self, is_left: impl Fn(SessionId) -> bool) {
        self.0.retain(|(session, _)| is_left(*session));
    }

    /// Drops openings, those kept first in front, until the file has [`NAMES_BYTES_MAX`] bytes or fewer. Returns how
    /// many.
    pub fn shorten(&mut self) -> usize {
        let mut bytes = self.file_bytes();
        let fits = |(_, opening): &(SessionId, String)| {
            let is_surplus = bytes > NAMES_BYTES_MAX;
            bytes -= if is_surplus { ENTRY_BYTES + opening.len() } else { 0 };
            !is_surplus
        };
        let surplus = self.0.iter().position(fits).unwrap_or(self.0.len());
        self.0.drain(..surplus);
        surplus
    }

    fn file_bytes(&self) -> usize {
        HEADER_BYTES + self.0.iter().map(|(_, opening)| ENTRY_BYTES + opening.len()).sum::<usize>()
    }

    /// The file as it is written.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.file_bytes());
        bytes.resize(HEADER_BYTES, 0);
        for (session, opening) in &self.0 {
            bytes.extend(session.0.to_le_bytes());
            // An opening is made of a payload, which is at most 1 MiB.
            bytes.extend((opening.len() as u32).to_le_bytes());
            bytes.extend(opening.as_bytes());
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
        let mut openings = Vec::new();
        for _ in 0..entries.count() {
            let head = entries.take(ENTRY_BYTES)?;
            let opening = entries.take(u32::from_le_bytes(get(head, LENGTH)) as usize)?;
            let opening = str::from_utf8(opening).map_err(|error| PageError::Field {
                field: "UTF-8 bytes of an opening",
                found: error.valid_up_to() as u64,
            })?;
            openings.push((SessionId(u128::from_le_bytes(get(head, 0))), opening.to_owned()));
        }
        entries.end("bytes after the last opening").map(|()| Self(openings))
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
        names.extend(all.iter().map(|(id, name)| (SessionId(*id), (*name).to_owned())), |old, new| {
            format!("{old}+{new}")
        });
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
    fn a_session_has_one_opening_which_later_ones_amend() {
        let mut names = names(&[(7, "chat"), (8, "next"), (7, "other")]);
        names.extend([(SessionId(7), "third".to_owned())], |old, new| format!("{old}-{new}"));
        assert_eq!(names.iter().collect::<Vec<_>>(), [(SessionId(7), "chat+other-third"), (SessionId(8), "next")]);
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
