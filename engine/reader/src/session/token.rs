//! The resume token: a reader's place in one session, as text short enough for every event.
//!
//! 24 bytes in base64url, hence 32 characters: the event's time (8 bytes), the low 47 bits of its sequence and a bit
//! for a gap (6), its shard (2), 32 bits that depend on its session, and a CRC-32C of all that. Little-endian. Nothing
//! in it depends on the log: an import of an export keeps shard, sequence and time of each event, and so its tokens.
//!
//! After a gap the sequence is that of the first event after it, and the time that of the last event that the reader
//! got before.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use tapeline_storage::format::{Sequence, SessionId, crc32c};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const TOKEN_BYTES: usize = 24;
/// Characters of a token's text.
const TOKEN_CHARS: usize = TOKEN_BYTES / 3 * 4;
const CRC_BYTES: usize = 4;
/// Bits of a sequence that a token has.
const SEQUENCE_BITS: u32 = 47;
/// Version of the layout, which the checksum includes.
const VERSION: u8 = 1;
/// Seed of the hash of a session, fixed for ever.
const SESSION_SEED: u64 = 0x7461_7065_746f_6b31;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A reader's place in one session: after one of its events, or after a gap. Prints as 32 characters of base64url,
/// which fit the `id:` of a server-sent event, a header or a URL, and is read back from that.
///
/// [`StoredEvent::token`](crate::StoredEvent::token) makes one; `EventBus::relay` continues after it. It is valid for
/// as long as the log holds the event: after restarts, moves of the session between shards, and an import of an export.
///
/// A token is checked, not signed: a text that was damaged is none, and one of another session is refused, but a client
/// that wants to can compose a token. It then gets events of the session that the program relays to it, and no others.
///
/// ```
/// use tapeline_reader::{ParseTokenError, ResumeToken, Sequence, session_id};
///
/// let token = ResumeToken::new(session_id("chat-42"), 3, Sequence::new(42), 1_700_000_000_000_000_000);
/// let text = token.to_string();
/// assert_eq!((text.len(), text.parse::<ResumeToken>()), (32, Ok(token)));
/// assert!(token.is_of(session_id("chat-42")) && !token.is_of(session_id("chat-43")));
/// assert_eq!("chat-42".parse::<ResumeToken>(), Err(ParseTokenError::Length { chars: 7 }));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResumeToken {
    insertion_ts: u64,
    sequence_low: u64,
    shard_id: u16,
    session_tag: u32,
    is_after_gap: bool,
}

/// The reason for which a text is no [`ResumeToken`].
///
/// ```
/// use tapeline_reader::{ParseTokenError, ResumeToken};
///
/// assert_eq!("chat-42".parse::<ResumeToken>(), Err(ParseTokenError::Length { chars: 7 }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTokenError {
    /// Its length.
    #[error("no resume token: {chars} characters, a token has {TOKEN_CHARS}")]
    Length {
        /// Characters that it has.
        chars: usize,
    },
    /// A character that no token has.
    #[error("no resume token: {found:?} at character {at}; a token has letters, digits, '-' and '_'")]
    Character {
        /// The character.
        found: char,
        /// Its number, from 1.
        at: usize,
    },
    /// It was changed since it was handed out, or another program made it.
    #[error("damaged resume token: its checksum does not match")]
    Checksum,
}

/// The reason for which a reader cannot continue after a token.
///
/// ```
/// use tapeline_reader::TokenFault;
///
/// /// The status with which a server answers a client that cannot be resumed.
/// fn status(fault: TokenFault) -> u16 {
///     match fault {
///         TokenFault::Gone => 410,
///         _ => 400,
///     }
/// }
/// assert_eq!(status(TokenFault::Foreign), 400);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// It is of an event of another session.
    #[error("of another session")]
    Foreign,
    /// The log has trimmed its event, and perhaps others after it.
    #[error("gone: the log does not hold all events after it any more")]
    Gone,
    /// The log does not have its event, and no crash explains that: it is of another log, or was composed.
    #[error("unknown: the log never had its event; it is of another log, or was composed")]
    Unknown,
}

impl ResumeToken {
    /// The token of the event of this session, shard, sequence and time.
    pub fn new(session: SessionId, shard_id: u16, sequence: Sequence, insertion_ts: u64) -> Self {
        let sequence_low = sequence.get() & low_bits();
        Self { insertion_ts, sequence_low, shard_id, session_tag: session_tag(session), is_after_gap: false }
    }

