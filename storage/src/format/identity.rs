//! The numbers that name things: log, session, kind, sequence, epoch.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// Wraps the number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Dense number of an event in its shard, from 0. As a watermark: exclusive upper bound.
    Sequence
}

number! {
    /// Random number of one segment, mixed into the checksums of its blocks.
    Epoch
}

/// No log has more events in a shard: a billion a second take a century to it. What is read from a file is refused
/// beyond, so that adding lengths and counts to a sequence cannot overflow.
pub const SEQUENCE_MAX: Sequence = Sequence(1 << 62);

impl Sequence {
    /// The first event of a shard.
    pub const ZERO: Self = Self(0);

    /// The sequence `count` events later.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// Events from `earlier` up to here; 0 where `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// 128-bit identity of a log directory, drawn once when it is created.
///
/// ```
/// # use tapeline_storage::format::LogId;
/// assert_eq!(LogId([0xab; 16]).to_string(), "abababababababababababababababab");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LogId(pub [u8; 16]);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One shard of one log: what every file of a shard says it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogShard {
    /// Identity of the log.
    pub log_id: LogId,
    /// The shard's number in it.
    pub number: u16,
}

impl LogShard {
    /// The shard of this number.
    pub const fn new(log_id: LogId, number: u16) -> Self {
        Self { log_id, number }
    }
}

/// The stream that an event belongs to: a 128-bit id. [`SessionId::NONE`] is "no session".
///
/// ```
/// # use tapeline_storage::format::SessionId;
/// let session = SessionId(0xff);
/// assert_eq!(session.to_string(), "000000000000000000000000000000ff");
/// assert_ne!(session, SessionId::NONE);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SessionId(pub u128);

impl SessionId {
    /// The session of events that belong to none.
    pub const NONE: Self = Self(0);

    /// The id that the filter of a segment lists if the segment holds notes of the bus.
    pub(crate) const NOTES: Self = Self(u128::MAX);

    /// The session of the bus's records of named cursors: indexes list it as they list a session of events.
    pub const CURSORS: Self = Self(u128::MAX - 1);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The subject of an event: an open number, 0 where the producer does not say.
///
/// ```
/// # use tapeline_storage::format::Kind;
/// /// A kind of this program's own.
/// const DRAFT: Kind = Kind(1000);
///
/// assert!(!DRAFT.is_reserved() && DRAFT != Kind::default());
/// assert_eq!(DRAFT.to_string(), "1000");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Kind(pub u16);

impl Kind {
    /// The life of a session: the payload of the event that opens it says what the session is called. Indexes repeat
    /// it.
    pub const SESSION: Self = Self(9);

    /// The kinds that the bus alone writes, from here on. The first is that of notes to the readers of all sessions.
    pub const RESERVED: Self = Self(0xfff0);

    /// Positions of named cursors, in the session [`SessionId::CURSORS`].
    pub const CURSOR: Self = Self(0xfff1);

    /// Returns whether the bus alone writes events of this kind.
    pub const fn is_reserved(self) -> bool {
        self.0 >= Self::RESERVED.0
    }

    /// Returns whether it is a note to the readers of all sessions.
    pub const fn is_note(self) -> bool {
        self.is_reserved() && self.0 != Self::CURSOR.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
