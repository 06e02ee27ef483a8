//! Published names for kinds of events. The number is open: any `Kind` below [`RESERVED`] may be used.

use tapeline_storage::format::Kind;

/// The producer does not say.
pub const UNSPECIFIED: Kind = Kind(0);
/// A token or a run of tokens.
pub const TOKEN: Kind = Kind(1);
/// A message between agents.
pub const AGENT_MESSAGE: Kind = Kind(2);
/// A tool call, its arguments or its result.
pub const TOOL_CALL: Kind = Kind(3);
/// A guardrail's verdict.
pub const GUARDRAIL: Kind = Kind(4);
/// A vote, or the outcome of one.
pub const CONSENSUS: Kind = Kind(5);
/// A parse of structured output.
pub const STRUCTURED_OUTPUT: Kind = Kind(6);
/// A node of a retry tree.
pub const RETRY: Kind = Kind(7);
/// A drift signal.
pub const DRIFT: Kind = Kind(8);
/// The life of a session: opened, closed. Its open event carries the session's name.
pub const SESSION: Kind = Kind(9);
/// A note of the bus: events were let go here before they reached the log. Readers get a [`Gap`](crate::Gap) for it.
pub const GAP: Kind = Kind(RESERVED.start);
/// Kinds that the bus alone writes.
pub const RESERVED: std::ops::RangeFrom<u16> = 0xfff0..;
