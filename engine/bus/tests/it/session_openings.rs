//! The openings of sessions before a time are those that a pass over all events finds.

use std::collections::HashMap;

use futures_lite::future::block_on;
use tapeline::event::SessionId;
use tapeline::log::SessionOpening;
use tapeline::{EventBus, LogFiles, StoredEvent, kinds};

use crate::scratch::{Scratch, open};

/// Payloads of events of kind session: openings of several forms, and what opens nothing.
fn lifecycle(number: u64) -> String {
    let name = number % 7;
    match number % 6 {
        0 => format!(r#"{{"type":"session.open","name":"{name}","format":"sse"}}"#),
        1 => format!(r#"{{"name":"{name}","model":"model-{number}"}}"#),
        2 => r#"{"type":"session.close","tokens":7}"#.to_owned(),
        3 => format!(r#"{{"name":"{name}","format":"sse","text":"{}"}}"#, "x".repeat(600)),
        4 => "no JSON".to_owned(),
        _ => String::new(),
    }
}

/// Events of twelve sessions, of which some are opened never, once, or again and again.
fn fill(bus: &EventBus, boot: u64) {
    let mut producer = bus.producer().expect("producer");
    for number in boot * 4000..(boot + 1) * 4000 {
        let session = producer.session(SessionId(u128::from(number % 12) + 1));
        let opens = match number % 12 {
            0 => false,
            1..6 => number / 12 % 333 == 7,
            session => number / 12 % (session * 9) == 3,
        };
        if opens {
            producer.emit(session, kinds::SESSION, lifecycle(number / 12).as_bytes()).expect("emits");
        }
        producer.emit(session, kinds::TOKEN, &[7; 4000]).expect("emits");
    }
    block_on(producer.flush()).expect("durable");
}

/// The openings among events, by session.
fn fold<'a>(events: impl Iterator<Item = &'a StoredEvent>) -> HashMap<SessionId, SessionOpening> {
    let mut openings = HashMap::<_, SessionOpening>::new();
    for event in events.filter(|event| event.kind == kinds::SESSION) {
        openings.entry(event.session).or_default().amend(SessionOpening::parse(&event.raw));
    }
    says_something(openings)
}

fn says_something(mut openings: HashMap<SessionId, SessionOpening>) -> HashMap<SessionId, SessionOpening> {
    openings.retain(|_, opening| *opening != SessionOpening::default());
    openings
}

#[test]
fn openings_before_a_time_are_those_of_a_pass_over_the_events() {
    let scratch = Scratch::new("session-openings");
    for boot in 0..3 {
        let bus = open(scratch.config().num_shards(2));
        fill(&bus, boot);
        block_on(bus.shutdown()).expect("ends");
    }
    let log = LogFiles::open(scratch.path()).expect("opens");
    let events: Vec<_> = log.replay_all().expect("replays").map(|event| event.expect("an event")).collect();
    assert!(log.segments().len() > 6, "{:?}", log.segments());
    for at in (0..events.len()).step_by(events.len() / 40).chain([events.len() - 1]) {
        let time = events[at].insertion_ts;
        let expected = fold(events.iter().filter(|event| event.insertion_ts < time));
        assert_eq!(says_something(log.openings_before(time, None)), expected, "before event {at}");
        let sessions = [SessionId(3), SessionId(9), SessionId(99)];
        let expected: HashMap<_, _> = expected.into_iter().filter(|(session, _)| sessions.contains(session)).collect();
        assert_eq!(says_something(log.openings_before(time, Some(&sessions))), expected, "some, before event {at}");
    }
}
