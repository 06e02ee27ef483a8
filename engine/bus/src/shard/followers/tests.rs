//! A shard wakes the followers that wait, not too often, and forgets those that are gone.

use std::sync::atomic::{AtomicUsize, Ordering as AtomicOrdering};
use std::task::{Wake, Waker};

use tapeline_storage::read::Visibility;

use super::*;
use crate::feed::{Bell, feed};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, AtomicOrdering::Relaxed);
    }
}

fn at(appended: u64, durable: u64) -> Watermarks {
    Watermarks { appended: Sequence::new(appended), durable: Sequence::new(durable) }
}

#[test]
fn follower_is_woken_for_what_it_wants_and_not_for_each_event_of_a_stream() {
    let (bell, count) = (Arc::new(Bell::new()), Arc::new(Count::default()));
    let waker = Waker::from(Arc::clone(&count));
    let woken = || count.0.load(AtomicOrdering::Relaxed);
    let mut followers = Followers::default();
    let (follower, _feed) = feed(&bell, Visibility::Durable);
    followers.admit([follower]);
    followers.ring(1, at(0, 0));
    bell.arm(&waker);
    followers.ring(2, at(5, 0));
    assert_eq!(woken(), 0, "nothing is durable");
    followers.ring(3, at(5, 5));
    assert_eq!(woken(), 1);
    bell.arm(&waker);
    followers.ring(4, at(6, 6));
    assert_eq!(woken(), 1, "a moment ago");
    followers.ring_before_sleep(at(6, 6));
    assert_eq!(woken(), 2, "but not slept over");
    bell.arm(&waker);
    followers.ring(4 + 2 * QUIET_NS, at(7, 7));
    assert_eq!(woken(), 3);
    bell.arm(&waker);
    followers.ring(5 + 9 * QUIET_NS, at(7, 7));
    assert_eq!(woken(), 3, "nothing moved");
}

#[test]
fn follower_that_comes_is_woken_and_the_others_are_not() {
    let bells = [(); 2].map(|()| Arc::new(Bell::new()));
    let counts = [(); 2].map(|()| Arc::new(Count::default()));
    let woken = || counts.each_ref().map(|count| count.0.load(AtomicOrdering::Relaxed));
    let arm = |number: usize| bells[number].arm(&Waker::from(Arc::clone(&counts[number])));
    let [(first, _feed), (second, _other)] = bells.each_ref().map(|bell| feed(bell, Visibility::Appended));
    let mut followers = Followers::default();
    followers.admit([first]);
    followers.ring(1, at(5, 5));
    (0..2).for_each(arm);
    followers.admit([second]);
    assert_eq!(woken(), [0, 1], "it may have looked before 5");
    followers.ring(2, at(5, 5));
    followers.ring_before_sleep(at(5, 5));
    assert_eq!(woken(), [0, 1], "nothing has moved since");
    arm(1);
    followers.ring(3, at(6, 6));
    assert_eq!(woken(), [1, 2]);
}

#[test]
fn each_sleep_looks_at_a_few_followers_and_finds_all_that_are_gone() {
    let bell = Arc::new(Bell::new());
    let mut followers = Followers::default();
    let (present, feeds): (Vec<_>, Vec<_>) = (0..10 * LOOKS).map(|_| feed(&bell, Visibility::Durable)).unzip();
    followers.admit(present);
    followers.ring(1, at(1, 1));
    drop(feeds);
    for sleep in 1..=10 {
        assert!(!followers.is_empty());
        followers.ring_before_sleep(at(1, 1));
        assert_eq!(followers.present.len(), (10 - sleep) * LOOKS);
        assert_eq!(followers.durable, followers.present.len());
    }
    assert!(followers.is_empty());
}

#[test]
fn those_who_are_gone_are_forgotten_though_nothing_moves() {
    let bell = Arc::new(Bell::new());
    let mut followers = Followers::default();
    let (follower, feed) = feed(&bell, Visibility::Appended);
    followers.admit([follower, Follower::waiting(&bell, Visibility::Appended, u64::MAX)]);
    followers.ring(1, at(1, 1));
    followers.ring_before_sleep(at(1, 1));
    assert!(!followers.is_empty());
    drop(feed);
    bell.silence();
    followers.ring_before_sleep(at(1, 1));
    assert!(followers.is_empty() && !bell.is_connected());
}

#[test]
fn patience_that_is_over_is_reported() {
    let (bell, count) = (Arc::new(Bell::new()), Arc::new(Count::default()));
    let mut followers = Followers::default();
    followers.admit([Follower::waiting(&bell, Visibility::Appended, 100)]);
    bell.arm(&Waker::from(Arc::clone(&count)));
    followers.ring(99, at(0, 0));
    bell.arm(&Waker::from(Arc::clone(&count)));
    let before = count.0.load(AtomicOrdering::Relaxed);
    followers.ring(100, at(0, 0));
    assert!(followers.is_empty() && !bell.is_connected() && count.0.load(AtomicOrdering::Relaxed) > before);
}

#[test]
fn timer_is_rung_when_it_is_due_and_for_nothing_else() {
    let (bell, count) = (Arc::new(Bell::new()), Arc::new(Count::default()));
    let woken = || count.0.load(AtomicOrdering::Relaxed);
    let mut followers = Followers::default();
    followers.admit([Follower::timer(&bell, 200), Follower::timer(&bell, 100)]);
    bell.arm(&Waker::from(Arc::clone(&count)));
    assert_eq!(followers.first_deadline(), Some(100));
    followers.ring(1, at(1, 1));
    followers.ring_before_sleep(at(2, 2));
    assert_eq!(woken(), 0);
    followers.ring(100, at(3, 3));
    assert_eq!((woken(), followers.first_deadline()), (1, Some(200)));
    bell.silence();
    followers.ring_before_sleep(at(3, 3));
    assert!(followers.is_empty(), "a follower that is gone needs no timer");
}

#[test]
fn follower_that_sees_what_is_durable_waits_for_it_until_it_is_gone() {
    let bell = Arc::new(Bell::new());
    let mut followers = Followers::default();
    let (appended, _of_appended) = feed(&bell, Visibility::Appended);
    followers.admit([appended, Follower::timer(&bell, 900)]);
    assert!(!followers.want_durability(at(5, 3)), "none wants it");
    let (durable, feed) = feed(&bell, Visibility::Durable);
    followers.admit([durable]);
    assert!(followers.want_durability(at(5, 3)));
    assert!(!followers.want_durability(at(5, 5)), "it is");
    drop(feed);
    followers.ring(1, at(6, 5));
    assert!(!followers.want_durability(at(6, 5)), "it is gone");
}
