//! Subscriptions: nothing is missed, nothing comes twice, whatever happens between replay and live.

use std::task::{Context, Waker};
use std::time::Duration;

use futures_lite::future::block_on;
use futures_lite::{Stream, StreamExt};
use tapeline::config::Durability;
use tapeline::consumer::{GapReason, SlowReader, Start, Visibility};
use tapeline::event::Kind;
use tapeline::{
    BatchConfig, ConsumeRequest, ConsumerError, EventBus, EventBusConfig, Filter, SubscribeRequest, Subscription, kinds,
};

use crate::scratch::{Scratch, open};

/// Ingests the numbers, waiting where the lane is full.
fn ingest(bus: &EventBus, session: &str, numbers: std::ops::Range<u64>) {
    let mut producer = bus.producer().expect("producer");
    let session = producer.session(session);
    for number in numbers {
        while producer.emit(session, kinds::TOKEN, &number.to_le_bytes()).is_err() {
            std::thread::yield_now();
        }
    }
}

fn number(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload[..8].try_into().expect("a number"))
}

fn subscribe(bus: &EventBus, request: SubscribeRequest) -> Subscription {
    block_on(bus.subscribe(request)).expect("subscribes")
}

/// The next events, of which there are `count`.
fn take(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    (0..count).map(|_| number(&block_on(subscription.next()).expect("goes on").expect("event").raw)).collect()
}

#[test]
fn subscription_replays_then_follows_without_hole_or_repeat() {
    let scratch = Scratch::new("handoff");
    let bus = open(scratch.config().num_shards(1).segment_bytes(2 << 20).memory_bytes(4 << 20));
    const EVENTS: u64 = 300_000;
    std::thread::scope(|scope| {
        scope.spawn(|| ingest(&bus, "session", 0..EVENTS));
        // Begun at different times, read in different ways, at different speeds.
        for reader in 0..4u64 {
            let bus = &bus;
            scope.spawn(move || {
                let start = reader * 20_000;
                while bus.stats().events_appended < start {
                    std::thread::yield_now();
                }
                let mut subscription = subscribe(bus, SubscribeRequest::new());
                let mut next = 0;
                if reader % 2 == 0 {
                    while next < EVENTS {
                        let batch = block_on(subscription.next_batch()).expect("goes on").expect("batch");
                        for event in batch.events() {
                            assert_eq!(number(event.expect("event").payload()), next);
                            next += 1;
                        }
                    }
                } else {
                    let mut blocking = subscription.blocking();
                    while next < EVENTS {
                        assert_eq!(number(&blocking.next().expect("goes on").expect("event").raw), next);
                        next += 1;
                    }
                }
            });
        }
    });
}

#[test]
fn live_subscriber_sleeps_and_is_woken_for_each_event() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    ingest(&bus, "before", 0..10);
    let mut subscription = subscribe(&bus, SubscribeRequest::live());
    let mut context = Context::from_waker(Waker::noop());
    assert!(std::pin::pin!(&mut subscription).poll_next(&mut context).is_pending(), "what was before is left out");
    std::thread::scope(|scope| {
        let (said, heard) = std::sync::mpsc::sync_channel(0);
        scope.spawn(move || {
            let mut blocking = subscription.blocking();
            for expected in 0..200 {
                assert_eq!(number(&blocking.next().expect("goes on").expect("event").raw), expected);
                said.send(()).expect("goes on");
            }
        });
        for event in 0..200 {
            ingest(&bus, ["one", "two", "three"][event % 3], event as u64..event as u64 + 1);
            heard.recv().expect("goes on");
        }
    });
}

#[test]
fn subscription_ends_with_the_bus_when_all_is_read() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    let mut subscription = subscribe(&bus, SubscribeRequest::new());
    let ended = std::thread::scope(|scope| {
        let reader =
            scope.spawn(|| block_on(async { (&mut subscription).map(|event| event.expect("event")).count().await }));
        for session in 0..50u64 {
            ingest(&bus, &format!("session {session}"), 0..20);
        }
        drop(bus);
        reader.join().expect("ends")
    });
    assert_eq!(ended, 1000);
    assert!(subscription.has_ended() && subscription.try_next().is_none());
}

