//! The interleavings of a bell: no wake-up is lost.
//!
//! `RUSTFLAGS="--cfg tapeline_loom" cargo test -p tapeline --release feed::`

use std::future::poll_fn;
use std::task::Poll;

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;
use tapeline_storage::format::Sequence;

use super::Bell;
use super::sightings::{Sightings, Survey};

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
        if published.load(Ordering::Acquire) >= wanted { Poll::Ready(()) } else { Poll::Pending }
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
            if bell.is_connected() { Poll::Pending } else { Poll::Ready(()) }
        }));
        shard.join().unwrap();
    });
}

#[test]
fn follower_passes_over_nothing_of_its_sessions() {
    // Stretches of ten, where its sessions are in each, and whether the shard looks at it.
    const STRETCHES: [(u64, &[u64], bool); 4] =
        [(10, &[13], true), (20, &[], true), (30, &[35], false), (40, &[45], true)];
    bounded(|| {
        let survey = std::sync::Arc::new(Survey::new());
        survey.begin_at(Sequence::new(10));
        let seen = std::sync::Arc::new(Sightings::new(&survey));
        seen.begin();
        let shard = thread::spawn({
            let (survey, seen) = (survey.clone(), seen.clone());
            move || {
                for (start, of_sessions, is_surveyed) in STRETCHES {
                    let stretch = Sequence::new(start)..Sequence::new(start + 10);
                    if is_surveyed {
                        for at in of_sessions {
                            seen.note(Sequence::new(*at), &stretch);
                        }
                        survey.extend(&stretch);
                    } else {
                        survey.begin_at(stretch.end);
                    }
                }
            }
        });
        for next in [10, 21, 22] {
            let passed = seen.pass(Sequence::new(next)).get();
            let is_missed = |at: &u64| (next..passed).contains(at);
            assert!(passed >= next && !STRETCHES.iter().any(|(_, all, _)| all.iter().any(is_missed)), "from {next}");
        }
        shard.join().unwrap();
        assert_eq!([40, 30, 46].map(|next| seen.pass(Sequence::new(next)).get()), [45, 30, 46]);
    });
}
