//! The names of streams: `PREFIX:LOG:SHARD` of a shard, and others that begin with it.

use tapeline_storage::format::LogId;

use crate::core::config::{Layout, RedisSettings};

/// The end of the name of a shard's stream with events that were delivered out of order.
const LATE: &str = "redriven";

/// The end of the name of the index of a shard that has several streams.
const INDEX: &str = "index";

/// The streams of a shard.
#[derive(Debug, Clone)]
pub(super) struct Keys(String);

/// The use of a stream that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Events of the shard, in order, where it has one stream.
    Events,
    /// Events out of order.
    Late,
    /// The index of the shard's streams.
    Index,
}

impl Keys {
    pub(super) fn of(settings: &RedisSettings, log: LogId, shard: u16) -> Self {
        Self(format!("{}:{log}:{shard}", settings.prefix))
    }

    /// The one stream of the shard.
    pub(super) fn events(&self) -> &str {
        &self.0
    }

    pub(super) fn late(&self) -> String {
        self.part(LATE)
    }

    pub(super) fn index(&self) -> String {
        self.part(INDEX)
    }

    /// The stream of a session or a kind.
    pub(super) fn part(&self, part: &str) -> String {
        format!("{}:{part}", self.0)
    }
}

/// The log, the shard and the use of a stream. `None`: it is none of events, or one of a session or a kind, which the
/// index names.
pub(super) fn parse<'k>(settings: &RedisSettings, key: &'k str) -> Option<(&'k str, &'k str, Use)> {
    let (log, rest) = key.strip_prefix(&*settings.prefix)?.strip_prefix(':')?.split_once(':')?;
    match rest.split_once(':') {
        None => Some((log, rest, Use::Events)),
        Some((shard, LATE)) => Some((log, shard, Use::Late)),
        Some((shard, INDEX)) => Some((log, shard, Use::Index)),
        Some(_) => None,
    }
}

impl Use {
    /// Returns whether reading with this layout passes over the events.
    pub(super) fn is_of_another(self, layout: Layout) -> bool {
        match self {
            Self::Events => layout != Layout::PerShard,
            Self::Index => layout == Layout::PerShard,
            Self::Late => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_again_and_others_are_passed_over() {
        let settings = RedisSettings { prefix: "a:b".into(), ..RedisSettings::default() };
        let log = LogId([7; 16]);
        let (keys, text) = (Keys::of(&settings, log, 3), log.to_string());
        let known = |key: &str| parse(&settings, key).map(|(log, shard, is)| (log == text, shard.to_owned(), is));
        assert_eq!(known(keys.events()), Some((true, "3".to_owned(), Use::Events)));
        assert_eq!(known(&keys.late()), Some((true, "3".to_owned(), Use::Late)));
        assert_eq!(known(&keys.index()), Some((true, "3".to_owned(), Use::Index)));
        assert_eq!(known(&keys.part("9")), None);
        assert_eq!(known("a:bc:d:3"), None);
        assert_eq!(known("a:b"), None);
    }
}