#[test]
fn cursor_of_a_subscription_goes_on_after_what_was_handed_out() {
    let scratch = Scratch::new("subscription-cursor");
    let mut cursor = None;
    let mut seen = Vec::new();
    for opening in 0..4u64 {
        let bus = open(scratch.config().num_shards(2));
        let request = || match &cursor {
            Some(cursor) => SubscribeRequest::new().from(String::clone(cursor)),
            None => SubscribeRequest::new(),
        };
        ingest(&bus, "a", opening * 100..opening * 100 + 50);
        let mut subscription = subscribe(&bus, request());
        seen.extend(take(&mut subscription, 30));
        // Batches take over what was copied and not handed out.
        let batch = subscription.try_next_batch().expect("there is more").expect("batch");
        seen.extend(batch.events().map(|event| number(event.expect("event").payload())));
        assert_eq!(
            block_on(bus.poll(ConsumeRequest::default().from(subscription.cursor()))).expect("polls").events,
            []
        );
        ingest(&bus, "a", opening * 100 + 50..opening * 100 + 100);
        let mut again = subscribe(&bus, SubscribeRequest::new().from(subscription.cursor()));
        seen.extend(take(&mut again, 50));
        assert_eq!(again.lag(), 0);
        cursor = Some(again.cursor());
        block_on(bus.shutdown()).expect("ends");
    }
    assert!(seen.iter().copied().eq(0..400), "{seen:?}");
}

#[test]
fn selection_is_that_of_session_kind_and_filter() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    let mut producer = bus.producer().expect("producer");
    for index in 0..1000u64 {
        let session = producer.session(["a", "b", "c"][index as usize % 3]);
        let payload = format!(r#"{{"index":{index},"even":{}}}"#, index % 2 == 0);
        producer.emit(session, Kind(index as u16 % 5), payload.as_bytes()).expect("emits");
    }
    let request = SubscribeRequest::new().session("a").session("b").kind(Kind(1)).filter(Filter::eq("even", true));
    let mut subscription = subscribe(&bus, request);
    let mut indexes: Vec<u64> = std::iter::from_fn(|| subscription.try_next())
        .map(|event| event.expect("event").parse().expect("JSON")["index"].as_u64().expect("a number"))
        .collect();
    indexes.sort_unstable();
    assert!(indexes.into_iter().eq((0..1000).filter(|index| index % 3 != 2 && index % 5 == 1 && index % 2 == 0)));
    let none = SubscribeRequest { sessions: Some(Vec::new()), ..SubscribeRequest::new() };
    assert!(subscribe(&bus, none).try_next().is_none(), "of no session is nothing");
}

#[test]
fn start_may_be_a_time_or_a_sequence() {
    let scratch = Scratch::new("start");
    let bus = open(scratch.config().num_shards(1).segment_bytes(2 << 20).memory_bytes(4 << 20));
    let mut producer = bus.producer().expect("producer");
    let session = producer.session("s");
    let mut times = Vec::new();
    for index in 0..60_000u64 {
        loop {
            match producer.emit(session, kinds::TOKEN, &[index.to_le_bytes(); 16].concat()) {
                Ok(ticket) => break times.push(ticket.insertion_ts),
                Err(_) => std::thread::yield_now(),
            }
        }
    }
    block_on(bus.flush()).expect("flushes");
    for index in [0, 1, 17, 9_999, 30_000, 59_999] {
        for (time, first) in [(times[index], index), (times[index] + 1, index + 1)] {
            let mut subscription = subscribe(&bus, SubscribeRequest::new().start(Start::Time(time)));
            let found = subscription.try_next().map(|event| number(&event.expect("event").raw));
            assert_eq!(found, (first < 60_000).then_some(first as u64));
        }
        let sequence = (0, tapeline::event::Sequence::new(index as u64));
        let page = block_on(bus.poll(ConsumeRequest::new(1).start(Start::Sequences(vec![sequence])))).expect("polls");
        assert_eq!(number(&page.events[0].raw), index as u64);
    }
}

#[test]
fn durable_visibility_sees_nothing_that_a_crash_may_take() {
    let scratch = Scratch::new("visibility");
    let bus =
        open(scratch.config().batch(BatchConfig { max_delay: Duration::from_secs(3600), ..BatchConfig::default() }));
    let mut appended = subscribe(&bus, SubscribeRequest::new());
    ingest(&bus, "s", 0..10);
    assert_eq!(take(&mut appended, 10).len(), 10);
    let poll = || block_on(bus.poll(ConsumeRequest::default().visibility(Visibility::Durable))).expect("polls");
    let page = poll();
    assert!(page.events.is_empty() && !page.has_more, "no thread has asked for a commit");
    // A follower asks for one.
    let mut durable = subscribe(&bus, SubscribeRequest::new().visibility(Visibility::Durable));
    assert_eq!(take(&mut durable, 10), (0..10).collect::<Vec<_>>());
    assert_eq!(poll().events.len(), 10);
}

