//! A relay gives each client every event of a session once, in order, however often the client breaks off and resumes
//! by a token, and ends with the session.

mod gaps;
mod resumed;
mod tokens;
mod turns;
mod until_close;

use std::pin::Pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use futures_lite::Stream;
use futures_lite::future::block_on;
use tapeline::consumer::{Gap, RelayEnd, RelayRequest, ResumeToken, TokenFault, Visibility};
use tapeline::event::{Sequence, SessionOutcome, session_id};
use tapeline::log::{LogRestore, RestoredEvent};
use tapeline::{ConsumerError, EventBus, EventBusConfig, ScalingPolicy, StoredEvent, kinds};

use crate::scratch::{Scratch, open};

fn relay(bus: &EventBus, session: &str, after: Option<ResumeToken>) -> tapeline::consumer::Relay {
    block_on(bus.relay(session, after)).expect("relays")
}

/// All that a relay gives, to its end.
fn all(mut relay: tapeline::consumer::Relay) -> Vec<StoredEvent> {
    std::iter::from_fn(|| block_on(relay.next())).map(|event| event.expect("an event")).collect()
}

fn refusal(bus: &EventBus, session: &str, token: ResumeToken) -> (TokenFault, Option<ResumeToken>) {
    match block_on(bus.relay(session, Some(token))) {
        Err(ConsumerError::InvalidToken { fault, earliest }) => (fault, earliest),
        other => panic!("{other:?}"),
    }
}

fn payloads(events: &[StoredEvent]) -> Vec<&[u8]> {
    events.iter().map(|event| &event.raw[..]).collect()
}

fn by_hand(max_shards: u16) -> ScalingPolicy {
    let brief = Duration::from_millis(1);
    ScalingPolicy { auto_scale: false, cooldown: brief, max_shards, ..ScalingPolicy::default_for_cpus(max_shards) }
}

/// Every token of the session's events is a place before exactly what follows.
fn check_every_token(bus: &EventBus, session: &str, events: &[StoredEvent]) {
    for (at, event) in events.iter().enumerate() {
        let text = event.token().to_string();
        let rest = all(relay(bus, session, Some(text.parse().expect("a token"))));
        let ids = |events: &[StoredEvent]| -> Vec<_> {
            events.iter().map(|event| (event.shard_id, event.sequence, event.insertion_ts)).collect()
        };
        assert_eq!(ids(&rest), ids(&events[at + 1..]), "after event {at}, {}", event.id);
    }
}

/// A log of one session, "chat", restored from events: shard, sequence, time in milliseconds.
fn restored(name: &str, events: &[(u16, u64, u64)]) -> Scratch {
    let scratch = Scratch::new(name);
    let mut restore = LogRestore::create(scratch.path(), None).expect("creates");
    for &(shard_id, sequence, time) in events {
        let (sequence, insertion_ts) = (Sequence::new(sequence), time * MILLI);
        let (session, kind, payload) = (session_id("chat"), kinds::TOKEN, &time.to_le_bytes());
        let event = RestoredEvent { shard_id, sequence, insertion_ts, session, kind, payload };
        restore.append(&event).expect("appends");
    }
    restore.finish().expect("durable");
    scratch
}

const MILLI: u64 = 1_000_000;

fn chat_token(shard: u16, sequence: u64, time: u64) -> ResumeToken {
    ResumeToken::new(session_id("chat"), shard, Sequence::new(sequence), time * MILLI)
}

/// The items that a relay has now, to its end or to where nothing is ready: places, and gaps with their tokens.
fn present(mut relay: tapeline::consumer::Relay) -> Vec<Result<(u16, u64), Gap>> {
    std::iter::from_fn(|| relay.try_next())
        .map(|item| match item {
            Ok(event) => Ok((event.shard_id, event.sequence.get())),
            Err(ConsumerError::Gap(gap)) => Err(gap),
            Err(error) => panic!("{error}"),
        })
        .collect()
}

