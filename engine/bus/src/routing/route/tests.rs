//! Routing spreads evenly, moves little, and never changes.

use tapeline_reader::session_id;

use super::*;

const SESSIONS: usize = 40_000;

fn named() -> impl Iterator<Item = SessionId> {
    (0..SESSIONS).map(|number| session_id(&format!("session-{number}")))
}

fn numbered() -> impl Iterator<Item = SessionId> {
    (0..SESSIONS).map(|number| SessionId(number as u128))
}

/// Ids that differ in the high half alone, as UUIDs with a fixed low half would.
fn high_numbered() -> impl Iterator<Item = SessionId> {
    (0..SESSIONS).map(|number| SessionId((number as u128) << 64))
}

/// Ids whose halves are equal.
fn doubled() -> impl Iterator<Item = SessionId> {
    (0..SESSIONS).map(|number| SessionId((number as u128) << 64 | number as u128))
}

fn assert_balanced(kind: &str, sessions: impl Iterator<Item = SessionId>, shards: u16) {
    let mut counts = vec![0usize; usize::from(shards)];
    sessions.for_each(|session| counts[usize::from(shard_of(session, shards))] += 1);
    let fair = SESSIONS / usize::from(shards);
    for (shard, &count) in counts.iter().enumerate() {
        assert!(count.abs_diff(fair) < fair / 10, "{kind}: shard {shard} of {shards} has {count}, fair is {fair}");
    }
}

#[test]
fn sessions_spread_evenly_whatever_their_ids_look_like() {
    for shards in [1, 2, 3, 7, 16] {
        assert_balanced("named", named(), shards);
        assert_balanced("numbered", numbered(), shards);
        assert_balanced("high_numbered", high_numbered(), shards);
        assert_balanced("doubled", doubled(), shards);
    }
}

#[test]
fn growing_moves_sessions_to_the_new_shard_only() {
    for shards in 1..20 {
        let mut moved = 0usize;
        for session in named() {
            let (before, after) = (shard_of(session, shards), shard_of(session, shards + 1));
            if before != after {
                assert_eq!(after, shards, "{session} moved between old shards");
                moved += 1;
            }
        }
        let fair = SESSIONS / usize::from(shards + 1);
        assert!(moved.abs_diff(fair) < fair / 10, "{moved} moved to shard {shards}, fair is {fair}");
    }
}

#[test]
fn the_jump_is_the_published_one() {
    // Vectors that several implementations of the paper share.
    assert_eq!(jump(1, 1), 0);
    assert_eq!(jump(42, 57), 43);
    assert_eq!(jump(0xdead_10cc, 1), 0);
    assert_eq!(jump(0xdead_10cc, 666), 361);
    assert_eq!(jump(256, 1024), 520);
}

#[test]
fn routes_never_change() {
    let routes = ["", "a", "agent-7", "会話"].map(|name| [2, 5, 64, u16::MAX].map(|n| shard_of(session_id(name), n)));
    assert_eq!(routes, [[0, 0, 36, 52665], [1, 2, 31, 9324], [0, 4, 25, 62408], [1, 4, 25, 44125]]);
}

#[test]
fn ends_of_the_range() {
    assert_eq!(shard_of(SessionId::NONE, 0), 0);
    for session in named().take(1_000) {
        assert_eq!(shard_of(session, 0), 0);
        assert_eq!(shard_of(session, 1), 0);
        assert!(shard_of(session, u16::MAX) < u16::MAX);
        assert_ne!(session, SessionId::NONE);
    }
}
