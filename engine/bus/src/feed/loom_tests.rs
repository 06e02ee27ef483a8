//! The interleavings of a bell: no wake-up is lost.
//!
//! `RUSTFLAGS="--cfg tapeline_loom" cargo test -p tapeline --release feed::`

use std::future::poll_fn;
use std::task::Poll;

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;

use super::Bell;

/// Publishes and rings, as a shard does at the end of a turn.
fn publish(published: &AtomicUsize, bell: &Bell) {
    published.fetch_add(1, Ordering::Release);
    fence(Ordering::SeqCst);
    bell.ring();
}

/// Sleeps until `wanted` have been published, as a follower does.
fn follow(published: &AtomicUsize, bell: &Bell, wanted: usize) {
    block_on(poll_fn(|context| {
        if published.load(Ordering::Acquire) >= wanted {
            return Poll::Ready(());
        }
        bell.arm(context.waker());
        match published.load(Ordering::Acquire) >= wanted {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }));
}

/// All interleavings with up to three preemptions: where there are more, there are minutes of them.
fn bounded(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

// loom reports a follower that sleeps for ever as a deadlock.

#[test]
fn follower_of_one_shard_is_woken_for_each_event() {
    bounded(|| {
        let (published, bell) = (Arc::new(AtomicUsize::new(0)), Arc::new(Bell::new()));
        let shard = thread::spawn({
            let (published, bell) = (Arc::clone(&published), Arc::clone(&bell));
            move || (0..2).for_each(|_| publish(&published, &bell))
        });
        follow(&published, &bell, 1);
        follow(&published, &bell, 2);
        shard.join().unwrap();
    });
}

#[test]
fn follower_of_two_shards_is_woken_by_either() {
    bounded(|| {
        let (published, bell) = (Arc::new(AtomicUsize::new(0)), Arc::new(Bell::new()));
        let shards = [(), ()].map(|()| {
            let (published, bell) = (Arc::clone(&published), Arc::clone(&bell));
            thread::spawn(move || publish(&published, &bell))
        });
        follow(&published, &bell, 2);
        shards.into_iter().for_each(|shard| shard.join().unwrap());
    });
}

#[test]
fn follower_learns_that_its_last_shard_has_gone() {
    loom::model(|| {
        let bell = Arc::new(Bell::new());
        bell.join();
        let shard = thread::spawn({
            let bell = Arc::clone(&bell);
            move || bell.leave()
        });
        block_on(poll_fn(|context| {
            bell.arm(context.waker());
            match bell.is_connected() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        }));
        shard.join().unwrap();
    });
}
