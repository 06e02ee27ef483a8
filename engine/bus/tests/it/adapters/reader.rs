//! Consumers that read from a backend what a bus would hand them.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};

use futures_lite::future::block_on;
use tapeline::adapter::{Adapter, AdapterFuture, AdapterReader, Batch, MemoryAdapter, ShardPollResult, StoredShard};
use tapeline::consumer::Start;
use tapeline::event::{Sequence, StoredEvent};
use tapeline::{
    AdapterError, ConsumeRequest, ConsumerError, EventBus, EventBusConfig, Filter, Ordering, RawEvent, kinds,
};

use super::LONG;
use crate::scratch::open;

/// A bus of three shards whose events a backend has.
fn relayed() -> (EventBus, MemoryAdapter) {
    let bus = open(EventBusConfig::builder().num_shards(3).pinned(false));
    for number in 0..3000u64 {
        let payload = format!("{{\"number\":{number},\"even\":{}}}", number % 2 == 0);
        let kind = if number % 3 == 0 { kinds::TOOL_CALL } else { kinds::TOKEN };
        let event = RawEvent::from_str(&payload).with_session(u128::from(number % 11 + 1)).with_kind(kind);
        bus.ingest_raw(event).expect("taken");
    }
    // A relay that drains ends with what readers see.
    block_on(bus.flush()).expect("readable");
    let backend = MemoryAdapter::new();
    let relay = bus.start_relay(Box::new(backend.clone()), super::soon("reader")).expect("starts");
    relay.drain(LONG);
    assert!(relay.join().is_complete());
    (bus, backend)
}

fn reader(backend: &MemoryAdapter) -> AdapterReader {
    let log = block_on(backend.stored()).expect("lists")[0].log;
    AdapterReader::new(Arc::new(backend.clone()), log)
}

/// The events of each shard.
fn by_shard(events: Vec<StoredEvent>) -> BTreeMap<u16, Vec<StoredEvent>> {
    let mut shards = BTreeMap::<_, Vec<_>>::new();
    events.into_iter().for_each(|event| shards.entry(event.shard_id).or_default().push(event));
    shards
}

/// All that a bus hands out.
fn of_bus(bus: &EventBus, request: &ConsumeRequest) -> Vec<StoredEvent> {
    let (mut events, mut request) = (Vec::new(), request.clone());
    loop {
        let page = block_on(bus.poll(request.clone())).expect("polls");
        events.extend(page.events);
        request.from_id = page.next_id;
        if !page.has_more {
            return events;
        }
    }
}

/// All that readers hand out, each of so many pages.
fn of_backend(backend: &MemoryAdapter, request: &ConsumeRequest, pages: usize) -> Vec<StoredEvent> {
    let (mut events, mut request) = (Vec::new(), request.clone());
    loop {
        let mut reader = reader(backend);
        for _ in 0..pages {
            let page = block_on(reader.poll(request.clone())).expect("polls");
            assert!(page.events.len() <= request.limit && page.failed_shards.is_empty());
            events.extend(page.events);
            request.from_id = page.next_id;
            if !page.has_more {
                return events;
            }
        }
    }
}

#[test]
fn reader_of_a_backend_hands_out_what_the_bus_does() {
    let (bus, backend) = relayed();
    let all = || ConsumeRequest::new(700);
    let middle = of_bus(&bus, &all().ordering(Ordering::InsertionTs))[1500].insertion_ts;
    let even = Filter::from_json(r#"{"path":"even","value":true}"#).expect("a filter");
    for request in [
        all(),
        all().kind(kinds::TOOL_CALL),
        all().session(3u128).session(4u128),
        all().shards(vec![0, 2]),
        all().filter(even.clone()).kind(kinds::TOKEN),
        all().start(Start::Time(middle)),
        all().start(Start::Sequences(vec![(1, Sequence::new(500))])),
    ] {
        let in_order = request.clone().ordering(Ordering::InsertionTs);
        let expected = of_bus(&bus, &in_order);
        assert!(expected.len() > 100, "{request:?}");
        for (limit, pages) in [(1, 5000), (97, 1), (97, 5), (5000, 1)] {
            if limit == 1 && expected.len() > 2000 {
                continue;
            }
            let limited = |request: &ConsumeRequest| ConsumeRequest { limit, ..request.clone() };
            assert!(of_backend(&backend, &limited(&in_order), pages) == expected, "{request:?}: {limit}, {pages}");
            let found = of_backend(&backend, &limited(&request), pages);
            assert!(by_shard(found) == by_shard(expected.clone()), "{request:?}: {limit}, {pages}");
        }
    }
    // Shards take turns, in pages of any size.
    let first = block_on(reader(&backend).poll(ConsumeRequest::new(9))).expect("polls").events;
    assert_eq!(by_shard(first).values().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3]);
}

