//! Sessions with an end: what is ingested after it is refused, wherever it is known, until the session is opened again.

use std::sync::mpsc::channel;
use std::thread;

use futures_lite::future::block_on;
use tapeline::event::{SessionChange, SessionMetadata, SessionOutcome, SessionState};
use tapeline::{ConsumeRequest, EventBus, EventBusConfig, IngestionError, RawEvent, StoredEvent, kinds};

use crate::scratch::open;

fn events(bus: &EventBus, session: &str) -> Vec<StoredEvent> {
    block_on(bus.poll(ConsumeRequest::default().session(session))).expect("a page").events
}

fn is_refused<T: std::fmt::Debug>(outcome: Result<T, IngestionError>, session: &str) {
    let error = outcome.expect_err("refused");
    let IngestionError::SessionClosed { session: named } = error else { panic!("{error}") };
    assert_eq!(named, tapeline::event::session_id(session));
}

#[test]
fn closed_session_takes_nothing_by_any_way_in() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    let mut producer = bus.producer().expect("a producer");
    let metadata = SessionMetadata::new().model("m").label("k", "v");
    let chat = producer.open_session_with("chat", &metadata).expect("opens");
    let other = producer.open_session("other").expect("opens");
    producer.emit(chat, kinds::TOKEN, b"1").expect("open");
    let mut begun = bus.producer().expect("another");
    let mut open_batch = begun.batch(chat);
    open_batch.push(kinds::TOKEN, b"begun before the close").expect("open");

    producer.close_session(chat, SessionOutcome::Failed).expect("closes");
    is_refused(producer.emit(chat, kinds::TOKEN, b"late"), "chat");
    is_refused(producer.batch(chat).push(kinds::TOKEN, b"late"), "chat");
    is_refused(open_batch.publish(), "chat");
    drop(open_batch);
    is_refused(bus.ingest_raw(RawEvent::from_str("late").with_session("chat")), "chat");
    is_refused(producer.close_session(chat, SessionOutcome::Finished), "chat");
    is_refused(bus.close_session("chat", SessionOutcome::Finished), "chat");
    assert_eq!(bus.stats().refusals.total(), 6);
    producer.emit(other, kinds::TOKEN, b"1").expect("another session is open");
    assert_eq!(begun.batch(other).publish().expect("nothing of the refused batch is left"), None);

    let found = events(&bus, "chat");
    let payloads: Vec<_> = found.iter().map(|event| SessionChange::parse(&event.raw)).collect();
    let opened = SessionChange::Opened { name: Some("chat".to_owned()), metadata };
    let closed = SessionChange::Closed { outcome: Some(SessionOutcome::Failed) };
    assert_eq!(payloads, [Some(opened), None, Some(closed)]);
}

#[test]
fn session_that_is_opened_again_is_another_turn() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    for turn in 0..3 {
        let chat = producer.open_session("chat").expect("opens");
        producer.emit(chat, kinds::TOKEN, &[turn]).expect("open");
        bus.close_session("chat", SessionOutcome::Finished).expect("closes");
        is_refused(producer.emit(chat, kinds::TOKEN, b"late"), "chat");
    }
    assert_eq!(events(&bus, "chat").len(), 9);
}

#[test]
fn session_that_was_closed_by_its_id_is_opened_again_by_it() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let session = producer.session(7_u128);
    producer.emit(session, kinds::TOKEN, b"1").expect("emits");
    let closed = bus.close_session(7_u128, SessionOutcome::Stopped).expect("closes");
    let refused = producer.emit(session, kinds::TOKEN, b"2");
    assert!(matches!(refused, Err(IngestionError::SessionClosed { .. })), "{refused:?}");
    let (session, opened) = bus.reopen_session(7_u128, &SessionMetadata::new().model("m")).expect("opens");
    assert!(opened.insertion_ts > closed.insertion_ts && opened.shard_id == session.shard_id());
    producer.emit(session, kinds::TOKEN, b"3").expect("emits");
    block_on(bus.durable(opened)).expect("durable");
    let summary = block_on(bus.session(7_u128)).expect("reads").expect("is known");
    assert_eq!((summary.state, summary.name, summary.metadata.model), (SessionState::Open, None, Some("m".into())));
    let refused = bus.reopen_session(0_u128, &SessionMetadata::new());
    assert!(matches!(refused, Err(IngestionError::NoSession)), "{refused:?}");
}