#[test]
fn relay_replays_goes_on_live_and_ends_with_the_session() {
    let scratch = Scratch::new("relay-live");
    for visibility in [Visibility::Appended, Visibility::Durable] {
        let bus = open(scratch.config().num_shards(2));
        let name = format!("chat-{visibility:?}");
        let mut producer = bus.producer().expect("a producer");
        let chat = producer.open_session(&name).expect("opens");
        for number in 0..10_u64 {
            producer.emit(chat, kinds::TOKEN, &number.to_le_bytes()).expect("emits");
        }
        let mut relay = block_on(bus.relay_with(RelayRequest::new(&name).visibility(visibility))).expect("relays");
        for _ in 0..11 {
            block_on(relay.next()).expect("goes on").expect("an event");
        }
        assert!(relay.try_next().is_none(), "nothing more is there yet");
        thread::scope(|scope| {
            scope.spawn(|| {
                let other = producer.session("another");
                for number in 10..500_u64 {
                    producer.emit(chat, kinds::TOKEN, &number.to_le_bytes()).expect("emits");
                    producer.emit(other, kinds::TOKEN, b"not for this client").expect("emits");
                }
                producer.close_session(chat, SessionOutcome::Finished).expect("closes");
                producer.emit(other, kinds::TOKEN, b"goes on").expect("emits");
            });
            let live = all(relay);
            let numbers: Vec<_> = (10..500_u64).map(u64::to_le_bytes).collect();
            assert_eq!(payloads(&live[..490]), numbers.iter().map(|bytes| &bytes[..]).collect::<Vec<_>>());
            assert_eq!(payloads(&live[490..]), [br#"{"type":"session.close","outcome":"finished"}"#]);
        });
    }
}

#[test]
fn relay_says_how_it_ended() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("a producer");
    let chat = producer.open_session("chat").expect("opens");
    producer.close_session(chat, SessionOutcome::Finished).expect("closes");
    let mut closed = relay(&bus, "chat", None);
    block_on(closed.next()).expect("the open").expect("an event");
    assert_eq!((closed.end(), closed.has_ended()), (None, false));
    block_on(closed.next()).expect("the close").expect("an event");
    assert!(block_on(closed.next()).is_none());
    assert_eq!(closed.end(), Some(RelayEnd::Closed));
    producer.open_session("other").expect("opens");
    let mut other = relay(&bus, "other", None);
    drop(producer);
    block_on(bus.shutdown()).expect("ends");
    block_on(other.next()).expect("the open").expect("an event");
    assert!(block_on(other.next()).is_none());
    assert_eq!((other.end(), other.has_ended()), (Some(RelayEnd::Shutdown), true));
}

#[test]
fn relay_of_a_session_that_has_not_begun_waits_for_it_and_can_be_dropped() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    assert_eq!(block_on(bus.session("chat")).expect("looks"), None);
    let mut dropped = relay(&bus, "chat", None);
    assert!(block_on(futures_lite::future::poll_once(dropped.next())).is_none(), "it waits");
    drop(dropped);
    let mut waiting = relay(&bus, "chat", None);
    assert!(waiting.try_next().is_none() && !waiting.has_ended());
    thread::scope(|scope| {
        let client = scope.spawn(|| all(waiting).len());
        let mut producer = bus.producer().expect("a producer");
        let chat = producer.open_session("chat").expect("opens");
        producer.close_session(chat, SessionOutcome::Finished).expect("closes");
        assert_eq!(client.join().expect("no panic"), 2);
    });
}

/// Reads a relay to its end. Returns the number of its events, and the most that it had ready without a break.
fn read_in_a_task(mut relay: tapeline::consumer::Relay) -> (usize, usize) {
    let (mut at_once, mut most, mut all) = (0, 0, 0);
    block_on(std::future::poll_fn(|context| match Pin::new(&mut relay).poll_next(context) {
        Poll::Pending => {
            most = most.max(std::mem::take(&mut at_once));
            Poll::Pending
        }
        Poll::Ready(None) => {
            most = most.max(at_once);
            Poll::Ready(())
        }
        Poll::Ready(Some(item)) => {
            item.expect("an event");
            (at_once, all) = (at_once + 1, all + 1);
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }));
    (all, most)
}

#[test]
fn relay_lets_other_tasks_run_in_every_era_of_a_log() {
    let events: Vec<_> = (0..4_000).map(|at| ((at % 2) as u16, at / 2, 1_000 + at)).collect();
    let scratch = restored("relay-stints", &events);
    let bus = open(scratch.config().num_shards(2));
    bus.close_session("chat", SessionOutcome::Finished).expect("closes");
    let (all, most) = read_in_a_task(relay(&bus, "chat", None));
    assert_eq!(all, events.len() + 1);
    assert!(most <= 32, "restored: {most} events without a break");

    let scratch = Scratch::new("relay-stints-eras");
    let bus = open(scratch.config().num_shards(1).scaling(by_hand(2)));
    let mut producer = bus.producer().expect("a producer");
    for number in 0..4_000_u64 {
        if number == 2_000 {
            block_on(bus.manual_scale_up(1)).expect("another shard");
        }
        producer.emit(producer.session("chat"), kinds::TOKEN, &number.to_le_bytes()).expect("emits");
    }
    producer.close_session(producer.session("chat"), SessionOutcome::Finished).expect("closes");
    let (all, most) = read_in_a_task(relay(&bus, "chat", None));
    assert_eq!(all, 4_001);
    assert!(most <= 32, "changed: {most} events without a break");
}