#[test]
fn reader_waits_for_what_comes() {
    let (bus, backend) = relayed();
    let mut reader = reader(&backend);
    let latest = ConsumeRequest::new(10).start(Start::Latest);
    let page = block_on(reader.poll(latest.clone())).expect("polls");
    assert!(page.events.is_empty() && !page.has_more);
    let relay = bus.start_relay(Box::new(backend), super::soon("reader")).expect("starts");
    let waits = latest.from(page.next_id.expect("a cursor")).wait(LONG);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(reader.poll(waits)).expect("polls").events);
        bus.ingest_raw(RawEvent::from_str("later")).expect("taken");
        let events = waiting.join().expect("ends");
        assert_eq!(events.iter().map(|event| &event.raw[..]).collect::<Vec<_>>(), [b"later"]);
    });
    relay.drain(LONG);
}

/// An adapter of which a shard cannot be read at times.
struct Failing(MemoryAdapter, Arc<AtomicBool>);

impl Adapter for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn on_batch(&self, batch: Arc<Batch>) -> AdapterFuture<'_> {
        self.0.on_batch(batch)
    }

    fn poll_shard<'a>(&'a self, shard: u16, from: Option<&'a str>, limit: usize) -> AdapterFuture<'a, ShardPollResult> {
        if shard == 1 && self.1.load(Atomic::Relaxed) {
            Box::pin(ready(Err(AdapterError::Connection("away".into()))))
        } else {
            self.0.poll_shard(shard, from, limit)
        }
    }

    fn stored(&self) -> AdapterFuture<'_, Vec<StoredShard>> {
        self.0.stored()
    }
}

#[test]
fn shard_that_cannot_be_read_is_reported_and_nothing_of_it_passed_over() {
    let (bus, backend) = relayed();
    let log = block_on(backend.stored()).expect("lists")[0].log;
    let is_away = Arc::new(AtomicBool::new(true));
    let mut reader = AdapterReader::new(Arc::new(Failing(backend, Arc::clone(&is_away))), log);
    let mut page = block_on(reader.poll(ConsumeRequest::new(5000))).expect("polls");
    assert_eq!(page.failed_shards.iter().map(|failed| failed.shard_id).collect::<Vec<_>>(), [1]);
    assert!(page.failed_shards[0].message.contains("away") && page.events.iter().all(|event| event.shard_id != 1));
    is_away.store(false, Atomic::Relaxed);
    let rest = block_on(reader.poll(ConsumeRequest::new(5000).from(page.next_id.expect("a cursor")))).expect("polls");
    page.events.extend(rest.events);
    assert!(by_shard(page.events) == by_shard(of_bus(&bus, &ConsumeRequest::default())));
    // A start that is not reached is an error: a page without it would begin elsewhere.
    is_away.store(true, Atomic::Relaxed);
    let refused = block_on(reader.poll(ConsumeRequest::new(10).start(Start::Latest))).expect_err("away");
    assert!(refused.to_string().contains("shard 1"), "{refused}");
    let cursor = block_on(bus.poll(ConsumeRequest::new(1))).expect("polls").next_id.expect("a cursor");
    let other = format!("{{\"backend\":1,\"log\":\"{}\",\"shards\":[]}}", "0".repeat(32));
    for cursor in [cursor.as_str(), "", "{}", &other, r#"{"backend":2,"log":"","shards":[]}"#] {
        let refused = block_on(reader.poll(ConsumeRequest::new(10).from(cursor))).expect_err(cursor);
        assert!(matches!(refused, ConsumerError::InvalidCursor { .. }), "{refused}");
    }
}