    /// The token of a reader that got a gap up to `next`, and events up to this time before.
    #[doc(hidden)]
    pub fn after_gap(session: SessionId, shard_id: u16, next: Sequence, insertion_ts: u64) -> Self {
        Self { is_after_gap: true, ..Self::new(session, shard_id, next, insertion_ts) }
    }

    /// Returns whether it is of a gap: its sequence is that of the first event after it.
    #[doc(hidden)]
    pub fn is_after_gap(&self) -> bool {
        self.is_after_gap
    }

    /// Returns whether its event is of this session; wrongly true for one in 4 billion of the others.
    pub fn is_of(&self, session: SessionId) -> bool {
        self.session_tag == session_tag(session)
    }

    /// The shard of its event.
    #[doc(hidden)]
    pub fn shard_id(&self) -> u16 {
        self.shard_id
    }

    /// The time of its event.
    #[doc(hidden)]
    pub fn insertion_ts(&self) -> u64 {
        self.insertion_ts
    }

    /// The sequence of its event, or of the first after its gap, in a shard that ends before `end`: the last there with
    /// its low bits.
    #[doc(hidden)]
    pub fn sequence(&self, end: Sequence) -> Sequence {
        let above = end.get() & !low_bits();
        let found = above | self.sequence_low;
        let is_there = found < end.get() || (self.is_after_gap && found == end.get());
        let found = if is_there { Some(found) } else { found.checked_sub(1 << SEQUENCE_BITS) };
        Sequence::new(found.unwrap_or(self.sequence_low))
    }

    fn encode(&self) -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        let (body, crc) = bytes.split_at_mut(TOKEN_BYTES - CRC_BYTES);
        body[..8].copy_from_slice(&self.insertion_ts.to_le_bytes());
        let place = self.sequence_low | u64::from(self.is_after_gap) << SEQUENCE_BITS;
        body[8..14].copy_from_slice(&place.to_le_bytes()[..6]);
        body[14..16].copy_from_slice(&self.shard_id.to_le_bytes());
        body[16..].copy_from_slice(&self.session_tag.to_le_bytes());
        crc.copy_from_slice(&checksum(body).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; TOKEN_BYTES]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        let (insertion_ts, rest) = body.split_first_chunk::<8>()?;
        let (sequence, rest) = rest.split_first_chunk::<6>()?;
        let (shard, rest) = rest.split_first_chunk::<2>()?;
        let (tag, _) = rest.split_first_chunk::<4>()?;
        let [a, b, c, d, e, f] = *sequence;
        let place = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let token = Self {
            insertion_ts: u64::from_le_bytes(*insertion_ts),
            sequence_low: place & low_bits(),
            is_after_gap: place > low_bits(),
            shard_id: u16::from_le_bytes(*shard),
            session_tag: u32::from_le_bytes(*tag),
        };
        (checksum(body).to_le_bytes() == *crc).then_some(token)
    }
}

const fn low_bits() -> u64 {
    (1 << SEQUENCE_BITS) - 1
}

fn session_tag(session: SessionId) -> u32 {
    // The low half of a hash that mixes all of its bits.
    xxh3_64_with_seed(&session.0.to_le_bytes(), SESSION_SEED) as u32
}

fn checksum(body: &[u8]) -> u32 {
    // The inverse, so that zeros are no token.
    !(crc32c(body) ^ u32::from(VERSION))
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.encode();
        let mut text = [0; TOKEN_CHARS];
        for (three, four) in bytes.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
            let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
            for (at, digit) in four.iter_mut().enumerate() {
                *digit = DIGITS[bits >> (18 - 6 * at) & 63];
            }
        }
        text.iter().try_for_each(|digit| fmt::Write::write_char(f, char::from(*digit)))
    }
}

impl FromStr for ResumeToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let chars = text.chars().count();
        if chars != TOKEN_CHARS {
            return Err(ParseTokenError::Length { chars });
        }
        let mut bytes = [0; TOKEN_BYTES];
        let (mut bits, mut at) = (0_u32, 0);
        for (number, found) in (1..).zip(text.chars()) {
            let digit = digit_of(found).ok_or(ParseTokenError::Character { found, at: number })?;
            bits = bits << 6 | digit;
            if number % 4 == 0 {
                bytes[at..at + 3].copy_from_slice(&bits.to_be_bytes()[1..]);
                (bits, at) = (0, at + 3);
            }
        }
        Self::decode(&bytes).ok_or(ParseTokenError::Checksum)
    }
}

