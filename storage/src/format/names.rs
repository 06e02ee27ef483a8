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

/// The openings of sessions, in the order in which they were kept, and as they lie in the file: a name in memory takes
/// what it takes there, and four bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionNames {
    /// The entries of the file.
    entries: Vec<u8>,
    /// Where the entry of each session begins, by session.
    places: Vec<u32>,
}

impl SessionNames {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of openings.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of memory that they take.
    pub fn memory_bytes(&self) -> usize {
        self.entries.capacity() + self.places.capacity() * size_of::<u32>()
    }

    /// The openings, those kept first in front.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &str)> {
        Entry::all(&self.entries).map(|(_, entry)| (entry.session, entry.text()))
    }

    /// The opening of a session. A binary search.
    pub fn get(&self, session: SessionId) -> Option<&str> {
        let session_at = |place: &u32| Entry::at(&self.entries, *place as usize).map(|entry| entry.session);
        let at = self.places.partition_point(|place| session_at(place) < Some(session));
        let entry = Entry::at(&self.entries, *self.places.get(at)? as usize)?;
        (entry.session == session).then(|| entry.text())
    }

    /// Adds openings after those there are. `amend` makes one of the opening that a session has, and a later one.
    pub fn extend(
        &mut self,
        openings: impl IntoIterator<Item = (SessionId, String)>,
        amend: impl Fn(&str, &str) -> String,
    ) {
        let (mut later, mut order): (HashMap<SessionId, String>, Vec<_>) = Default::default();
        for (session, opening) in openings {
            match later.get_mut(&session) {
                Some(known) => *known = amend(known, &opening),
                None => {
                    order.push(session);
                    later.insert(session, opening);
                }
            }
        }
        let mut entries = Vec::with_capacity(self.entries.len());
        for (session, opening) in self.iter() {
            match later.remove(&session) {
                Some(later) => put_entry(&mut entries, session, &amend(opening, &later)),
                None => put_entry(&mut entries, session, opening),
            }
        }
        for session in order {
            later.remove(&session).iter().for_each(|opening| put_entry(&mut entries, session, opening));
        }
        *self = Self::of(entries);
    }

    /// Drops the openings of sessions that `is_left` says no to.
    pub fn retain(&mut self, is_left: impl Fn(SessionId) -> bool) {
        let mut entries = Vec::new();
        let left = self.iter().filter(|(session, _)| is_left(*session));
        left.for_each(|(session, opening)| put_entry(&mut entries, session, opening));
        *self = Self::of(entries);
    }

    /// Drops openings, those kept first in front, until the file has [`NAMES_BYTES_MAX`] bytes or fewer. Returns how
    /// many.
    pub fn shorten(&mut self) -> usize {
        let surplus = (HEADER_BYTES + self.entries.len()).saturating_sub(NAMES_BYTES_MAX);
        if surplus == 0 {
            return 0;
        }
        let before = self.len();
        let first = Entry::all(&self.entries).map(|(place, _)| place).find(|place| *place >= surplus);
        self.entries.drain(..first.unwrap_or(self.entries.len()));
        *self = Self::of(std::mem::take(&mut self.entries));
        before - self.len()
    }

    /// The file as it is written.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.entries.len());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(&self.entries);
        entries::seal(&mut bytes, NAMES_MAGIC, self.len());
        bytes
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`PageError`] naming what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let mut entries = Entries::open(bytes, NAMES_MAGIC)?;
        for _ in 0..entries.count() {
            let head = entries.take(ENTRY_BYTES)?;
            let opening = entries.take(u32::from_le_bytes(get(head, LENGTH)) as usize)?;
            str::from_utf8(opening).map_err(|error| PageError::Field {
                field: "UTF-8 bytes of an opening",
                found: error.valid_up_to() as u64,
            })?;
        }
        entries.end("bytes after the last opening")?;
        Ok(Self::of(bytes.get(HEADER_BYTES..).unwrap_or_default().to_vec()))
    }

    /// Those of whole entries.
    fn of(entries: Vec<u8>) -> Self {
        // A file has at most 16 MiB, and what a log removes at once has less than 4 GiB of openings.
        let mut places: Vec<u32> = Entry::all(&entries).map(|(place, _)| place as u32).collect();
        let session = |place: &u32| Entry::at(&entries, *place as usize).map(|entry| entry.session);
        places.sort_by_key(session);
        places.shrink_to_fit();
        Self { places, entries }
    }
}
fn put_entry(entries: &mut Vec<u8>, session: SessionId, opening: &str) {
    entries.extend(session.0.to_le_bytes());
    // An opening is made of a payload, which is at most 64 MiB.
    entries.extend((opening.len() as u32).to_le_bytes());
    entries.extend(opening.as_bytes());
}

/// One entry of the file.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    session: SessionId,
    opening: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry that begins at `place`, if there is a whole one.
    fn at(entries: &'a [u8], place: usize) -> Option<Self> {
        let (head, rest) = entries.get(place..)?.split_at_checked(ENTRY_BYTES)?;
        let opening = rest.get(..u32::from_le_bytes(get(head, LENGTH)) as usize)?;
        Some(Self { session: SessionId(u128::from_le_bytes(get(head, 0))), opening })
    }

    /// All entries, and where they begin.
    fn all(entries: &'a [u8]) -> impl Iterator<Item = (usize, Self)> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let (place, entry) = (next, Self::at(entries, next)?);
            next += ENTRY_BYTES + entry.opening.len();
            Some((place, entry))
        })
    }

    fn text(&self) -> &'a str {
        // The decoder has refused bytes that are no text.
        str::from_utf8(self.opening).unwrap_or_default()
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
        assert_eq!((names.len(), names.get(SessionId(7)), names.get(SessionId(8))), (1, None, Some("next")));
    }

    #[test]
    fn openings_are_found_by_session_in_whichever_order_they_were_kept() {
        let ids = (0..1000).map(|at| u128::MAX / 1000 * ((at * 389) % 1000));
        let texts: Vec<_> = ids.map(|id| (id, format!("{id}{}", "x".repeat((id % 7) as usize)))).collect();
        let names = names(&texts.iter().map(|(id, text)| (*id, text.as_str())).collect::<Vec<_>>());
        for names in [SessionNames::decode(&names.encode()).expect("whole"), names] {
            assert!(names.iter().eq(texts.iter().map(|(id, text)| (SessionId(*id), text.as_str()))));
            assert!(texts.iter().all(|(id, text)| names.get(SessionId(*id)) == Some(text.as_str())));
            assert!(texts.iter().all(|(id, _)| names.get(SessionId(id ^ 1)).is_none()));
        }
        assert_eq!(SessionNames::default().get(SessionId(0)), None);
    }

    #[test]
    fn a_file_of_the_shortest_openings_takes_a_fifth_more_in_memory() {
        let count = (NAMES_BYTES_MAX - HEADER_BYTES) / ENTRY_BYTES;
        let mut file = vec![0; HEADER_BYTES + count * ENTRY_BYTES];
        for (entry, id) in file[HEADER_BYTES..].chunks_mut(ENTRY_BYTES).zip(1_u128..) {
            entry[..LENGTH].copy_from_slice(&id.to_le_bytes());
        }
        entries::seal(&mut file, NAMES_MAGIC, count);
        let names = SessionNames::decode(&file).expect("whole");
        assert_eq!((names.len(), names.get(SessionId(count as u128))), (count, Some("")));
        assert!(names.memory_bytes() <= NAMES_BYTES_MAX * 6 / 5, "{}", names.memory_bytes());
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
