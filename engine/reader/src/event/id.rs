//! The identity of a stored event.

use std::fmt;
use std::str::FromStr;

use tapeline_storage::format::{LogId, Sequence};

/// Identity of a stored event, stable for ever. Prints as `<log>-<shard>-<sequence>`, and is read back from that.
///
/// ```
/// use tapeline_reader::EventId;
///
/// let id: EventId = "000102030405060708090a0b0c0d0e0f-3-42".parse()?;
/// assert_eq!((id.shard_id, id.sequence.get()), (3, 42));
/// assert_eq!(id, "000102030405060708090a0b0c0d0e0f-3-42");
/// # Ok::<(), tapeline_reader::ParseEventIdError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// The log.
    pub log: LogId,
    /// The shard.
    pub shard_id: u16,
    /// The event's dense number in the shard.
    pub sequence: Sequence,
}

/// The text is no [`EventId`].
///
/// ```
/// use tapeline_reader::EventId;
///
/// let refused = "3-42".parse::<EventId>().expect_err("no log");
/// assert_eq!(refused.to_string(), r#""3-42" is no event id: expected <32 hexadecimal digits>-<shard>-<sequence>"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no event id: expected <32 hexadecimal digits>-<shard>-<sequence>")]
pub struct ParseEventIdError(String);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.log, self.shard_id, self.sequence)
    }
}

impl FromStr for EventId {
    type Err = ParseEventIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseEventIdError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<EventId> {
    let mut parts = text.split('-');
    let (log, shard, sequence) = (parts.next()?, parts.next()?, parts.next()?);
    let well_formed = parts.next().is_none() && log.len() == 32 && log.bytes().all(|digit| digit.is_ascii_hexdigit());
    let log = u128::from_str_radix(log, 16).ok().filter(|_| well_formed)?;
    let sequence = Sequence::new(sequence.parse().ok()?);
    Some(EventId { log: LogId(log.to_be_bytes()), shard_id: shard.parse().ok()?, sequence })
}

impl PartialEq<str> for EventId {
    fn eq(&self, other: &str) -> bool {
        other.parse() == Ok(*self)
    }
}

impl PartialEq<&str> for EventId {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl PartialEq<String> for EventId {
    fn eq(&self, other: &String) -> bool {
        self == other.as_str()
    }
}

impl serde::Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