#[test]
fn every_caller_that_can_know_of_the_close_is_refused() {
    let bus = open(EventBusConfig::builder());
    thread::scope(|scope| {
        let (sender, receiver) = channel::<String>();
        let bus = &bus;
        scope.spawn(move || {
            let mut producer = bus.producer().expect("a producer");
            for name in receiver {
                let session = producer.session(&name);
                is_refused(producer.emit(session, kinds::TOKEN, b"late"), &name);
            }
        });
        let mut producer = bus.producer().expect("a producer");
        for number in 0..2_000 {
            let name = format!("chat-{number}");
            let chat = producer.open_session(&name).expect("opens");
            producer.emit(chat, kinds::TOKEN, b"1").expect("open");
            producer.close_session(chat, SessionOutcome::Stopped).expect("closes");
            sender.send(name).expect("is heard");
        }
    });
    assert_eq!(bus.stats().refusals.total(), 2_000);
}

#[test]
fn sessions_stay_closed_while_shards_come_and_go() {
    let policy = tapeline::ScalingPolicy { auto_scale: false, ..tapeline::ScalingPolicy::default_for_cpus(4) };
    let policy = tapeline::ScalingPolicy { max_shards: 4, cooldown: std::time::Duration::from_millis(1), ..policy };
    let bus = open(EventBusConfig::builder().num_shards(1).scaling(policy));
    let mut producer = bus.producer().expect("a producer");
    let names: Vec<_> = (0..64).map(|number| format!("chat-{number}")).collect();
    let closed: Vec<_> = names.iter().map(|name| producer.open_session(name).expect("opens")).collect();
    for session in &closed {
        producer.close_session(*session, SessionOutcome::TimedOut).expect("closes");
    }
    for _ in 0..3 {
        while block_on(bus.manual_scale_up(1)).is_err() {
            thread::yield_now();
        }
        for (session, name) in closed.iter().zip(&names) {
            is_refused(producer.emit(*session, kinds::TOKEN, b"late"), name);
        }
    }
    for name in &names {
        let again = producer.open_session(name).expect("opens again, in whatever shard");
        producer.emit(again, kinds::TOKEN, b"1").expect("open");
    }
}

#[test]
fn memory_of_closed_sessions_is_counted_a_close_without_it_changes_none() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.open_session("chat").expect("opens");
    let before = bus.stats().memory.bytes;
    producer.close_session(chat, SessionOutcome::Finished).expect("closes");
    assert_eq!(bus.stats().memory.bytes - before, 3 << 20);
    for number in 0..20_000_u32 {
        let name = format!("chat-{number}");
        let session = producer.open_session(&name).expect("opens");
        while producer.close_session(session, SessionOutcome::Finished).is_err() {
            thread::yield_now();
        }
    }
    assert!(producer.emit(producer.session("chat"), kinds::TOKEN, b"1").is_ok(), "closed longest ago: forgotten");
    is_refused(producer.emit(producer.session("chat-19999"), kinds::TOKEN, b"1"), "chat-19999");
}

#[test]
fn what_a_bus_that_has_ended_refuses_is_counted_whatever_the_call() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.open_session("chat").expect("opens");
    block_on(bus.shutdown_via_ref()).expect("ends");
    let refused = |outcome: Result<(), IngestionError>, so_far: u64| {
        assert!(matches!(outcome, Err(IngestionError::ShuttingDown)), "{outcome:?}");
        assert_eq!(bus.stats().refusals.shutting_down, so_far);
    };
    refused(producer.emit(chat, kinds::TOKEN, b"late").map(drop), 1);
    refused(producer.close_session(chat, SessionOutcome::Finished).map(drop), 2);
    refused(bus.close_session("chat", SessionOutcome::Finished).map(drop), 3);
    refused(producer.open_session("another").map(drop), 4);
    refused(bus.ingest_raw(RawEvent::from_str("late")).map(drop), 5);
    assert!(bus.stats().is_balanced());
}

#[test]
fn no_session_cannot_be_closed() {
    let bus = open(EventBusConfig::builder());
    let outcome = bus.close_session(0u128, SessionOutcome::Finished);
    assert!(matches!(outcome, Err(IngestionError::NoSession)), "{outcome:?}");
    bus.ingest_raw(RawEvent::from_str("x")).expect("events without a session are taken");
}

#[test]
fn batch_hands_back_the_events_of_closed_sessions_alone() {
    let bus = open(EventBusConfig::builder());
    bus.close_session("a", SessionOutcome::Finished).expect("closes");
    let event = |session: &str| RawEvent::from_str("x").with_session(session);
    let batch = vec![event("b"), event("a"), event("b"), event("a"), event("b")];
    let rejected = bus.try_ingest_raw_batch(batch).expect_err("two are refused");
    assert_eq!((rejected.taken, rejected.rest.len()), (3, 2));
    is_refused(Err::<(), _>(rejected.error), "a");
    assert_eq!(events(&bus, "b").len(), 3);
}
