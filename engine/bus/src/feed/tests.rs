//! What a feed promises.

use std::sync::Arc;

use tapeline_storage::device::BlockWriter;
use tapeline_storage::format::Sequence;
use tapeline_storage::read::Visibility;

use super::{Bell, FEED_BLOCKS, NewBlocks, feed};

#[allow(clippy::expect_used, reason = "a test")]
fn block(first: u64) -> Arc<tapeline_storage::device::BlockMemory> {
    let mut writer = BlockWriter::new().expect("memory");
    writer.start(Sequence::new(first));
    Arc::clone(writer.memory())
}

#[test]
fn feed_gives_the_block_that_starts_where_the_follower_stands() {
    let (mut follower, mut feed) = feed(&Arc::new(Bell::new()), Visibility::Appended);
    for first in [10, 20, 30] {
        follower.announce(&block(first));
    }
    assert!(feed.take(Sequence::new(5)).is_none(), "not yet");
    assert_eq!(feed.take(Sequence::new(20)).map(|block| block.first_sequence().get()), Some(20));
    assert!(feed.take(Sequence::new(25)).is_none(), "no block starts there");
    assert_eq!(feed.take(Sequence::new(30)).map(|block| block.first_sequence().get()), Some(30));
    assert!(feed.take(Sequence::new(40)).is_none());
}

#[test]
fn full_feed_is_passed_over_and_holds_no_more() {
    let (mut follower, mut feed) = feed(&Arc::new(Bell::new()), Visibility::Appended);
    let blocks: Vec<_> = (0..20).map(block).collect();
    blocks.iter().for_each(|block| follower.announce(block));
    let held = blocks.iter().filter(|block| Arc::strong_count(block) > 1).count();
    assert_eq!(held, FEED_BLOCKS);
    assert!(feed.take(Sequence::new(FEED_BLOCKS as u64)).is_none(), "that one did not fit");
}

#[test]
fn bell_knows_whether_a_shard_may_still_ring() {
    let bell = Arc::new(Bell::new());
    let (first, _feed) = feed(&bell, Visibility::Appended);
    let (second, _other) = feed(&bell, Visibility::Appended);
    drop(first);
    assert!(bell.is_connected());
    drop(second);
    assert!(!bell.is_connected());
}
