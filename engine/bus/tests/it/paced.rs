//! Replays at a pace as streams, on no runtime in particular.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::{block_on, poll_once};
use tapeline::consumer::Speed;
use tapeline::event::{Sequence, session_id};
use tapeline::log::{LogRestore, RestoredEvent};
use tapeline::{Event, EventBus, EventBusConfig, ReplayRequest, kinds};

use crate::scratch::{Scratch, open};

const MILLI: u64 = 1_000_000;

/// A bus on a log of events that are this many nanoseconds after the first.
fn recorded(scratch: &Scratch, times: &[u64]) -> EventBus {
    let mut restore = LogRestore::create(scratch.path(), None).expect("a new log");
    for (number, time) in times.iter().enumerate() {
        let payload = number.to_string();
        let event = RestoredEvent {
            shard_id: 0,
            sequence: Sequence::new(number as u64),
            insertion_ts: 1_700_000_000_000_000_000 + time,
            session: session_id("s"),
            kind: kinds::TOKEN,
            payload: payload.as_bytes(),
        };
        restore.append(&event).expect("in order");
    }
    restore.finish().expect("whole");
    open(EventBusConfig::builder().directory(scratch.path()))
}

#[test]
fn events_come_when_they_are_due_and_the_stream_is_send() {
    fn task<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    let scratch = Scratch::new("paced");
    let times = [0, 20 * MILLI, 20 * MILLI, 60 * MILLI];
    let bus = recorded(&scratch, &times);
    let events = block_on(bus.replay_paced(ReplayRequest::new(), Speed::Factor(2.0))).expect("replays");
    let begun = Instant::now();
    let seen = block_on(task(events.map(|event| (event.expect("reads"), Instant::now())).collect::<Vec<_>>()));
    for ((event, at), (number, time)) in seen.iter().zip(times.iter().enumerate()) {
        assert_eq!(event.raw.to_string(), number.to_string());
        assert!(at.duration_since(begun) >= Duration::from_nanos(time / 2), "not early");
    }
    assert_eq!(seen.len(), times.len());
}

#[test]
fn a_poll_that_is_dropped_loses_no_event_and_pauses_can_be_cut() {
    let scratch = Scratch::new("paced-cut");
    let bus = recorded(&scratch, &[0, 3_600_000 * MILLI, 3_600_001 * MILLI]);
    let request = ReplayRequest::new().session("s");
    let mut slow = block_on(bus.replay_paced(request.clone(), Speed::Factor(1.0))).expect("replays");
    let mut next = || block_on(poll_once(pin!(slow.next())));
    assert!(matches!(next(), Some(Some(Ok(event))) if event.raw[..] == *b"0"));
    assert!((0..3).all(|_| next().is_none()), "due in an hour");
    assert_eq!(slow.pacing_error().events, 1);

    let cut = block_on(bus.replay_paced(request, Speed::Factor(1.0))).expect("replays");
    let events: Vec<_> = block_on(cut.limit_idle(Duration::from_millis(2)).collect());
    assert_eq!(events.iter().flatten().map(|event| event.raw.to_string()).collect::<Vec<_>>(), ["0", "1", "2"]);
}

#[test]
fn a_stream_without_pauses_yields_now_and_then() {
    let bus = open(EventBusConfig::builder());
    for number in 0..1000 {
        bus.ingest(Event::from_str(&number.to_string()).expect("JSON")).expect("taken");
    }
    let mut events = block_on(bus.replay_paced(ReplayRequest::new(), Speed::Max)).expect("replays");
    let (mut seen, mut in_a_row, mut longest) = (0, 0, 0);
    loop {
        match block_on(poll_once(pin!(events.next()))) {
            Some(Some(event)) => {
                event.expect("reads");
                (seen, in_a_row) = (seen + 1, in_a_row + 1);
                longest = longest.max(in_a_row);
            }
            Some(None) => break,
            None => in_a_row = 0,
        }
    }
    assert_eq!(seen, 1000);
    assert!(longest <= 64, "{longest}");
}