#[test]
fn slow_reader_is_treated_as_it_asked_and_memory_stays_bounded() {
    let bus = open(EventBusConfig::builder().memory_bytes(4 << 20));
    let policy = |slow_reader| subscribe(&bus, SubscribeRequest::new().slow_reader(slow_reader));
    let mut patient = policy(SlowReader::Replay);
    let mut dropping = policy(SlowReader::Drop { lag_events: 1000 });
    let mut failing = policy(SlowReader::Fail { lag_events: 1000 });
    let mut new = policy(SlowReader::Fail { lag_events: 1000 });
    ingest(&bus, "s", 0..1);
    for subscription in [&mut patient, &mut dropping, &mut failing] {
        assert_eq!(take(subscription, 1), [0]);
        assert!(subscription.try_next().is_none(), "live");
    }
    ingest(&bus, "s", 1..20_001);
    block_on(bus.flush()).expect("flushes");
    assert_eq!(take(&mut patient, 20_000).last(), Some(&20_000), "everything, out of the log");
    match block_on(dropping.next()).expect("goes on") {
        Err(ConsumerError::Gap(gap)) => {
            assert_eq!((gap.reason, gap.from.get(), gap.to.get()), (GapReason::Dropped, 1, 20_001 - 500));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(take(&mut dropping, 500)[0], 19_501);
    assert!(matches!(block_on(failing.next()), Some(Err(ConsumerError::Lagged { lag_events: 20_000, .. }))));
    assert!(block_on(failing.next()).is_none() && failing.has_ended());
    assert_eq!(take(&mut new, 20_001)[0], 0, "who was never live does not lag: it replays");
    // What memory does not hold any more is a gap.
    ingest(&bus, "s", 20_001..300_000);
    let first = block_on(patient.next()).expect("goes on");
    match first {
        Err(ConsumerError::Gap(gap)) => assert_eq!((gap.reason, gap.from.get()), (GapReason::Trimmed, 20_001)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn paused_subscribers_do_not_hold_up_ingest() {
    let bus = open(EventBusConfig::builder().memory_bytes(4 << 20));
    let mut paused: Vec<_> = (0..8).map(|_| subscribe(&bus, SubscribeRequest::live())).collect();
    ingest(&bus, "s", 0..1);
    paused.iter_mut().for_each(|subscription| assert_eq!(take(subscription, 1), [0]));
    ingest(&bus, "s", 1..500_000);
    block_on(bus.flush()).expect("flushes");
    assert_eq!(bus.stats().events_durable, 500_000);
}

#[test]
fn long_poll_waits_for_an_event_and_no_longer_than_asked() {
    let bus = open(EventBusConfig::builder().num_shards(2));
    let request = || ConsumeRequest::default().wait(Duration::from_secs(3600));
    std::thread::scope(|scope| {
        let polled = scope.spawn(|| block_on(bus.poll(request())).expect("polls"));
        ingest(&bus, "s", 7..8);
        assert_eq!(number(&polled.join().expect("ends").events[0].raw), 7);
        let polled = scope.spawn(|| {
            let request = request().start(Start::Earliest).filter(Filter::eq("wanted", true));
            block_on(bus.poll(request)).expect("polls")
        });
        ingest(&bus, "s", 8..9);
        bus.ingest(tapeline::Event::from_str(r#"{"wanted":true}"#).expect("JSON")).expect("ingests");
        assert_eq!(polled.join().expect("ends").events[0].raw, *r#"{"wanted":true}"#);
    });
    let end = block_on(bus.poll(ConsumeRequest::default())).expect("polls").next_id.expect("a cursor");
    let empty =
        block_on(bus.poll(ConsumeRequest::default().from(&*end).wait(Duration::from_millis(5)))).expect("polls");
    assert!(empty.events.is_empty() && empty.next_id == Some(end.clone()));
    block_on(bus.shutdown_via_ref()).expect("ends");
    assert!(block_on(bus.poll(request().from(end))).expect("ends at once").events.is_empty());
}

#[test]
fn durable_visibility_follows_what_level_page_cache_acknowledges() {
    let scratch = Scratch::new("page-cache");
    let bus = open(scratch.config().durability(Durability::PageCache));
    let mut subscription = subscribe(&bus, SubscribeRequest::new().visibility(Visibility::Durable));
    ingest(&bus, "s", 0..100);
    assert!(take(&mut subscription, 100).into_iter().eq(0..100));
}
