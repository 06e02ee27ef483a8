//! A session that is opened again after its close has another turn, which a client gets after the first one.

use futures_lite::future::block_on;
use tapeline::event::SessionOutcome;
use tapeline::{EventBusConfig, kinds};

use super::{all, relay};
use crate::scratch::{Scratch, open};

#[test]
fn closed_session_ends_every_relay_and_a_turn_that_follows_is_another() {
    let scratch = Scratch::new("relay-turns");
    let mut ends = Vec::new();
    for turn in 0..3_u64 {
        let bus = open(scratch.config());
        let mut producer = bus.producer().expect("a producer");
        let chat = producer.open_session("chat").expect("opens");
        producer.emit(chat, kinds::TOKEN, &turn.to_le_bytes()).expect("emits");
        producer.close_session(chat, SessionOutcome::Finished).expect("closes");
        // Of each turn up to now, then of the one after it.
        let mut after = None;
        for number in 0..=turn {
            let events = all(relay(&bus, "chat", after));
            assert_eq!(events.len(), 3, "turn {number} of {turn}");
            assert_eq!(&events[1].raw[..], number.to_le_bytes());
            after = Some(events[2].token());
        }
        assert_eq!(all(relay(&bus, "chat", after)), [], "the last turn is over, and there is no other");
        ends.push(after.expect("a token"));
        let nobody = producer.open_session("nobody").expect("opens");
        producer.close_session(nobody, SessionOutcome::Failed).expect("closes");
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(scratch.config());
    assert_eq!(all(relay(&bus, "chat", Some(ends[1]))).len(), 3);
    assert_eq!(all(relay(&bus, "chat", Some(ends[2]))), [], "it is known to be over after a restart, too");
}

#[test]
fn relay_without_a_token_begins_with_the_first_turn_there_is() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    for turn in 0..3_u8 {
        let chat = producer.open_session("chat").expect("opens");
        producer.emit(chat, kinds::TOKEN, &[turn]).expect("emits");
        if turn < 2 {
            producer.close_session(chat, SessionOutcome::Finished).expect("closes");
        }
    }
    let mut after = None;
    for turn in 0..2_u8 {
        let events = all(relay(&bus, "chat", after));
        assert_eq!((events.len(), &events[1].raw[..]), (3, &[turn][..]));
        after = Some(events[2].token());
    }
    let mut running = relay(&bus, "chat", after);
    assert_eq!(&block_on(running.next()).expect("the open").expect("an event").kind, &kinds::SESSION);
    assert_eq!(block_on(running.next()).expect("one").expect("an event").raw[..], [2]);
    assert!(running.try_next().is_none() && !running.has_ended());
}

#[test]
fn client_of_a_turn_that_runs_gets_it_to_its_close() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.open_session("chat").expect("opens");
    producer.close_session(chat, SessionOutcome::Finished).expect("closes");
    let closed = all(relay(&bus, "chat", None)).pop().expect("the close").token();
    producer.open_session("chat").expect("opens");
    producer.emit(chat, kinds::TOKEN, b"1").expect("emits");
    block_on(producer.flush()).expect("readable");
    let mut relay = relay(&bus, "chat", Some(closed));
    block_on(relay.next()).expect("the open").expect("an event");
    assert_eq!(&block_on(relay.next()).expect("one").expect("an event").raw[..], b"1");
    assert!(relay.try_next().is_none());
    producer.emit(chat, kinds::TOKEN, b"2").expect("emits");
    producer.close_session(chat, SessionOutcome::Finished).expect("closes");
    assert_eq!(all(relay).len(), 2);
}
