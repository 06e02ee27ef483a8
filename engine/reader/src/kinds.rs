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
pub const SESSION: Kind = Kind::SESSION;
/// A note of a daemon: how far it has come, or an event that it set aside.
pub const DAEMON: Kind = Kind(10);
/// More of the event before it in its shard, which was recorded in parts because it was too long.
pub const PART: Kind = Kind(11);
/// A note of the bus: events were dropped here before they reached the log. Readers get a [`Gap`](crate::Gap) for it.
pub const GAP: Kind = Kind(RESERVED.start);
/// The position of a named cursor, as a producer published it with a batch. Readers do not get it.
pub const CURSOR: Kind = Kind::CURSOR;
/// Kinds that the bus alone writes.
pub const RESERVED: std::ops::RangeFrom<u16> = Kind::RESERVED.0..;

const NAMES: [(Kind, &str); 12] = [
    (UNSPECIFIED, "unspecified"),
    (TOKEN, "token"),
    (AGENT_MESSAGE, "agent_message"),
    (TOOL_CALL, "tool_call"),
    (GUARDRAIL, "guardrail"),
    (CONSENSUS, "consensus"),
    (STRUCTURED_OUTPUT, "structured_output"),
    (RETRY, "retry"),
    (DRIFT, "drift"),
    (SESSION, "session"),
    (DAEMON, "daemon"),
    (PART, "part"),
];

/// The published name of a kind in lower case, if it has one.
pub fn name(kind: Kind) -> Option<&'static str> {
    NAMES.iter().find_map(|&(known, name)| (known == kind).then_some(name))
}

/// The kind that a person means: a published name in lower case, or a number.
pub fn parse(text: &str) -> Option<Kind> {
    let named = NAMES.iter().find_map(|&(kind, name)| (name == text).then_some(kind));
    named.or_else(|| text.parse().ok().map(Kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_kinds_and_back() {
        for (kind, name) in NAMES {
            assert_eq!(
                (super::name(kind), parse(name), parse(&kind.0.to_string())),
                (Some(name), Some(kind), Some(kind))
            );
        }
        assert_eq!(
            (name(Kind(4711)), parse("4711"), parse("tokens"), parse("65536")),
            (None, Some(Kind(4711)), None, None)
        );
    }
}
