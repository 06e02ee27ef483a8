//! The end of a bus whose disk does not answer: it takes as long as the caller allows, and says what is not durable.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use tapeline::seam::{Step, plan};
use tapeline::{AdapterError, EventBus, LogFiles, kinds};

use crate::scratch::{Scratch, open};

/// Holds the shard of a bus up in a turn until the sender is used or dropped. Returns once it is held up.
fn freeze(bus: &EventBus) -> mpsc::Sender<()> {
    let (thaw, thawed) = mpsc::channel();
    let (frozen, freezes) = mpsc::channel();
    plan(bus.log_id(), Step::Turn, move || {
        let _ = frozen.send(());
        let _ = thawed.recv();
        Ok(())
    });
    freezes.recv().expect("a shard makes turns");
    thaw
}

#[test]
fn shutdown_within_a_time_names_what_is_not_durable_and_goes_on() {
    let scratch = Scratch::new("shutdown-within");
    let bus = open(scratch.config());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    let first = producer.emit(session, kinds::TOKEN, b"1").expect("taken");
    block_on(bus.durable(first)).expect("durable");
    assert_eq!(bus.not_durable(), []);
    let thaw = freeze(&bus);
    for payload in [b"2", b"3"] {
        producer.emit(session, kinds::TOKEN, payload).expect("taken");
    }
    let Err(AdapterError::NotEnded { shards }) = block_on(bus.shutdown_within(Duration::from_millis(20))) else {
        panic!("has not ended");
    };
    assert_eq!(shards.iter().map(|shard| (shard.shard_id, shard.events())).collect::<Vec<_>>(), [(0, 2)]);
    assert_eq!(bus.not_durable(), shards);
    assert!(bus.is_shutdown() && !bus.is_shutdown_completed());
    thaw.send(()).expect("waits");
    block_on(bus.shutdown_within(Duration::from_secs(3_600))).expect("ends");
    block_on(bus.shutdown_via_ref()).expect("has ended");
    assert!(bus.is_shutdown_completed() && bus.not_durable().is_empty());
    drop(bus);
    assert_eq!(LogFiles::open(scratch.path()).expect("opens").replay_all().expect("replays").count(), 3);
}

#[test]
fn drop_waits_for_a_bounded_time_and_the_bus_ends_after_it() {
    let scratch = Scratch::new("drop-bounded");
    let bus = open(scratch.config());
    let thaw = freeze(&bus);
    let mut producer = bus.producer().expect("producer");
    producer.emit(producer.session("s"), kinds::TOKEN, b"1").expect("taken");
    let begun = Instant::now();
    drop(bus);
    assert!(begun.elapsed() >= Duration::from_secs(5), "has waited, and has come back while the shard stood still");
    drop((thaw, producer));
    // The opening waits for the lock, which the last thread of the bus has.
    let until = Instant::now() + Duration::from_secs(60);
    let reopened = loop {
        match block_on(EventBus::new(scratch.config().build().expect("configuration"))) {
            Err(AdapterError::Directory(_)) if Instant::now() < until => {}
            opened => break opened.expect("opens"),
        }
    };
    assert_eq!(block_on(reopened.replay("s")).expect("replays").count(), 1);
}

#[test]
fn the_age_of_what_is_not_durable_grows_while_a_shard_stands_still() {
    let scratch = Scratch::new("oldest");
    let bus = open(scratch.config());
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    let ticket = producer.emit(session, kinds::TOKEN, b"1").expect("taken");
    block_on(bus.durable(ticket)).expect("durable");
    let thaw = freeze(&bus);
    assert_eq!(bus.stats().oldest_not_durable, None);
    let ticket = producer.emit(session, kinds::TOKEN, b"2").expect("taken");
    let age = || bus.stats().oldest_not_durable.expect("something is not durable");
    while age() < Duration::from_millis(20) {
        std::thread::yield_now();
    }
    let (first, second) = (age(), age());
    assert!(first <= second);
    assert!(!bus.prometheus().contains("tapeline_oldest_not_durable_seconds{shard=\"0\"} 0\n"));
    thaw.send(()).expect("waits");
    block_on(bus.durable(ticket)).expect("durable");
    // Its ticket is answered before the shard has made its turn.
    while bus.stats().oldest_not_durable.is_some() {
        std::thread::yield_now();
    }
}
