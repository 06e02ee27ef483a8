//! The openings of sessions before a time are those that a pass over all events finds.

use std::collections::HashMap;

use futures_lite::future::block_on;
use tapeline::event::{SessionId, SessionMetadata};
use tapeline::log::{SessionOpening, trim_log};
use tapeline::retention::RetentionPolicy;
use tapeline::{EventBus, LogFiles, StoredEvent, kinds};

use crate::scratch::{Scratch, open, wait_until_sealed};

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

#[test]
fn openings_stay_known_when_their_events_are_trimmed() {
    let scratch = Scratch::new("session-openings-trimmed");
    for boot in 0..3 {
        let bus = open(scratch.config().num_shards(2));
        fill(&bus, boot);
        block_on(bus.shutdown()).expect("ends");
    }
    let known = || LogFiles::open(scratch.path()).expect("opens").openings_before(u64::MAX, None);
    let expected = says_something(known());
    for segments in [4, 2, 1] {
        let plan = trim_log(scratch.path(), &RetentionPolicy::new().max_segments(segments)).expect("trims");
        assert!(!plan.removed.is_empty() && plan.names_lost.is_none(), "{plan:?}");
        let log = LogFiles::open(scratch.path()).expect("opens");
        let left = log.sessions().expect("lists");
        let is_left = |session: &SessionId| left.iter().any(|summary| summary.session == *session);
        let expected: HashMap<_, _> = expected.clone().into_iter().filter(|(session, _)| is_left(session)).collect();
        let mut found = says_something(known());
        found.retain(|session, _| is_left(session));
        assert_eq!(found, expected, "{segments} segments");
        for summary in left {
            let opening = expected.get(&summary.session).cloned().unwrap_or_default();
            assert_eq!(summary.name.is_some(), opening.name.is_some(), "{summary:?}");
        }
    }
}

#[test]
fn a_session_keeps_its_metadata_when_its_opening_is_trimmed() {
    let scratch = Scratch::new("session-metadata-trimmed");
    let bus = open(scratch.config().segment_bytes(2 << 20));
    let mut producer = bus.producer().expect("producer");
    let metadata = SessionMetadata::new().model("m").user("u").content_type("text/plain").label("region", "eu");
    let chat = producer.open_session_with("chat", &metadata).expect("opens");
    for _ in 0..3000 {
        producer.emit(chat, kinds::TOKEN, &[7; 4000]).expect("emits");
    }
    block_on(producer.flush()).expect("durable");
    wait_until_sealed(&bus);
    let removed = block_on(bus.trim(&RetentionPolicy::new().max_segments(2))).expect("trims").removed;
    let summary = block_on(bus.session("chat")).expect("read").expect("is there");
    assert!(!removed.is_empty() && summary.was_opened, "{summary:?}");
    assert_eq!((summary.name.as_deref(), summary.metadata), (Some("chat"), metadata.clone()));
    block_on(bus.shutdown()).expect("ends");
    let log = LogFiles::open(scratch.path()).expect("opens");
    assert_eq!(log.openings_before(u64::MAX, None)[&chat.id()].metadata, metadata);
}