fn digit_of(found: char) -> Option<u32> {
    let found = u32::from(found);
    match u8::try_from(found).ok()? {
        b'A'..=b'Z' => Some(found - 65),
        b'a'..=b'z' => Some(found - 97 + 26),
        b'0'..=b'9' => Some(found - 48 + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

impl Serialize for ResumeToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResumeToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use tapeline_testing::Random;

    use super::*;
    use crate::session::session_id;

    fn any(random: &mut Random) -> (SessionId, ResumeToken) {
        let session = SessionId(u128::from(random.next_u64()) << 64 | u128::from(random.next_u64()));
        let sequence = Sequence::new(random.next_u64() >> (random.next_u64() % 64));
        let (shard, time) = (random.next_u64() as u16, random.next_u64());
        match random.next_u64() % 4 {
            0 => (session, ResumeToken::after_gap(session, shard, sequence, time)),
            _ => (session, ResumeToken::new(session, shard, sequence, time)),
        }
    }

    #[test]
    fn text_of_a_token_never_changes() {
        let token = ResumeToken::new(session_id("chat-42"), 3, Sequence::new(0x0001_0203_0405_0607), u64::MAX / 3);
        assert_eq!(token.to_string(), ["VVVVVVVVVVUHBgU", "EAwIDAKqZedOiOB1T"].concat());
    }

    #[test]
    fn tokens_are_read_back_and_know_their_session() {
        let mut random = Random::new(0x70_6b_65_6e);
        for _ in 0..2_000 {
            let (session, token) = any(&mut random);
            assert_eq!(token.to_string().parse(), Ok(token));
            assert_eq!(serde_json::from_str::<ResumeToken>(&serde_json::to_string(&token).unwrap()).unwrap(), token);
            assert!(token.is_of(session) && !token.is_of(SessionId(session.0 ^ 1)));
        }
    }

    #[test]
    fn no_change_of_a_character_gives_a_token() {
        let mut random = Random::new(0x666c_6970);
        for _ in 0..20 {
            let text = any(&mut random).1.to_string();
            for at in 0..text.len() {
                for digit in DIGITS.iter().map(|digit| char::from(*digit)).chain(['=', '+', ' ', '\0', 'ö']) {
                    let changed: String =
                        text.chars().enumerate().map(|(i, c)| if i == at { digit } else { c }).collect();
                    assert!(changed == text || changed.parse::<ResumeToken>().is_err(), "{text} {at} {digit}");
                }
                assert_eq!(text[..at].parse::<ResumeToken>(), Err(ParseTokenError::Length { chars: at }));
                let spaced = format!("{} {}", &text[..at], &text[at + 1..]);
                assert_eq!(spaced.parse::<ResumeToken>(), Err(ParseTokenError::Character { found: ' ', at: at + 1 }));
                assert!(format!("{text}{}", &text[..at + 1]).parse::<ResumeToken>().is_err());
            }
        }
    }

    #[test]
    fn random_text_is_no_token() {
        let mut random = Random::new(0x6e6f_6e65);
        for _ in 0..20_000 {
            let chars = random.next_u64() % 40;
            let any: String = (0..chars).filter_map(|_| char::from_u32((random.next_u64() % 0x300) as u32)).collect();
            assert!(any.parse::<ResumeToken>().is_err(), "{any:?}");
            let digits: String =
                (0..TOKEN_CHARS).map(|_| char::from(DIGITS[(random.next_u64() % 64) as usize])).collect();
            assert_eq!(digits.parse::<ResumeToken>(), Err(ParseTokenError::Checksum), "{digits}");
        }
        assert!("A".repeat(TOKEN_CHARS).parse::<ResumeToken>().is_err(), "zeros");
        assert!("_".repeat(TOKEN_CHARS).parse::<ResumeToken>().is_err(), "ones");
    }

    #[test]
    fn low_bits_of_a_sequence_are_enough() {
        let high = 5 << SEQUENCE_BITS;
        for (sequence, end) in [(0, 1), (41, 42), (41, 1 << 50 | 42), (high | 7, high | 8), (high - 1, high + 5)] {
            let token = ResumeToken::new(SessionId(1), 0, Sequence::new(sequence), 9);
            let found = token.sequence(Sequence::new(end));
            assert_eq!(found.get() & low_bits(), sequence & low_bits());
            assert!(found.get() < end && end - found.get() <= 1 << SEQUENCE_BITS, "{sequence} {end}");
        }
        let beyond = ResumeToken::new(SessionId(1), 0, Sequence::new(77), 9);
        assert_eq!(beyond.sequence(Sequence::new(42)), Sequence::new(77), "what the shard does not have yet");
    }
}
