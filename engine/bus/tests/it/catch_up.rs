//! Clients that catch up with the segment that is being written.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_lite::Stream;
use futures_lite::future::block_on;
use tapeline::event::SessionId;
use tapeline::{EventBus, EventBusConfig, ReplayRequest, StoredEvent, SubscribeRequest, kinds};

use crate::scratch::{Scratch, open};

const SESSIONS: u64 = 5;

/// Blocks of ten events of 2,000 bytes: together more than a bus with 4 MiB has in memory.
const BLOCKS: u64 = 300;

fn bus(scratch: &Scratch) -> EventBus {
    let bus = open(scratch.config().num_shards(1).segment_bytes(64 << 20).memory_bytes(4 << 20));
    let mut producer = bus.producer().expect("producer");
    for number in 0..BLOCKS * 10 {
        let session = producer.session(SessionId(u128::from(number % SESSIONS) + 1));
        let payload = [number.to_le_bytes().to_vec(), vec![7; 2_000]].concat();
        producer.emit(session, kinds::TOKEN, &payload).expect("taken");
        if number % 10 == 9 {
            block_on(bus.flush()).expect("flushes");
        }
    }
    bus
}

fn request(session: u64) -> SubscribeRequest {
    SubscribeRequest::new().session(SessionId(u128::from(session) + 1))
}

/// The events of a session by a plain scan.
fn scanned(bus: &EventBus, session: u64) -> Vec<StoredEvent> {
    let replay = ReplayRequest::new().session(SessionId(u128::from(session) + 1));
    block_on(bus.replay_with(replay)).expect("replays").map(|event| event.expect("event")).collect()
}

#[test]
fn clients_that_catch_up_get_every_event_of_their_session_once() {
    let scratch = Scratch::new("catch-up");
    let bus = bus(&scratch);
    std::thread::scope(|scope| {
        for client in 0..3 * SESSIONS {
            let (bus, session) = (&bus, client % SESSIONS);
            scope.spawn(move || {
                let expected = scanned(bus, session);
                assert_eq!(expected.len() as u64, BLOCKS * 10 / SESSIONS);
                let mut events = block_on(bus.subscribe(request(session))).expect("subscribes");
                for event in expected {
                    assert_eq!(block_on(events.next()).expect("there is more").expect("event"), event);
                }
            });
        }
    });
    block_on(bus.shutdown()).expect("ends");
}

#[test]
fn client_that_catches_up_reads_on_when_the_bus_has_ended() {
    let scratch = Scratch::new("catch-up-end");
    let bus = bus(&scratch);
    let expected = scanned(&bus, 2);
    let mut events = block_on(bus.subscribe(request(2))).expect("subscribes");
    let mut waits = block_on(bus.subscribe(request(2))).expect("subscribes");
    // It has asked for what it needs, and is not polled again before the end.
    let _ = Pin::new(&mut waits).poll_next(&mut Context::from_waker(Waker::noop()));
    let (first, rest) = expected.split_at(100);
    let next = |events: &mut tapeline::Subscription| block_on(events.next()).map(|event| event.expect("event"));
    first.iter().for_each(|event| assert_eq!(next(&mut events).as_ref(), Some(event)));
    block_on(bus.shutdown()).expect("ends");
    rest.iter().for_each(|event| assert_eq!(next(&mut events).as_ref(), Some(event)));
    assert!(next(&mut events).is_none());
    let mut left = Vec::new();
    while let Some(event) = next(&mut waits) {
        left.push(event);
    }
    assert!(expected.ends_with(&left) && left.len() + 1 >= expected.len());
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn client_that_catches_up_lets_other_tasks_run() {
    let bus = open(EventBusConfig::builder());
    let mut producer = bus.producer().expect("producer");
    for number in 0..20_000u64 {
        let session = producer.session(SessionId(u128::from(number % 1_000) + 1));
        producer.emit(session, kinds::TOKEN, b"token").expect("taken");
    }
    block_on(bus.flush()).expect("flushes");
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    // A session that has few events, and all of them.
    for (request, events) in [(request(3), 20), (SubscribeRequest::new(), 20_000)] {
        let mut subscription = block_on(bus.subscribe(request)).expect("subscribes");
        let (mut seen, mut in_a_row, mut yields) = (0, 0, 0);
        while seen < events {
            let woken_before = woken.0.load(Ordering::Relaxed);
            match Pin::new(&mut subscription).poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(Ok(_))) => (seen, in_a_row) = (seen + 1, in_a_row + 1),
                Poll::Ready(other) => panic!("{other:?}"),
                Poll::Pending => {
                    assert!(woken.0.load(Ordering::Relaxed) > woken_before, "there is more to read");
                    (in_a_row, yields) = (0, yields + 1);
                }
            }
            assert!(in_a_row <= 128);
        }
        assert!(yields >= 5, "{events} events: {yields}");
    }
}
