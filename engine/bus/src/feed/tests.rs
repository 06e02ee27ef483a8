//! The promises of a feed.

use std::sync::Arc;

use tapeline_storage::device::BlockWriter;
use tapeline_storage::format::{LogId, LogShard, Sequence};
use tapeline_storage::log::{Log, LogOptions, LogView};
use tapeline_storage::read::Visibility;

use super::{Bell, FEED_BLOCKS, NewBlocks, feed};

/// A log that lends eight of its sixteen blocks.
fn view() -> Arc<LogView> {
    Arc::clone(Log::in_memory(&LogOptions::new(LogShard::new(LogId([1; 16]), 0), 1)).view())
}

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
        follower.announce(&view(), &block(first));
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
    let view = view();
    blocks.iter().for_each(|block| follower.announce(&view, block));
    let held = blocks.iter().filter(|block| Arc::strong_count(block) > 1).count();
    assert_eq!((held, view.lent_bytes()), (FEED_BLOCKS, LogOptions::memory_bytes(FEED_BLOCKS)));
    assert!(feed.take(Sequence::new(FEED_BLOCKS as u64)).is_none(), "that one did not fit");
}

#[test]
fn feeds_together_hold_what_may_be_lent() {
    let (view, bell) = (view(), Arc::new(Bell::new()));
    let (mut followers, feeds): (Vec<_>, Vec<_>) = (0..20).map(|_| feed(&bell, Visibility::Appended)).unzip();
    let blocks: Vec<_> = (0..20).map(block).collect();
    // Each gets blocks of its own; then all get the same.
    for (follower, block) in followers.iter_mut().zip(&blocks) {
        follower.announce(&view, block);
    }
    assert_eq!(view.lent_bytes(), LogOptions::memory_bytes(8));
    followers.iter_mut().for_each(|follower| follower.announce(&view, &blocks[0]));
    assert_eq!(view.lent_bytes(), LogOptions::memory_bytes(8));
    assert_eq!(Arc::strong_count(&blocks[0]), 1 + 1 + followers.len());
    drop(feeds);
    drop(followers);
    assert_eq!(view.lent_bytes(), 0);
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
