//! Sessions are found with their state: in the segment that is being written, in sealed ones, after a restart and after
//! a crash.

use futures_lite::future::block_on;
use tapeline::config::Driver;
use tapeline::event::{SessionMetadata, SessionOutcome, SessionState, SessionSummary};
use tapeline::{EventBus, EventBusConfig, LogFiles, RawEvent, ScalingPolicy, kinds};

use crate::scratch::{Scratch, open};

fn named(sessions: &[SessionSummary], name: &str) -> SessionSummary {
    sessions.iter().find(|summary| summary.name.as_deref() == Some(name)).expect(name).clone()
}

/// Finds each session as it is listed.
fn check(bus: &EventBus) -> Vec<SessionSummary> {
    let sessions = block_on(bus.sessions()).expect("lists");
    for summary in &sessions {
        assert_eq!(block_on(bus.session(summary.session)).expect("finds").as_ref(), Some(summary));
    }
    assert_eq!(block_on(bus.session("no such session")).expect("finds"), None);
    sessions
}

fn names(sessions: &[SessionSummary]) -> Vec<&str> {
    sessions.iter().filter_map(|summary| summary.name.as_deref()).collect()
}

#[test]
fn sessions_are_found_with_what_they_are_about_and_how_they_ended() {
    let scratch = Scratch::new("found");
    let metadata = SessionMetadata::new().model("m").user("u").content_type("text/plain").label("k", "v");
    let long = SessionMetadata::new().label("long", "x".repeat(900));
    let bus = open(scratch.config().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    let [finished, failed, again, left] =
        ["finished", "failed", "again", "left"].map(|name| producer.open_session_with(name, &metadata).expect("opens"));
    let lengthy = producer.open_session_with("long", &long).expect("opens");
    bus.ingest_raw(RawEvent::from_str("x").with_session("never opened")).expect("ingests");
    for session in [finished, failed, again, left, lengthy] {
        producer.emit(session, kinds::TOKEN, b"hello").expect("emits");
    }
    for (session, outcome) in
        [(finished, SessionOutcome::Finished), (failed, SessionOutcome::Failed), (again, SessionOutcome::Stopped)]
    {
        producer.close_session(session, outcome).expect("closes");
    }
    producer.open_session("again").expect("opens again");
    let expect = |sessions: &[SessionSummary], is_over: bool| {
        let open = if is_over { SessionState::CutOff } else { SessionState::Open };
        let state = |name| named(sessions, name).state;
        let closed = |outcome| SessionState::Closed { outcome: Some(outcome) };
        assert_eq!(state("finished"), closed(SessionOutcome::Finished));
        assert_eq!(state("failed"), closed(SessionOutcome::Failed));
        assert_eq!([state("again"), state("left"), state("long")], [open; 3]);
        assert_eq!(named(sessions, "finished").metadata, metadata);
        assert_eq!(named(sessions, "again").metadata, SessionMetadata::new(), "its second turn says nothing");
        assert_eq!(named(sessions, "left").events, 1);
        assert_eq!(sessions.len(), 6);
        assert!(sessions.iter().filter(|summary| !summary.was_opened).count() == 1);
    };
    expect(&check(&bus), false);
    assert_eq!(block_on(bus.unfinished()).expect("lists"), []);
    block_on(bus.shutdown()).expect("ends");

    // In files at rest it cannot be told whether a session goes on.
    expect(&LogFiles::open(scratch.path()).expect("opens").sessions().expect("lists"), false);
    for _ in 0..2 {
        let bus = open(scratch.config().num_shards(3));
        expect(&check(&bus), true);
        assert_eq!(names(&block_on(bus.unfinished()).expect("lists")), ["again", "left", "long"]);
        block_on(bus.shutdown()).expect("ends");
    }
    let bus = open(scratch.config());
    bus.ingest_raw(RawEvent::from_str("x").with_session("left")).expect("goes on");
    assert_eq!(named(&check(&bus), "left").state, SessionState::Open);
    bus.close_session("long", SessionOutcome::TimedOut).expect("closes");
    assert_eq!(names(&block_on(bus.unfinished()).expect("lists")), ["again"]);
}

#[test]
fn sessions_that_moved_are_found_as_one() {
    let scratch = Scratch::new("found-moved");
    let policy = ScalingPolicy { auto_scale: false, ..ScalingPolicy::default_for_cpus(4) };
    let policy = ScalingPolicy { max_shards: 4, cooldown: std::time::Duration::from_millis(1), ..policy };
    let bus = open(scratch.config().num_shards(1).scaling(policy).driver(Driver::Auto));
    let names: Vec<_> = (0..40).map(|number| format!("chat-{number}")).collect();
    let mut producer = bus.producer().expect("a producer");
    for name in &names {
        let session = producer.open_session_with(name, &SessionMetadata::new().user(name)).expect("opens");
        producer.emit(session, kinds::TOKEN, b"1").expect("emits");
    }
    while block_on(bus.manual_scale_up(3)).is_err() {
        std::thread::yield_now();
    }
    for name in &names {
        producer.emit(producer.session(name), kinds::TOKEN, b"2").expect("emits");
        bus.close_session(name, SessionOutcome::Finished).expect("closes");
    }
    let closed = SessionState::Closed { outcome: Some(SessionOutcome::Finished) };
    let is_whole = |summary: &SessionSummary| {
        (summary.state, summary.events, summary.metadata.user.clone(), summary.was_opened)
            == (closed, 2, summary.name.clone(), true)
    };
    assert!(check(&bus).iter().all(is_whole), "{:?}", check(&bus));
    block_on(bus.shutdown()).expect("ends");
    let bus = open(scratch.config().num_shards(2));
    assert!(check(&bus).iter().all(is_whole) && check(&bus).len() == 40);
}

#[test]
fn bus_in_memory_finds_its_sessions() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.open_session("chat").expect("opens");
    producer.close_session(chat, SessionOutcome::Finished).expect("closes");
    let found = block_on(bus.session("chat")).expect("finds").expect("is there");
    assert_eq!((found.state, found.events), (SessionState::Closed { outcome: Some(SessionOutcome::Finished) }, 0));
    assert_eq!(check(&bus).len(), 1);
}
