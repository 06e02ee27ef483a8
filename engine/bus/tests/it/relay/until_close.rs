//! A subscription until its sessions close ends with the last of these closes.

use futures_lite::future::block_on;
use tapeline::event::{SessionOutcome, session_id};
use tapeline::{ConsumerError, EventBusConfig, SubscribeRequest, kinds};

use crate::scratch::{Scratch, open};

#[test]
fn subscription_until_its_sessions_close_hands_out_nothing_after_it() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    let sessions = ["a", "b", "c"].map(|name| producer.open_session(name).expect("opens"));
    for (round, session) in [(0, 0), (1, 1), (2, 0)] {
        producer.emit(sessions[session], kinds::TOKEN, &[round]).expect("emits");
    }
    for session in [1, 0] {
        producer.close_session(sessions[session], SessionOutcome::Finished).expect("closes");
    }
    producer.open_session("a").expect("opens again");
    producer.emit(sessions[0], kinds::TOKEN, b"another turn").expect("emits");
    let tokens = SubscribeRequest::new().session("a").session("b").kind(kinds::TOKEN).until_close();
    let one_by_one = block_on(bus.subscribe(tokens.clone())).expect("subscribes").blocking();
    assert_eq!(one_by_one.filter_map(Result::ok).count(), 3);
    let mut borrowed = block_on(bus.subscribe(tokens.clone())).expect("subscribes");
    let mut found = 0;
    while let Some(batch) = block_on(borrowed.next_batch()) {
        found += batch.expect("a batch").events().count();
    }
    assert_eq!(found, 3);
    // In both ways by turns: what was copied and not handed out is read again, the close among it.
    let mut mixed = block_on(bus.subscribe(tokens)).expect("subscribes");
    let mut found = 0;
    while let Some(event) = block_on(mixed.next()) {
        event.expect("an event");
        found += 1;
        let batch = block_on(mixed.next_batch());
        found += batch.map_or(0, |batch| batch.expect("a batch").events().count());
    }
    assert_eq!(found, 3);
    let refused = block_on(bus.subscribe(SubscribeRequest::new().until_close()));
    assert!(matches!(refused, Err(ConsumerError::NoSession)), "{refused:?}");
}

#[test]
fn close_that_was_handed_out_stays_known_when_later_events_are_read_again() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let [a, b] = ["a", "b"].map(|name| producer.open_session(name).expect("opens"));
    producer.close_session(a, SessionOutcome::Finished).expect("closes");
    block_on(producer.flush()).expect("a block");
    let request = SubscribeRequest::new().session("a").session("b").until_close();
    let mut events = block_on(bus.subscribe(request)).expect("subscribes");
    for _ in 0..3 {
        block_on(events.next()).expect("one").expect("an event");
    }
    // Two events of one block, of which the second is read again.
    let mut batch = producer.batch(b);
    for _ in 0..2 {
        batch.push(kinds::TOKEN, b"1").expect("room");
    }
    batch.publish().expect("publishes");
    drop(batch);
    block_on(producer.flush()).expect("another block");
    block_on(events.next()).expect("one").expect("an event");
    assert_eq!(block_on(events.next_batch()).expect("a batch").expect("events").events().count(), 1);
    producer.close_session(b, SessionOutcome::Finished).expect("closes");
    assert_eq!(block_on(events.next_batch()).expect("a batch").expect("events").events().count(), 1);
    assert!(events.has_ended(), "both sessions are closed");
}

#[test]
fn subscription_that_starts_after_the_close_ends_at_once() {
    let scratch = Scratch::new("until-closed-before");
    let bus = open(scratch.config());
    let mut producer = bus.producer().expect("a producer");
    let [a, b] = ["a", "b"].map(|name| producer.open_session(name).expect("opens"));
    producer.close_session(a, SessionOutcome::Finished).expect("closes");
    producer.emit(b, kinds::TOKEN, b"1").expect("emits");
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    // This process has not closed it.
    let bus = open(scratch.config());
    let late = |name: &str| SubscribeRequest::live().session(name).until_close();
    let mut of_closed = block_on(bus.subscribe(late("a"))).expect("subscribes");
    assert!(block_on(of_closed.next()).is_none() && of_closed.has_ended());
    let mut both = block_on(bus.subscribe(late("a").session("b"))).expect("subscribes");
    assert!(both.try_next().is_none() && !both.has_ended(), "the other one goes on");
    bus.close_session("b", SessionOutcome::Finished).expect("closes");
    assert_eq!(block_on(both.next()).expect("the close").expect("an event").session, session_id("b"));
    assert!(block_on(both.next()).is_none());
    let (_, opened) = bus.begin_session("a", &Default::default()).expect("opens");
    block_on(bus.readable(opened)).expect("readable");
    let mut reopened = block_on(bus.subscribe(late("a"))).expect("subscribes");
    assert!(reopened.try_next().is_none() && !reopened.has_ended());
}
